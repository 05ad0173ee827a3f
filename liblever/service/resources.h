// The resources that are open in this instance: their opening, their turns, their closing.
//
//   kAsking      the host is asked what it is opened with
//   kOpening     the program opens it
//   kForgetting  what was carried is being deleted, so that nobody gets it twice
//   kOpen        requests are offered to the program
//   kClosing     the program closes it
//   kStoring     what it carries is being stored
//
// Requests wait with their resource until it is open and has room for them. A resource that leaves (its
// shard is released) takes none any more, and is closed when its last request has ended.
//
// Threads: used only by who holds the loop's word. The handler may call back from inside.
//
// Invariants
//  1. There is at most one Resource of a name that takes requests.
//  2. No request is offered before what was carried has been deleted durably.
//  3. OnShardClosed() comes once after CloseShard(), when nothing of the shard is left.
#ifndef LIBLEVER_SERVICE_RESOURCES_H_
#define LIBLEVER_SERVICE_RESOURCES_H_

#include <boost/container_hash/hash.hpp>
#include <boost/intrusive/list.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/service/resource.h"
#include "liblever/service/resource_request.h"
#include "liblever/service/shard_messages.h"
#include "liblever/service/waiting_room.h"

namespace lever::service {

// Closings that run at a time, each until what it carries is stored, as that is in memory meanwhile.
inline constexpr uint32_t kClosingMax = 64;
// What could not be stored or deleted because the host's registry was UNAVAILABLE is asked again after
// kAskAgainNs, for kAskMostNs in all: both are the same however often they are done.
inline constexpr int64_t kAskAgainNs = 100 * kNanosPerMilli;
inline constexpr int64_t kAskMostNs = 5 * kNanosPerSecond;

struct OfShardTag;
struct TimedTag;
template <typename Tag>
using ResourceHook =
    boost::intrusive::list_base_hook<boost::intrusive::tag<Tag>,
                                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

struct Resource : public ResourceHook<OfShardTag>, public ResourceHook<TimedTag> {
  enum class Phase : uint8_t { kAsking, kOpening, kForgetting, kOpen, kClosing, kStoring };

  bool idle() const { return in_flight == 0 && pending.empty(); }

  uint64_t id = 0;
  std::string name;
  uint32_t shard = 0;
  uint64_t generation = 0;
  Phase phase = Phase::kAsking;
  Origin origin = Origin::kNew;
  std::optional<CloseReason> leaving;           // it takes no requests any more
  CloseReason closing = CloseReason::kIdle;     // in kClosing: what the program was told
  bool taking_turns = false;                    // TakeTurns() is at work
  uint64_t state_request = 0;                   // that is unanswered
  route::Kind carried_kind = route::Kind::kNone;  // kStoring; kNone: that it is lost
  SliceList carried;
  WaitingList pending;
  WaitingList running;  // offered
  uint32_t in_flight = 0;
  uint32_t calls = 0;  // of these, unary ones
  int64_t since_ns = 0;  // idle, in kClosing, or refused what is asked again
  int64_t asked_ns = 0;  // in kForgetting and kStoring: first
};

class ResourcesHandler {
 public:
  virtual ~ResourcesHandler() = default;
  // OnAnswer() follows, or Resend() after a new session.
  virtual void SendStateRequest(const StateRequest& request) = 0;
  virtual void OnResourceOpen(const ResourceOpening& opening) = 0;
  virtual void OnResourceClose(uint64_t resource, CloseReason reason) = 0;
  // `clean`: what is to be carried is stored, and what is lost is known to be.
  virtual void OnShardClosed(uint32_t shard, bool clean) = 0;
  // The last one of all shards is gone. After OnShardClosed().
  virtual void OnNoResources() = 0;
  // Whether requests of the shard may be offered now. Where not, ContinueAll() follows.
  virtual bool MayOffer(uint32_t shard, uint64_t generation) const = 0;
};

class Resources {
 public:
  Resources(Loop* loop, ResourceOptions options, WaitingRoom* room, ResourcesHandler* handler);
  ~Resources();

  // The shard is granted under request->generation.
  void Admit(ResourceRequest* request);
  // Every request that was admitted, once; before it goes.
  void Ended(ResourceRequest* request);

  // ---- What the program says ----
  // Ids that are not being opened or closed (any more) are ignored.
  void Opened(uint64_t resource, const Status& status);
  // `state` may be null: nothing is carried. A status that is not OK: what it was is lost.
  void Closed(uint64_t resource, const Status& status, route::Kind kind, const SliceList* state);

  // ---- What the host says ----
  void OnAnswer(StateAnswer answer);
  // A new session: what is unanswered is asked again.
  void Resend();
  // There is no host any more: nothing is waited for that it would answer, and what is carried is
  // dropped.
  void LoseHost();

  // ---- Shards ----
  // Those who wait for their turn take it, where MayOffer() says so.
  void ContinueAll();
  // Its requests that have not begun are refused with `trailers`; its resources are closed when the
  // others have ended. OnShardClosed() follows, maybe from inside.
  void CloseShard(uint32_t shard, CloseReason reason, const Status& refusal,
                  const rpc::HeaderList* trailers);
  // What still runs is cut off: its resources are closed without waiting for it.
  void CutShard(uint32_t shard, const Status& status);
  // It is another's already: everything of it ends at once, and nothing is carried.
  void LoseShard(uint32_t shard, const Status& refusal, const rpc::HeaderList* trailers);

  size_t size() const { return by_id_.size(); }
  bool empty() const { return by_id_.empty(); }

 private:
  using ShardList = boost::intrusive::list<Resource,
                                           boost::intrusive::base_hook<ResourceHook<OfShardTag>>,
                                           boost::intrusive::constant_time_size<false>>;
  using TimedList = boost::intrusive::list<Resource,
                                           boost::intrusive::base_hook<ResourceHook<TimedTag>>,
                                           boost::intrusive::constant_time_size<false>>;
  struct OfShard {
    ShardList resources;
    bool closing = false;
    // Something of it is lost of which the host has no record. Until the shard is let go of, which tells
    // the host, what it calls new may be that.
    bool unclean = false;
  };
  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return boost::hash<std::string_view>()(text); }
  };

  Resource* Find(uint64_t id) const;
  Resource* Create(const ResourceRequest& request);
  void Ask(Resource* resource, Resource::Phase phase);
  void SendRequest(Resource* resource);
  // In kForgetting and kStoring.
  void OnRefused(Resource* resource, const Status& status);
  void GiveUpAsking(Resource* resource, const Status& status);
  void BecomeOpen(Resource* resource);
  void BecomeIdle(Resource* resource);
  void TakeTurns(uint64_t id);
  bool HasRoom(const Resource& resource, const ResourceRequest& request) const;
  void FailPending(Resource* resource, const Status& status, const rpc::HeaderList* trailers);
  std::vector<uint64_t> IdsOf(uint32_t shard) const;
  void Forget(Resource* resource);
  void Detach(Resource* resource);
  void CheckShard(uint32_t shard);
  bool IsUnclean(const Resource& resource) const;
  void CutRunning(Resource* resource, const Status& status);
  void StepLeaving(Resource* resource);
  void WantClose(Resource* resource, CloseReason reason);
  void StartClosings();
  void CloseNow(Resource* resource, CloseReason reason);
  void Store(Resource* resource, route::Kind kind, const SliceList* state);
  void Finish(Resource* resource);
  void Sweep();
  void ArmSweep();

  Loop* const loop_;
  const uint32_t concurrency_max_;
  const int64_t idle_ns_;
  WaitingRoom* const room_;
  ResourcesHandler* const handler_;
  bool host_gone_ = false;
  bool starting_ = false;  // StartClosings() is at work
  bool dropped_logged_ = false;
  uint64_t next_id_ = 1;
  uint64_t next_request_ = 1;
  boost::unordered_flat_map<uint64_t, std::unique_ptr<Resource>> by_id_;
  boost::unordered_flat_map<std::string, Resource*, NameHash, std::equal_to<>> by_name_;
  std::unordered_map<uint32_t, OfShard> by_shard_;  // without resources: unclean ones
  boost::unordered_flat_map<uint64_t, uint64_t> requests_;  // unanswered, to the resource's id
  // A resource is in one of these at most.
  TimedList idle_;      // by since when
  TimedList to_close_;  // that wait for one of the kClosingMax
  TimedList closing_;   // by since when
  TimedList refused_;   // that ask again, by since when
  uint32_t closing_count_ = 0;  // in kClosing or kStoring
  FunctionTimer timer_{[this] { Sweep(); }};
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_RESOURCES_H_
