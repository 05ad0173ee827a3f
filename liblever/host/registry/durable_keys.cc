#include "liblever/host/registry/durable_keys.h"

#include "liblever/host/registry/validate.h"

namespace lever::registry {
namespace {

// Greater than every key, for prefixes that nothing but the limit on keys ends.
const std::string& AboveAllKeys() {
  static const std::string& above = *new std::string(kKeyBytesMax + 1, '\xff');
  return above;
}

Entry ReadEntry(const StatementUse& row) {
  Entry entry;
  entry.key = row->Bytes(0);
  entry.value = row->Bytes(1);
  entry.create_revision = row->Number(2);
  entry.mod_revision = row->Number(3);
  return entry;
}

Status DiskFailed() {
  return Unavailable("registry: the disk failed; restart the host").WithExecuted(LEVER_EXECUTED_NO);
}

Status Run(Statement* statement) {
  const StatusOr<bool> row = statement->Step();
  return row.ok() ? Status::Ok() : row.status();
}

}  // namespace

StatusOr<DurableKeys::Incarnation> DurableKeys::Load(std::string_view boot_id) {
  Database* database = database_.get();
  LEVER_RETURN_IF_ERROR(get_.Prepare(
      database, "SELECT key, value, create_revision, mod_revision FROM entries WHERE key = ?1"));
  LEVER_RETURN_IF_ERROR(put_.Prepare(
      database,
      "INSERT INTO entries (key, value, create_revision, mod_revision) VALUES (?1, ?2, ?3, ?4) "
      "ON CONFLICT (key) DO UPDATE SET value = ?2, create_revision = ?3, mod_revision = ?4"));
  LEVER_RETURN_IF_ERROR(delete_.Prepare(database, "DELETE FROM entries WHERE key = ?1"));
  LEVER_RETURN_IF_ERROR(
      delete_range_.Prepare(database, "DELETE FROM entries WHERE key >= ?1 AND key < ?2"));
  LEVER_RETURN_IF_ERROR(
      scan_.Prepare(database,
                    "SELECT key, value, create_revision, mod_revision FROM entries WHERE key >= ?1 "
                    "ORDER BY key"));
  LEVER_RETURN_IF_ERROR(reserve_.Prepare(database, "UPDATE registry SET revisions_reserved = ?1"));

  Incarnation incarnation;
  Statement read;
  LEVER_RETURN_IF_ERROR(
      read.Prepare(database, "SELECT revisions_reserved, incarnation, boot_id FROM registry"));
  LEVER_ASSIGN_OR_RETURN(const bool found, read.Step());
  if (!found) return DataLoss("registry: " + database->path() + " has no row about itself");
  incarnation.revisions_reserved = read.Number(0);
  incarnation.number = read.Number(1) + 1;
  incarnation.machine_rebooted = incarnation.number > 1 && read.Bytes(2) != boot_id;
  read.Reset();

  Statement enter;
  LEVER_RETURN_IF_ERROR(
      enter.Prepare(database, "UPDATE registry SET incarnation = ?1, boot_id = ?2"));
  enter.BindNumber(1, incarnation.number);
  enter.BindBytes(2, boot_id);
  LEVER_RETURN_IF_ERROR(Run(&enter));
  return incarnation;
}

Status DurableKeys::Reserve(Revision reserved) {
  if (disk_failed()) return DiskFailed();
  StatementUse use(&reserve_);
  use->BindNumber(1, reserved);
  return Run(&reserve_);
}

StatusOr<std::optional<Entry>> DurableKeys::Get(std::string_view key) {
  StatementUse row(&get_);
  row->BindBytes(1, key);
  LEVER_ASSIGN_OR_RETURN(const bool found, row->Step());
  if (!found) return std::optional<Entry>();
  return std::optional<Entry>(ReadEntry(row));
}

Status DurableKeys::EnsureBegun() {
  if (begun_) return Status::Ok();
  if (disk_failed()) return DiskFailed();
  LEVER_RETURN_IF_ERROR(database_->Begin());
  begun_ = true;
  return Status::Ok();
}

Status DurableKeys::Put(const Entry& entry) {
  LEVER_RETURN_IF_ERROR(EnsureBegun());
  StatementUse use(&put_);
  use->BindBytes(1, entry.key);
  use->BindBytes(2, entry.value);
  use->BindNumber(3, entry.create_revision);
  use->BindNumber(4, entry.mod_revision);
  return Run(&put_);
}

Status DurableKeys::Delete(std::string_view key) {
  LEVER_RETURN_IF_ERROR(EnsureBegun());
  StatementUse use(&delete_);
  use->BindBytes(1, key);
  return Run(&delete_);
}

Status DurableKeys::DeletePrefix(std::string_view prefix, const std::function<void(Entry)>& each) {
  bool any = false;
  {
    Scan scan(this, prefix);
    for (;;) {
      LEVER_ASSIGN_OR_RETURN(std::optional<Entry> entry, scan.Next(prefix));
      if (!entry) break;
      any = true;
      each(*std::move(entry));
    }
  }
  if (!any) return Status::Ok();
  LEVER_RETURN_IF_ERROR(EnsureBegun());
  const std::string end = PrefixEnd(prefix);
  StatementUse use(&delete_range_);
  use->BindBytes(1, prefix);
  use->BindBytes(2, end.empty() ? AboveAllKeys() : end);
  return Run(&delete_range_);
}

DurableKeys::Scan::Scan(DurableKeys* keys, std::string_view first)
    : first_(first), statement_(&keys->scan_) {
  statement_->BindBytes(1, first_);
}

StatusOr<std::optional<Entry>> DurableKeys::Scan::Next(std::string_view prefix) {
  LEVER_ASSIGN_OR_RETURN(const bool found, statement_->Step());
  // Keys with the prefix are adjacent and come first: the scan begins at or after the prefix.
  if (!found || !statement_->Bytes(0).starts_with(prefix)) return std::optional<Entry>();
  return std::optional<Entry>(ReadEntry(statement_));
}

Status DurableKeys::Commit() {
  if (!begun_) return Status::Ok();
  const Status status = database_->Commit();
  if (!status.ok()) {
    Rollback();
    return status;
  }
  begun_ = false;
  return Status::Ok();
}

void DurableKeys::Rollback() {
  if (begun_) database_->Rollback();
  begun_ = false;
}

}  // namespace lever::registry
