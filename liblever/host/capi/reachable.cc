#include "liblever/host/capi/reachable.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace lever::host {

Status CheckReachable(const std::string& path) {
  std::filesystem::path part;
  for (const auto& name : std::filesystem::path(path)) {
    part /= name;
    struct stat info{};
    if (::stat(part.c_str(), &info) != 0) {
      return FailedPrecondition(part.string() + ": " + std::strerror(errno));
    }
    if (S_ISDIR(info.st_mode) && (info.st_mode & S_IXOTH) == 0) {
      return FailedPrecondition("the users that services run under cannot reach " + path + ": " +
                                part.string() +
                                " is closed to them; choose another place, or chmod o+x " +
                                part.string());
    }
  }
  return Status::Ok();
}

}  // namespace lever::host
