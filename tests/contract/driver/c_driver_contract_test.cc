// The suite on the example's driver, which is C behind the table of functions of lever/host.h, as a
// host uses it.
#include <atomic>
#include <mutex>
#include <thread>

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
  return Report(
      host, [&](auto* driver) { return driver->ReportFailed(id, lever::Status(status, message)); });
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

constexpr DriverImplementation kImplementation{"ExamplesEmbed",
                                               [](Loop* loop) -> std::unique_ptr<DriverHolder> {
                                                 return std::make_unique<CDriverHolder>(loop);
                                               }};

INSTANTIATE_TEST_SUITE_P(C, DriverContract, testing::Values(kImplementation), ImplementationName);
INSTANTIATE_TEST_SUITE_P(C, ProcessContract, testing::Values(kImplementation), ImplementationName);
// The example does not hold its instances to limits.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HoldContract);

// ---- The adapter alone ----

class ExternalDriverTest : public testing::Test {
 protected:
  void SetUp() override {
    LoopOptions options;
    options.posters_drive = false;
    loop_ = Loop::Open(options).value();
    lever_driver driver{};
    driver.size = sizeof(driver);
    driver.start = [](void*, lever_host*, uint64_t, const lever_instance_spec*) {
      return LEVER_OK;
    };
    driver.stop = [](void*, lever_host*, uint64_t, int) {};
    driver_ = std::make_unique<host::ExternalDriver>(loop_.get(), &host_, driver);
    InstanceSpec spec;
    spec.argv = {"serve"};
    recorder_.Expect(1);
    driver_->Start(1, std::move(spec), &recorder_);
    ASSERT_TRUE(driver_->ReportStarted(1, 0, nullptr).ok());
  }
  void Settle() {
    while (*loop_->Turn(0)) {
    }
  }

  lever_host host_;
  std::unique_ptr<Loop> loop_;
  Recorder recorder_;
  std::unique_ptr<host::ExternalDriver> driver_;
};

TEST_F(ExternalDriverTest, OutputOnItsWayIsBounded) {
  const std::string piece(300'000, 'x');
  size_t taken = 0;
  Status status;
  while (taken < 100 && (status = driver_->ReportOutput(1, OutputStream::kStdout, piece)).ok())
    ++taken;
  EXPECT_EQ(status.code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(taken, host::ExternalDriver::kOutputBytesMax / piece.size());
  Settle();
  EXPECT_EQ(recorder_.Of(1).out.size(), taken * piece.size());
  EXPECT_TRUE(driver_->ReportOutput(1, OutputStream::kStdout, piece).ok());
  // One piece may be larger than the bound, or it could never be reported.
  Settle();
  EXPECT_TRUE(driver_->ReportOutput(1, OutputStream::kStdout, std::string(3'000'000, 'y')).ok());
  Settle();
}

TEST_F(ExternalDriverTest, WhatIsOnItsWayIsDroppedWithTheDriver) {
  Settle();
  ASSERT_TRUE(driver_->ReportOutput(1, OutputStream::kStdout, "late").ok());
  ASSERT_TRUE(driver_->ReportExited(1, 0, 0).ok());
  recorder_.ForbidEvents();
  driver_.reset();
  Settle();
  EXPECT_FALSE(recorder_.Of(1).exited);
}

TEST_F(ExternalDriverTest, RemovedComesAfterAnExitThatAnotherThreadReports) {
  std::atomic<uint64_t> exiting = 0;
  std::thread watcher([&] {
    for (uint64_t id = 1; id != 0;) {
      if (exiting.load() < id) continue;
      EXPECT_TRUE(driver_->ReportExited(id, 0, 0).ok());
      id = id < 20'000 ? id + 1 : 0;
    }
  });
  for (uint64_t id = 1; id <= 20'000; ++id) {
    if (id > 1) {
      recorder_.Expect(id);
      driver_->Start(id, InstanceSpec(), &recorder_);
      ASSERT_TRUE(driver_->ReportStarted(id, 0, nullptr).ok());
    }
    exiting = id;
    driver_->Remove(id);
    while (!recorder_.Of(id).removed) (void)loop_->Turn(0);
    EXPECT_EQ(recorder_.Of(id).order, (std::vector<std::string>{"started", "exited", "removed"}));
  }
  watcher.join();
}

}  // namespace
}  // namespace lever::fleet
