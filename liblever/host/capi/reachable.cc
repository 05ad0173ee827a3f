#include "liblever/host/capi/reachable.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace lever::host {
namespace {

Status CheckFolders(const std::filesystem::path& path) {
  std::filesystem::path part;
  for (const auto& name : path) {
    part /= name;
    struct stat info{};
    if (::stat(part.c_str(), &info) != 0) {
      return FailedPrecondition(part.string() + ": " + std::strerror(errno));
    }
    if (S_ISDIR(info.st_mode) && (info.st_mode & S_IXOTH) == 0) {
      return FailedPrecondition("the users that services run under cannot reach " + path.string() +
                                ": " + part.string() +
                                " is closed to them; choose another place, or chmod o+x " +
                                part.string());
    }
  }
  return Status::Ok();
}

}  // namespace

Status CheckReachable(const std::string& path) {
  LEVER_RETURN_IF_ERROR(CheckFolders(path));
  // Behind its links, too: the program of a virtual environment lies elsewhere.
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (error) return FailedPrecondition(path + ": " + error.message());
  return real == path ? Status::Ok() : CheckFolders(real);
}

}  // namespace lever::host
