// The instance driver of an embedding program: lever_driver's callbacks as a fleet::Driver.
//
// Threads: the Driver functions on the control loop; the Report functions from any thread, which post
// to the control loop. The callbacks are called on the control loop, one at a time.
//
// Invariants
//  1. A report is taken only if it may come now (host.h says when); the others get NOT_FOUND.
//  2. After the driver was destroyed nothing is posted any more and every report gets NOT_FOUND.
#ifndef LIBLEVER_HOST_CAPI_EXTERNAL_DRIVER_H_
#define LIBLEVER_HOST_CAPI_EXTERNAL_DRIVER_H_

#include <cstdint>
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
  enum class Phase : uint8_t { kStarting, kRunning, kEnded };
  struct Entry {
    fleet::DriverEvents* events = nullptr;
    Phase phase = Phase::kStarting;
    bool remove = false;
  };

  // Moves an entry from one phase to another; whom to tell, or null if it is in another phase.
  fleet::DriverEvents* Advance(uint64_t id, Phase from, Phase to);
  // Its last event was delivered: completes a Remove() that came before.
  void Forget(uint64_t id);
  void PostRemoved(uint64_t id, fleet::DriverEvents* events);

  Loop* const loop_;
  lever_host* const host_;
  const lever_driver driver_;
  std::mutex mutex_;
  std::map<uint64_t, Entry> entries_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_EXTERNAL_DRIVER_H_
