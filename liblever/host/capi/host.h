// A host: the registry, the bundles, the driver, the control loop and the data loops, put together.
//
// Threads. Start() and the destructor wait, and are for a thread that is not one of the host's. Close()
// and Wait() are for any such thread; the getters for any thread.
//
// What it is made of, in the order in which it is taken down: listeners -> data loops' fronts ->
// control plane -> driver -> registry -> pool -> loops.
//
// Invariants
//  1. Start() returns a host that takes calls, or leaves nothing behind.
//  2. Close() drains: no new connections, instances finish what runs and stop; whatever is left after
//     their deadlines is ended. Wait() returns when all of that is over.
//  3. Close() comes before the destructor, which then only frees.
#ifndef LIBLEVER_HOST_CAPI_HOST_H_
#define LIBLEVER_HOST_CAPI_HOST_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lever/host.h"
#include "lever/v1/admin.pb.h"
#include "liblever/base/status.h"
#include "liblever/host/admin/admin_service.h"
#include "liblever/host/capi/data_dir.h"
#include "liblever/host/capi/data_loop.h"
#include "liblever/host/capi/instance_logs.h"
#include "liblever/host/capi/launch_planner.h"
#include "liblever/host/capi/listeners.h"
#include "liblever/host/capi/loop_thread.h"
#include "liblever/host/capi/options.h"
#include "liblever/host/capi/runtimes.h"
#include "liblever/host/capi/worker_pool.h"
#include "liblever/host/deploy/bundle_store.h"
#include "liblever/host/deploy/deployer.h"
#include "liblever/host/deploy/secret_box.h"
#include "liblever/host/registry/loop_executor.h"
#include "liblever/host/registry/sqlite_registry.h"
#include "liblever/host/scale/control_loop.h"

namespace lever::host {

class Host {
 public:
  // `handle` is what the callbacks of options.driver get.
  static StatusOr<std::unique_ptr<Host>> Start(HostOptions options, lever_host* handle);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // As bound. After Start() they stay as they are.
  const std::vector<std::string>& addresses() const { return addresses_; }

  void Close();
  bool Ended() const;
  // False: not within `timeout_ns`; negative waits for ever.
  bool Wait(int64_t timeout_ns);

 private:
  // The threads that wait on disks for bundles, as the design has it.
  static constexpr size_t kPoolThreads = 2;
  // What is open on the host's port gets this long to finish once the instances are gone.
  static constexpr int64_t kFrontsDrainNs = 1 * kNanosPerSecond;

  Host(HostOptions options, lever_host* handle);
  Status Init();
  Status OpenStores();
  Status OpenTls();
  Status OpenLoops();
  Status OpenDriver();
  Status OpenProcessDriver();
  StatusOr<fleet::RuntimePoolOptions> PoolOptions();
  Status OpenControl();
  Status OpenServices();
  Status LoadServices();
  lever::v1::HostDetails Details() const;
  void ShutDown();
  void StopThreads();

  const HostOptions options_;
  lever_host* const handle_;
  const std::string id_;
  const ServiceUsers users_;
  Runtimes runtimes_;
  std::string driver_description_;
  std::string sandbox_error_;  // why instances cannot be sandboxed; fixed once the driver is open

  std::unique_ptr<LoopThread> control_thread_;
  std::vector<std::unique_ptr<DataLoop>> data_loops_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<registry::LoopExecutor> registry_executor_;
  std::unique_ptr<registry::SqliteRegistry> registry_;
  std::unique_ptr<deploy::BundleStore> store_;
  std::unique_ptr<deploy::SecretBox> secrets_;
  std::unique_ptr<InstanceLogs> logs_;
  std::unique_ptr<UserAllocator> user_ids_;
  std::unique_ptr<fleet::Driver> driver_;
  std::unique_ptr<BundlePlanner> planner_;
  std::unique_ptr<scale::ControlLoop> control_;
  std::shared_ptr<deploy::Deployer> deployer_;
  std::vector<std::unique_ptr<admin::AdminService>> admins_;  // one a data loop
  Listeners::Tls tls_;  // of the addresses with tls:; null without
  Listeners listeners_;
  size_t next_data_loop_ = 0;  // of the control loop: where the next connection goes

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> addresses_;
  bool closing_ = false;
  bool ended_ = false;
  std::thread closer_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_HOST_H_
