#include "liblever/route/peer.h"

#include <algorithm>
#include <utility>

#include "liblever/rpc/channel.h"

namespace lever::route {

Peer::Peer(InstanceRoute instance_in, ServiceRoute* service_in) : service(service_in) {
  Update(std::move(instance_in));
}

Peer::~Peer() = default;

policy::PeerLoad& Peer::load() {
  return ready_index_ == kNotReady ? load_ : service->loads[ready_index_];
}

void Peer::Update(InstanceRoute instance_in) {
  instance = std::move(instance_in);
  policy::PeerLoad& reported = load();
  reported.reported_in_flight = instance.in_flight;
  reported.reported_latency_ns = static_cast<int64_t>(
      std::min<uint64_t>(instance.latency_ns, static_cast<uint64_t>(INT64_MAX)));
  reported.load_max = instance.load_max;
  reported.concurrency_max = instance.concurrency_max;
}

void ServiceRoute::RebuildReady() {
  for (const auto& peer : ready) {
    peer->load_ = loads[peer->ready_index_];
    peer->ready_index_ = Peer::kNotReady;
  }
  ready.clear();
  loads.clear();
  for (const auto& peer : table->peers) {
    if (peer->phase != PeerPhase::kReady) continue;
    peer->ready_index_ = ready.size();
    loads.push_back(peer->load_);
    ready.push_back(peer);
  }
}

std::shared_ptr<Peer> ServiceRoute::PickReady(const Peer* exclude, uint64_t random) {
  if (ready.empty()) return nullptr;
  const size_t excluded = exclude != nullptr && exclude->service == this ? exclude->ready_index_
                                                                         : Peer::kNotReady;
  if (excluded != Peer::kNotReady) loads[excluded].excluded = true;
  const size_t index = policy::PickPeer(loads, random);
  if (excluded != Peer::kNotReady) loads[excluded].excluded = false;
  return index == policy::kNoPeer ? nullptr : ready[index];
}

}  // namespace lever::route
