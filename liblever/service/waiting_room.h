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
#include <functional>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/service/resource_request.h"

namespace lever::service {

inline constexpr uint32_t kWaitingPerShardMax = 1000;
inline constexpr size_t kWaitingBytesPerShardMax = size_t{4} << 20;
inline constexpr size_t kWaitingBytesMax = size_t{64} << 20;
inline constexpr int64_t kWaitingMaxNs = 60 * kNanosPerSecond;

class WaitingRoom {
 public:
  // `expired` is called for each that has waited too long, and has left; it refuses it.
  using Expired = std::function<void(ResourceRequest*)>;
  WaitingRoom(Loop* loop, Expired expired) : loop_(loop), expired_(std::move(expired)) {}
  ~WaitingRoom() { loop_->Disarm(&timer_); }

  // RESOURCE_EXHAUSTED: it may not wait, and nothing has changed. Else it expires kWaitingMaxNs from
  // now.
  Status Enter(ResourceRequest* request);
  // It is here, and expires policy::kAwaitNameNs after the first time that this was said.
  void AwaitName(ResourceRequest* request);
  // It is here, and need not be named any more: it expires kWaitingMaxNs from now, if it did not wait
  // for that already.
  void AwaitTurn(ResourceRequest* request);
  // Harmless for one that is not here.
  void Leave(ResourceRequest* request);

 private:
  struct Count {
    uint32_t requests = 0;
    size_t bytes = 0;
  };
  void ExpireIn(ResourceRequest* request, ExpiryList* list, int64_t in_ns);
  void Sweep();

  Loop* const loop_;
  const Expired expired_;
  boost::unordered_flat_map<uint32_t, Count> counts_;  // by shard; none that is empty
  size_t bytes_ = 0;
  // By when they expire.
  ExpiryList for_turn_;
  ExpiryList for_name_;
  FunctionTimer timer_{[this] { Sweep(); }};
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_WAITING_ROOM_H_
