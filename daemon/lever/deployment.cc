#include "daemon/lever/deployment.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "daemon/lever/output.h"
#include "liblever/base/fd.h"

namespace lever::cli {
StatusOr<std::string> ReadManifest(const std::string& directory) {
  const std::string path = directory + "/" + std::string(deploy::kManifestFile);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) {
    if (errno == ENOENT) {
      return NotFound("there is no " + path + ": a service's directory has one at its root");
    }
    return ErrnoStatus(errno, path);
  }
  std::string text(deploy::kManifestBytesMax + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + size, text.size() - size);
    if (count < 0) return ErrnoStatus(errno, path);
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  text.resize(size);
  return text;
}

StatusOr<deploy::Manifest> BuildService(const std::string& directory, const BuildOptions& options) {
  LEVER_ASSIGN_OR_RETURN(const std::string text, ReadManifest(directory));
  LEVER_ASSIGN_OR_RETURN(deploy::Manifest manifest, deploy::ParseManifest(text));
  if (manifest.build.empty()) return manifest;
  std::string line = "build:";
  for (const std::string& argument : manifest.build) line += " " + argument;
  Note(Plain(line));
  LEVER_RETURN_IF_ERROR(RunBuild(directory, manifest.build, options));
  return manifest;
}

StatusOr<lever::v1::DeployProgress> PackAndUpload(Connection* connection,
                                                  const std::string& directory,
                                                  const std::string& environment,
                                                  const lever::v1::DeployBegin& terms) {
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<Upload> upload,
                         Upload::Begin(connection, directory, environment, terms));
  upload->AwaitEnd();
  return upload->Result();
}

}  // namespace lever::cli
