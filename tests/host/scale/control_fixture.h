// The control loop with a driver, a planner and an output of the tests' own, and time by hand.
#ifndef TESTS_HOST_SCALE_CONTROL_FIXTURE_H_
#define TESTS_HOST_SCALE_CONTROL_FIXTURE_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "liblever/host/scale/control_loop.h"
#include "tests/route/loop_fixture.h"

namespace lever::scale {

// Does nothing by itself: the test tells what becomes of what was started.
class FakeDriver final : public fleet::Driver {
 public:
  void Start(uint64_t id, fleet::InstanceSpec spec, fleet::DriverEvents* driver_events) override {
    events = driver_events;
    order.push_back(id);
    started.emplace(id, std::move(spec));
  }
  void Stop(uint64_t id, fleet::StopKind kind) override {
    (kind == fleet::StopKind::kKill ? killed : asked_to_stop).insert(id);
  }
  void Remove(uint64_t id) override { removed.insert(id); }
  std::string Describe() const override { return "the tests' driver"; }

  fleet::DriverEvents* events = nullptr;
  std::vector<uint64_t> order;
  std::map<uint64_t, fleet::InstanceSpec> started;
  std::set<uint64_t> killed, asked_to_stop, removed;
};

class FakePlanner final : public LaunchPlanner {
 public:
  explicit FakePlanner(Loop* loop) : loop_(loop) {}
  void Plan(const ServiceSpec& spec, std::function<void(StatusOr<LaunchPlan>)> done) override {
    LaunchPlan plan;
    plan.argv = {"./serve"};
    StatusOr<LaunchPlan> result = answer.ok() ? StatusOr<LaunchPlan>(plan) : StatusOr<LaunchPlan>(answer);
    loop_->Post([done = std::move(done), result] { done(result); });
  }
  Status answer;

 private:
  Loop* loop_;
};

class FakeOutput final : public InstanceOutput {
 public:
  void Begin(const OutputSource& source) override { ++open; }
  void Append(uint64_t key, fleet::OutputStream stream, std::string_view bytes) override {}
  void Note(uint64_t key, std::string_view line) override { notes.emplace_back(line); }
  std::string LastWords(uint64_t key) override { return last_words; }
  void End(uint64_t key) override { --open; }

  int open = 0;
  std::string last_words;
  std::vector<std::string> notes;
};

class FakePeer final : public fleet::AttachPeer {
 public:
  void TellServing() override { serving = true; }
  void RequestDrain(int64_t timeout_ns, std::string why) override {
    drain_timeout_ns = timeout_ns;
    reason = std::move(why);
  }
  void TellShards(fleet::ShardOrdersData orders) override { shards.push_back(std::move(orders)); }
  void TellRenewed(uint64_t id) override { renewed.push_back(id); }
  void TellState(fleet::StateAnswerData answer) override { states.push_back(std::move(answer)); }
  void End(Status status) override { ended = std::move(status); }

  std::vector<fleet::ShardOrdersData> shards;
  std::vector<uint64_t> renewed;
  std::vector<fleet::StateAnswerData> states;
  bool serving = false;
  int64_t drain_timeout_ns = -1;
  std::string reason;
  std::optional<Status> ended;
};

class ControlTest : public LoopTest, private DirectoryObserver {
 protected:
  explicit ControlTest(registry::Registry* registry = nullptr, uint64_t ram_bytes = 0)
      : planner(loop.get()) {
    char path[] = "/tmp/lever-control-XXXXXX";
    directory_path = ::mkdtemp(path);
    directory.AddObserver(this);
    Do([&] {
      ControlOptions options;
      options.loop = loop.get();
      options.data_loops = {{loop.get(), &directory}};
      options.driver = &driver;
      options.planner = &planner;
      options.output = &output;
      options.introduction_path = directory_path + "/introductions";
      options.adopt = [this](UniqueFd socket, fleet::Caller caller) {
        adopted.emplace(caller.instance_key, std::move(socket));
        return Status::Ok();
      };
      options.registry = registry;
      options.host_id = "h-1";
      options.random_seed = 7;
      options.ram_bytes = ram_bytes;
      auto opened = ControlLoop::Open(std::move(options));
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      control = std::move(opened).value();
    });
  }
  ~ControlTest() override {
    Do([&] { control.reset(); });
    std::filesystem::remove_all(directory_path);
  }

  static ServiceSpec Spec(uint64_t version = 1) {
    ServiceSpec spec;
    spec.environment = "dev.lever";
    spec.service = "hello";
    spec.version = version;
    spec.entry = {"./serve"};
    spec.idle_timeout_ns = 300 * kNanosPerSecond;
    spec.start_timeout_ns = 30 * kNanosPerSecond;
    spec.drain_timeout_ns = 10 * kNanosPerSecond;
    return spec;
  }
  static ServiceName Hello() { return {"dev.lever", "hello"}; }

  // Begins a deploy; its answer comes in `deployed`.
  void Deploy(ServiceSpec spec) {
    deployed.reset();
    Do([&] { control->Deploy(std::move(spec), [this](Status status) { deployed = std::move(status); }); });
    Settle();
  }
  void Demand(uint32_t calls = 1) {
    Do([&] { control->Demand(Hello(), this, calls); });
    Settle();
  }
  // The one that the driver was told to start last.
  uint64_t Last() const { return driver.order.empty() ? 0 : driver.order.back(); }

  void Started(uint64_t key) {
    Do([&] { driver.events->OnStarted(key, {.pid = 1000 + static_cast<int64_t>(key)}); });
    Settle();
  }
  void Attached(uint64_t key) {
    peers[key] = std::make_shared<FakePeer>();
    fleet::AttachHello hello;
    hello.caller.instance_key = key;
    std::optional<StatusOr<fleet::AttachWelcome>> welcome;
    Do([&] {
      control->Attach(std::move(hello), peers[key], loop.get(), [&](auto answer) { welcome = std::move(answer); });
    });
    Settle();
    ASSERT_TRUE(welcome.has_value() && welcome->ok());
  }
  void Ready(uint64_t key) {
    Started(key);
    Attached(key);
    Do([&] { control->AttachReady(key); });
    Settle();
  }
  // Demands an instance and makes it ready.
  uint64_t Up() {
    Demand();
    const uint64_t key = Last();
    Ready(key);
    return key;
  }
  void Exited(uint64_t key, int code = 0) {
    Do([&] {
      fleet::Exited exited;
      exited.code = code;
      driver.events->OnExited(key, exited);
    });
    Settle();
  }
  void Load(uint64_t key, uint32_t calls, uint32_t streams) {
    Do([&] {
      fleet::LoadReportData report;
      report.calls = calls;
      report.streams = streams;
      report.last_active_ns = calls + streams > 0 ? clock.NowNs() : 0;
      control->AttachLoad(key, report);
    });
    Settle();
  }
  // Time goes on, and these say every half second that they live.
  void Live(int64_t by_ns, const std::vector<uint64_t>& keys) {
    constexpr int64_t kStepNs = kNanosPerSecond / 2;
    for (int64_t passed = 0; passed < by_ns; passed += kStepNs) {
      Advance(kStepNs);
      for (const uint64_t key : keys) Load(key, 0, 0);
    }
  }

  std::vector<uint64_t> Listed() const {
    std::vector<uint64_t> keys;
    const ListedService* service = directory.Find(Hello());
    if (service != nullptr) {
      for (const InstanceView& instance : service->instances) keys.push_back(instance.key);
    }
    return keys;
  }
  std::vector<InstanceStatus> Rows() {
    std::vector<InstanceStatus> rows;
    Do([&] { control->ListInstances(loop.get(), [&](auto answer) { rows = std::move(answer); }); });
    Settle();
    return rows;
  }

  std::string directory_path;
  Directory directory;
  FakeDriver driver;
  FakePlanner planner;
  FakeOutput output;
  std::map<uint64_t, UniqueFd> adopted;
  std::map<uint64_t, std::shared_ptr<FakePeer>> peers;
  std::unique_ptr<ControlLoop> control;
  std::optional<Status> deployed;
  std::vector<Status> failures;  // of starts
  int removals = 0;

 private:
  void OnStartFailed(ServiceName name, const Status& status) override { failures.push_back(status); }
  void OnServiceRemoved(ServiceName name) override { ++removals; }
};

}  // namespace lever::scale

#endif  // TESTS_HOST_SCALE_CONTROL_FIXTURE_H_
