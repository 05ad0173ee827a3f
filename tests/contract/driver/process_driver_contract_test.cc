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
            "process (RAM limit by sampling, processes by sampling, CPU not limited, no cgroups)");
}

}  // namespace
}  // namespace lever::fleet
