// The suite on the process driver with the real lever-spawner: with the cgroups of this machine, in
// a cgroup that it is given, and as on a machine without any.
#include "liblever/host/fleet/proc_file.h"
#include "liblever/host/fleet/process_driver.h"
#include "liblever/host/fleet/spawner_cgroup.h"
#include "tests/contract/driver/contract.h"

namespace lever::fleet {
namespace {

class ProcessHolder final : public DriverHolder {
 public:
  explicit ProcessHolder(std::unique_ptr<ProcessDriver> driver) : driver_(std::move(driver)) {}
  Driver* driver() override { return driver_.get(); }
  void End() override { driver_.reset(); }

 private:
  std::unique_ptr<ProcessDriver> driver_;
};

std::string NamespaceOf(int64_t pid) {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/ns/pid", error).string();
}

int ProcessesIn(const std::string& space) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const int64_t pid = std::stoll(name);
    count += Alive(pid) && NamespaceOf(pid) == space;
  }
  return count;
}

enum class Cgroups { kNone, kOwn, kRoot };

// v1's group where that has the memory controller, so that it is used alone.
std::string CgroupRootHere() {
  const std::string groups = ReadProcFile("/proc/self/cgroup");
  const std::string mounts = ReadProcFile("/proc/self/mountinfo");
  const std::string v1 = OwnCgroupDirectory(groups, mounts, "memory");
  return v1.empty() ? OwnCgroupDirectory(groups, mounts, "") : v1;
}

std::unique_ptr<DriverHolder> OpenProcessDriver(Loop* loop, Cgroups cgroups) {
  ProcessDriverOptions options;
  options.spawner_path = LEVER_SPAWNER;
  options.use_cgroups = cgroups != Cgroups::kNone;
  if (cgroups == Cgroups::kRoot) options.cgroup_root = CgroupRootHere();
  auto driver = ProcessDriver::Open(loop, options);
  EXPECT_TRUE(driver.ok()) << driver.status().ToString();
  if (!driver.ok()) return nullptr;
  return std::make_unique<ProcessHolder>(std::move(driver).value());
}

constexpr DriverImplementation kImplementations[] = {
    {"WithCgroups", [](Loop* loop) { return OpenProcessDriver(loop, Cgroups::kOwn); }},
    {"InACgroupRoot", [](Loop* loop) { return OpenProcessDriver(loop, Cgroups::kRoot); }},
    {"WithoutCgroups", [](Loop* loop) { return OpenProcessDriver(loop, Cgroups::kNone); }},
};

INSTANTIATE_TEST_SUITE_P(Process, DriverContract, testing::ValuesIn(kImplementations),
                         ImplementationName);
INSTANTIATE_TEST_SUITE_P(Process, ProcessContract, testing::ValuesIn(kImplementations),
                         ImplementationName);
INSTANTIATE_TEST_SUITE_P(Process, HoldContract, testing::ValuesIn(kImplementations),
                         ImplementationName);

// All instances in the sandbox, which gets the folder of the program that they run.
class SandboxHolder final : public DriverHolder, private Driver {
 public:
  explicit SandboxHolder(std::unique_ptr<ProcessDriver> driver) : driver_(std::move(driver)) {}
  Driver* driver() override { return this; }
  void End() override { driver_.reset(); }

 private:
  void Start(uint64_t id, InstanceSpec spec, DriverEvents* events) override {
    spec.sandbox = SandboxWish::kBwrap;
    spec.readable = {std::filesystem::path(LEVER_TEST_PROGRAM).parent_path().string()};
    driver_->Start(id, std::move(spec), events);
  }
  void Stop(uint64_t id, StopKind kind) override { driver_->Stop(id, kind); }
  void Remove(uint64_t id) override { driver_->Remove(id); }
  std::string Describe() const override { return driver_->Describe(); }

  std::unique_ptr<ProcessDriver> driver_;
};

std::unique_ptr<DriverHolder> OpenSandboxed(Loop* loop, bool use_cgroups) {
  ProcessDriverOptions options;
  options.spawner_path = LEVER_SPAWNER;
  options.use_cgroups = use_cgroups;
  options.sandbox = SandboxMode::kRequired;
  auto driver = ProcessDriver::Open(loop, options);
  EXPECT_TRUE(driver.ok()) << driver.status().ToString();
  if (!driver.ok()) return nullptr;
  return std::make_unique<SandboxHolder>(std::move(driver).value());
}

constexpr DriverImplementation kSandboxed[] = {
    {"WithCgroups", [](Loop* loop) { return OpenSandboxed(loop, true); }},
    {"WithoutCgroups", [](Loop* loop) { return OpenSandboxed(loop, false); }},
};
INSTANTIATE_TEST_SUITE_P(Sandboxed, DriverContract, testing::ValuesIn(kSandboxed),
                         ImplementationName);
INSTANTIATE_TEST_SUITE_P(Sandboxed, ProcessContract, testing::ValuesIn(kSandboxed),
                         ImplementationName);

class SandboxedProcess : public DriverFixture {};

TEST_P(SandboxedProcess, LeavesNothingBehindWhateverItForks) {
  Run(1, {"daemon", "daemon", "wait"});
  ASSERT_TRUE(AwaitOut(1, "daemon "));
  ASSERT_TRUE(AwaitStarted(1));
  const std::string space = NamespaceOf(Of(1).started->pid);
  ASSERT_NE(space, NamespaceOf(::getpid()));
  EXPECT_GE(ProcessesIn(space), 3);
  Stop(1, StopKind::kKill);
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(ProcessesIn(space), 0) << "OnExited() says that nothing is left";
}

TEST_P(SandboxedProcess, TheRamLimitCountsWhatItHasStarted) {
  InstanceSpec spec = Spec({"hog-child", "200", "wait"});
  spec.ram_limit_bytes = 64 << 20;
  Start(1, std::move(spec));
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_TRUE(Of(1).exited->ram_limit);
}

TEST_P(SandboxedProcess, CannotListenByItself) {
  Start(1, ListeningSpec("unix:" + folder_ + "/socket", {"listen", "wait"}));
  ASSERT_TRUE(RunUntil([&] { return Of(1).failed.has_value(); }));
  EXPECT_EQ(Of(1).failed->code(), LEVER_FAILED_PRECONDITION);
}

INSTANTIATE_TEST_SUITE_P(Sandboxed, SandboxedProcess, testing::ValuesIn(kSandboxed),
                         ImplementationName);

class CpuLimit : public DriverFixture {};

TEST_P(CpuLimit, AnInstanceGetsItsShareAndNoMore) {
  ASSERT_EQ(holder_->driver()->Describe().find("CPU not limited"), std::string::npos);
  InstanceSpec spec = Spec({"spin", "1000"});
  spec.cpu_millis = 200;
  Start(1, std::move(spec));
  ASSERT_TRUE(AwaitExited(1));
  const size_t at = Of(1).out.find("spun ");
  ASSERT_NE(at, std::string::npos);
  // 200 ms, and what of one period of 100 ms is in the window beside.
  EXPECT_LE(std::stol(Of(1).out.substr(at + 5)), 330);
}

// Where the cores cannot be limited, it says so; the other kinds are named beside.
INSTANTIATE_TEST_SUITE_P(Process, CpuLimit, testing::Values(kImplementations[0]),
                         ImplementationName);

TEST(ProcessDriver, SaysHowItLimits) {
  auto loop = Loop::Open({});
  ASSERT_TRUE(loop.ok());
  auto without = OpenProcessDriver(loop->get(), Cgroups::kNone);
  ASSERT_NE(without, nullptr);
  EXPECT_EQ(without->driver()->Describe(),
            "process (RAM limit by sampling, processes by sampling, CPU not limited, no cgroups; "
            "no sandbox)");
}

}  // namespace
}  // namespace lever::fleet
