// A client that is connected to two instances, of which the table says who owns what.
#ifndef TESTS_CLIENT_REDIRECT_FIXTURE_H_
#define TESTS_CLIENT_REDIRECT_FIXTURE_H_

#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "liblever/policy/shard.h"
#include "tests/client/client_fixture.h"

namespace lever::client {

inline constexpr uint32_t kShards = 4;

class Redirect : public ClientTest {
 protected:
  Redirect() {
    Open();
    for (const char* id : {"a", "b"}) AddInstance(id);
    ConnectDirectly();
    through_host_ = HostCalls().size();
    shard_ = policy::ShardOf("dev.lever", "hello", "room", kShards);
  }

  // All shards are the instance's, under this generation. 0: nobody's; 1: that of "a"; 2: "b".
  void SendTable(uint32_t owner, uint64_t generation) {
    v1::ToWatcher message;
    auto* routes = message.mutable_routes();
    routes->set_environment("dev.lever");
    routes->set_service("hello");
    routes->set_revision(++revision);
    for (const auto& instance : instances) {
      auto* row = routes->add_instances();
      row->set_id(instance->id);
      row->set_version(1);
      row->set_local(true);
    }
    for (uint32_t i = 0; i < kShards; ++i) {
      routes->mutable_shards()->add_owner(owner);
      routes->mutable_shards()->add_generation(generation);
    }
    Do([&] { host->watches.back().Send(message); });
    Settle();
  }
  // As an instance refuses that is not the owner (any more).
  TestCall::Hook Refuse(uint64_t generation, const std::string& owner = "") {
    return [=, this](TestCall&, rpc::Call& call) {
      rpc::HeaderList trailers;
      trailers.Add("lever-gen", std::to_string(shard_) + "." + std::to_string(generation));
      if (!owner.empty()) trailers.Add("lever-owner", owner);
      call.Finish(SurelyNotRun(), &trailers);
    };
  }
  Result& CallRoom() {
    Request request;
    request.address = "/hello/room/echo";
    return Call(std::move(request));
  }
  std::optional<std::string> Generation(const TestCall& call) const {
    const auto found = call.headers.Find("lever-gen");
    if (!found) return std::nullopt;
    return std::string(*found);
  }
  std::string Stamp(uint64_t generation) const {
    return std::to_string(shard_) + "." + std::to_string(generation);
  }
  size_t ThroughHost() { return HostCalls().size() - through_host_; }
  std::deque<TestCall>& CallsOf(size_t instance) { return instances[instance]->calls; }

  uint32_t shard_ = 0;
  size_t through_host_ = 0;
};

}  // namespace lever::client

#endif  // TESTS_CLIENT_REDIRECT_FIXTURE_H_
