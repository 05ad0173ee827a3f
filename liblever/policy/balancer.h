// Which of a service's instances gets the next call: power of two choices.
//
// Two candidates are drawn, and the better one taken (Mitzenmacher, "The Power of Two Choices in
// Randomized Load Balancing", 2001). What is better follows Prequal (Wydrowski et al., "Load is not
// what you should balance", NSDI '24): a candidate with many requests in flight is hot; of two cold
// ones the one with the lower latency is taken, of a hot and a cold one the cold, of two hot ones
// the one with fewer in flight.
//
//  1. An excluded candidate is never picked.
//  2. A hot or full candidate is picked only if no other is left. Usually two candidates are looked
//     at; all of them only where an excluded one was drawn, or two that are hot.
//
// Pure, and without allocation. Any thread.
#ifndef LIBLEVER_POLICY_BALANCER_H_
#define LIBLEVER_POLICY_BALANCER_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace lever::policy {

inline constexpr size_t kNoPeer = SIZE_MAX;
// Without a load_max of its own an instance is hot from here on.
inline constexpr uint32_t kHotInFlight = 10;
// Weight of the newest latency in the moving average, 1 / 2^3 (RFC 6298 section 2).
inline constexpr int kLatencyShift = 3;
// Latencies nearer to each other than a fifth are alike: the number in flight decides.
inline constexpr int64_t kLatencyAlike = 5;

struct PeerLoad {
  uint32_t in_flight = 0;           // of the caller's own
  uint32_t reported_in_flight = 0;  // of all callers, as the instance said last
  int64_t latency_ns = 0;           // moving average of the caller's own calls; 0: none yet
  int64_t reported_latency_ns = 0;  // as the instance said last; 0: never
  uint32_t load_max = 0;            // prefer others above it; 0: kHotInFlight
  uint32_t concurrency_max = 0;     // what it refuses above; 0: none
  bool excluded = false;            // never picked

  void AddLatency(int64_t sample_ns) {
    latency_ns =
        latency_ns == 0 ? sample_ns : latency_ns + ((sample_ns - latency_ns) >> kLatencyShift);
  }
};

// Whether an instance is below its load_max and its concurrency_max.
bool IsCold(const PeerLoad& peer);

// Whether it refuses the next call by what the caller alone has in flight.
inline bool FullOfOwn(const PeerLoad& peer) {
  return peer.concurrency_max != 0 && peer.in_flight >= peer.concurrency_max;
}

// Whether `a` is the better one for the next call.
bool Better(const PeerLoad& a, const PeerLoad& b);

// The index of the instance to call, or kNoPeer if all are excluded. `random` is 64 random bits.
size_t PickPeer(std::span<const PeerLoad> peers, uint64_t random);

// The same over candidates that lie anywhere: `load_of(index)` gives the PeerLoad of one.
template <typename LoadOf>
size_t PickAmong(size_t count, LoadOf load_of, uint64_t random);

namespace internal {

// Two different numbers below `count`, which is at least 2, out of the two halves of the random
// bits (multiply-shift, unbiased enough for counts far below 2^32).
struct Pair {
  size_t a;
  size_t b;
};
inline Pair DrawTwo(size_t count, uint64_t random) {
  const size_t a = static_cast<size_t>(((random & 0xffffffff) * count) >> 32);
  const size_t b = static_cast<size_t>(((random >> 32) * (count - 1)) >> 32);
  return {a, b >= a ? b + 1 : b};
}

// Other bits for a second draw, which the failure of the first one says nothing about (the
// finaliser of SplitMix64).
inline uint64_t Remix(uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

// Draws two of the `count` candidates for which `eligible` holds, going through all.
template <typename LoadOf, typename Eligible>
size_t PickEligible(size_t all, size_t count, LoadOf load_of, uint64_t random, Eligible eligible) {
  const Pair drawn = count > 1 ? DrawTwo(count, random) : Pair{0, 0};
  size_t a = kNoPeer;
  size_t b = kNoPeer;
  for (size_t i = 0, nth = 0; i < all; ++i) {
    if (!eligible(load_of(i))) continue;
    if (nth == drawn.a) a = i;
    if (nth == drawn.b) b = i;
    ++nth;
  }
  return Better(load_of(b), load_of(a)) ? b : a;
}

}  // namespace internal

template <typename LoadOf>
size_t PickAmong(size_t count, LoadOf load_of, uint64_t random) {
  if (count > 1) {
    const auto [a, b] = internal::DrawTwo(count, random);
    if (!load_of(a).excluded && !load_of(b).excluded) {
      const size_t better = Better(load_of(b), load_of(a)) ? b : a;
      if (count == 2 || IsCold(load_of(better))) return better;
    }
  }
  size_t allowed = 0;
  size_t cold = 0;
  for (size_t i = 0; i < count; ++i) {
    const PeerLoad& peer = load_of(i);
    if (peer.excluded) continue;
    ++allowed;
    if (IsCold(peer)) ++cold;
  }
  if (allowed == 0) return kNoPeer;
  random = internal::Remix(random);
  if (cold == 0) {
    return internal::PickEligible(count, allowed, load_of, random,
                                  [](const PeerLoad& p) { return !p.excluded; });
  }
  return internal::PickEligible(count, cold, load_of, random,
                                [](const PeerLoad& p) { return !p.excluded && IsCold(p); });
}

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_BALANCER_H_
