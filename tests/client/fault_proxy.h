// A way between two sockets on which something happens after so many bytes: it is cut, its server dies,
// or its server begins to drain. Bytes move only in Pump(), so that a seed replays a trial.
#ifndef TESTS_CLIENT_FAULT_PROXY_H_
#define TESTS_CLIENT_FAULT_PROXY_H_

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <utility>

#include "liblever/base/fd.h"
#include "liblever/base/random.h"

namespace lever {

enum class FaultKind : uint8_t {
  kNone,
  kCut,       // both ends at once; what is on its way is lost
  kKill,      // the server's end closes; what it had sent still arrives
  kDrain,     // the server drains, and nothing else happens
  kDrainCut,  // the server drains, and a little later the way is cut
};

struct Fault {
  FaultKind kind = FaultKind::kNone;
  int direction = 0;  // 0: from the client
  uint64_t after_bytes = 0;
  uint64_t cut_after_bytes = 0;  // kDrainCut: more bytes in the same direction
  bool drains() const { return kind == FaultKind::kDrain || kind == FaultKind::kDrainCut; }
};

// Of all kinds and points; `whole_bytes` is what a trial without a fault moves each way.
inline Fault RandomFault(Random* random, const std::array<uint64_t, 2>& whole_bytes) {
  Fault fault;
  fault.kind = static_cast<FaultKind>(1 + random->Below(4));
  fault.direction = static_cast<int>(random->Below(2));
  fault.after_bytes = random->Below(static_cast<uint32_t>(whole_bytes[fault.direction]) + 1);
  fault.cut_after_bytes = random->Below(120);
  return fault;
}

class FaultProxy {
 public:
  // `drain` has the server drain; called from Pump().
  FaultProxy(UniqueFd client, UniqueFd server, const Fault& fault, std::function<void()> drain)
      : ends_{std::move(client), std::move(server)}, drain_(std::move(drain)) {
    Arm(fault);
  }
  // From now on; bytes are counted anew.
  void Arm(const Fault& fault) {
    fault_ = fault;
    moved_[0] = moved_[1] = 0;
    if (fault_.kind != FaultKind::kNone) left_[fault_.direction] = fault_.after_bytes;
  }

  // True if anything moved or happened.
  bool Pump() {
    if (closed()) return false;
    bool moved = Move(0);
    moved = Move(1) || moved;
    if (!closed() && left_[fault_.direction] == 0) {
      Happen();
      moved = true;
    }
    return moved;
  }
  bool closed() const { return !ends_[0].valid(); }
  uint64_t moved(int direction) const { return moved_[direction]; }
  void Close() {
    ends_[0].reset();
    ends_[1].reset();
  }

 private:
  static constexpr uint64_t kUnlimited = UINT64_MAX;

  bool Move(int direction) {
    if (closed()) return false;
    char buffer[4096];
    const size_t room = std::min<uint64_t>(sizeof(buffer), left_[direction]);
    if (room == 0) return false;
    const ssize_t count = ::read(ends_[direction].get(), buffer, room);
    if (count < 0 && errno == EAGAIN) return false;
    // What is written here is far below what a socket takes.
    if (count <= 0 || ::send(ends_[1 - direction].get(), buffer, static_cast<size_t>(count),
                             MSG_NOSIGNAL) != count) {
      Close();
      return true;
    }
    moved_[direction] += static_cast<uint64_t>(count);
    if (left_[direction] != kUnlimited) left_[direction] -= static_cast<uint64_t>(count);
    return true;
  }

  void Happen() {
    switch (std::exchange(fault_.kind, FaultKind::kCut)) {
      case FaultKind::kNone:
      case FaultKind::kCut:
        Close();
        return;
      case FaultKind::kKill:
        left_[1] = kUnlimited;
        while (!closed() && Move(1)) {
        }
        Close();
        return;
      case FaultKind::kDrain:
        left_[fault_.direction] = kUnlimited;
        drain_();
        return;
      case FaultKind::kDrainCut:
        left_[fault_.direction] = fault_.cut_after_bytes;
        drain_();
        return;
    }
  }

  UniqueFd ends_[2];
  Fault fault_;
  std::function<void()> drain_;
  uint64_t left_[2] = {kUnlimited, kUnlimited};
  uint64_t moved_[2] = {0, 0};
};

}  // namespace lever

#endif  // TESTS_CLIENT_FAULT_PROXY_H_
