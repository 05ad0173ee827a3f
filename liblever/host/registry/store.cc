#include "liblever/host/registry/store.h"

#include <algorithm>

#include "liblever/base/log.h"

namespace lever::registry {
namespace {

// One sync pays for that many revisions; at most so many are skipped by a restart.
constexpr Revision kRevisionBlock = 100'000;

bool Writes(const Operation& operation) { return operation.kind != Operation::Kind::kGet; }

Status NoRevisions() {
  return Unavailable("registry: no revisions could be reserved on the disk")
      .WithExecuted(LEVER_EXECUTED_NO);
}

}  // namespace

StatusOr<std::unique_ptr<Store>> Store::Load(std::unique_ptr<Database> database,
                                             const std::string& boot_id, const Bounds& bounds) {
  std::unique_ptr<Store> store(new Store(std::move(database), bounds));
  LEVER_RETURN_IF_ERROR(store->Enter(boot_id, bounds.leases_max));
  return store;
}

Store::Store(std::unique_ptr<Database> database, const Bounds& bounds)
    : durable_(std::move(database)),
      ephemeral_bytes_max_(bounds.ephemeral_bytes_max),
      leases_(0, false, bounds.leases_max),
      history_(bounds.history, 0) {}

Status Store::Enter(const std::string& boot_id, size_t leases_max) {
  LEVER_ASSIGN_OR_RETURN(const DurableKeys::Incarnation incarnation, durable_.Load(boot_id));
  leases_ = LeaseTable(incarnation.number, incarnation.machine_rebooted, leases_max);
  // What was given out of the last block is not known after a crash: all of it counts as used.
  revision_ = committed_ = incarnation.revisions_reserved;
  history_.Compact(revision_);
  LEVER_RETURN_IF_ERROR(durable_.Reserve(revision_ + kRevisionBlock));
  reserved_ = revision_ + kRevisionBlock;
  return Status::Ok();
}

Status Store::Note(Status status) {
  if (!status.ok() && group_status_.ok()) group_status_ = status;
  return status;
}

void Store::ReserveRevisions() {
  if (reserved_ - revision_ > kRevisionBlock / 2 || disk_failed()) return;
  const Status status = durable_.Reserve(revision_ + kRevisionBlock);
  if (status.ok()) {
    reserved_ = revision_ + kRevisionBlock;
  } else {
    Log(LogLevel::kWarning, status.message());
  }
}

StatusOr<std::optional<Entry>> Store::Find(const std::string& key) {
  if (const Entry* entry = ephemeral_.Find(key)) return std::optional<Entry>(*entry);
  StatusOr<std::optional<Entry>> found = durable_.Get(key);
  if (!found.ok()) return Note(found.status());
  return found;
}

StatusOr<GetResult> Store::Get(const std::string& key) {
  LEVER_ASSIGN_OR_RETURN(std::optional<Entry> entry, Find(key));
  return GetResult{revision_, std::move(entry)};
}

// Three sorted sources are merged: the file, the keys under leases, and, for an older revision,
// what the history says was there then, which goes before the other two.
StatusOr<RangeResult> Store::Range(const RangeRequest& request) {
  RangeResult result;
  result.revision = request.revision == 0 ? revision_ : request.revision;
  if (request.revision > revision_) {
    return InvalidArgument("registry: revision " + std::to_string(request.revision) +
                           " has not been")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  if (result.revision < history_.compacted()) {
    return OutOfRange("registry: revision " + std::to_string(request.revision) + " is compacted")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  const History::Past past = history_.PastOf(result.revision, request.prefix, request.after);
  auto then = past.begin();
  const bool from_start = request.after < request.prefix;
  auto leased = from_start ? ephemeral_.From(request.prefix) : ephemeral_.After(request.after);
  // The least key after `after` is the one with a zero byte more.
  DurableKeys::Scan scan(&durable_,
                         from_start ? request.prefix : request.after + std::string(1, '\0'));
  StatusOr<std::optional<Entry>> row = scan.Next(request.prefix);
  size_t bytes = 0;
  for (;;) {
    if (!row.ok()) return Note(row.status());
    const Entry* best = row->has_value() ? &**row : nullptr;
    const bool leased_left =
        leased != ephemeral_.end() && leased->first.starts_with(request.prefix);
    if (leased_left && (best == nullptr || leased->first < best->key)) best = &leased->second;
    std::string key = best == nullptr ? std::string() : best->key;
    if (then != past.end() && (best == nullptr || then->first <= key)) {
      key = then->first;
      best = then->second ? &*then->second : nullptr;
      ++then;
    } else if (best == nullptr) {
      return result;
    }
    if (best != nullptr) {
      if (result.entries.size() >= request.limit || bytes >= kPageBytesMax) {
        result.more = true;
        return result;
      }
      bytes += best->key.size() + best->value.size();
      result.entries.push_back(*best);
    }
    if (leased_left && leased->first == key) ++leased;
    if (row->has_value() && (*row)->key == key) row = scan.Next(request.prefix);
  }
}

StatusOr<bool> Store::Holds(const Compare& compare) {
  LEVER_ASSIGN_OR_RETURN(const std::optional<Entry> entry, Find(compare.key));
  switch (compare.kind) {
    case Compare::Kind::kExists:
      return entry.has_value();
    case Compare::Kind::kMissing:
      return !entry.has_value();
    case Compare::Kind::kValue:
      return entry && entry->value == compare.value;
    case Compare::Kind::kCreateRevision:
      return (entry ? entry->create_revision : 0) == compare.revision;
    case Compare::Kind::kModRevision:
      return (entry ? entry->mod_revision : 0) == compare.revision;
  }
  return false;
}

Status Store::CheckRoom(const std::vector<Operation>& operations) const {
  size_t bytes = ephemeral_.bytes();
  bool grows = false;
  bool writes = false;
  for (const Operation& operation : operations) {
    writes |= Writes(operation);
    if (operation.kind != Operation::Kind::kPut || operation.lease == kNoLease) continue;
    LEVER_RETURN_IF_ERROR(leases_.Check(operation.lease));
    grows = true;
    const Entry* old = ephemeral_.Find(operation.key);
    bytes += EphemeralKeys::BytesOf({operation.key, operation.value, 0, 0, operation.lease}) -
             (old == nullptr ? 0 : EphemeralKeys::BytesOf(*old));
  }
  if (grows && bytes > ephemeral_bytes_max_) {
    return ResourceExhausted("registry: keys under leases have at most " +
                             std::to_string(ephemeral_bytes_max_) + " bytes")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  return writes && revision_ >= reserved_ ? NoRevisions() : Status::Ok();
}

StatusOr<TransactionResult> Store::Apply(const Transaction& transaction) {
  TransactionResult result;
  result.succeeded = true;
  for (const Compare& compare : transaction.compares) {
    LEVER_ASSIGN_OR_RETURN(result.succeeded, Holds(compare));
    if (!result.succeeded) break;
  }
  const std::vector<Operation>& operations =
      result.succeeded ? transaction.then : transaction.otherwise;
  LEVER_RETURN_IF_ERROR(CheckRoom(operations));
  const Revision revision = revision_ + 1;
  bool changed = false;
  for (const Operation& operation : operations) {
    StatusOr<OperationResult> carried = Carry(operation, revision);
    if (!carried.ok()) return Note(carried.status());
    changed |= operation.kind == Operation::Kind::kPut || carried->deleted > 0;
    result.results.push_back(*std::move(carried));
  }
  if (changed) revision_ = revision;
  result.revision = revision_;
  return result;
}

StatusOr<OperationResult> Store::Carry(const Operation& operation, Revision revision) {
  OperationResult result;
  switch (operation.kind) {
    case Operation::Kind::kGet: {
      LEVER_ASSIGN_OR_RETURN(result.entry, Find(operation.key));
      break;
    }
    case Operation::Kind::kPut:
      LEVER_RETURN_IF_ERROR(Put(operation, revision));
      break;
    case Operation::Kind::kDelete: {
      LEVER_ASSIGN_OR_RETURN(result.deleted, Delete(operation.key, revision));
      break;
    }
    case Operation::Kind::kDeletePrefix: {
      LEVER_ASSIGN_OR_RETURN(result.deleted, DeletePrefix(operation.key, revision));
      break;
    }
  }
  return result;
}

Status Store::Put(const Operation& operation, Revision revision) {
  LEVER_ASSIGN_OR_RETURN(std::optional<Entry> previous, Find(operation.key));
  Entry entry{operation.key, operation.value, previous ? previous->create_revision : revision,
              revision, operation.lease};
  if (operation.lease != kNoLease) {
    if (previous && previous->lease == kNoLease) {
      LEVER_RETURN_IF_ERROR(durable_.Delete(operation.key));
    }
    ephemeral_.Put(entry);
  } else {
    if (previous && previous->lease != kNoLease) ephemeral_.Erase(operation.key);
    LEVER_RETURN_IF_ERROR(durable_.Put(entry));
  }
  history_.Append({{WatchEvent::Kind::kPut, std::move(entry)}, std::move(previous)});
  return Status::Ok();
}

StatusOr<size_t> Store::Delete(const std::string& key, Revision revision) {
  LEVER_ASSIGN_OR_RETURN(std::optional<Entry> previous, Find(key));
  if (!previous) return size_t{0};
  if (previous->lease != kNoLease) {
    ephemeral_.Erase(key);
  } else {
    LEVER_RETURN_IF_ERROR(durable_.Delete(key));
  }
  RecordDelete(*std::move(previous), revision);
  return size_t{1};
}

StatusOr<size_t> Store::DeletePrefix(const std::string& prefix, Revision revision) {
  size_t deleted = 0;
  for (auto at = ephemeral_.From(prefix); at != ephemeral_.end() && at->first.starts_with(prefix);
       at = ephemeral_.From(prefix)) {
    Entry previous = at->second;
    ephemeral_.Erase(previous.key);
    RecordDelete(std::move(previous), revision);
    ++deleted;
  }
  LEVER_RETURN_IF_ERROR(durable_.DeletePrefix(prefix, [&](Entry previous) {
    RecordDelete(std::move(previous), revision);
    ++deleted;
  }));
  return deleted;
}

void Store::RecordDelete(Entry previous, Revision revision) {
  WatchEvent event{WatchEvent::Kind::kDelete, {previous.key, {}, 0, revision, kNoLease}};
  history_.Append({std::move(event), std::move(previous)});
}

Status Store::Commit() {
  const Status status = durable_.Commit();
  if (!status.ok()) {
    Rollback();
    return status;
  }
  ephemeral_.Settle();
  history_.Settle(revision_);
  committed_ = revision_;
  return Status::Ok();
}

void Store::Rollback() {
  durable_.Rollback();
  ephemeral_.Unwind();
  history_.Unwind(committed_);
  revision_ = committed_;
  group_status_ = Status::Ok();
}

StatusOr<Revision> Store::EndLease(LeaseId lease) {
  LEVER_RETURN_IF_ERROR(leases_.Check(lease));
  const std::vector<std::string> keys = ephemeral_.KeysOf(lease);
  if (!keys.empty() && revision_ >= reserved_) return NoRevisions();
  if (!keys.empty()) ++revision_;
  for (const std::string& key : keys) {
    Entry previous = *ephemeral_.Find(key);
    ephemeral_.Erase(key);
    RecordDelete(std::move(previous), revision_);
  }
  leases_.End(lease);
  LEVER_RETURN_IF_ERROR(Commit());
  return revision_;
}

}  // namespace lever::registry
