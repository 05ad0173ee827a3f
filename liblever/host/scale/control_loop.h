// The control plane on its loop: keeps services and instances, drives the driver, answers the data
// loops.
//
// An attached instance that is silent is looked after here too: see policy/silence.h. One that has only
// an address says nothing, and is never taken for stalled.
//
// Threads: see control.h. Everything private is for the control loop.
#ifndef LIBLEVER_HOST_SCALE_CONTROL_LOOP_H_
#define LIBLEVER_HOST_SCALE_CONTROL_LOOP_H_

#include <atomic>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/base/random.h"
#include "liblever/host/fleet/driver.h"
#include "liblever/host/fleet/introducer.h"
#include "liblever/host/registry/registry.h"
#include "liblever/host/scale/control.h"
#include "liblever/host/scale/host_lease.h"
#include "liblever/host/scale/launch.h"
#include "liblever/host/scale/service_controller.h"
#include "liblever/host/scale/shard_controller.h"
#include "liblever/policy/host_memory.h"
#include "liblever/route/token.h"

namespace lever::scale {

// A data loop and what it knows.
struct DataLoop {
  Loop* loop = nullptr;
  Directory* directory = nullptr;
};

struct ControlOptions {
  Loop* loop = nullptr;  // the control loop
  std::vector<DataLoop> data_loops;
  fleet::Driver* driver = nullptr;
  LaunchPlanner* planner = nullptr;
  InstanceOutput* output = nullptr;
  std::string introduction_path;  // the socket to make
  // Where the owners of shards are kept, and who this host is there; its answers come on `loop`.
  registry::Registry* registry = nullptr;
  std::string host_id;
  // Serves the host's end of a started instance's attach socket.
  std::function<Status(UniqueFd socket, fleet::Caller caller)> adopt;
  uint64_t random_seed = 0;
  int64_t token_lifetime_s = route::kTokenLifetimeSeconds;  // of tokens for instances' own addresses
  uint64_t ram_bytes = 0;  // what instances may reserve together; 0: without a bound
};

class ControlLoop final : public Control, public ControllerShell, public fleet::DriverEvents {
 public:
  // After the drain timeout: what the quiet time and the good-byes may take on top of it, and the
  // closing of resources.
  static constexpr int64_t kDrainSlackNs = 5 * kNanosPerSecond;
  static constexpr int64_t kCloseSlackNs = 7 * kNanosPerSecond;
  // A process that has drained, or lost its session, has this long to exit by itself.
  static constexpr int64_t kExitGraceNs = 2 * kNanosPerSecond;
  // How often an instance without a session is looked at while it drains.
  static constexpr int64_t kDrainPollNs = 50 * kNanosPerMilli;
  // How often what waits for memory is tried again, where nothing came free meanwhile.
  static constexpr int64_t kMemoryLookNs = 1 * kNanosPerSecond;
  static constexpr size_t kAttachedMax = 10'000;
  static constexpr size_t kWatchersMax = 50'000;

  static StatusOr<std::unique_ptr<ControlLoop>> Open(ControlOptions options);
  ~ControlLoop() override;

  // Control, any thread.
  void Demand(ServiceName name, const void* holder, uint32_t held_calls) override;
  void Connect(uint64_t instance_key, Loop* loop,
               std::function<void(StatusOr<HostWay>)> done) override;
  void AddWatcher(fleet::Caller caller, Loop* loop,
                  std::function<void(WatcherTicket)> done) override;
  void RemoveWatcher(uint64_t watcher_key) override;
  void Introduce(uint64_t watcher_key, uint64_t id, std::string instance, route::IntroduceBy by,
                 Loop* loop, std::function<void(StatusOr<route::AddressWay>)> done) override;
  void Attach(fleet::AttachHello hello, std::shared_ptr<fleet::AttachPeer> peer, Loop* loop,
              std::function<void(StatusOr<fleet::AttachWelcome>)> done) override;
  void AttachReady(uint64_t instance_key) override;
  void AttachLoad(uint64_t instance_key, fleet::LoadReportData report) override;
  void AttachShardLoads(uint64_t instance_key, fleet::ShardLoadsData loads) override;
  void AttachRenew(uint64_t instance_key, uint64_t id) override;
  void AttachReleased(uint64_t instance_key, fleet::ShardReleasedData released) override;
  void AttachState(uint64_t instance_key, fleet::StateRequestData request) override;
  void AttachDraining(uint64_t instance_key) override;
  void AttachDrained(uint64_t instance_key, uint32_t cut_off) override;
  void AttachEnded(uint64_t instance_key, Status status) override;
  void ListInstances(Loop* loop,
                     std::function<void(std::vector<InstanceStatus>)> done) override;
  void ChangeOwner(ServiceName name, std::string resource, policy::ShardChange change,
                   std::string to, Loop* loop, std::function<void(StatusOr<OwnerChange>)> done) override;
  void ListOwners(ServiceName name, Loop* loop,
                  std::function<void(StatusOr<std::vector<OwnerStatus>>)> done) override;
  void ListServices(Loop* loop, std::function<void(std::vector<ServiceStatus>)> done) override;
  ControlCounters Counters() const override;

  // Control, on the control loop.
  Loop& loop() override { return *options_.loop; }
  void Deploy(ServiceSpec spec, std::function<void(Status)> done) override;
  void Watch(ServiceName name, int64_t watch_ns, std::function<void(WatchResult)> done) override;
  bool EndWatch(ServiceName name) override;
  void SetCanary(ServiceSpec spec, CanaryTerms terms, CanaryStart start,
                 std::function<void(Status)> done) override;
  void EndCanary(ServiceName name) override;
  void Remove(ServiceName name, std::function<void(Status)> done) override;
  void SetEnvironments(std::vector<std::string> environments) override;
  void Shutdown(std::function<void()> done) override;

  // ControllerShell.
  uint64_t NextRevision() override { return ++last_revision_; }
  double NextRandom() override;
  StatusOr<Instance*> Launch(ServiceController* controller, const ServiceSpec& spec,
                             StartFor what) override;
  void Drain(Instance* instance, const std::string& reason) override;
  void Kill(Instance* instance, const Status& because) override;
  ShardController* ShardsOf(ServiceController* controller, uint32_t shards) override;
  Status WithLastWords(const Instance& instance, const std::string& what) const override;
  void Publish(std::shared_ptr<const ServiceView> view) override;
  void PublishRemoved(ServiceName name, uint64_t revision) override;
  void PublishStartFailed(ServiceName name, const Status& status) override;

  // fleet::DriverEvents.
  void OnStarted(uint64_t id, const fleet::Started& started) override;
  void OnReady(uint64_t id) override;
  void OnOutput(uint64_t id, fleet::OutputStream stream, std::string_view bytes) override;
  void OnExited(uint64_t id, const fleet::Exited& exited) override;
  void OnFailed(uint64_t id, const Status& status) override;
  void OnRemoved(uint64_t id) override;

 private:
  struct Watcher {
    fleet::Caller caller;
    // The introduction peer: its own, or the socket of the instance that it belongs to.
    uint64_t peer_key = 0;
  };

  // A service that waits for memory for an instance.
  struct MemoryAsk {
    std::string environment;
    std::string service;
    uint64_t bytes = 0;
    StartFor what = StartFor::kLater;
    bool comes = false;  // so much is about to come free for it
  };

  explicit ControlLoop(ControlOptions options);
  ServiceController* ControllerOf(ServiceName name);
  ServiceController* FindController(ServiceName name) const;
  Instance* FindInstance(uint64_t key) const;
  Instance* FindInstanceById(const std::string& id) const;
  Instance* AddInstance(ServiceController* controller, uint64_t version);
  Status StartPlanned(Instance* instance, const ServiceSpec& spec, const LaunchPlan& plan);
  StatusOr<fleet::AttachWelcome> AttachNow(const fleet::AttachHello& hello,
                                           std::shared_ptr<fleet::AttachPeer> peer);
  StatusOr<Instance*> AttachStarted(const fleet::AttachHello& hello);
  StatusOr<Instance*> AttachProgram(const fleet::AttachHello& hello);
  Status FailAttach(Instance* instance, const Status& why);
  void BecomeReadyIfReachable(Instance* instance);
  void AskHealth(Instance* instance);
  void OnHealth(uint64_t instance_key, const Status& status);
  // Tells it so, once every data loop has what was published until now.
  void TellServing(const Instance& instance);
  void Heard(Instance* instance);
  void LookForSilence();
  void Stalled(Instance* instance);
  void StalledTooLong(Instance* instance);
  void OnUnreachable(Instance* instance);
  void Lose(Instance* instance, const std::string& what, int64_t grace_ns);
  void PollDrain(Instance* instance, int64_t give_up_ns);
  // A socket to it, whatever its phase.
  StatusOr<UniqueFd> SocketTo(Instance* instance, const std::string& caller,
                              fleet::Introducer::CallerIs kind, uint64_t id);
  // Its own address with TLS, and a token for the caller.
  StatusOr<route::AddressWay> AddressOf(const Instance& instance, const std::string& caller,
                                        fleet::Introducer::CallerIs kind) const;
  StatusOr<HostWay> WayTo(uint64_t instance_key);
  StatusOr<route::AddressWay> IntroduceNow(uint64_t watcher_key, uint64_t id,
                                           const std::string& instance, route::IntroduceBy by);
  void Gone(Instance* instance, const Status& why);
  void Note(const Instance& instance, std::string_view line);
  void DropFinishedControllers();
  void CheckShutdown();
  int64_t DrainDeadlineNs(const Instance& instance) const;
  // As Launch().
  Status ReserveMemory(ServiceController* controller, const ServiceSpec& spec, StartFor what);
  // Whether so much is about to come free; idle instances of others are stopped for that.
  bool MakeRoom(const ServiceController& taker, uint64_t bytes, StartFor what);
  void TakeMemory(uint64_t bytes, policy::MemoryClaim claim);
  void ReleaseMemory(const Instance& instance);
  void OfferMemory();
  // What the shards of its service are told of it; null: it has none.
  ShardController* ShardsOf(const Instance* instance) const;

  ControlOptions options_;
  std::unique_ptr<fleet::Introducer> introducer_;
  std::unique_ptr<route::TokenSigner> signer_;
  Random random_;
  uint64_t next_key_ = 1;
  uint64_t last_revision_ = 0;
  policy::HostMemory memory_;
  std::vector<MemoryAsk> memory_asks_;  // by age, one of each service
  // Before the services that use them. They stay: the registry may still answer them.
  std::unique_ptr<HostLease> lease_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<ShardController>> shards_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<ServiceController>> controllers_;
  boost::unordered_flat_map<uint64_t, std::unique_ptr<Instance>> instances_;
  boost::unordered_flat_map<std::string, uint64_t> instances_by_id_;
  boost::unordered_flat_map<uint64_t, Watcher> watchers_;
  std::shared_ptr<const std::vector<std::string>> environments_;  // sorted; null: not told yet
  std::function<void()> shutdown_done_;
  int64_t silence_looked_ns_ = 0;
  FunctionTimer silence_timer_{[this] { LookForSilence(); }};
  FunctionTimer memory_timer_{[this] { OfferMemory(); }};
  FunctionTimer shutdown_timer_{[this] { CheckShutdown(); }};
  std::atomic<uint64_t> introductions_{0};
  std::atomic<uint64_t> instances_started_{0};
  std::atomic<uint64_t> ram_reserved_bytes_{0};
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_CONTROL_LOOP_H_
