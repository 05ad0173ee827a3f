#include "tests/host/scale/ownership_history.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace lever::scale {
namespace {

using Kind = HistoryEvent::Kind;

// As the contract says it, and not as the product does.
constexpr int64_t kTermNs = 10 * kNanosPerSecond;
constexpr size_t kViolationsMax = 8;

class Checker {
 public:
  explicit Checker(Faults faults) : faults_(faults) {}

  std::vector<std::string> Check(const History& history) {
    for (at_ = 0; at_ < history.size() && violations_.size() < kViolationsMax; ++at_) {
      Look(history[at_]);
    }
    if (faults_ == Faults::kNone && violations_.empty()) LookAtEnd();
    return std::move(violations_);
  }

 private:
  enum class Phase : uint8_t { kNone, kNamed, kGranted, kReleasing, kReleased };
  struct Grant {
    uint64_t generation = 0;
    Phase phase = Phase::kNone;
  };
  struct Instance {
    std::map<uint32_t, Grant> grants;
    int64_t end_ns = 0;
  };
  struct Run {
    std::string instance;
    uint32_t shard = 0;
    uint64_t generation = 0;
    bool ended = false;
    bool cut = false;
    bool replied = false;
    bool acknowledged = false;
  };
  struct Counter {
    std::string opened_by;
    uint64_t opened_under = 0;
    std::set<uint64_t> dispatched;
    std::set<uint64_t> acknowledged;  // but for what was reported lost
    uint64_t highest_token = 0;
  };

  void Violate(const HistoryEvent& event, const std::string& what) {
    std::string text = "event " + std::to_string(at_) + ": " + what;
    if (!event.instance.empty()) text += ", at " + event.instance;
    text += ", shard " + std::to_string(event.shard) + " under generation " +
            std::to_string(event.generation);
    if (!event.resource.empty()) text += ", " + event.resource;
    if (event.increment != 0) text += ", increment " + std::to_string(event.increment);
    violations_.push_back(std::move(text));
  }

  void Look(const HistoryEvent& event) {
    switch (event.kind) {
      case Kind::kAsked: asked_.insert(event.increment); return;
      case Kind::kNamed: return OnNamed(event);
      case Kind::kGranted: return OnGranted(event);
      case Kind::kRenewed: {
        int64_t& end_ns = instances_[event.instance].end_ns;
        end_ns = std::max(end_ns, event.asked_ns + kTermNs);
        return;
      }
      case Kind::kAskedToLetGo: return Step(event, Phase::kGranted, Phase::kReleasing);
      case Kind::kLetGo: return OnLetGo(event);
      case Kind::kOpened: return OnOpened(event);
      case Kind::kDispatched: return OnDispatched(event);
      case Kind::kEnded: return OnEnded(event);
      case Kind::kReplied: return OnReplied(event);
      case Kind::kUnknown: return NoneWithoutFaults(event, "an outcome is unknown");
      case Kind::kCut:
        NoneWithoutFaults(event, "a call is cut off");
        runs_[event.increment].cut = true;
        return;
      case Kind::kRefused:
        if (runs_.contains(event.increment)) Violate(event, "refused as not run, and it was");
        return;
      case Kind::kStored:
      case Kind::kRead:
      case Kind::kFenced: return OnStore(event);
      case Kind::kAcknowledged: {
        Run& run = runs_[event.increment];
        if (!run.replied) Violate(event, "a caller has a success that nobody sent");
        run.acknowledged = true;
        return;
      }
    }
  }

  // ---- Grants (1, 3) ----
  void OnNamed(const HistoryEvent& event) {
    Grant& grant = instances_[event.instance].grants[event.shard];
    if (event.generation > grant.generation) grant = {event.generation, Phase::kNamed};
  }
  void OnGranted(const HistoryEvent& event) {
    const auto [owner, first] =
        owners_.emplace(std::pair(event.shard, event.generation), event.instance);
    if (owner->second != event.instance) Violate(event, "a generation of another instance is granted");
    uint64_t& highest = highest_[event.shard];
    highest = std::max(highest, event.generation);
    Step(event, Phase::kNamed, Phase::kGranted);
  }
  void Step(const HistoryEvent& event, Phase from, Phase to) {
    Grant& grant = instances_[event.instance].grants[event.shard];
    if (grant.generation == event.generation && grant.phase == from) grant.phase = to;
  }
  void OnLetGo(const HistoryEvent& event) {
    Grant& grant = instances_[event.instance].grants[event.shard];
    if (grant.generation == event.generation) grant.phase = Phase::kReleased;
    for (const auto& [increment, run] : runs_) {
      if (run.instance == event.instance && run.shard == event.shard &&
          run.generation == event.generation && !run.ended && !run.cut) {
        Violate(event, "a shard is let go of while increment " + std::to_string(increment) + " runs");
      }
    }
  }
  void MustBeGranted(const HistoryEvent& event, const std::string& what, Phase also) {
    const Instance& instance = instances_[event.instance];
    const auto found = instance.grants.find(event.shard);
    const Grant grant = found == instance.grants.end() ? Grant() : found->second;
    const bool has = grant.generation == event.generation &&
                     (grant.phase == Phase::kGranted || grant.phase == also);
    if (!has || event.clock_ns >= instance.end_ns) Violate(event, what + " outside a valid grant");
    if (event.generation < highest_[event.shard]) {
      Violate(event, what + " after another was granted the shard");
    }
  }

  // ---- Calls (2, 4) ----
  void OnDispatched(const HistoryEvent& event) {
    MustBeGranted(event, "a dispatch", Phase::kGranted);
    const auto [run, first] = runs_.emplace(
        event.increment, Run{event.instance, event.shard, event.generation});
    if (!first) Violate(event, "dispatched twice");
    Counter& counter = counters_[event.resource];
    counter.dispatched.insert(event.increment);
    if (counter.opened_by != event.instance || counter.opened_under != event.generation) {
      Violate(event, "dispatched to what was last opened at " + counter.opened_by);
    }
  }
  Run* RunOf(const HistoryEvent& event) {
    const auto found = runs_.find(event.increment);
    if (found != runs_.end() && found->second.instance == event.instance &&
        found->second.generation == event.generation) {
      return &found->second;
    }
    Violate(event, "it was not dispatched here");
    return nullptr;
  }
  void OnEnded(const HistoryEvent& event) {
    if (Run* run = RunOf(event)) run->ended = true;
  }
  void OnReplied(const HistoryEvent& event) {
    MustBeGranted(event, "a success", Phase::kReleasing);
    Run* run = RunOf(event);
    if (run == nullptr) return;
    if (!run->ended || run->replied) Violate(event, "a success of what has not ended, or a second one");
    run->replied = true;
    counters_[event.resource].acknowledged.insert(event.increment);
  }
  void NoneWithoutFaults(const HistoryEvent& event, const char* what) {
    if (faults_ == Faults::kNone) Violate(event, what);
  }

  // ---- Counters (6, 7, 8) ----
  void MustHaveAll(const HistoryEvent& event, const std::string& what) {
    const Counter& counter = counters_[event.resource];
    const std::set<uint64_t> counted(event.counted.begin(), event.counted.end());
    for (const uint64_t increment : counter.acknowledged) {
      if (counted.contains(increment)) continue;
      Violate(event, what + " without the acknowledged increment " + std::to_string(increment));
    }
    for (const uint64_t increment : counted) {
      if (counter.dispatched.contains(increment)) continue;
      Violate(event, what + " with increment " + std::to_string(increment) + ", which never ran");
    }
  }
  void OnOpened(const HistoryEvent& event) {
    // An instance that was paused may open what has been another's for long, and runs nothing of it.
    if (event.generation < highest_[event.shard]) return;
    Counter& counter = counters_[event.resource];
    counter.opened_by = event.instance;
    counter.opened_under = event.generation;
    if (event.origin == service::Origin::kLost) {
      NoneWithoutFaults(event, "a resource is lost");
      if (!IsStored(event.resource)) counter.acknowledged.clear();
    }
    MustHaveAll(event, "opened");
  }
  void OnStore(const HistoryEvent& event) {
    Counter& counter = counters_[event.resource];
    const bool refused = event.kind == Kind::kFenced;
    if (refused != (event.generation < counter.highest_token)) {
      Violate(event, refused ? "the store refuses a good token" : "the store takes an old token");
    }
    counter.highest_token = std::max(counter.highest_token, event.generation);
    if (!refused) MustHaveAll(event, event.kind == Kind::kStored ? "stored" : "read");
  }

  // ---- The end (9) ----
  void LookAtEnd() {
    for (const uint64_t increment : asked_) {
      const auto run = runs_.find(increment);
      if (run != runs_.end() && run->second.acknowledged) continue;
      violations_.push_back("increment " + std::to_string(increment) + " was never acknowledged");
    }
  }

  const Faults faults_;
  size_t at_ = 0;
  std::vector<std::string> violations_;
  std::map<std::string, Instance> instances_;
  std::map<std::pair<uint32_t, uint64_t>, std::string> owners_;  // of each generation
  std::map<uint32_t, uint64_t> highest_;                         // that was granted
  std::map<uint64_t, Run> runs_;
  std::map<std::string, Counter> counters_;
  std::set<uint64_t> asked_;
};

}  // namespace

std::vector<std::string> Violations(const History& history, Faults faults) {
  return Checker(faults).Check(history);
}

void AddTotals(const History& history, HistoryTotals* totals) {
  std::map<uint32_t, std::map<uint64_t, std::string>> owners;
  for (const HistoryEvent& event : history) {
    switch (event.kind) {
      case Kind::kGranted: owners[event.shard].emplace(event.generation, event.instance); break;
      case Kind::kOpened:
        ++(event.origin == service::Origin::kNew       ? totals->opened_new
           : event.origin == service::Origin::kCarried ? totals->opened_carried
                                                       : totals->opened_lost);
        break;
      case Kind::kDispatched: ++totals->dispatches; break;
      case Kind::kReplied: ++totals->successes; break;
      case Kind::kAcknowledged: ++totals->acknowledged; break;
      case Kind::kUnknown: ++totals->unknown; break;
      case Kind::kCut: ++totals->cut; break;
      case Kind::kRefused: ++totals->refused; break;
      case Kind::kStored: ++totals->stored; break;
      case Kind::kFenced: ++totals->fenced; break;
      default: break;
    }
  }
  for (const auto& [shard, of] : owners) {
    totals->grants += of.size();
    const std::string* before = nullptr;
    for (const auto& [generation, instance] : of) {
      if (before != nullptr && *before != instance) ++totals->hand_offs;
      before = &instance;
    }
  }
}

}  // namespace lever::scale
