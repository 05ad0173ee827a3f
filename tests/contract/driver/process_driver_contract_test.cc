// The suite on the process driver with the real lever-spawner: with the cgroups of this machine, and as
// on a machine without any.
#include "liblever/host/fleet/process_driver.h"
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

std::unique_ptr<DriverHolder> OpenProcessDriver(Loop* loop, bool use_cgroups) {
  ProcessDriverOptions options;
  options.spawner_path = LEVER_SPAWNER;
  options.use_cgroups = use_cgroups;
  auto driver = ProcessDriver::Open(loop, options);
  EXPECT_TRUE(driver.ok()) << driver.status().ToString();
  if (!driver.ok()) return nullptr;
  return std::make_unique<ProcessHolder>(std::move(driver).value());
}

constexpr DriverImplementation kImplementations[] = {
    {"WithCgroups", [](Loop* loop) { return OpenProcessDriver(loop, true); }},
    {"WithoutCgroups", [](Loop* loop) { return OpenProcessDriver(loop, false); }},
};

INSTANTIATE_TEST_SUITE_P(Process, DriverContract, testing::ValuesIn(kImplementations),
                         ImplementationName);
INSTANTIATE_TEST_SUITE_P(Process, ProcessContract, testing::ValuesIn(kImplementations),
                         ImplementationName);
INSTANTIATE_TEST_SUITE_P(Process, HoldContract, testing::ValuesIn(kImplementations),
                         ImplementationName);

}  // namespace
}  // namespace lever::fleet
