// A driver that never answers: whoever starts an instance has deadlines of its own, so that nobody
// waits for it.
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "liblever/host/scale/control_loop.h"
#include "tests/contract/driver/memory_driver.h"

namespace lever::fleet {
namespace {

constexpr int64_t kStartTimeoutNs = 10 * kNanosPerSecond;

class PlanAtOnce final : public scale::LaunchPlanner {
 public:
  void Plan(const scale::ServiceSpec& spec,
            std::function<void(StatusOr<scale::LaunchPlan>)> done) override {
    scale::LaunchPlan plan;
    plan.argv = spec.entry;
    plan.directory = "/";
    done(plan);
  }
};

class NoOutput final : public scale::InstanceOutput {
 public:
  void Begin(const scale::OutputSource& source) override {}
  void Append(uint64_t instance_key, OutputStream stream, std::string_view bytes) override {}
  void Note(uint64_t instance_key, std::string_view line) override {
    notes.append(line).append("\n");
  }
  std::string LastWords(uint64_t instance_key) override { return ""; }
  void End(uint64_t instance_key) override {}

  std::string notes;
};

class StartFailures final : public scale::DirectoryObserver {
 public:
  void OnStartFailed(scale::ServiceName name, const Status& status) override {
    failures.push_back(status);
  }
  std::vector<Status> failures;
};

// The host's control loop on a driver in memory, with time moved by hand.
class HangingDriverTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (std::filesystem::temp_directory_path() / "lever-hang-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    LoopOptions options;
    options.clock = &clock_;
    options.posters_drive = false;
    auto loop = Loop::Open(options);
    ASSERT_TRUE(loop.ok());
    loop_ = std::move(loop).value();
    driver_ = std::make_unique<MemoryDriver>(loop_.get(), MemoryDriver::Mode::kHangs);
    directory_.AddObserver(&failures_);
    scale::ControlOptions control;
    control.loop = loop_.get();
    control.data_loops = {{loop_.get(), &directory_}};
    control.driver = driver_.get();
    control.planner = &planner_;
    control.output = &output_;
    control.introduction_path = folder_ + "/introduction.sock";
    control.adopt = [](UniqueFd socket, Caller caller) { return Status::Ok(); };
    auto opened = scale::ControlLoop::Open(std::move(control));
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    control_ = std::move(opened).value();
  }
  void TearDown() override {
    directory_.RemoveObserver(&failures_);
    control_.reset();
    driver_.reset();
    Settle();
    loop_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Settle() {
    while (*loop_->Turn(0)) {
    }
  }
  void Pass(int64_t ns) {
    clock_.Advance(ns);
    Settle();
  }
  void Deploy() {
    scale::ServiceSpec spec;
    spec.environment = "dev.lever";
    spec.service = "hello";
    spec.version = 1;
    spec.entry = {"./serve"};
    spec.start_timeout_ns = kStartTimeoutNs;
    spec.drain_timeout_ns = kNanosPerSecond;
    loop_->Post([this, spec] { control_->Deploy(spec, [](Status) {}); });
    Settle();
  }

  ManualClock clock_;
  std::string folder_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<MemoryDriver> driver_;
  scale::Directory directory_;
  StartFailures failures_;
  PlanAtOnce planner_;
  NoOutput output_;
  std::unique_ptr<scale::ControlLoop> control_;
};

TEST_F(HangingDriverTest, TheOwnersDeadlinesEndTheWait) {
  Deploy();
  control_->Demand({"dev.lever", "hello"}, this, 3);
  Settle();
  ASSERT_EQ(driver_->starts(), 1u);
  Pass(kStartTimeoutNs - kNanosPerMilli);
  EXPECT_EQ(driver_->kills(), 0u);
  EXPECT_TRUE(failures_.failures.empty());
  Pass(2 * kNanosPerMilli);
  EXPECT_EQ(driver_->kills(), 1u) << "the start deadline";
  Pass(scale::ControlLoop::kExitGraceNs);
  EXPECT_EQ(driver_->removes(), 1u) << "it does not say that it has killed";
  ASSERT_EQ(failures_.failures.size(), 1u);
  EXPECT_EQ(failures_.failures[0].code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(failures_.failures[0].executed(), LEVER_EXECUTED_NO);
  EXPECT_NE(failures_.failures[0].message().find("not ready within 10000 ms"), std::string::npos)
      << failures_.failures[0].message();
  EXPECT_NE(output_.notes.find("its driver does not answer"), std::string::npos);
}

TEST_F(HangingDriverTest, ShuttingDownDoesNotWaitForItForEver) {
  Deploy();
  control_->Demand({"dev.lever", "hello"}, this, 1);
  Settle();
  bool done = false;
  loop_->Post([&] { control_->Shutdown([&] { done = true; }); });
  Settle();
  EXPECT_FALSE(done);
  Pass(scale::ControlLoop::kExitGraceNs);
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace lever::fleet
