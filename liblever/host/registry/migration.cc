#include "liblever/host/registry/migration.h"

#include <string>

#include "liblever/base/log.h"
#include "liblever/host/registry/sqlite_db.h"

namespace lever::registry {
namespace {

constexpr int64_t kApplicationId = 0x4c565231;  // "LVR1": marks the file as a registry

constexpr Migration kMigrations[] = {
    // 1: durable keys, and one row about the registry itself.
    //   revisions_reserved  no revision above it has been given out
    //   incarnation         how often the file was opened; a part of every lease's id
    //   boot_id             of the machine's boot in which it was opened last
    R"sql(
CREATE TABLE entries (
  key BLOB NOT NULL PRIMARY KEY,
  value BLOB NOT NULL,
  create_revision INTEGER NOT NULL,
  mod_revision INTEGER NOT NULL
);
CREATE TABLE registry (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  revisions_reserved INTEGER NOT NULL,
  incarnation INTEGER NOT NULL,
  boot_id BLOB NOT NULL
);
INSERT INTO registry VALUES (1, 0, 0, x'');
)sql",
};

// Whether the file is empty (and so new) or one of ours; anything else is somebody's and is
// refused.
StatusOr<int64_t> ReadVersion(Database* database) {
  LEVER_ASSIGN_OR_RETURN(const int64_t application, database->ReadNumber("PRAGMA application_id"));
  LEVER_ASSIGN_OR_RETURN(const int64_t version, database->ReadNumber("PRAGMA user_version"));
  LEVER_ASSIGN_OR_RETURN(const int64_t tables,
                         database->ReadNumber("SELECT count(*) FROM sqlite_master"));
  const bool empty = application == 0 && version == 0 && tables == 0;
  if (!empty && (application != kApplicationId || version < 1)) {
    return FailedPrecondition("registry: " + database->path() + " is not a registry of Lever");
  }
  return version;
}

Status Step(Database* database, std::span<const Migration> migrations, int64_t version) {
  LEVER_RETURN_IF_ERROR(database->Begin());
  for (size_t i = static_cast<size_t>(version); i < migrations.size(); ++i) {
    LEVER_RETURN_IF_ERROR(database->Execute(migrations[i]));
  }
  LEVER_RETURN_IF_ERROR(
      database->Execute("PRAGMA application_id=" + std::to_string(kApplicationId)));
  LEVER_RETURN_IF_ERROR(
      database->Execute("PRAGMA user_version=" + std::to_string(migrations.size())));
  return database->Commit();
}

}  // namespace

std::span<const Migration> Migrations() { return kMigrations; }

Status OpenSchema(Database* database, std::span<const Migration> migrations, int64_t bytes_max) {
  LEVER_ASSIGN_OR_RETURN(const int64_t version, ReadVersion(database));
  const auto known = static_cast<int64_t>(migrations.size());
  if (version > known) {
    return FailedPrecondition("registry: " + database->path() + " has version " +
                              std::to_string(version) + ", this program knows versions up to " +
                              std::to_string(known) + "; run the newer program");
  }
  if (version > 0 && version < known) {
    const std::string copy = database->path() + ".v" + std::to_string(version);
    LEVER_RETURN_IF_ERROR(database->CopyTo(copy));
    Log(LogLevel::kInfo, "registry: " + database->path() + " goes from version " +
                             std::to_string(version) + " to " + std::to_string(known) +
                             "; the old one is kept as " + copy);
  }
  LEVER_RETURN_IF_ERROR(database->Configure(bytes_max));
  if (version == known) return Status::Ok();
  const Status status = Step(database, migrations, version);
  if (!status.ok()) database->Rollback();
  return status;
}

}  // namespace lever::registry
