// Calls that want an instance, without what they would send to it.
#ifndef TESTS_HOST_GATEWAY_ROUTER_FIXTURE_H_
#define TESTS_HOST_GATEWAY_ROUTER_FIXTURE_H_

#include <optional>
#include <string>

#include "liblever/policy/shard.h"
#include "tests/host/gateway/gateway_fixture.h"

namespace lever::gateway {

class Waiting final : public RoutedCall {
 public:
  void OnRouted(const std::shared_ptr<Backend>& to) override {
    ++routed;
    backend = to;
    if (begins) backend->Begin();
  }
  void OnRefused(const Status& why) override {
    ++refused;
    status = why;
  }

  using RoutedCall::SetHeldBytes;

  bool begins = false;  // on its instance, as a relay does
  int routed = 0;
  int refused = 0;
  Status status;
  std::shared_ptr<Backend> backend;
};

class RouterTest : public GatewayTest {
 protected:
  ~RouterTest() override {
    Do([&] { calls.clear(); });
  }
  Waiting& Route(int64_t deadline_ns = kNever,
                 std::optional<uint64_t> resource_hash = std::nullopt) {
    Waiting& call = calls.emplace_back();
    call.begins = begins;
    Do([&] { router->Route(&call, {"dev.lever", "hello"}, deadline_ns, resource_hash); });
    return call;
  }
  // Of a resource.
  Waiting& RouteRoom(int64_t deadline_ns = kNever) { return Route(deadline_ns, hash_); }
  std::string Stamp(uint64_t generation) const {
    return policy::FormatShardGeneration({policy::ShardOfHash(hash_, kShards), generation});
  }

  const uint64_t hash_ = policy::ResourceHash("dev.lever", "hello", "room");
  std::deque<Waiting> calls;
  bool begins = false;
};

}  // namespace lever::gateway

#endif  // TESTS_HOST_GATEWAY_ROUTER_FIXTURE_H_
