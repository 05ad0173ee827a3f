// The requests of resources that wait: how many a shard may have, and for how long.
//
// It bounds and times them; in which list they wait is the business of who put them there.
//
// Threads: used only by who holds the loop's word. Requests leave before they go.
#ifndef LIBLEVER_SERVICE_WAITING_ROOM_H_
#define LIBLEVER_SERVICE_WAITING_ROOM_H_

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <cstdint>

#include "liblever/base/loop.h"
#include "liblever/service/resource_request.h"

namespace lever::service {

inline constexpr uint32_t kWaitingPerShardMax = 1000;
inline constexpr size_t kWaitingBytesPerShardMax = size_t{4} << 20;
inline constexpr size_t kWaitingBytesMax = size_t{64} << 20;
inline constexpr int64_t kWaitingMaxNs = 60 * kNanosPerSecond;

class WaitingRoom {
 public:
  explicit WaitingRoom(Loop* loop) : loop_(loop) {}
  ~WaitingRoom() { loop_->Disarm(&timer_); }

  // RESOURCE_EXHAUSTED: it may not wait, and nothing has changed.
  Status Enter(ResourceRequest* request);
  // It is refused as UNAVAILABLE if it still waits then; at most kWaitingMaxNs from now.
  void ExpireIn(ResourceRequest* request, int64_t in_ns);
  // Harmless for one that is not here.
  void Leave(ResourceRequest* request);

  uint64_t refused() const { return refused_; }  // for the bounds, since the start

 private:
  struct Count {
    uint32_t requests = 0;
    size_t bytes = 0;
  };
  void Sweep();

  Loop* const loop_;
  boost::unordered_flat_map<uint32_t, Count> counts_;  // by shard; none that is empty
  size_t bytes_ = 0;
  uint64_t refused_ = 0;
  // By when they expire: those that wait as long as one may, and those that wait for a name.
  ExpiryList long_;
  ExpiryList short_;
  FunctionTimer timer_{[this] { Sweep(); }};
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_WAITING_ROOM_H_
