// The suite on the driver without processes that other tests use.
#include "tests/contract/driver/contract.h"
#include "tests/contract/driver/memory_driver.h"

namespace lever::fleet {
namespace {

class MemoryHolder final : public DriverHolder {
 public:
  explicit MemoryHolder(Loop* loop) : driver_(std::make_unique<MemoryDriver>(loop)) {}
  Driver* driver() override { return driver_.get(); }
  void End() override { driver_.reset(); }

 private:
  std::unique_ptr<MemoryDriver> driver_;
};

constexpr DriverImplementation kImplementation{"Memory",
                                               [](Loop* loop) -> std::unique_ptr<DriverHolder> {
                                                 return std::make_unique<MemoryHolder>(loop);
                                               }};

INSTANTIATE_TEST_SUITE_P(Memory, DriverContract, testing::Values(kImplementation),
                         ImplementationName);
// There are no processes here.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ProcessContract);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HoldContract);

}  // namespace
}  // namespace lever::fleet
