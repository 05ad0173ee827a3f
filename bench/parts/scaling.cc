// What it costs a host to route a call and to pick an instance for it, on synthetic tables: as instances of
// a service grow, and as services grow. Calls go to services and instances at random: to all alike, which is
// the worst for caches, or by Zipf's law, the n-th service being called 1/n as often as the first.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/random.h"
#include "liblever/host/scale/directory.h"
#include "liblever/policy/address.h"
#include "liblever/policy/balancer.h"

namespace {

using lever::scale::Directory;
using lever::scale::InstanceLoad;
using lever::scale::InstanceView;
using lever::scale::ListedService;
using lever::scale::ServiceView;

std::string ServiceOf(size_t i) { return "service-" + std::to_string(i); }

std::shared_ptr<const ServiceView> View(const std::string& service, size_t instances) {
  auto view = std::make_shared<ServiceView>();
  view->environment = "dev.lever";
  view->service = service;
  view->revision = 1;
  view->startable = true;
  for (size_t i = 0; i < instances; ++i) {
    InstanceView instance;
    instance.key = i + 1;
    instance.id = "i-" + std::to_string(i);
    instance.environment = view->environment;
    instance.service = service;
    instance.load = std::make_shared<InstanceLoad>();
    instance.load->calls = static_cast<uint32_t>(i * 7 % lever::policy::kHotInFlight);
    view->instances.push_back(std::move(instance));
  }
  return view;
}

enum class Calls { kUniform, kZipf };

// Which service each of the calls goes to.
std::vector<size_t> Draw(size_t calls, size_t services, Calls law) {
  std::vector<double> sums(services);  // of the weights up to each service
  double sum = 0;
  for (size_t i = 0; i < services; ++i) {
    sums[i] = sum += law == Calls::kZipf ? 1.0 / static_cast<double>(i + 1) : 1.0;
  }
  lever::Random random(3);
  std::vector<size_t> drawn(calls);
  for (size_t& service : drawn) {
    const auto at = std::lower_bound(sums.begin(), sums.end() - 1, random.NextDouble() * sum);
    service = static_cast<size_t>(at - sums.begin());
  }
  return drawn;
}

// Reads the address of a call, finds its service, and picks the instance, as the relay does.
class Tables {
 public:
  Tables(size_t services, size_t instances, Calls law) {
    for (size_t i = 0; i < services; ++i) directory_.Apply(View(ServiceOf(i), instances));
    // More addresses than fit in a cache, so that they come from memory alike at each size.
    for (const size_t service : Draw(kAddresses, services, law)) {
      addresses_.push_back("lever://dev.lever/" + ServiceOf(service) + "/echo");
    }
  }

  const InstanceView* Route(const std::string& url) {
    const auto address = lever::policy::SplitUrlHeader(url);
    if (!address.ok()) return nullptr;
    const ListedService* service = directory_.Find({address->environment, address->service});
    if (service == nullptr) return nullptr;
    const auto load_of = [service](size_t i) {
      lever::policy::PeerLoad load;
      load.reported_in_flight = service->LoadOf(i).calls.load(std::memory_order_relaxed);
      return load;
    };
    const size_t picked =
        lever::policy::PickAmong(service->instances.size(), load_of, random_.Next());
    return picked == lever::policy::kNoPeer ? nullptr : &service->instances[picked];
  }

  const std::string& NextAddress() { return addresses_[next_++ % kAddresses]; }

 private:
  static constexpr size_t kAddresses = 1 << 17;
  Directory directory_;
  std::vector<std::string> addresses_;
  lever::Random random_{4};
  size_t next_ = 0;
};

void Run(benchmark::State& state, size_t services, size_t instances, Calls law) {
  Tables tables(services, instances, law);
  for (auto _ : state) {
    const InstanceView* picked = tables.Route(tables.NextAddress());
    if (picked == nullptr) {
      state.SkipWithError("no instance");
      break;
    }
    benchmark::DoNotOptimize(picked);
  }
}

void RouteAmongInstances(benchmark::State& state) {
  Run(state, 1, static_cast<size_t>(state.range(0)), Calls::kUniform);
}
BENCHMARK(RouteAmongInstances)->RangeMultiplier(10)->Range(1, 10'000);

void RouteAmongServices(benchmark::State& state) {
  Run(state, static_cast<size_t>(state.range(0)), 2, Calls::kUniform);
}
BENCHMARK(RouteAmongServices)->RangeMultiplier(10)->Range(1, 100'000);

void RouteAmongServicesZipf(benchmark::State& state) {
  Run(state, static_cast<size_t>(state.range(0)), 2, Calls::kZipf);
}
BENCHMARK(RouteAmongServicesZipf)->RangeMultiplier(10)->Range(1, 100'000);

}  // namespace
