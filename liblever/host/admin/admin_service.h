// lever.v1.Admin, and what generic gRPC tools ask for: health and reflection.
//
// One AdminService a data loop. Threads: made and destroyed while its loop is not driven, otherwise
// those of its loop. What it is given outlives it; calls that are open outlive it no longer than the
// front that it was added to.
#ifndef LIBLEVER_HOST_ADMIN_ADMIN_SERVICE_H_
#define LIBLEVER_HOST_ADMIN_ADMIN_SERVICE_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lever/v1/admin.pb.h"
#include "liblever/base/loop.h"
#include "liblever/host/admin/health.h"
#include "liblever/host/admin/log_source.h"
#include "liblever/host/admin/reflection.h"
#include "liblever/host/deploy/deployer.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/gateway/front.h"
#include "liblever/host/scale/control.h"
#include "liblever/rpc/call.h"

namespace lever::admin {

struct AdminOptions {
  Loop* loop = nullptr;  // the data loop
  scale::Control* control = nullptr;
  std::shared_ptr<deploy::Deployer> deployer;
  LogSource* logs = nullptr;
  // What GetHost answers; called on the loop, must not wait.
  std::function<lever::v1::HostDetails()> details;
};

class AdminService {
 public:
  explicit AdminService(AdminOptions options);
  ~AdminService();
  AdminService(const AdminService&) = delete;
  AdminService& operator=(const AdminService&) = delete;

  // Path and handler of every method.
  const std::vector<std::pair<std::string, gateway::MethodHandler>>& methods() const {
    return methods_;
  }
  void AddTo(gateway::Front* front) const {
    for (const auto& [path, handler] : methods_) front->AddMethod(path, handler);
  }
  // The host drains: health says NOT_SERVING. Deploys are still taken.
  void StopServing() { health_.StopServing(); }

 private:
  using Handler = void (AdminService::*)(rpc::Call& call);
  void Add(std::string path, Handler handler);
  void Deploy(rpc::Call& call);
  void Remove(rpc::Call& call);
  void ListServices(rpc::Call& call);
  void ListInstances(rpc::Call& call);
  void ListOwners(rpc::Call& call);
  void ChangeOwner(rpc::Call& call);
  void Logs(rpc::Call& call);
  void GetHost(rpc::Call& call);
  void ListVersions(rpc::Call& call);
  void Rollback(rpc::Call& call);
  void Promote(rpc::Call& call);
  void ChangeSettings(rpc::Call& call);
  void ListSettings(rpc::Call& call);
  void CreateEnvironment(rpc::Call& call);
  void DeleteEnvironment(rpc::Call& call);
  void ListEnvironments(rpc::Call& call);

  AdminOptions options_;
  Health health_;
  Reflection reflection_;
  std::vector<std::pair<std::string, gateway::MethodHandler>> methods_;
};

}  // namespace lever::admin

#endif  // LIBLEVER_HOST_ADMIN_ADMIN_SERVICE_H_
