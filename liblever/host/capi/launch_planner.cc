#include "liblever/host/capi/launch_planner.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace lever::host {
namespace {

constexpr const char* kSystemPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

StatusOr<std::vector<std::string>> Interpreted(const Runtime& runtime, const std::string& entry) {
  if (runtime.version.empty()) return FailedPrecondition(runtime.error);
  return std::vector<std::string>{runtime.path, runtime.launcher, entry};
}

void PrependFolderOf(const Runtime& runtime, std::string& path) {
  if (runtime.version.empty()) return;
  path = std::filesystem::path(runtime.path).parent_path().string() + ":" + path;
}

// An installation below PREFIX, whose program is PREFIX/bin/NAME: not PREFIX itself, which may be
// somebody's home.
void AppendInstallation(const std::filesystem::path& program, std::vector<std::string>& paths) {
  const std::filesystem::path folder = program.parent_path();
  if (folder.parent_path() == "/") return;  // the system's own, which is there
  if (folder.filename() != "bin") {
    paths.push_back(program.string());
    return;
  }
  for (const char* name : {"bin", "lib", "lib64", "share", "pyvenv.cfg"}) {
    paths.push_back((folder.parent_path() / name).string());
  }
}

void AppendRuntime(const Runtime& runtime, std::vector<std::string>& paths) {
  if (runtime.version.empty()) return;
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(runtime.path, error);
  AppendInstallation(runtime.path, paths);
  if (!error && real != runtime.path) AppendInstallation(real, paths);
  paths.push_back(std::filesystem::path(runtime.launcher).parent_path().parent_path().string());
}

}  // namespace

StatusOr<std::vector<std::string>> ArgvOf(const scale::ServiceSpec& spec,
                                          const Runtimes& runtimes) {
  if (!spec.js_entry.empty()) return Interpreted(runtimes.node, spec.js_entry);
  if (!spec.py_entry.empty()) return Interpreted(runtimes.python, spec.py_entry);
  return spec.entry;
}

std::vector<std::string> VariablesOf(const scale::ServiceSpec& spec, const Runtimes& runtimes,
                                     const std::string& directory) {
  // Scripts of the bundle find the interpreters that the host would use.
  std::string path = kSystemPath;
  PrependFolderOf(runtimes.python, path);
  PrependFolderOf(runtimes.node, path);
  return {"PATH=" + path, "HOME=" + directory, "LANG=C.UTF-8",
          "LEVER_ENV=" + spec.environment, "LEVER_SERVICE=" + spec.service};
}

fleet::PooledRuntime AheadOf(const Runtime& runtime, const Runtimes& runtimes,
                             const std::string& trees) {
  scale::ServiceSpec none;
  (runtime.name == "node" ? none.js_entry : none.py_entry) = "unknown";
  fleet::PooledRuntime ahead;
  ahead.name = runtime.name;
  ahead.argv = {runtime.path, runtime.launcher, "--ahead"};
  ahead.variables = VariablesOf(none, runtimes, trees);
  ahead.readable = ReadableOf(none, runtimes);
  return ahead;
}

std::string RuntimeOf(const scale::ServiceSpec& spec) {
  if (!spec.js_entry.empty()) return "node";
  return spec.py_entry.empty() ? "" : "python";
}

std::vector<std::string> ReadableOf(const scale::ServiceSpec& spec, const Runtimes& runtimes) {
  std::vector<std::string> paths;
  // A program of the bundle may be a script for either.
  if (spec.py_entry.empty()) AppendRuntime(runtimes.node, paths);
  if (spec.js_entry.empty()) AppendRuntime(runtimes.python, paths);
  // Those below /usr are there, and mounting them again would hide nothing and cost time.
  std::erase_if(paths, [](const std::string& path) { return path.starts_with("/usr/"); });
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

BundlePlanner::BundlePlanner(Loop* control_loop, deploy::BundleStore* store,
                             deploy::Execute execute, const Runtimes* runtimes,
                             UserAllocator* users)
    : loop_(control_loop),
      store_(store),
      execute_(std::move(execute)),
      runtimes_(runtimes),
      users_(users) {}

StatusOr<scale::LaunchPlan> BundlePlanner::Prepare(const scale::ServiceSpec& spec) {
  scale::LaunchPlan plan;
  LEVER_ASSIGN_OR_RETURN(plan.argv, ArgvOf(spec, *runtimes_));
  LEVER_ASSIGN_OR_RETURN(plan.uid, users_->UserOf(spec.name()));
  plan.gid = plan.uid;  // a group of the same number, which nobody else is in
  return plan;
}

void BundlePlanner::Expect(const scale::ServiceSpec& spec) {
  const std::string runtime = RuntimeOf(spec);
  if (!expect_ || runtime.empty() || spec.sandbox == fleet::SandboxWish::kNone) return;
  expect_(runtime, spec.network);
}

void BundlePlanner::Plan(const scale::ServiceSpec& spec,
                         std::function<void(StatusOr<scale::LaunchPlan>)> done) {
  StatusOr<scale::LaunchPlan> prepared = Prepare(spec);
  if (!prepared.ok()) {
    // Never from inside: who asks is in the middle of starting it.
    loop_->Post([status = prepared.status(), done = std::move(done)] { done(status); });
    return;
  }
  deploy::RunOnPool(
      execute_, loop_, [store = store_, bundle = spec.bundle] { return store->EnsureUnpacked(bundle); },
      [this, spec, plan = std::move(*prepared),
       done = std::move(done)](StatusOr<std::string> directory) mutable {
        if (!directory.ok()) {
          done(directory.status());
          return;
        }
        plan.directory = *directory;
        plan.readable = ReadableOf(spec, *runtimes_);
        plan.runtime = RuntimeOf(spec);
        plan.variables = VariablesOf(spec, *runtimes_, plan.directory);
        done(std::move(plan));
      });
}

}  // namespace lever::host
