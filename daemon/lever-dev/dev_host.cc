#include "daemon/lever-dev/dev_host.h"

#include <fcntl.h>
#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <string_view>

#include "daemon/lever/connection.h"
#include "daemon/lever/installation.h"
#include "daemon/lever/output.h"
#include "liblever/base/fd.h"
#include "liblever/host/deploy/file_tree.h"

namespace lever::cli {
namespace {

constexpr std::string_view kFreePort = "127.0.0.1:0";

void Log(void* context, lever_log_level level, const char* line, size_t size) {
  Note("host: " + Plain(std::string_view(line, size)));
}

}  // namespace

StatusOr<std::unique_ptr<DevHost>> DevHost::Start(const DevArguments& arguments) {
  std::unique_ptr<DevHost> host(new DevHost());
  LEVER_RETURN_IF_ERROR(host->OpenDataDir(arguments.data_dir));
  const std::string wanted =
      arguments.listen.empty() ? std::string(kDefaultHost) : arguments.listen;
  Status status = host->Listen(wanted, arguments.upstreams);
  if (status.code() == LEVER_ALREADY_EXISTS && arguments.listen.empty()) {
    host->moved_ = wanted + " is taken";
    status = host->Listen(std::string(kFreePort), arguments.upstreams);
  }
  LEVER_RETURN_IF_ERROR(status);
  return host;
}

Status DevHost::OpenDataDir(const std::string& given) {
  if (!given.empty()) {
    data_dir_ = std::filesystem::absolute(given).lexically_normal().string();
    return Status::Ok();
  }
  const char* folder = ::getenv("TMPDIR");
  std::string path = folder != nullptr && *folder != '\0' ? folder : "/tmp";
  path += "/lever-dev-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return ErrnoStatus(errno, "a temporary directory");
  data_dir_ = path;
  temporary_ = true;
  return Status::Ok();
}

Status DevHost::Listen(const std::string& address, const std::vector<std::string>& upstreams) {
  const Installation installation = FindInstallation();
  const std::string spawner = installation.programs + "/lever-spawner";
  const char* const listen[] = {address.c_str()};
  std::vector<const char*> upstream_texts;
  for (const std::string& upstream : upstreams) upstream_texts.push_back(upstream.c_str());
  lever_host_options options = {};
  options.size = sizeof(options);
  options.data_dir = data_dir_.c_str();
  options.listen = listen;
  options.listen_count = 1;
  options.allow_root_services = 1;
  options.runtime_dir = installation.runtime.empty() ? nullptr : installation.runtime.c_str();
  options.spawner_path = spawner.c_str();
  options.upstreams = upstream_texts.data();
  options.upstream_count = upstream_texts.size();
  options.log_sink = Log;
  options.log_least = LEVER_LOG_WARNING;
  lever_error* error = nullptr;
  const lever_status status = lever_host_start(&options, &host_, &error);
  LEVER_RETURN_IF_ERROR(TakeError(status, error));
  address_ = lever_host_address(host_, 0);
  return Status::Ok();
}

DevHost::~DevHost() {
  if (host_ != nullptr) {
    Close();
    (void)Ended(-1);
    lever_host_destroy(host_);
  }
  RemoveTemporary();
}

void DevHost::RemoveTemporary() {
  if (!temporary_) return;
  const std::filesystem::path path(data_dir_);
  const UniqueFd parent(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Status removed = deploy::RemoveTree(parent.get(), path.filename().string());
  if (!removed.ok()) Note("what is left of " + data_dir_ + ": " + removed.message());
  temporary_ = false;
}

}  // namespace lever::cli
