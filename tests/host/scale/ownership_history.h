// What has happened to the resources of a service, and whether it may have.
//
// The resources are counters: each call adds one increment, and a counter is the set of those that it
// has counted, so that what is missing can be named. One kind is carried from owner to owner
// ("carried-..."), the other is kept in a store outside that fences ("stored-...").
//
// A history lists events in the order of true time. `clock_ns` is what the instance's own boot-time
// clock said: of a dispatch and of a reply the reading that the library took directly before it, so
// that a pause between that reading and the act does not move the event.
//
// The model, which Violations() holds a history against:
//  1. An instance has a valid grant of a shard under a generation from when it was granted until it is
//     asked to let go of it (it may reply until it has let go), until it is named for a higher
//     generation, and as long as its clock is less than 10 s behind the moment at which it asked for
//     a renewal that was answered.
//  2. Each dispatch and each reply that is sent as a success happens inside a valid grant of the
//     instance that does it, for the generation that it runs under.
//  3. A generation of a shard is granted to one instance only. When an instance has been granted one,
//     nothing is dispatched, and nothing sent as a success, under a lower one any more, by anybody,
//     whatever the clocks say.
//  4. A call is dispatched at most once, after its resource was opened by the same instance under the
//     same generation; it ends, and is replied to, after that and where it was dispatched. One that is
//     refused as surely not run has not been dispatched. A caller has only successes that were sent.
//  5. When an instance says that it has let go of a shard, nothing of it runs there, but for what was
//     cut off.
//  6. What a carried counter is opened with under a generation that is not outlived has all increments
//     that were acknowledged before, unless `open` is told that it is lost; those are out of account
//     from then on.
//  7. The store refuses whatever comes with a lower token than the highest that it has seen, and
//     nothing else. What a stored counter is opened with, and what the store accepts, has all
//     increments that were ever acknowledged.
//  8. Nothing is counted that was not dispatched.
// And in a history without faults, of scaling, upgrades and moves alone:
//  9. Nothing is lost, cut off or of unknown outcome, and every call that was made is acknowledged.
#ifndef TESTS_HOST_SCALE_OWNERSHIP_HISTORY_H_
#define TESTS_HOST_SCALE_OWNERSHIP_HISTORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "liblever/service/resource.h"

namespace lever::scale {

struct HistoryEvent {
  enum class Kind : uint8_t {
    kAsked,         // a caller makes the call; no instance
    kNamed,         // the instance is told so
    kGranted,       // likewise
    kRenewed,       // likewise; `asked_ns`: when it asked
    kAskedToLetGo,  // likewise
    kLetGo,         // the instance says so
    kOpened,        // the program knows what the resource is opened with: `origin`, `counted`
    kDispatched,
    kEnded,         // the method has returned
    kReplied,       // as a success
    kUnknown,       // its caller is told that the outcome is not known
    kCut,           // it is cut off; it may run on
    kRefused,       // its caller is told that it surely did not run
    kStored,        // the store has accepted `counted`
    kRead,          // the store has answered with `counted`
    kFenced,        // the store has refused
    kAcknowledged,  // the caller has the success; no instance
  };
  Kind kind = Kind::kAsked;
  std::string instance{};
  int64_t clock_ns = 0;
  uint32_t shard = 0;
  uint64_t generation = 0;  // of what the store is asked, the token
  std::string resource{};
  uint64_t increment = 0;
  int64_t asked_ns = 0;
  service::Origin origin = service::Origin::kNew;
  std::vector<uint64_t> counted{};
};

using History = std::vector<HistoryEvent>;

enum class Faults : uint8_t { kNone, kAny };

inline bool IsStored(const std::string& resource) { return resource.starts_with("stored-"); }

// Empty: the history is as it must be. Else the first few events that are not.
std::vector<std::string> Violations(const History& history, Faults faults);

struct HistoryTotals {
  uint64_t grants = 0;    // of different generations
  uint64_t hand_offs = 0;  // of these, of a shard that another instance had before
  uint64_t opened_new = 0;
  uint64_t opened_carried = 0;
  uint64_t opened_lost = 0;
  uint64_t dispatches = 0;
  uint64_t successes = 0;
  uint64_t acknowledged = 0;
  uint64_t unknown = 0;
  uint64_t cut = 0;
  uint64_t refused = 0;
  uint64_t stored = 0;
  uint64_t fenced = 0;
};
void AddTotals(const History& history, HistoryTotals* totals);

}  // namespace lever::scale

#endif  // TESTS_HOST_SCALE_OWNERSHIP_HISTORY_H_
