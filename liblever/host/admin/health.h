// grpc.health.v1.Health: whether this host takes calls.
//
// Threads: those of its loop. Watches that are open hold a share of the state.
#ifndef LIBLEVER_HOST_ADMIN_HEALTH_H_
#define LIBLEVER_HOST_ADMIN_HEALTH_H_

#include <memory>
#include <string>
#include <vector>

#include "liblever/rpc/call.h"

namespace lever::admin {

class Health {
 public:
  // Watches open at a time; more are RESOURCE_EXHAUSTED.
  static constexpr size_t kWatchesMax = 1000;

  // `services`: the names that are asked for beside "".
  explicit Health(std::vector<std::string> services);
  ~Health();

  void Check(rpc::Call& call);
  void Watch(rpc::Call& call);
  // The host drains: NOT_SERVING from now on, which every watch is told.
  void StopServing();

 private:
  class WatchCall;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace lever::admin

#endif  // LIBLEVER_HOST_ADMIN_HEALTH_H_
