// A control plane that records what it is told and answers what the test has set.
#ifndef TESTS_HOST_DEPLOY_FAKE_CONTROL_H_
#define TESTS_HOST_DEPLOY_FAKE_CONTROL_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "liblever/host/scale/control.h"

namespace lever {

class FakeControl : public scale::Control {
 public:
  explicit FakeControl(Loop* loop) : loop_(loop) {}

  Loop& loop() override { return *loop_; }
  void Deploy(scale::ServiceSpec spec, std::function<void(Status)> done) override {
    deployed.push_back(spec);
    if (answer.ok()) {
      std::erase_if(services, [&](const auto& service) { return service.spec.name() == spec.name(); });
      scale::ServiceStatus service;
      service.spec = std::move(spec);
      service.deployed = true;
      services.push_back(std::move(service));
    }
    loop_->Post([done = std::move(done), answer = answer] { done(answer); });
  }
  void Remove(scale::ServiceName name, std::function<void(Status)> done) override {
    const size_t gone =
        std::erase_if(services, [&](const auto& service) { return service.spec.name() == name; });
    done(gone > 0 ? Status::Ok() : NotFound("no such service"));
  }
  void Watch(scale::ServiceName name, int64_t watch_ns,
             std::function<void(scale::WatchResult)> done) override {
    watches[name.ToString()] = {watch_ns, std::move(done)};
  }
  bool EndWatch(scale::ServiceName name) override {
    if (taking_back) return false;
    const auto watch = watches.extract(name.ToString());
    if (!watch.empty()) watch.mapped().second({});
    return true;
  }
  // What the test says of a version that is watched.
  void EndWatch(const std::string& service, scale::WatchResult result) {
    const auto watch = watches.extract(service);
    watch.mapped().second(std::move(result));
  }
  void SetCanary(scale::ServiceSpec spec, scale::CanaryTerms terms, scale::CanaryStart,
                 std::function<void(Status)> done) override {
    if (answer.ok()) canaries[spec.name().ToString()] = {spec.version, terms};
    loop_->Post([done = std::move(done), answer = answer] { done(answer); });
  }
  void EndCanary(scale::ServiceName name) override { canaries.erase(name.ToString()); }
  void SetEnvironments(std::vector<std::string> names) override { environments = std::move(names); }
  void ListInstances(Loop* loop, std::function<void(std::vector<scale::InstanceStatus>)> done) override {
    loop->Post([done = std::move(done), rows = instances] { done(rows); });
  }
  void ListOwners(scale::ServiceName, Loop*,
                  std::function<void(StatusOr<std::vector<scale::OwnerStatus>>)>) override {}
  void ChangeOwner(scale::ServiceName, std::string, policy::ShardChange, std::string, Loop*,
                   std::function<void(StatusOr<scale::OwnerChange>)>) override {}
  void ListServices(Loop* loop, std::function<void(std::vector<scale::ServiceStatus>)> done) override {
    loop->Post([done = std::move(done), rows = services] { done(rows); });
  }
  void Shutdown(std::function<void()> done) override { done(); }

  void Demand(scale::ServiceName name, const void* holder, uint32_t held_calls) override {}
  void Connect(uint64_t key, Loop* loop, std::function<void(StatusOr<scale::HostWay>)> done) override {
    loop->Post([done = std::move(done)] { done(Unavailable("no instance")); });
  }
  void AddWatcher(fleet::Caller caller, Loop* loop, std::function<void(WatcherTicket)> done) override {
    loop->Post([done = std::move(done)] { done({}); });
  }
  void RemoveWatcher(uint64_t key) override {}
  void Introduce(uint64_t key, uint64_t id, std::string instance, route::IntroduceBy by, Loop* loop,
                 std::function<void(StatusOr<route::AddressWay>)> done) override {
    loop->Post([done = std::move(done)] { done(Unavailable("no instance")); });
  }
  scale::ControlCounters Counters() const override { return {.ram_bytes = ram_bytes}; }
  void Attach(fleet::AttachHello hello, std::shared_ptr<fleet::AttachPeer> peer, Loop* loop,
              std::function<void(StatusOr<fleet::AttachWelcome>)> done) override {
    loop->Post([done = std::move(done)] { done(Unavailable("nobody attaches here")); });
  }
  void AttachReady(uint64_t key) override {}
  void AttachLoad(uint64_t key, fleet::LoadReportData report) override {}
  void AttachRenew(uint64_t, uint64_t) override {}
  void AttachShardLoads(uint64_t, fleet::ShardLoadsData) override {}
  void AttachReleased(uint64_t, fleet::ShardReleasedData) override {}
  void AttachState(uint64_t, fleet::StateRequestData) override {}
  void AttachDraining(uint64_t key) override {}
  void AttachDrained(uint64_t key, uint32_t cut_off) override {}
  void AttachEnded(uint64_t key, Status status) override {}

  // By service: for how long, and who is told.
  std::map<std::string, std::pair<int64_t, std::function<void(scale::WatchResult)>>> watches;
  std::map<std::string, std::pair<uint64_t, scale::CanaryTerms>> canaries;  // by service
  bool taking_back = false;
  // What Deploy() answers.
  Status answer;
  std::vector<scale::InstanceStatus> instances;
  std::vector<scale::ServiceStatus> services;
  std::vector<scale::ServiceSpec> deployed;
  std::vector<std::string> environments;
  uint64_t ram_bytes = 0;

 private:
  Loop* loop_;
};

}  // namespace lever

#endif  // TESTS_HOST_DEPLOY_FAKE_CONTROL_H_
