// Small file operations that the registry's durability rests on. They block on the disk; call them
// from any thread that may.
#ifndef LIBLEVER_HOST_REGISTRY_FILES_H_
#define LIBLEVER_HOST_REGISTRY_FILES_H_

#include <string>

#include "liblever/base/status.h"

namespace lever::registry {

// Makes an empty file that only its owner may read, unless it is there.
Status CreatePrivateFile(const std::string& path);
Status SyncFile(const std::string& path);
// Makes the entry of `path` in its directory durable.
Status SyncDirectoryOf(const std::string& path);
// The kernel's id of this boot of the machine, without the line's end.
StatusOr<std::string> ReadBootId();

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_FILES_H_
