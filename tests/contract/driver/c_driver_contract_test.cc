// The suite on the example's driver, which is C behind the table of functions of lever/host.h, as a host
// uses it.
#include <mutex>

#include "examples/embed/driver.h"
#include "liblever/host/capi/external_driver.h"
#include "tests/contract/driver/contract.h"

// What the driver's callbacks get for a host: as much of one as they use.
struct lever_host {
  std::mutex mutex;
  lever::host::ExternalDriver* driver = nullptr;
};

namespace {

// As host.h has it: reports may come from any thread, and after the driver's end too.
lever_status Report(lever_host* host,
                    const std::function<lever::Status(lever::host::ExternalDriver*)>& report) {
  const std::lock_guard lock(host->mutex);
  if (host->driver == nullptr) return LEVER_NOT_FOUND;
  return report(host->driver).code();
}

}  // namespace

extern "C" {

lever_status lever_host_instance_started(lever_host* host, uint64_t id, int64_t pid,
                                         const char* address) {
  return Report(host, [&](auto* driver) { return driver->ReportStarted(id, pid, address); });
}

lever_status lever_host_instance_failed(lever_host* host, uint64_t id, lever_status status,
                                        const char* message) {
  return Report(host, [&](auto* driver) {
    return driver->ReportFailed(id, lever::Status(status, message));
  });
}

lever_status lever_host_instance_output(lever_host* host, uint64_t id, lever_output stream,
                                        const uint8_t* data, size_t size) {
  return Report(host, [&](auto* driver) {
    return driver->ReportOutput(id, static_cast<lever::fleet::OutputStream>(stream),
                                std::string(reinterpret_cast<const char*>(data), size));
  });
}

lever_status lever_host_instance_exited(lever_host* host, uint64_t id, int exit_code, int signal) {
  return Report(host, [&](auto* driver) { return driver->ReportExited(id, exit_code, signal); });
}

}  // extern "C"

namespace lever::fleet {
namespace {

class CDriverHolder final : public DriverHolder {
 public:
  explicit CDriverHolder(Loop* loop)
      : driver_(std::make_unique<host::ExternalDriver>(loop, &host_, driver_of_processes())) {
    host_.driver = driver_.get();
  }
  Driver* driver() override { return driver_.get(); }
  void End() override {
    {
      const std::lock_guard lock(host_.mutex);
      host_.driver = nullptr;
    }
    driver_.reset();
    driver_wait();
  }

 private:
  lever_host host_;
  std::unique_ptr<host::ExternalDriver> driver_;
};

constexpr DriverImplementation kImplementation{
    "ExamplesEmbed", [](Loop* loop) -> std::unique_ptr<DriverHolder> {
      return std::make_unique<CDriverHolder>(loop);
    }};

INSTANTIATE_TEST_SUITE_P(C, DriverContract, testing::Values(kImplementation), ImplementationName);
INSTANTIATE_TEST_SUITE_P(C, ProcessContract, testing::Values(kImplementation), ImplementationName);
// The example does not hold its instances to limits.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HoldContract);

}  // namespace
}  // namespace lever::fleet
