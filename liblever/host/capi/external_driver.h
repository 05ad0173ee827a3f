// The instance driver of an embedding program: lever_driver's callbacks as a fleet::Driver.
//
// Threads: the Driver functions on the control loop; the Report functions from any thread, which
// post to the control loop. The callbacks are called on the control loop, one at a time.
//
// Invariants
//  1. A report is taken only if it may come now (host.h says when); the others get NOT_FOUND.
//  2. After the driver was destroyed nothing is posted any more and every report gets NOT_FOUND;
//     what was posted before is dropped.
//  3. Output on its way to the control loop is bounded: beyond kOutputBytesMax a report of more is
//     refused, so that a service which prints without end waits in its pipe.
#ifndef LIBLEVER_HOST_CAPI_EXTERNAL_DRIVER_H_
#define LIBLEVER_HOST_CAPI_EXTERNAL_DRIVER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "lever/host.h"
#include "liblever/base/loop.h"
#include "liblever/host/fleet/driver.h"

namespace lever::host {

class ExternalDriver final : public fleet::Driver {
 public:
  static constexpr size_t kOutputBytesMax = 1024 * 1024;

  ExternalDriver(Loop* loop, lever_host* host, const lever_driver& driver);
  ~ExternalDriver() override;

  void Start(uint64_t id, fleet::InstanceSpec spec, fleet::DriverEvents* events) override;
  void Stop(uint64_t id, fleet::StopKind kind) override;
  void Remove(uint64_t id) override;
  std::string Describe() const override { return "the embedding program's own"; }

  // Any thread.
  Status ReportStarted(uint64_t id, int64_t pid, const char* address);
  Status ReportFailed(uint64_t id, Status status);
  Status ReportOutput(uint64_t id, fleet::OutputStream stream, std::string bytes);
  Status ReportExited(uint64_t id, int exit_code, int signal);

 private:
  // kEnding: its end was reported, and is on its way to the loop. kEnded: the loop was told.
  enum class Phase : uint8_t { kStarting, kRunning, kEnding, kEnded };
  struct Entry {
    fleet::DriverEvents* events = nullptr;
    Phase phase = Phase::kStarting;
    bool remove = false;
  };

  // What the events on their way share with the driver.
  struct Shared {
    bool ended = false;  // the loop's
    std::atomic<size_t> output_bytes{0};
  };

  // Delivers an event on the loop, unless the driver has been destroyed by then.
  void Post(std::function<void()> event);
  // Moves an entry from one phase to another; whom to tell, or null if it is in another phase.
  fleet::DriverEvents* Advance(uint64_t id, Phase from, Phase to);
  // The loop was told its end: completes a Remove() that came before.
  void EndTold(uint64_t id);
  void PostRemoved(uint64_t id, fleet::DriverEvents* events);

  Loop* const loop_;
  lever_host* const host_;
  const lever_driver driver_;
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::mutex mutex_;
  std::map<uint64_t, Entry> entries_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_EXTERNAL_DRIVER_H_
