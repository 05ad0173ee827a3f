#include "tests/sim/workload.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "liblever/base/random.h"

namespace lever::sim {
namespace {

int64_t Ns(double seconds) { return std::llround(seconds * static_cast<double>(kNanosPerSecond)); }

double Exponential(Random& random, double mean) { return -mean * std::log(1 - random.NextDouble()); }

double Normal(Random& random) {
  const double radius = std::sqrt(-2 * std::log(1 - random.NextDouble()));
  return radius * std::cos(2 * std::numbers::pi * random.NextDouble());
}

using Rate = std::function<double(double second)>;  // calls a second
using Takes = std::function<double(Random&)>;       // seconds

double ShortCalls(Random& random) { return Exponential(random, 0.1); }

// Poisson arrivals whose rate changes, by thinning (Lewis and Shedler, 1979).
Workload Poisson(Random& random, double length_s, double rate_most, const Rate& rate,
                 const Takes& takes = ShortCalls) {
  Workload workload;
  workload.length_ns = Ns(length_s);
  for (double at = Exponential(random, 1 / rate_most); at < length_s;
       at += Exponential(random, 1 / rate_most)) {
    if (random.NextDouble() * rate_most >= rate(at)) continue;
    workload.calls.push_back({Ns(at), Ns(takes(random))});
  }
  return workload;
}

// Bounded Pareto: alpha 1.5 from 35 ms to 60 s, 100 ms on average.
double HeavyTailed(Random& random) {
  constexpr double kAlpha = 1.5;
  constexpr double kLeast = 0.035;
  constexpr double kMost = 60;
  const double ratio = std::pow(kLeast / kMost, kAlpha);
  return kLeast / std::pow(1 - random.NextDouble() * (1 - ratio), 1 / kAlpha);
}

// One service out of those that are called at most once a minute. After "Serverless in the Wild"
// (Shahrad et al., USENIX ATC 2020): 45 % of all applications are called at most once an hour, 81 % at
// most once a minute (figure 5); a part of them by timers, most of the others with a coefficient of
// variation of 1 or more (figure 6); times to run are log-normal with mean -0.38 and sigma 2.36 of their
// logarithm (figure 7).
Workload Rare(Random& random, double length_s) {
  const double rank = random.NextDouble() * 0.81;
  const double per_day = rank < 0.45 ? std::pow(24.0, rank / 0.45)
                                     : 24 * std::pow(60.0, (rank - 0.45) / 0.36);
  const double mean_s = 86400 / per_day;
  const double kind = random.NextDouble();
  const auto gap = [&]() -> double {
    if (kind < 0.25) return mean_s * (1 + 0.01 * Normal(random));  // a timer
    if (kind < 0.6) return Exponential(random, mean_s);
    constexpr double kSigma = 1.5;  // log-normal, coefficient of variation 2.9
    return mean_s * std::exp(kSigma * Normal(random) - kSigma * kSigma / 2);
  };
  Workload workload;
  workload.length_ns = Ns(length_s);
  for (double at = random.NextDouble() * gap(); at < length_s; at += std::max(0.001, gap())) {
    const double takes = std::min(60.0, std::exp(-0.38 + 2.36 * Normal(random)));
    workload.calls.push_back({Ns(at), Ns(takes)});
  }
  return workload;
}

}  // namespace

std::vector<Scenario> MakeScenarios(Extent extent, uint64_t seed) {
  Random random(seed);
  // A short one has a fifth of the calls a second, and fewer services; the times are the same.
  const double k = extent == Extent::kFull ? 1 : 0.2;
  std::vector<Scenario> all;
  const auto add = [&](const char* name, const char* what, Workload workload) {
    all.push_back({name, what, {}});
    all.back().services.push_back(std::move(workload));
  };
  add("steady", "500 calls/s of 100 ms",
      Poisson(random, 900, 500 * k, [=](double) { return 500 * k; }));
  add("step", "100, then 1,000 from 120 s to 360 s, then 100 calls/s",
      Poisson(random, 900, 1000 * k,
              [=](double t) { return (t >= 120 && t < 360 ? 1000 : 100) * k; }));
  add("ramp", "50 to 800 calls/s over 10 minutes, then back to 50 at once",
      Poisson(random, 900, 800 * k,
              [=](double t) { return (t < 600 ? 50 + 750 * t / 600 : 50) * k; }));
  add("bursts", "30 s of 400 calls/s, 90 s of 5 calls/s",
      Poisson(random, 2400, 400 * k,
              [=](double t) { return (std::fmod(t, 120) < 30 ? 400 : 5) * k; }));
  add("diurnal", "a sine from 2 to 118 calls/s of 500 ms, period an hour",
      Poisson(
          random, 7200, 120 * k,
          [=](double t) { return (60 - 58 * std::cos(2 * std::numbers::pi * t / 3600)) * k; },
          [](Random& r) { return Exponential(r, 0.5); }));
  add("flash", "20 calls/s; at 120 s 40 times as many within 5 s, falling by half each 45 s",
      Poisson(random, 900, 850 * k, [=](double t) {
        if (t < 120) return 20 * k;
        const double rise = std::min(1.0, (t - 120) / 5);
        return (20 + 780 * rise * std::exp2(-std::max(0.0, t - 125) / 45)) * k;
      }));
  add("tailed", "300 calls/s, Pareto times (alpha 1.5, 35 ms to 60 s)",
      Poisson(random, 900, 300 * k, [=](double) { return 300 * k; }, HeavyTailed));
  add("crashes", "300 calls/s of 100 ms, an instance lives 60 s on average",
      Poisson(random, 900, 300 * k, [=](double) { return 300 * k; }));
  all.back().services[0].crash_every_ns = Ns(60);
  all.push_back({"rare", "services that are called once a day to once a minute, for 3 days", {}});
  const int services = extent == Extent::kFull ? 1000 : 100;
  for (int i = 0; i < services; ++i) all.back().services.push_back(Rare(random, 3 * 86400));
  return all;
}

}  // namespace lever::sim
