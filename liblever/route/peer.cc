#include "liblever/route/peer.h"

#include <algorithm>
#include <span>
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
  const auto add = [this](Version version) {
    for (const auto& peer : table->peers) {
      const bool canary = canary_version != 0 && peer->instance.version == canary_version;
      if (peer->phase != PeerPhase::kReady || canary != (version == Version::kCanary)) continue;
      peer->ready_index_ = ready.size();
      loads.push_back(peer->load_);
      ready.push_back(peer);
    }
  };
  add(Version::kServing);
  ready_serving = ready.size();
  if (canary_version != 0) add(Version::kCanary);
}

ServiceRoute::Owner ServiceRoute::OwnerOf(uint64_t resource_hash) const {
  Owner owner;
  if (shards.empty()) return owner;
  owner.shard.shard =
      policy::ShardOfHash(resource_hash, static_cast<uint32_t>(shards.size()));
  const ShardOwner& known = shards[owner.shard.shard];
  owner.shard.generation = known.generation;
  if (known.peer >= table->peers.size()) return owner;
  const std::shared_ptr<Peer>& peer = table->peers[known.peer];
  if (peer->phase == PeerPhase::kReady) owner.peer = peer;
  return owner;
}

bool ServiceRoute::Learn(policy::ShardGeneration shard, std::string_view instance) {
  if (shard.shard >= shards.size()) return false;
  ShardOwner& known = shards[shard.shard];
  if (shard.generation <= known.generation) {
    // It is not the owner of what it is called for: the host knows more.
    if (instance.empty()) known.peer = kNoPeer;
    return false;
  }
  known = {.peer = kNoPeer, .generation = shard.generation};
  for (uint32_t i = 0; i < table->peers.size(); ++i) {
    if (table->peers[i]->instance.id == instance) known.peer = i;
  }
  return known.peer != kNoPeer;
}

std::shared_ptr<Peer> ServiceRoute::PickReady(const Peer* exclude, uint64_t random,
                                              Version version) {
  const size_t first = version == Version::kServing ? 0 : ready_serving;
  const size_t count = version == Version::kServing ? ready_serving : ready.size() - ready_serving;
  if (count == 0) return nullptr;
  const size_t excluded = exclude != nullptr && exclude->service == this ? exclude->ready_index_
                                                                         : Peer::kNotReady;
  if (excluded != Peer::kNotReady) loads[excluded].excluded = true;
  const size_t index =
      policy::PickPeer(std::span<const policy::PeerLoad>(loads).subspan(first, count), random);
  if (excluded != Peer::kNotReady) loads[excluded].excluded = false;
  return index == policy::kNoPeer ? nullptr : ready[first + index];
}

}  // namespace lever::route
