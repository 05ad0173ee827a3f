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

}  // namespace

bool IsCold(const PeerLoad& peer) { return !Hot(peer) && !Full(peer); }

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
  return PickAmong(
      peers.size(), [peers](size_t i) -> const PeerLoad& { return peers[i]; }, random);
}

}  // namespace lever::policy
