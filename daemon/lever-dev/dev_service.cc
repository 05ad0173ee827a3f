#include "daemon/lever-dev/dev_service.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>
#include <vector>

#include "daemon/lever-dev/report.h"
#include "daemon/lever-dev/starting_instance.h"
#include "daemon/lever/deployment.h"
#include "daemon/lever/installation.h"
#include "daemon/lever/output.h"
#include "lever/v1/admin.pb.h"
#include "liblever/base/clock.h"
#include "liblever/host/deploy/content_hash.h"

namespace lever::cli {

DevService::DevService(const Globals* globals, std::string data_dir, std::string directory,
                       int cancel_fd)
    : globals_(globals),
      data_dir_(std::move(data_dir)),
      directory_(std::move(directory)),
      cancel_fd_(cancel_fd),
      tree_(directory_) {}

std::string DevService::Label() const {
  if (!name_.empty()) return name_;
  const std::string folder = std::filesystem::path(directory_).lexically_normal().string();
  return folder == "." ? std::filesystem::current_path().filename().string() : folder;
}

void DevService::OnWake(int64_t now_ns) {
  if (tree_.TakeEvents()) {
    if (!first_event_ns_) first_event_ns_ = now_ns;
    due_ns_ = std::min(now_ns + kQuietNs, *first_event_ns_ + kQuietNsMax);
  }
  if (!starting_) return;
  starting_->upload->OnWake();
  if (!starting_->upload->ended()) return;
  const bool given_up = starting_->given_up;
  const Status status = EndDeploy();
  if (!status.ok()) Tell(status);
  PlanNext(now_ns);
  if (given_up) due_ns_ = now_ns;
}

StatusOr<bool> DevService::LookForChanges() {
  LEVER_ASSIGN_OR_RETURN(TreeState now, tree_.Look(WatchScope::Read(directory_, has_build_)));
  if (tree_.polls() != told_polls_) {
    told_polls_ = tree_.polls();
    if (!told_polls_.empty()) {
      Note(Label() + ": cannot watch all of it (" + told_polls_ +
           "): it is looked at every second instead");
    }
  }
  const std::vector<std::string> edited = ChangedPaths(seen_, now);
  seen_ = std::move(now);
  if (std::exchange(first_look_, false)) return true;
  if (edited.empty()) return false;
  outputs_.OnEdited(edited);
  return true;
}

Status DevService::Refresh() {
  first_event_ns_.reset();
  due_ns_.reset();
  if (starting_) {
    LookWhileStarting();
    return Status::Ok();
  }
  const int64_t began_ns = Clock::System().NowNs();
  const StatusOr<bool> looked = LookForChanges();
  // Told once, not every second.
  if (!looked.ok() && looked.status().message() != told_look_.message()) Tell(looked.status());
  told_look_ = looked.ok() ? Status::Ok() : looked.status();
  const bool again = std::exchange(build_again_, false);
  if (looked.ok() && (*looked || again)) {
    Status status = Build();
    if (status.ok()) status = Deploy(began_ns);
    if (status.code() == LEVER_CANCELLED) return status;
    if (!status.ok()) Tell(status);
  }
  PlanNext(Clock::System().NowNs());
  return Status::Ok();
}

// When to look again without being woken. What came while a version started is due already.
void DevService::PlanNext(int64_t now_ns) {
  if (build_again_ && !starting_) {
    due_ns_ = now_ns;
  } else if (!told_look_.ok() || !tree_.polls().empty()) {
    due_ns_ = std::min(due_ns_.value_or(INT64_MAX), now_ns + kPollNs);
  }
}

Status DevService::Build() {
  LEVER_ASSIGN_OR_RETURN(const std::string text, ReadManifest(directory_));
  LEVER_ASSIGN_OR_RETURN(const deploy::Manifest manifest, deploy::ParseManifest(text));
  manifest_name_ = manifest.name;
  const HasBuild had_build = std::exchange(
      has_build_, manifest.build.empty() ? HasBuild::kNo : HasBuild::kYes);
  if (manifest.build.empty()) return Status::Ok();
  const WatchScope scope = WatchScope::Read(directory_, has_build_);
  // More is watched with a build step than without.
  if (had_build == HasBuild::kNo) {
    LEVER_ASSIGN_OR_RETURN(seen_, tree_.Look(scope));
  }
  const std::optional<KnownBuild> known = KnownBuildOf(manifest.build, directory_);
  if (known && built_ && built_->first == *known && !known->Affected(built_->second, seen_)) {
    return Status::Ok();
  }
  built_.reset();
  const BuildOptions options{BuildEnvironment(FindInstallation()), cancel_fd_};
  const Status built = BuildService(directory_, options).status();
  StatusOr<TreeState> after = tree_.Look(scope);
  if (after.ok()) {
    build_again_ = outputs_.OnBuilt(seen_, *after);
    seen_ = std::move(*after);
    if (known && built.ok()) built_.emplace(*known, seen_);
  }
  return built;
}

Status DevService::Deploy(int64_t began_ns) {
  LEVER_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                         Connection::Open(*globals_, cancel_fd_));
  lever::v1::DeployBegin terms;
  terms.set_start(true);
  terms.set_watch(lever::v1::DeployBegin::OFF);
  LEVER_ASSIGN_OR_RETURN(
      std::unique_ptr<Upload> upload,
      Upload::Begin(connection.get(), directory_, globals_->environment, terms));
  upload->AwaitStart();
  starting_.emplace(std::move(connection), std::move(upload), manifest_name_, began_ns);
  return starting_->upload->ended() ? EndDeploy() : Status::Ok();
}

Status DevService::EndDeploy() {
  const Starting ended = std::move(*std::exchange(starting_, std::nullopt));
  const StatusOr<lever::v1::DeployProgress> result = ended.upload->Result();
  if (result.ok()) {
    TakeUp(*result, ended.began_ns);
    return Status::Ok();
  }
  if (!ended.given_up || result.status().code() != LEVER_UNAVAILABLE) return result.status();
  failing_ = true;
  return Status::Ok();
}

// What the host says is served now.
void DevService::TakeUp(const lever::v1::DeployProgress& result, int64_t began_ns) {
  for (const std::string& note : result.notes()) Note(result.service() + ": " + Plain(note));
  const bool was_failing = std::exchange(failing_, false);
  const bool same = result.unchanged() && !was_failing && name_ == result.service() &&
                    version_ == result.version();
  if (!name_.empty() && name_ != result.service()) RemoveFormer(name_);
  name_ = result.service();
  version_ = result.version();
  if (!same) ReportDeployed(*globals_, name_, version_, Clock::System().NowNs() - began_ns);
}

// Without taking note of what has changed: that is for when the start has ended.
void DevService::LookWhileStarting() {
  const StatusOr<TreeState> now = tree_.Look(WatchScope::Read(directory_, has_build_));
  if (now.ok() && !starting_->given_up && !ChangedPaths(seen_, *now).empty()) {
    starting_->given_up = true;
    Note(Label() + ": edited while a version starts, which is given up");
  }
  const int64_t now_ns = Clock::System().NowNs();
  if (starting_->given_up) {
    const Status status = GiveUpStart();
    // It ends by its startTimeout, then.
    if (!status.ok()) Note(Label() + ": the start cannot be given up: " + status.ToString());
    due_ns_ = now_ns + kGiveUpNs;
  } else if (!now.ok() || !tree_.polls().empty()) {
    due_ns_ = now_ns + kPollNs;
  }
}

Status DevService::GiveUpStart() {
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection,
                         Connection::Open(*globals_, cancel_fd_));
  return KillStartingInstance(connection.get(), globals_->environment, starting_->name,
                              starting_->name == name_ ? version_ : 0);
}

// The service has another name now: the one of before is not its directory's any more.
void DevService::RemoveFormer(const std::string& name) {
  lever::v1::RemoveRequest request;
  request.set_environment(globals_->environment);
  request.set_service(name);
  lever::v1::RemoveReply reply;
  StatusOr<std::unique_ptr<Connection>> connection = Connection::Open(*globals_, cancel_fd_);
  Status status = connection.status();
  if (status.ok()) status = (*connection)->CallHost("/lever.v1.Admin/Remove", request, &reply);
  if (!status.ok()) Note(name + " cannot be removed: " + status.ToString());
}

void DevService::Tell(const Status& status) {
  failing_ = true;
  ReportFailed(*globals_, Label(), version_,
               Status(status.code(), WithOwnPaths(status.message())));
}

// A stack trace names files where the host has unpacked them; people edit those in the directory.
std::string DevService::WithOwnPaths(std::string text) const {
  const std::string trees = data_dir_ + "/trees/";
  constexpr size_t kHashBytes = 64;
  for (size_t at = text.find(trees); at != text.npos; at = text.find(trees, at + 1)) {
    const std::string hash = text.substr(at + trees.size(), kHashBytes);
    if (!deploy::IsContentHash(hash)) continue;
    text.replace(at, trees.size() + kHashBytes, directory_);
  }
  return text;
}

}  // namespace lever::cli
