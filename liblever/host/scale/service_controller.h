// Decides for one service: which version serves, whether an instance has to start, which have to
// drain.
//
// What is to be done is decided by policy/scale.h out of numbers and time; this class keeps the
// numbers, and asks its Shell to do it. Threads: the control loop.
//
// Invariants
//  1. Calls that are held are counted by who holds them; a failed start and an instance that became
//     ready forget the counts, and who still holds calls says so again.
//  2. New calls go to instances of `current` that do not stand by, and to attached programs; and their
//     share to those of the canary, which is never the version of `current`.
//  3. A deploy completes exactly once: when its version serves, or could not be started.
//  4. A watch completes exactly once, too. While it lasts nothing else is deployed: who deploys
//     ends it.
#ifndef LIBLEVER_HOST_SCALE_SERVICE_CONTROLLER_H_
#define LIBLEVER_HOST_SCALE_SERVICE_CONTROLLER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "liblever/host/scale/control.h"
#include "liblever/host/scale/instance.h"
#include "liblever/host/scale/shard_controller.h"
#include "liblever/policy/canary.h"
#include "liblever/policy/host_memory.h"
#include "liblever/policy/scale.h"
#include "liblever/policy/version_watch.h"

namespace lever::scale {

// Why an instance is started, which decides what it may take of the host's memory.
enum class StartFor : uint8_t {
  kStandby,   // as kLater, of what nobody else wants
  kLater,     // nothing waits for it: no other one gives way
  kNow,       // instances that do nothing give way to it
  kTakeBack,  // a bad version is taken back: it is started in any case
};

// What a controller has done for it.
class ControllerShell {
 public:
  virtual ~ControllerShell() = default;
  virtual Loop& loop() = 0;
  // Higher than every number before, also those of controllers that are gone: watchers of a service
  // that was removed and is there again drop what is older than what they know.
  virtual uint64_t NextRevision() = 0;
  // A number in [0, 1), for jitter.
  virtual double NextRandom() = 0;
  // Begins to start an instance of `spec`; OnReady() or OnGone() follows. RESOURCE_EXHAUSTED: the host
  // has no memory for it; UNAVAILABLE: others are giving way to it. OnMemory() follows in either case,
  // when it is worth another try.
  virtual StatusOr<Instance*> Launch(ServiceController* controller, const ServiceSpec& spec,
                                     StartFor what) = 0;
  // Drains a ready instance, with everything that follows; OnGone() at the end.
  virtual void Drain(Instance* instance, const std::string& reason) = 0;
  virtual void Kill(Instance* instance, const Status& because) = 0;
  // Of a service with resources, made if there is none. It stays when the controller goes. Null: this
  // host has no registry to keep owners in.
  virtual ShardController* ShardsOf(ServiceController* controller, uint32_t shards) = 0;
  // UNAVAILABLE: the service, `what`, and what the instance wrote to stderr last.
  virtual Status WithLastWords(const Instance& instance, const std::string& what) const = 0;
  virtual void Publish(std::shared_ptr<const ServiceView> view) = 0;
  virtual void PublishRemoved(ServiceName name, uint64_t revision) = 0;
  virtual void PublishStartFailed(ServiceName name, const Status& status) = 0;
};

class ServiceController final : private ShardControllerShell {
 public:
  // So often a service is said in the log to lack memory.
  static constexpr int64_t kLacksQuietNs = 60 * kNanosPerSecond;

  ServiceController(ControllerShell* shell, std::string environment, std::string service);
  ~ServiceController() override;
  ServiceController(const ServiceController&) = delete;
  ServiceController& operator=(const ServiceController&) = delete;

  ServiceName name() const { return {environment_, service_}; }
  bool deployed() const { return current_.has_value(); }
  const std::optional<ServiceSpec>& current() const { return current_; }
  const std::vector<Instance*>& instances() const { return instances_; }
  // Whether calls from outside of its environment are refused: as its version says, or without one the
  // programs that attached themselves.
  bool IsPrivate() const;
  // Whether such a program may be one of it. PERMISSION_DENIED, FAILED_PRECONDITION.
  Status CheckMayAttach(bool is_private) const;
  // Whether a version may serve beside those that have: FAILED_PRECONDITION where not all of them are private,
  // or none.
  Status CheckAttached(const ServiceSpec& spec) const;
  // Nothing deployed and nothing running: it may be dropped.
  bool Finished() const { return !current_ && !next_ && instances_.empty(); }

  void Deploy(ServiceSpec spec, std::function<void(Status)> done);
  void SetCanary(ServiceSpec spec, CanaryTerms terms, CanaryStart start,
                 std::function<void(Status)> done);
  void EndCanary(const Status& why);
  bool IsCanary(const Instance& instance) const;
  // Control::Watch() and EndWatch().
  void Watch(int64_t watch_ns, std::function<void(WatchResult)> done);
  bool EndWatch();
  void Remove();
  void Demand(const void* holder, uint32_t held_calls);
  // No more starts; what runs is drained.
  void Shutdown();

  // An attached program's instance, made by the shell.
  void AddAttached(Instance* instance);
  // It has said hello, and has resources: how many shards there are. FAILED_PRECONDITION: not so many as
  // its version wants.
  StatusOr<uint32_t> OnHasResources(Instance* instance);
  ShardController* shards() { return shards_; }
  void OnReady(Instance* instance);
  void OnLoad(Instance* instance);
  // There may be memory for what could not be started.
  void OnMemory() { Evaluate(); }
  // Whether an instance runs, or is about to, that this host has started.
  bool HasInstance() const;
  // Adds the instances that it could do without at the moment.
  void AddIdle(std::vector<policy::IdleInstance>* idle) const;
  // One of these is stopped: somebody else needs its memory.
  void GiveWay(Instance* instance, const std::string& reason);
  // So many of its calls and streams have ended since it was asked last, so many of them with
  // errors.
  void OnEnded(Instance* instance, uint64_t requests, uint64_t errors);
  // It says nothing any more, and is heard again.
  void OnStalled(Instance* instance);
  void OnHeardAgain(Instance* instance);
  // It is draining by its own wish.
  void OnDraining(Instance* instance);
  // It was ready and takes no calls any more, although nobody asked it to: OnGone() follows.
  void OnLost(Instance* instance);
  // Nothing of it is left. `why` says how it ended, with its last words.
  void OnGone(Instance* instance, const Status& why);

  ServiceStatus GetStatus() const;
  StatusOr<std::vector<OwnerStatus>> ListOwners() const;
  StatusOr<OwnerChange> ChangeOwner(std::string_view resource, policy::ShardChange change,
                                    const std::string& to);

 private:
  // What the scaling of one version remembers.
  struct VersionScale {
    policy::ScaleMemory memory;
    uint32_t wanted = 0;
    int64_t start_ns = 0;        // moving average of what a start takes; 0: none yet
    int64_t latency_ns = 0;      // of a call, as the instances said last; 0: never
    int64_t last_active_ns = 0;  // of all instances, also those that are gone
    int64_t last_ready_ns = 0;
    policy::CrashBackoff backoff;
    uint64_t crash_counted_key = 0;  // those up to it began before the crash that was counted last
  };
  struct Canary {
    ServiceSpec spec;
    CanaryTerms terms;
    VersionScale scale;
    policy::OutcomeRate outcomes;
    std::function<void(Status)> done;  // until its first instance is ready
  };
  struct Watched {
    uint64_t version = 0;
    bool canary = false;
    ServiceSpec before;  // of none that is a canary
    policy::OutcomeRate outcomes_before;
    policy::WatchedVersion seen;
    int64_t ends_ns = 0;
    Status crash;  // why the last instance of it went that did by itself
    std::function<void(WatchResult)> done;
  };

  // Something has changed: decides and acts.
  void Evaluate();
  void RefuseHeld();
  // Gives when to look again. `lacks`: why what is wanted could not be started.
  int64_t Scale(const ServiceSpec& spec, VersionScale* scale, Status* lacks);
  void SetLacks(const Status& lacks);
  void StopLeastLoaded(const VersionScale& scale, uint64_t version, uint32_t count);
  // It is ready: whether it waits for the load to want it.
  bool BecomesStandby(const Instance& instance) const;
  static bool StandsBy(const Instance& instance, uint64_t version);
  void Promote(VersionScale* scale, uint64_t version, uint32_t count);
  void StopStandbys(uint64_t version, uint32_t count);
  policy::ScaleLoad Observe(uint64_t version, VersionScale* scale);
  policy::ScaleLimits Limits(const ServiceSpec& spec) const;
  bool IsCanary(uint64_t version) const { return canary_ && canary_->spec.version == version; }
  // The canary is to serve.
  bool Promoting() const { return next_ && IsCanary(next_->version); }
  // Of the version that serves, or of the canary.
  VersionScale& ScaleOf(uint64_t version);
  void OnCanaryGone(const Instance& instance, InstancePhase phase, int64_t uptime_ns,
                    const Status& why);
  // Drains and kills what there is of a version that takes no calls any more.
  void DrainVersion(uint64_t version, const std::string& reason);
  void Replace(ServiceSpec spec);
  // Of a version that is to serve: how many instances have to be ready, and whatever is due for it.
  uint32_t NextNeeded() const;
  void AdvanceNext();
  void AdvanceWithout(const Status& lacks, uint32_t ready, uint32_t starting);
  void SwitchToNext();
  // Whether the version was taken back.
  bool JudgeWatched();
  void TakeBack(const std::string& reason);
  Status WhyTakenBack(const Watched& watched, const std::string& reason) const;
  void FailNext(const Status& status);
  void FailStart(const Status& status);
  void Crashed(const Instance& instance, int64_t uptime_ns, VersionScale* scale);
  void DrainAll(const std::string& reason);
  // That this host knows who owns the resources.
  Status CheckOwners() const;
  // ShardControllerShell
  void TellShards(const std::string& instance, fleet::ShardOrdersData orders) override;
  void TellRenewed(const std::string& instance, uint64_t id) override;
  void TellState(const std::string& instance, fleet::StateAnswerData answer) override;
  fleet::ShardCloseReason WhyItMoves(const std::string& from) override;
  void OnOwnersChanged() override;

  void Publish();
  void PlaceShards();
  std::shared_ptr<const ShardOwners> ShardOwnersOf(const ServiceView& view) const;
  Instance* FindById(const std::string& id) const;
  // Null: it is gone, or not in session.
  fleet::AttachPeer* PeerOf(const std::string& id) const;
  bool Serves(const Instance& instance) const;

  ControllerShell* shell_;
  std::string environment_;
  std::string service_;
  std::optional<ServiceSpec> current_;
  std::optional<ServiceSpec> before_;  // that `current_` took over from, another version
  policy::OutcomeRate outcomes_;       // of `current_`
  policy::OutcomeRate outcomes_before_;
  std::optional<Watched> watched_;
  bool taking_back_ = false;  // `next_` is the version before one that was watched
  std::optional<Canary> canary_;
  std::optional<ServiceSpec> next_;
  std::function<void(Status)> next_done_;
  std::vector<Instance*> instances_;
  std::map<const void*, uint32_t> held_calls_;  // without zeros
  const std::shared_ptr<HeldCalls> held_ = std::make_shared<HeldCalls>();
  VersionScale scale_;  // of the version that serves
  bool shutting_down_ = false;
  Status last_error_;
  int64_t lacks_quiet_until_ns_ = 0;
  Status lacks_;  // why there are fewer instances than are wanted: the host has no memory
  FunctionTimer wake_;
  ShardController* shards_ = nullptr;  // of a service with resources
  bool placing_ = false;
  FunctionTimer watch_end_;
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_SERVICE_CONTROLLER_H_
