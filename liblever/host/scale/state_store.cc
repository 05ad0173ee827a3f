#include "liblever/host/scale/state_store.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/registry/schema.h"

namespace lever::scale {
namespace {

// A record: what it is, the generation that wrote it in decimal, a space, the payload.
constexpr char kLost = 'l';
constexpr char kValue = 'v';
constexpr char kRaw = 'r';
constexpr uint32_t kKindValue = 1;  // lever_kind
constexpr uint32_t kKindRaw = 2;

std::string Record(char what, uint64_t generation, std::string_view payload) {
  std::string record(1, what);
  record.append(std::to_string(generation)).append(" ").append(payload);
  return record;
}

// Of a transaction, less the account.
constexpr size_t kBatchChangesMax = registry::kTransactionOperationsMax - 1;
constexpr size_t kBatchBytesMax = registry::kTransactionBytesMax - 2 * registry::kKeyBytesMax - 64;
// How often a batch is begun anew because somebody else has changed the account: only the removal of
// the service does that.
constexpr int kOvertakenMax = 3;

std::string EncodeAccount(uint64_t bytes) { return nlohmann::json{{"bytes", bytes}}.dump(); }

std::optional<uint64_t> ParseAccount(std::string_view text) {
  const auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("bytes") || !object["bytes"].is_number_unsigned()) {
    return std::nullopt;
  }
  return object["bytes"].get<uint64_t>();
}

uint64_t BytesOf(const registry::Entry& entry) { return entry.key.size() + entry.value.size(); }

Status NotDone(Status status) { return std::move(status).WithExecuted(LEVER_EXECUTED_NO); }

}  // namespace

StateStore::StateStore(registry::Registry* registry, std::string environment, std::string service,
                       registry::Compare holder, uint64_t bytes_max)
    : registry_(registry),
      environment_(std::move(environment)),
      service_(std::move(service)),
      holder_(std::move(holder)),
      account_key_(registry::CarriedKey(environment_, service_)),
      bytes_max_(bytes_max),
      account_(bytes_max, 0) {}

std::string StateStore::KeyOf(const std::string& resource) const {
  return registry::StateKey(environment_, service_, resource);
}

void StateStore::Read(const std::string& resource,
                      std::function<void(fleet::StateAnswerData)> done) {
  registry_->Get(KeyOf(resource), [done = std::move(done)](StatusOr<registry::GetResult> read) {
    fleet::StateAnswerData answer;
    if (!read.ok()) {
      answer.status = read.status();
    } else if (read->entry) {
      const std::string& record = read->entry->value;
      const size_t space = record.find(' ');
      if (space == std::string::npos || record[0] == kLost) {
        answer.origin = fleet::StateOrigin::kLost;
      } else {
        answer.origin = fleet::StateOrigin::kCarried;
        answer.payload_kind = record[0] == kValue ? kKindValue : kKindRaw;
        answer.payload = record.substr(space + 1);
      }
    }
    done(std::move(answer));
  });
}

void StateStore::Carry(const std::string& resource, uint64_t generation, uint32_t kind,
                       const std::string& payload, std::function<void(Status)> done) {
  if (kind != kKindValue && kind != kKindRaw) {
    return done(InvalidArgument("what a resource carries is a value or raw bytes"));
  }
  Change change;
  change.key = KeyOf(resource);
  change.record = Record(kind == kKindValue ? kValue : kRaw, generation, payload);
  change.tombstone = Record(kLost, generation, "");
  change.done = std::move(done);
  Enqueue(std::move(change));
}

void StateStore::Lose(const std::string& resource, uint64_t generation,
                      std::function<void(Status)> done) {
  Change change;
  change.key = KeyOf(resource);
  change.tombstone = Record(kLost, generation, "");
  change.done = std::move(done);
  Enqueue(std::move(change));
}

void StateStore::Forget(const std::string& resource, std::function<void(Status)> done) {
  Change change;
  change.key = KeyOf(resource);
  change.done = std::move(done);
  Enqueue(std::move(change));
}

void StateStore::Enqueue(Change change) {
  // By itself, so that it does not take others with it.
  if (change.key.size() > registry::kKeyBytesMax) {
    return change.done(NotDone(InvalidArgument("the resource's name is too long")));
  }
  if (change.record.size() > registry::kValueBytesMax) {
    return change.done(NotDone(InvalidArgument("what a resource carries is larger than " +
                                               std::to_string(registry::kValueBytesMax) +
                                               " bytes")));
  }
  if (closed_) return change.done(NotDone(Cancelled("the registry was closed")));
  if (pending_.size() + batch_.size() >= kPendingMax ||
      pending_bytes_ + change.bytes() > kPendingBytesMax) {
    return change.done(NotDone(
        ResourceExhausted("too much of what the service's resources carry waits to be stored")));
  }
  pending_bytes_ += change.bytes();
  pending_.push_back(std::move(change));
  Next();
}

void StateStore::Abandon() {
  abandoned_ = true;
  pending_.clear();
}

// What has not been given to the registry yet.
bool StateStore::Dropped() {
  if (!abandoned_) return false;
  batch_.clear();
  busy_ = false;
  return true;
}

// ---- One batch ----

void StateStore::Next() {
  if (busy_ || pending_.empty()) return;
  busy_ = true;
  overtaken_ = 0;
  TakeBatch();
  if (account_known_) {
    ReadWhatIsThere();
  } else {
    LoadAccount();
  }
}

// A transaction may not put a key twice: the next of the same resource waits for the next one.
void StateStore::TakeBatch() {
  const size_t most = singly_ > 0 ? 1 : kBatchChangesMax;
  if (singly_ > 0) --singly_;
  size_t bytes = 0;
  while (!pending_.empty() && batch_.size() < most) {
    Change& next = pending_.front();
    const bool again = std::any_of(batch_.begin(), batch_.end(),
                                   [&](const Change& other) { return other.key == next.key; });
    if (!batch_.empty() && (again || bytes + next.bytes() > kBatchBytesMax)) break;
    bytes += next.bytes();
    batch_.push_back(std::move(next));
    pending_.pop_front();
  }
}

void StateStore::LoadAccount() {
  if (Dropped()) return;
  registry_->Get(account_key_, [this](const StatusOr<registry::GetResult>& read) {
    if (Dropped()) return;
    if (!read.ok()) return Finish(NotDone(read.status()));
    account_revision_ = read->entry ? read->entry->mod_revision : 0;
    const std::optional<uint64_t> bytes =
        read->entry ? ParseAccount(read->entry->value) : std::nullopt;
    if (!bytes) return SumRecords("", 0);
    account_.set_bytes(*bytes);
    account_known_ = true;
    ReadWhatIsThere();
  });
}

void StateStore::SumRecords(std::string after, uint64_t bytes) {
  registry::RangeRequest request;
  request.prefix = registry::KindPrefix(registry::KeyKind::kState, environment_, service_);
  request.after = std::move(after);
  registry_->Range(std::move(request),
                   [this, bytes](const StatusOr<registry::RangeResult>& page) {
                     if (Dropped()) return;
                     if (!page.ok()) return Finish(NotDone(page.status()));
                     uint64_t sum = bytes;
                     for (const registry::Entry& entry : page->entries) sum += BytesOf(entry);
                     if (page->more && !page->entries.empty()) {
                       return SumRecords(page->entries.back().key, sum);
                     }
                     account_.set_bytes(sum);
                     account_known_ = true;
                     ReadWhatIsThere();
                   });
}

void StateStore::ReadWhatIsThere() {
  unread_ = batch_.size();
  for (size_t i = 0; i < batch_.size(); ++i) {
    registry_->Get(batch_[i].key, [this, i](const auto& read) { OnRead(i, read); });
  }
}

void StateStore::OnRead(size_t index, const StatusOr<registry::GetResult>& read) {
  if (!abandoned_) {
    Change& change = batch_.at(index);
    change.there = read.ok() && read->entry ? BytesOf(*read->entry) : 0;
    change.refused = read.ok() ? Status::Ok() : NotDone(read.status());
  }
  if (--unread_ > 0 || Dropped()) return;
  Commit();
}

void StateStore::Commit() {
  policy::CarriedAccount account = account_;
  registry::Transaction transaction;
  transaction.If(holder_)
      .If(registry::Compare::ModRevision(account_key_, account_revision_))
      .Else(registry::Operation::Get(holder_.key));
  for (Change& change : batch_) {
    if (change.refused.ok()) AddTo(&transaction, &change, &account);
  }
  if (transaction.then.empty()) {
    account_ = account;
    return Finish(Status::Ok());
  }
  transaction.Then(registry::Operation::Put(account_key_, EncodeAccount(account.bytes())));
  registry_->Commit(std::move(transaction),
                    [this, account](const auto& result) { OnCommitted(account, result); });
}

void StateStore::AddTo(registry::Transaction* transaction, Change* change,
                       policy::CarriedAccount* account) const {
  using Verdict = policy::CarriedAccount::Verdict;
  const uint64_t tombstone = change->key.size() + change->tombstone.size();
  if (change->tombstone.empty()) {
    account->Forget(change->there);
    transaction->Then(registry::Operation::Delete(change->key));
    return;
  }
  const Verdict verdict =
      change->record.empty()
          ? account->Lose(tombstone, change->there)
          : account->Carry(change->key.size() + change->record.size(), tombstone, change->there);
  if (verdict == Verdict::kRefused) {
    change->refused = NotDone(ResourceExhausted(
        "the service's resources carry " + std::to_string(account->bytes()) + " of at most " +
        std::to_string(bytes_max_) + " bytes: there is no room to note that one is lost"));
    return;
  }
  const bool carried = verdict == Verdict::kCarried;
  transaction->Then(
      registry::Operation::Put(change->key, carried ? change->record : change->tombstone));
}

void StateStore::OnCommitted(const policy::CarriedAccount& account,
                             const StatusOr<registry::TransactionResult>& result) {
  if (!result.ok()) {
    if (result.status().executed() != LEVER_EXECUTED_NO) {
      account_known_ = false;
    } else if (batch_.size() > 1 && !abandoned_ && result.status().code() != LEVER_CANCELLED) {
      // Some of them may be what does not fit into the registry.
      singly_ = batch_.size();
      std::move(batch_.rbegin(), batch_.rend(), std::front_inserter(pending_));
      batch_.clear();
      busy_ = false;
      return Next();
    }
    return Finish(result.status());
  }
  if (!result->succeeded) return OnOvertaken(*result);
  account_ = account;
  account_revision_ = result->revision;
  Finish(Status::Ok());
}

void StateStore::OnOvertaken(const registry::TransactionResult& result) {
  account_known_ = false;
  const auto& holder = result.results.at(0).entry;
  if (!holder || holder->create_revision != holder_.revision) {
    return Finish(Unavailable("another host controls the service now"));
  }
  if (++overtaken_ > kOvertakenMax) {
    return Finish(NotDone(Unavailable("what the service's resources carry is being removed")));
  }
  LoadAccount();
}

void StateStore::Finish(const Status& status) {
  if (status.code() == LEVER_CANCELLED) closed_ = true;
  std::vector<Change> answered = std::exchange(batch_, {});
  if (closed_) {
    std::move(pending_.begin(), pending_.end(), std::back_inserter(answered));
    pending_.clear();
  }
  busy_ = false;
  for (Change& change : answered) {
    pending_bytes_ -= change.bytes();
    change.done(change.refused.ok() ? status : change.refused);
  }
  if (status.ok()) LogNotice();
  Next();
}

void StateStore::LogNotice() {
  const std::string service = "lever://" + environment_ + "/" + service_;
  switch (account_.TakeNotice()) {
    case policy::CarriedAccount::Notice::kNone: return;
    case policy::CarriedAccount::Notice::kFull:
      return Log(LogLevel::kWarning,
                 service + ": its resources carry " + std::to_string(account_.bytes()) +
                     " of at most " + std::to_string(bytes_max_) +
                     " bytes: those that move and find no room are lost, and opened as 'lost'");
    case policy::CarriedAccount::Notice::kRoomAgain:
      return Log(LogLevel::kInfo,
                 service + ": there is room again for what its resources carry; " +
                     std::to_string(account_.lost()) + " of them were lost meanwhile");
  }
}

}  // namespace lever::scale
