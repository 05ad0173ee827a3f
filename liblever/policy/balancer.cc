#include "liblever/policy/balancer.h"

#include <algorithm>

namespace lever::policy {
namespace {

uint32_t InFlight(const PeerLoad& peer) {
  return std::max(peer.in_flight, peer.reported_in_flight);
}

bool Full(const PeerLoad& peer) {
  return peer.concurrency_max != 0 && InFlight(peer) >= peer.concurrency_max;
}

bool Hot(const PeerLoad& peer) {
  return InFlight(peer) >= (peer.load_max == 0 ? kHotInFlight : peer.load_max);
}

int64_t Latency(const PeerLoad& peer) {
  return peer.latency_ns != 0 ? peer.latency_ns : peer.reported_latency_ns;
}

// The n-th of those that are not excluded.
size_t NthAllowed(std::span<const PeerLoad> peers, size_t n) {
  for (size_t i = 0; i < peers.size(); ++i) {
    if (!peers[i].excluded && n-- == 0) return i;
  }
  return kNoPeer;
}

}  // namespace

bool Better(const PeerLoad& a, const PeerLoad& b) {
  if (Full(a) != Full(b)) return Full(b);
  if (Hot(a) != Hot(b)) return Hot(b);
  if (!Hot(a)) {
    // One that was never called is tried, whatever the other's latency.
    if ((Latency(a) == 0) != (Latency(b) == 0)) return Latency(a) == 0;
    const int64_t difference = Latency(a) - Latency(b);
    const int64_t alike = std::max(Latency(a), Latency(b)) / kLatencyAlike;
    if (difference > alike || -difference > alike) return difference < 0;
  }
  return InFlight(a) < InFlight(b);
}

size_t PickPeer(std::span<const PeerLoad> peers, uint64_t random) {
  const size_t excluded = static_cast<size_t>(
      std::count_if(peers.begin(), peers.end(), [](const PeerLoad& p) { return p.excluded; }));
  const size_t allowed = peers.size() - excluded;
  if (allowed == 0) return kNoPeer;
  const auto index = [&](size_t n) { return excluded == 0 ? n : NthAllowed(peers, n); };
  if (allowed == 1) return index(0);
  // Two different ones out of the two halves of the random bits (multiply-shift, unbiased enough for
  // numbers far below 2^32).
  const size_t first = static_cast<size_t>(((random & 0xffffffff) * allowed) >> 32);
  size_t second = static_cast<size_t>(((random >> 32) * (allowed - 1)) >> 32);
  if (second >= first) ++second;
  const size_t a = index(first);
  const size_t b = index(second);
  return Better(peers[b], peers[a]) ? b : a;
}

}  // namespace lever::policy
