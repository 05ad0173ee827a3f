// Which instance gets the next call: the balancer over loads that lie side by side.
#include <benchmark/benchmark.h>

#include <vector>

#include "liblever/base/random.h"
#include "liblever/policy/balancer.h"

namespace {

std::vector<lever::policy::PeerLoad> Loads(size_t count, uint32_t in_flight_max) {
  lever::Random random(1);
  std::vector<lever::policy::PeerLoad> loads(count);
  for (auto& load : loads) {
    load.in_flight = random.Below(in_flight_max);
    load.latency_ns = 100'000 + random.Below(100'000);
  }
  return loads;
}

// The usual case: instances below their load.
void Pick(benchmark::State& state) {
  const auto loads = Loads(static_cast<size_t>(state.range(0)), lever::policy::kHotInFlight);
  lever::Random random(2);
  for (auto _ : state) benchmark::DoNotOptimize(lever::policy::PickPeer(loads, random.Next()));
}
BENCHMARK(Pick)->Arg(1)->Arg(2)->Arg(32);

// The dear one: the two that are drawn are often hot, so that all are looked at.
void PickAmongHot(benchmark::State& state) {
  const auto loads = Loads(static_cast<size_t>(state.range(0)), 3 * lever::policy::kHotInFlight);
  lever::Random random(2);
  for (auto _ : state) benchmark::DoNotOptimize(lever::policy::PickPeer(loads, random.Next()));
}
BENCHMARK(PickAmongHot)->Arg(2)->Arg(32);

}  // namespace
