#include "liblever/policy/shard_ledger.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "liblever/policy/grant.h"

namespace lever::policy {

ShardLedger::ShardLedger(std::vector<ShardRow> rows, uint64_t last_generation, int64_t since_ns)
    : shards_(rows.size()),
      last_generation_(last_generation),
      others_end_ns_(GrantSurelyEndedNs(since_ns)) {
  for (size_t i = 0; i < rows.size(); ++i) {
    Shard& shard = shards_[i];
    shard.row = std::move(rows[i]);
    shard.target = shard.row.owner;
    shard.stage = shard.row.from.empty() ? Stage::kStable : Stage::kHandingOff;
  }
}

void ShardLedger::SetTargets(const std::vector<std::string>& owners, int64_t now_ns) {
  assert(owners.size() == shards_.size());
  for (uint32_t i = 0; i < shards_.size(); ++i) {
    shards_[i].target = owners[i];
    Consider(i, now_ns);
  }
}

// ---- Instances ----

void ShardLedger::OnSession(const std::string& instance) {
  instances_[instance].in_session = true;
  for (uint32_t i = 0; i < shards_.size(); ++i) TellAll(i, instance);
  LedgerAction& synced = actions_.emplace_back();
  synced.kind = LedgerAction::Kind::kSynced;
  synced.instance = instance;
}

void ShardLedger::TellAll(uint32_t i, const std::string& instance) {
  using Kind = LedgerAction::Kind;
  Shard& shard = shards_[i];
  const bool writing = shard.stage == Stage::kNaming || shard.stage == Stage::kSettling;
  // What is being written counts for what the instance may hold: its grant has surely ended if it is
  // not in there, and must not be made valid again.
  const ShardRow& held = writing ? shard.writing : shard.row;
  if (held.from == instance && !shard.released) {
    Tell(Kind::kName, instance, i, held.from_generation);
    Tell(Kind::kGrant, instance, i, held.from_generation);
    if (!writing) Tell(Kind::kRelease, instance, i, held.from_generation);
  } else if (shard.row.owner == instance && held.owner == instance) {
    // One that was named anew hears of it when that is durable.
    if (held.generation == shard.row.generation) {
      Tell(Kind::kName, instance, i, held.generation);
      if (shard.row.from.empty()) Tell(Kind::kGrant, instance, i, held.generation);
    }
  } else if (shard.row.owner == instance && shard.row.from.empty()) {
    shard.untold = true;
  }
}

void ShardLedger::OnSessionEnd(const std::string& instance) {
  instances_[instance].in_session = false;
}

bool ShardLedger::AnswerRenewal(const std::string& instance, int64_t now_ns) {
  const auto known = instances_.find(instance);
  if (known == instances_.end() || !known->second.in_session || known->second.ended) return false;
  known->second.surely_ended_ns = GrantSurelyEndedNs(now_ns);
  return true;
}

void ShardLedger::OnEnded(const std::string& instance, int64_t now_ns) {
  Known& known = instances_[instance];
  known.ended = true;
  known.in_session = false;
  for (uint32_t i = 0; i < shards_.size(); ++i) {
    if (shards_[i].row.owner == instance || shards_[i].row.from == instance) Consider(i, now_ns);
  }
}

bool ShardLedger::InSession(const std::string& instance) const {
  const auto known = instances_.find(instance);
  return known != instances_.end() && known->second.in_session;
}

// Nothing that it might do under a grant that it still has. While it is in session it releases by
// itself, or its process is ended.
bool ShardLedger::SurelyEnded(const std::string& instance, int64_t now_ns) const {
  const auto known = instances_.find(instance);
  if (known == instances_.end()) return now_ns >= others_end_ns_;
  if (known->second.ended) return true;
  return !known->second.in_session &&
         now_ns >= std::max(known->second.surely_ended_ns, others_end_ns_);
}

// ---- One shard ----

void ShardLedger::Consider(uint32_t i, int64_t now_ns) {
  Shard& shard = shards_[i];
  if (shard.stage == Stage::kNaming || shard.stage == Stage::kSettling) return;
  if (shard.retry_ns != kNever && now_ns < shard.retry_ns) return;
  if (shard.target != shard.row.owner || shard.untold || shard.let_go) return BeginNaming(i, now_ns);
  if (shard.stage != Stage::kHandingOff) return;
  if (shard.released || SurelyEnded(shard.row.from, now_ns)) Settle(i);
}

void ShardLedger::BeginNaming(uint32_t i, int64_t now_ns) {
  Shard& shard = shards_[i];
  ShardRow next = shard.row;
  next.owner = shard.target;
  if (!next.owner.empty()) next.generation = ++last_generation_;
  // A stable shard is its owner's to let go of; one that is handed off is still that of `from`, since
  // the owner that was named has never been granted it.
  if (shard.stage == Stage::kStable) {
    next.from = shard.row.owner;
    next.from_generation = shard.row.owner.empty() ? 0 : shard.row.generation;
    shard.released = shard.let_go;
    if (!shard.released) shard.clean = false;
  }
  if (!next.from.empty() && (shard.released || SurelyEnded(next.from, now_ns))) {
    next.from.clear();
    next.from_generation = 0;
    if (!shard.clean) next.unclean = true;
  }
  shard.writing = std::move(next);
  shard.stage = Stage::kNaming;
  Write(i);
}

void ShardLedger::Settle(uint32_t i) {
  Shard& shard = shards_[i];
  shard.writing = shard.row;
  shard.writing.from.clear();
  shard.writing.from_generation = 0;
  if (!shard.clean) shard.writing.unclean = true;
  shard.stage = Stage::kSettling;
  Write(i);
}

void ShardLedger::OnReleased(const std::string& instance, uint32_t i, uint64_t generation,
                             bool clean, int64_t now_ns) {
  if (i >= shards_.size()) return;
  Shard& shard = shards_[i];
  const ShardRow& row = shard.stage == Stage::kNaming ? shard.writing : shard.row;
  if (shard.stage == Stage::kStable && row.owner == instance && row.generation == generation) {
    shard.let_go = true;
    shard.clean = clean;
    Consider(i, now_ns);
    return;
  }
  if (row.from != instance || row.from_generation != generation || shard.released) return;
  shard.released = true;
  shard.clean = clean;
  Consider(i, now_ns);
}

void ShardLedger::OnWritten(uint32_t i, bool ok, int64_t now_ns) {
  using Kind = LedgerAction::Kind;
  Shard& shard = shards_[i];
  const Stage was = shard.stage;
  const ShardRow before = ok ? std::exchange(shard.row, shard.writing) : shard.row;
  shard.stage = shard.row.from.empty() ? Stage::kStable : Stage::kHandingOff;
  shard.retry_ns = ok ? kNever : DeadlineAfter(now_ns, kLedgerRetryNs);
  const std::string owner = shard.row.owner;
  if (!ok) {
    // Nobody has heard of it; the generation is used up. Who came back meanwhile was told less.
    if (shard.stage == Stage::kHandingOff && !shard.released) AskRelease(i);
    return;
  }
  if (was == Stage::kNaming) shard.untold = shard.let_go = false;
  // Who was named and never granted it has calls waiting.
  if (!before.from.empty() && before.owner != owner) {
    Tell(Kind::kRelease, before.owner, i, before.generation);
  }
  // An owner that waits for its own release is named when that has come.
  if (!owner.empty() && owner != shard.row.from) {
    Tell(Kind::kName, owner, i, shard.row.generation);
  }
  if (shard.stage == Stage::kStable) {
    shard.released = false;
    shard.clean = false;
    if (!owner.empty()) Tell(Kind::kGrant, owner, i, shard.row.generation);
  } else if (was == Stage::kNaming && !shard.released) {
    AskRelease(i);
  }
  Consider(i, now_ns);
}

void ShardLedger::AskRelease(uint32_t i) {
  const ShardRow& row = shards_[i].row;
  Tell(LedgerAction::Kind::kRelease, row.from, i, row.from_generation);
}

void ShardLedger::OnTime(int64_t now_ns) {
  for (uint32_t i = 0; i < shards_.size(); ++i) Consider(i, now_ns);
}

int64_t ShardLedger::WakeAtNs() const {
  int64_t wake_ns = kNever;
  for (const Shard& shard : shards_) {
    wake_ns = std::min(wake_ns, shard.retry_ns);
    if (shard.stage != Stage::kHandingOff || shard.released || InSession(shard.row.from)) continue;
    const auto known = instances_.find(shard.row.from);
    const int64_t answered = known == instances_.end() ? 0 : known->second.surely_ended_ns;
    wake_ns = std::min(wake_ns, std::max(answered, others_end_ns_));
  }
  return wake_ns;
}

void ShardLedger::Write(uint32_t shard) {
  LedgerAction& action = actions_.emplace_back();
  action.kind = LedgerAction::Kind::kWrite;
  action.shard = shard;
  action.row = shards_[shard].writing;
}

void ShardLedger::Tell(LedgerAction::Kind kind, const std::string& instance, uint32_t shard,
                       uint64_t generation) {
  if (!InSession(instance)) return;  // it is told when it comes
  LedgerAction& action = actions_.emplace_back();
  action.kind = kind;
  action.shard = shard;
  action.generation = generation;
  action.instance = instance;
  if (kind == LedgerAction::Kind::kRelease) action.next = shards_[shard].row.owner;
}

std::vector<LedgerAction> ShardLedger::TakeActions() { return std::exchange(actions_, {}); }

}  // namespace lever::policy
