// Who owns a resource: from the name of one of a million to the instance, as a client finds it.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "liblever/base/random.h"
#include "liblever/policy/shard.h"
#include "liblever/route/peer.h"

namespace {

constexpr size_t kNames = 1'000'000;
constexpr uint32_t kInstances = 32;

const std::vector<std::string>& Names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> made;
    made.reserve(kNames);
    for (size_t i = 0; i < kNames; ++i) made.push_back("user-" + std::to_string(i * 2'654'435'761u));
    return made;
  }();
  return names;
}

void OwnerAmongMillionNames(benchmark::State& state) {
  const auto shards = static_cast<uint32_t>(state.range(0));
  lever::route::ServiceRoute route;
  auto table = std::make_shared<lever::route::RouteTable>();
  for (uint32_t i = 0; i < kInstances; ++i) {
    lever::route::InstanceRoute instance;
    instance.id = "i-" + std::to_string(i);
    table->peers.push_back(std::make_shared<lever::route::Peer>(std::move(instance), &route));
    table->peers.back()->phase = lever::route::PeerPhase::kReady;
  }
  route.table = table;
  lever::Random random(1);
  for (uint32_t i = 0; i < shards; ++i) route.shards.push_back({random.Below(kInstances), i + 1});
  const std::vector<std::string>& names = Names();
  for (auto _ : state) {
    const std::string& name = names[random.Below(kNames)];
    const uint64_t hash = lever::policy::ResourceHash("dev.lever", "accounts", name);
    benchmark::DoNotOptimize(route.OwnerOf(hash));
  }
  // The peers before the route that they point to.
  route.table = std::make_shared<lever::route::RouteTable>();
}
BENCHMARK(OwnerAmongMillionNames)->Arg(256)->Arg(16'384);

}  // namespace
