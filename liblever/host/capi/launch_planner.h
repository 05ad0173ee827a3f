// From a version to what is run: its bundle unpacked, its interpreter, its user, its environment.
//
// Threads: the control loop; unpacking is done on the host's pool.
#ifndef LIBLEVER_HOST_CAPI_LAUNCH_PLANNER_H_
#define LIBLEVER_HOST_CAPI_LAUNCH_PLANNER_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/host/capi/runtimes.h"
#include "liblever/host/capi/user_allocator.h"
#include "liblever/host/deploy/bundle_store.h"
#include "liblever/host/deploy/worker.h"
#include "liblever/host/fleet/process_driver.h"
#include "liblever/host/scale/launch.h"

namespace lever::host {

class BundlePlanner final : public scale::LaunchPlanner {
 public:
  // What is given outlives the planner.
  BundlePlanner(Loop* control_loop, deploy::BundleStore* store, deploy::Execute execute,
                const Runtimes* runtimes, UserAllocator* users);

  // FAILED_PRECONDITION: the interpreter that it needs is not usable on this host.
  void Plan(const scale::ServiceSpec& spec,
            std::function<void(StatusOr<scale::LaunchPlan>)> done) override;
  void Expect(const scale::ServiceSpec& spec) override;

  // Who wants to know that a service of a runtime is expected, with the machine's network or
  // without.
  void SetExpect(std::function<void(const std::string& runtime, bool network)> expect) {
    expect_ = std::move(expect);
  }

 private:
  StatusOr<scale::LaunchPlan> Prepare(const scale::ServiceSpec& spec);

  Loop* const loop_;
  deploy::BundleStore* const store_;
  const deploy::Execute execute_;
  const Runtimes* const runtimes_;
  UserAllocator* const users_;
  std::function<void(const std::string&, bool)> expect_;
};

// The argv of a version, run in its bundle's directory.
StatusOr<std::vector<std::string>> ArgvOf(const scale::ServiceSpec& spec, const Runtimes& runtimes);
// Its whole environment but for what the driver adds. Nothing of the host's own environment is in it.
std::vector<std::string> VariablesOf(const scale::ServiceSpec& spec, const Runtimes& runtimes,
                                     const std::string& directory);

// What is started ahead of the services of a runtime.
fleet::PooledRuntime AheadOf(const Runtime& runtime, const Runtimes& runtimes,
                             const std::string& trees);

// The name of the runtime that runs it; empty for a program of its own.
std::string RuntimeOf(const scale::ServiceSpec& spec);

// What it reads beside its bundle and the system's own files: its interpreter, with the folders beside
// that which an installation has, and its runtime's packages.
std::vector<std::string> ReadableOf(const scale::ServiceSpec& spec, const Runtimes& runtimes);

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_LAUNCH_PLANNER_H_
