#include "daemon/lever-dev/watch_scope.h"

#include <fstream>
#include <iterator>

#include "liblever/host/deploy/manifest.h"
#include "liblever/host/deploy/pack.h"

namespace lever::cli {
namespace {

constexpr size_t kIgnoreBytesMax = 256 * 1024;

std::string ReadUpTo(const std::string& path, size_t bytes_max) {
  std::ifstream file(path, std::ios::binary);
  std::string text(bytes_max, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

}  // namespace

WatchScope::WatchScope(std::string_view leverignore, std::string_view gitignore, HasBuild has_build)
    : not_packed_(deploy::IgnoreRules::Parse(leverignore)),
      products_(deploy::IgnoreRules::Parse(gitignore)),
      has_build_(has_build) {}

WatchScope WatchScope::Read(const std::string& directory, HasBuild has_build) {
  const std::string name(deploy::kIgnoreFile);
  return WatchScope(ReadUpTo(directory + "/" + name, kIgnoreBytesMax),
                    ReadUpTo(directory + "/.gitignore", kIgnoreBytesMax), has_build);
}

bool WatchScope::Watches(std::string_view path, deploy::PathKind kind) const {
  const size_t slash = path.rfind('/');
  if (deploy::IsNeverPacked(slash == path.npos ? path : path.substr(slash + 1))) return false;
  if (path == deploy::kManifestFile || path == deploy::kIgnoreFile) return true;
  if (!not_packed_.Excludes(path, kind)) return true;
  return has_build_ == HasBuild::kYes && !products_.Excludes(path, kind);
}

}  // namespace lever::cli
