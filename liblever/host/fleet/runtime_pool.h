// Which started runtimes a host keeps for services that are to be started: a cold start that takes
// one over does not wait for an interpreter's own start.
//
// State and time in, decisions out: who uses it starts and ends the members. Single-threaded.
//
// Invariants
//  1. A kind that was expected once has `size` members, waiting or being started; no other kind has
//     any.
//  2. A member is taken once, and is no member from then on.
//  3. New members wait until nothing was taken for kCalmNs, so that they do not compete with the
//     starts that are under way, or until a member has been missing for kMissingNs.
//  4. A member that ends before it is taken is missed for kFailedFirstNs, and for twice as long
//     each time that this follows another, up to kFailedLastNs.
#ifndef LIBLEVER_HOST_FLEET_RUNTIME_POOL_H_
#define LIBLEVER_HOST_FLEET_RUNTIME_POOL_H_

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "liblever/base/clock.h"

namespace lever::fleet {

class RuntimePool {
 public:
  static constexpr int64_t kCalmNs = 250 * kNanosPerMilli;
  static constexpr int64_t kMissingNs = kNanosPerSecond;
  static constexpr int64_t kFailedFirstNs = kNanosPerSecond;
  static constexpr int64_t kFailedLastNs = 60 * kNanosPerSecond;

  struct Kind {
    std::string runtime;  // "node"
    bool network = false;
    auto operator<=>(const Kind&) const = default;
  };

  explicit RuntimePool(uint32_t size) : size_(size) {}

  // Services of this kind may have to be started.
  void Expect(const Kind& kind, int64_t now_ns);
  // The member that has waited longest. Nullopt: there is none.
  std::optional<uint64_t> Take(const Kind& kind, int64_t now_ns);
  // What is to be started now: each is to be followed by Add().
  std::vector<Kind> Due(int64_t now_ns) const;
  void Add(const Kind& kind, uint64_t id);
  // When Due() is to be asked again; kNever: not before something else has happened.
  int64_t NextNs() const;
  // A member has ended, or could not be started.
  void OnEnded(uint64_t id, int64_t now_ns);

 private:
  struct Members {
    std::deque<uint64_t> waiting;  // the longest first
    int64_t due_ns = 0;            // if some are missing: when they are started
    int64_t missing_ns = 0;        // and since when they are
    int64_t failed_pause_ns = 0;   // the last one's
  };

  const uint32_t size_;
  std::map<Kind, Members> kinds_;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_RUNTIME_POOL_H_
