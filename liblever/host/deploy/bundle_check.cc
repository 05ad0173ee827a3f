#include "liblever/host/deploy/bundle_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "liblever/base/fd.h"
#include "liblever/host/deploy/file_tree.h"
#include "liblever/host/deploy/quoted.h"

namespace lever::deploy {
namespace {

Status CheckFile(int tree_fd, std::string_view field, const std::string& path, mode_t needs) {
  const UniqueFd file = OpenBeneath(tree_fd, path, O_PATH, Links::kFollow);
  struct stat info;
  if (!file.valid() || ::fstat(file.get(), &info) != 0) {
    return InvalidArgument("lever.json: " + std::string(field) + ": " + Quoted(path) +
                           " is not in the bundle");
  }
  if (!S_ISREG(info.st_mode)) {
    return InvalidArgument("lever.json: " + std::string(field) + ": " + Quoted(path) +
                           " is not a file");
  }
  if ((info.st_mode & needs) != needs) {
    return InvalidArgument("lever.json: " + std::string(field) + ": " + Quoted(path) +
                           " is not executable (chmod +x)");
  }
  return Status::Ok();
}

Status CheckEntry(const std::string& tree, const Manifest& manifest) {
  const UniqueFd root(::open(tree.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return ErrnoStatus(errno, "the bundle's tree");
  if (!manifest.js_entry.empty()) return CheckFile(root.get(), "jsEntry", manifest.js_entry, 0);
  if (!manifest.py_entry.empty()) return CheckFile(root.get(), "pyEntry", manifest.py_entry, 0);
  // A program without a slash is looked for on the PATH, an absolute one is the machine's own.
  const std::string& program = manifest.entry.front();
  if (program.find('/') == program.npos || program.front() == '/') return Status::Ok();
  return CheckFile(root.get(), "entry", program, S_IXUSR);
}

}  // namespace

StatusOr<std::string> CommitChecked(BundleStore* store, BundleStore::Upload* upload,
                                    const Manifest& manifest) {
  LEVER_ASSIGN_OR_RETURN(BundleInfo info, upload->Commit());
  LEVER_ASSIGN_OR_RETURN(const Manifest packed, ParseManifest(info.manifest));
  if (packed.ToJson() != manifest.ToJson()) {
    return InvalidArgument("the lever.json in the bundle is not the one that was sent before it");
  }
  LEVER_ASSIGN_OR_RETURN(const std::string tree, store->EnsureUnpacked(info.hash));
  LEVER_RETURN_IF_ERROR(CheckEntry(tree, manifest));
  return std::move(info.hash);
}

}  // namespace lever::deploy
