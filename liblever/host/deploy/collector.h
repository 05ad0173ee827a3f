// Removes the bundles that no version needs any more.
//
// A bundle is needed while the registry's record of a version names it, while the control plane
// serves it, and while an instance of it still runs. One that was just stored is named by nobody
// yet: whoever stores one keeps the collection away from Enter() to Leave().
//
// Threads: the control loop, where the registry's completions run too.
//
// Invariants
//  1. No collection runs between Enter()'s `begin` and Leave(), and no `begin` during a collection.
//  2. While a retired version still has instances, collections go on by themselves.
#ifndef LIBLEVER_HOST_DEPLOY_COLLECTOR_H_
#define LIBLEVER_HOST_DEPLOY_COLLECTOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/base/loop.h"
#include "liblever/host/deploy/bundle_store.h"
#include "liblever/host/deploy/worker.h"
#include "liblever/host/registry/registry.h"
#include "liblever/host/scale/control.h"

namespace lever::deploy {

class Collector : public std::enable_shared_from_this<Collector> {
 public:
  // How soon a version whose instances were still draining is looked at again.
  static constexpr int64_t kRetryNs = 10 * kNanosPerSecond;

  Collector(scale::Control* control, registry::Registry* registry, BundleStore* store,
            Execute execute);
  ~Collector();
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  void Enter(std::function<void()> begin);
  void Leave();
  // The version serves no new calls any more; its bundle stays while an instance of it runs.
  void Retire(std::string environment, std::string service, uint64_t version, std::string bundle);
  // Soon; asking again meanwhile makes one more.
  void Collect();

 private:
  struct Retired {
    std::string environment;
    std::string service;
    uint64_t version;
    std::string bundle;
  };

  void StartIfWanted();
  void OnInstances(const std::vector<scale::InstanceStatus>& instances);
  void OnServices(const std::vector<scale::ServiceStatus>& services);
  void OnRecords(const StatusOr<std::vector<registry::Entry>>& records);
  void Finished(const Status& status);

  scale::Control* control_;
  registry::Registry* registry_;
  BundleStore* store_;
  Execute execute_;
  size_t entered_ = 0;
  bool wanted_ = false;
  bool running_ = false;
  std::vector<std::function<void()>> waiting_;  // for the end of the collection
  std::vector<Retired> retired_;
  std::set<std::string> live_;  // of the collection that is running
  FunctionTimer retry_;
};

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_COLLECTOR_H_
