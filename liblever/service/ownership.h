// What an instance owns: its shards, as the service's controller has named and granted them, and what
// becomes of the requests of their resources.
//
// policy/owned_shards.h decides; this asks for renewals, lets requests wait for their shard, and lets
// go of a shard in its order: refuse what has not begun, let run what runs (until the drain timeout),
// close the resources, store what they carry, say that it is released.
//
// Threads: used only by who holds the loop's word. The handler may call back from inside.
//
// Invariants
//  1. A request is offered to the program only while its shard is granted, and begins only if the
//     clock, read then, is inside the grant.
//  2. ShardReleased is sent when nothing of the shard runs or is open here.
#ifndef LIBLEVER_SERVICE_OWNERSHIP_H_
#define LIBLEVER_SERVICE_OWNERSHIP_H_

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/policy/owned_shards.h"
#include "liblever/route/resumption.h"
#include "liblever/rpc/headers.h"
#include "liblever/service/grant_view.h"
#include "liblever/service/resource.h"
#include "liblever/service/resource_request.h"
#include "liblever/service/resources.h"
#include "liblever/service/shard_messages.h"
#include "liblever/service/waiting_room.h"

namespace lever::service {

class OwnershipHandler {
 public:
  virtual ~OwnershipHandler() = default;
  // A message for the host; dropped without one.
  virtual void SendToHost(const std::string& message) = 0;
  virtual void OnResourceOpen(const ResourceOpening& opening) = 0;
  virtual void OnResourceClose(uint64_t resource, CloseReason reason) = 0;
  // Nothing is owned or open any more.
  virtual void OnNothingOwned() = 0;
  // How long what runs may go on when its shard is released.
  virtual int64_t ReleaseTimeoutNs() const = 0;
};

class Ownership final : private ResourcesHandler {
 public:
  Ownership(Loop* loop, ResourceOptions options, OwnershipHandler* handler);
  ~Ownership() override;

  // ---- The session ----
  // It begins; orders follow. FAILED_PRECONDITION: the number of shards is another than before.
  Status Attached(uint32_t shards);
  void Detached();
  void OnOrders(const ShardOrders& orders);
  void OnRenewed(const GrantRenewed& renewed);
  void OnAnswer(StateAnswer answer) { resources_.OnAnswer(std::move(answer)); }
  // Instead of a session: everything is this instance's for ever.
  void OwnAll();
  // Nobody will tell what to release any more: everything is let go of, and nothing is carried.
  void LetGoOfAll();
  // What is being released does not wait any more for what runs.
  void CutReleases();

  // ---- Requests ----
  // How many shards there are; 0: not known yet.
  uint32_t shards() const { return shards_ == nullptr ? 0 : shards_->count(); }
  void Admit(ResourceRequest* request);
  void Ended(ResourceRequest* request) { resources_.Ended(request); }
  // Read the clock; to be asked directly before user code begins, and before a success leaves.
  bool MayBegin(const ResourceRequest& request) const;
  bool MayReply(const ResourceRequest& request) const;
  // Why MayBegin() or MayReply() said no, with its trailers.
  Status Refusal(uint32_t shard, rpc::HeaderList* trailers) const;
  // Who has the shard now, as far as it is known.
  route::Moved NextOwner(uint32_t shard) const;
  bool resumes() const { return resumes_; }
  const std::shared_ptr<GrantView>& view() const { return view_; }

  // ---- The program ----
  void Opened(uint64_t resource, const Status& status) { resources_.Opened(resource, status); }
  void Closed(uint64_t resource, const Status& status, route::Kind kind, const SliceList* state) {
    resources_.Closed(resource, status, kind, state);
  }

  // Nothing is owned, nothing is open.
  bool Empty() const;
  size_t open_resources() const { return resources_.size(); }

 private:
  struct Releasing {
    uint64_t generation = 0;
    int64_t cut_ns = kNever;
    bool cut = false;
  };
  // Who has a shard that is not this instance's, as far as the last order told.
  struct Next {
    uint64_t generation = 0;
    std::string instance;
  };
  struct Released {
    uint64_t generation = 0;
    bool clean = false;
  };

  // ResourcesHandler
  void SendStateRequest(const StateRequest& request) override;
  void OnResourceOpen(const ResourceOpening& opening) override;
  void OnResourceClose(uint64_t resource, CloseReason reason) override;
  void OnShardClosed(uint32_t shard, bool clean) override;
  void OnNoResources() override { CheckEmpty(); }
  bool MayOffer(uint32_t shard, uint64_t generation) const override;

  void OnOrder(const ShardOrder& order);
  void OnRelease(const ShardOrder& order);
  void BeginRelease(uint32_t shard, uint64_t generation, CloseReason reason);
  void SayReleased(uint32_t shard, uint64_t generation, bool clean);
  void SayReleasedAgain(uint32_t shard, uint64_t generation);
  void SayIfReleased(const ShardOrder& granted);
  void Lose(uint32_t shard);
  void EndResync();
  void Wait(ResourceRequest* request, policy::ShardVerdict verdict);
  void Recheck(uint32_t shard);
  void OnExpired(ResourceRequest* request);
  void Refuse(ResourceRequest* request);
  void ShowGranted(uint32_t shard);
  void CheckEmpty();
  void Renew();
  void OnReleaseTimer();

  Loop* const loop_;
  const bool resumes_;
  OwnershipHandler* const handler_;
  WaitingRoom room_;
  Resources resources_;
  std::unique_ptr<policy::OwnedShards> shards_;  // null until the first session
  std::shared_ptr<GrantView> view_;
  bool attached_ = false;
  bool synced_ = false;  // the session's resync is over
  bool alone_ = false;  // OwnAll()
  uint64_t next_renewal_ = 1;
  boost::unordered_flat_map<uint64_t, int64_t> renewals_;  // unanswered: id, and when it was sent
  std::unordered_map<uint32_t, WaitingList> waiting_;      // by shard
  boost::unordered_flat_map<uint32_t, Releasing> releasing_;
  boost::unordered_flat_map<uint32_t, Released> released_;
  boost::unordered_flat_map<uint32_t, Next> next_;
  FunctionTimer renew_timer_{[this] { Renew(); }};
  FunctionTimer release_timer_{[this] { OnReleaseTimer(); }};
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_OWNERSHIP_H_
