// Which of a service's instances gets the next call: power of two choices.
//
// Two candidates are drawn, and the better one taken (Mitzenmacher, "The Power of Two Choices in
// Randomized Load Balancing", 2001). What is better follows Prequal (Wydrowski et al., "Load is not
// what you should balance", NSDI '24): a candidate with many requests in flight is hot; of two cold ones
// the one with the lower latency is taken, of a hot and a cold one the cold, of two hot ones the one with
// fewer in flight.
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
    latency_ns = latency_ns == 0 ? sample_ns
                                 : latency_ns + ((sample_ns - latency_ns) >> kLatencyShift);
  }
};

// Whether `a` is the better one for the next call.
bool Better(const PeerLoad& a, const PeerLoad& b);

// The index of the instance to call, or kNoPeer if all are excluded. `random` is 64 random bits. An
// instance at its concurrency_max is picked only if both that were drawn are.
size_t PickPeer(std::span<const PeerLoad> peers, uint64_t random);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_BALANCER_H_
