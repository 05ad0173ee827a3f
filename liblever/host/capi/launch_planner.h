// From a version to what is run: its bundle unpacked, its interpreter, its user, its environment.
//
// Threads: the control loop; unpacking is done on the host's pool.
#ifndef LIBLEVER_HOST_CAPI_LAUNCH_PLANNER_H_
#define LIBLEVER_HOST_CAPI_LAUNCH_PLANNER_H_

#include <functional>
#include <string>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/host/capi/runtimes.h"
#include "liblever/host/capi/user_allocator.h"
#include "liblever/host/deploy/bundle_store.h"
#include "liblever/host/deploy/worker.h"
#include "liblever/host/scale/launch.h"

namespace lever::host {

class BundlePlanner final : public scale::LaunchPlanner {
 public:
  // What is given outlives the planner.
  BundlePlanner(Loop* control_loop, deploy::BundleStore* store, deploy::Execute execute,
                const Runtimes* runtimes, UserAllocator users);

  // FAILED_PRECONDITION: the interpreter that it needs is not usable on this host.
  void Plan(const scale::ServiceSpec& spec,
            std::function<void(StatusOr<scale::LaunchPlan>)> done) override;

 private:
  StatusOr<scale::LaunchPlan> Prepare(const scale::ServiceSpec& spec);

  Loop* const loop_;
  deploy::BundleStore* const store_;
  const deploy::Execute execute_;
  const Runtimes* const runtimes_;
  UserAllocator users_;
};

// The argv of a version, run in its bundle's directory.
StatusOr<std::vector<std::string>> ArgvOf(const scale::ServiceSpec& spec, const Runtimes& runtimes);
// Its whole environment but for what the driver adds. Nothing of the host's own environment is in it.
std::vector<std::string> VariablesOf(const scale::ServiceSpec& spec, const Runtimes& runtimes,
                                     const std::string& directory);

// What it reads beside its bundle and the system's own files: its interpreter, with the folders beside
// that which an installation has, and its runtime's packages.
std::vector<std::string> ReadableOf(const scale::ServiceSpec& spec, const Runtimes& runtimes);

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_LAUNCH_PLANNER_H_
