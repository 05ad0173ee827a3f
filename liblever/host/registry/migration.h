// The version of the registry's file, and the steps from one to the next.
//
// A file that is newer than this binary is refused untouched. An older one is first copied to
// `<file>.v<version>`, durably, and then brought up to date in one transaction: whenever the
// machine stops, the file is wholly old or wholly new. Not thread-safe.
#ifndef LIBLEVER_HOST_REGISTRY_MIGRATION_H_
#define LIBLEVER_HOST_REGISTRY_MIGRATION_H_

#include <span>

#include "liblever/base/status.h"

namespace lever::registry {

class Database;

// The step to version i + 1 is element i.
using Migration = const char*;

// Those of this binary.
std::span<const Migration> Migrations();

// FAILED_PRECONDITION: the file is newer, or is something else than a registry.
// Calls Database::Configure() once the file is known to be ours.
Status OpenSchema(Database* database, std::span<const Migration> migrations, int64_t bytes_max);

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_MIGRATION_H_
