#include "liblever/host/capi/data_dir.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "liblever/host/capi/reachable.h"

namespace lever::host {
namespace {

constexpr mode_t kOwnOnly = 0700;
// Others may pass through to what they know the name of, and not list.
constexpr mode_t kPassThrough = 0711;

Status Make(const std::string& folder, mode_t mode) {
  if (::mkdir(folder.c_str(), mode) == 0) {
    // The umask must not keep the services' users out of a folder that is ours.
    if (::chmod(folder.c_str(), mode) == 0) return Status::Ok();
  } else if (errno == EEXIST) {
    return Status::Ok();
  }
  return FailedPrecondition("data directory " + folder + ": " + std::strerror(errno));
}

}  // namespace

Status PrepareDataDir(const std::string& data_dir, ServiceUsers users) {
  const std::filesystem::path parent = std::filesystem::path(data_dir).parent_path();
  std::error_code error;
  std::filesystem::create_directories(parent, error);
  if (error) {
    return FailedPrecondition("data directory " + data_dir + ": " + error.message());
  }
  LEVER_RETURN_IF_ERROR(Make(data_dir, users == ServiceUsers::kSeparate ? kPassThrough : kOwnOnly));
  return users == ServiceUsers::kSeparate ? CheckReachable(data_dir) : Status::Ok();
}

Status PreparePoolDir(const std::string& data_dir) {
  return Make(data_dir + "/pool", kPassThrough);
}

}  // namespace lever::host
