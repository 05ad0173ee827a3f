#include "liblever/host/admin/admin_service.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <tuple>

#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "lever/v1/host.pb.h"
#include "lever/v1/lever.pb.h"
#include "liblever/host/admin/deploy_session.h"
#include "liblever/host/admin/logs_session.h"
#include "liblever/host/admin/unary_call.h"
#include "liblever/policy/address.h"
#include "liblever/policy/shard.h"
#include "liblever/policy/shard_wishes.h"

namespace lever::admin {
namespace {

// A descriptor that nothing refers to would not be linked, and not be found by reflection.
std::vector<std::string> ServiceNames() {
  google::protobuf::LinkMessageReflection<lever::v1::Message>();
  google::protobuf::LinkMessageReflection<lever::v1::ToInstance>();
  google::protobuf::LinkMessageReflection<lever::v1::GetHostRequest>();
  google::protobuf::LinkMessageReflection<grpc::health::v1::HealthCheckRequest>();
  google::protobuf::LinkMessageReflection<grpc::reflection::v1::ErrorResponse>();
  google::protobuf::LinkMessageReflection<grpc::reflection::v1alpha::ErrorResponse>();
  return {"grpc.health.v1.Health",
          "grpc.reflection.v1.ServerReflection",
          "grpc.reflection.v1alpha.ServerReflection",
          "lever.v1.Admin",
          "lever.v1.Host",
          "lever.v1.Lever"};
}

StatusOr<policy::ShardChange> ShardChangeOf(lever::v1::ChangeOwnerRequest::Change change) {
  switch (change) {
    case lever::v1::ChangeOwnerRequest::MOVE: return policy::ShardChange::kMove;
    case lever::v1::ChangeOwnerRequest::CLOSE: return policy::ShardChange::kClose;
    case lever::v1::ChangeOwnerRequest::PAUSE: return policy::ShardChange::kPause;
    case lever::v1::ChangeOwnerRequest::RESUME: return policy::ShardChange::kResume;
    default: return InvalidArgument("change: an unknown one");
  }
}

bool Wanted(const std::string& filter, const std::string& name) {
  return filter.empty() || filter == name;
}

void Fill(const scale::ServiceStatus& status, int64_t now_ns, lever::v1::ServiceRow* row) {
  row->set_environment(status.spec.environment);
  row->set_service(status.spec.service);
  row->set_version(status.deployed ? status.spec.version : 0);
  row->set_description(status.spec.description);
  row->set_instances(status.instances);
  row->set_instances_wanted(status.instances_wanted);
  row->set_private_(status.spec.is_private);
  row->set_last_error(status.last_error);
  row->set_backoff_ns(static_cast<uint64_t>(std::max<int64_t>(
      0, status.backoff_until_ns == 0 ? 0 : status.backoff_until_ns - now_ns)));
}

void Fill(const scale::InstanceStatus& status, lever::v1::InstanceRow* row) {
  row->set_environment(status.environment);
  row->set_service(status.service);
  row->set_id(status.id);
  row->set_version(status.version);
  row->set_phase(std::string(scale::InstancePhaseName(status.phase)));
  row->set_attached(status.attached);
  row->set_pid(status.pid);
  row->set_runtime(status.runtime);
  row->set_address(status.address);
  row->set_calls(status.calls);
  row->set_streams(status.streams);
  row->set_calls_total(status.calls_total);
  row->set_age_ns(status.age_ns);
  row->set_canary(status.canary);
  row->set_driver(status.driver);
}

void Fill(const scale::OwnerStatus& status, lever::v1::OwnerRow* row) {
  row->set_shard(status.shard);
  row->set_instance(status.instance);
  row->set_generation(status.generation);
  row->set_version(status.version);
  row->set_settled(status.settled);
  row->set_paused(status.paused);
  row->set_age_ns(status.age_ns);
  row->set_calls(status.calls);
  row->set_streams(status.streams);
}

}  // namespace

AdminService::AdminService(AdminOptions options)
    : options_(std::move(options)), health_(ServiceNames()), reflection_(ServiceNames()) {
  Add("/lever.v1.Admin/Deploy", &AdminService::Deploy);
  Add("/lever.v1.Admin/Remove", &AdminService::Remove);
  Add("/lever.v1.Admin/ListServices", &AdminService::ListServices);
  Add("/lever.v1.Admin/ListInstances", &AdminService::ListInstances);
  Add("/lever.v1.Admin/ListOwners", &AdminService::ListOwners);
  Add("/lever.v1.Admin/ChangeOwner", &AdminService::ChangeOwner);
  Add("/lever.v1.Admin/Logs", &AdminService::Logs);
  Add("/lever.v1.Admin/GetHost", &AdminService::GetHost);
  Add("/lever.v1.Admin/ListVersions", &AdminService::ListVersions);
  Add("/lever.v1.Admin/Rollback", &AdminService::Rollback);
  Add("/lever.v1.Admin/Promote", &AdminService::Promote);
  Add("/lever.v1.Admin/ChangeSettings", &AdminService::ChangeSettings);
  Add("/lever.v1.Admin/ListSettings", &AdminService::ListSettings);
  Add("/lever.v1.Admin/CreateEnvironment", &AdminService::CreateEnvironment);
  Add("/lever.v1.Admin/DeleteEnvironment", &AdminService::DeleteEnvironment);
  Add("/lever.v1.Admin/ListEnvironments", &AdminService::ListEnvironments);
  const auto add = [this](std::string path, auto serve) {
    methods_.emplace_back(std::move(path), [serve](rpc::Call& call, const fleet::Caller&) {
      serve(call);
    });
  };
  add("/grpc.health.v1.Health/Check", [this](rpc::Call& call) { health_.Check(call); });
  add("/grpc.health.v1.Health/Watch", [this](rpc::Call& call) { health_.Watch(call); });
  for (const char* version : {"v1", "v1alpha"}) {
    add(std::string("/grpc.reflection.") + version + ".ServerReflection/ServerReflectionInfo",
        [this](rpc::Call& call) { reflection_.Serve(call); });
  }
}

AdminService::~AdminService() = default;

void AdminService::Add(std::string path, Handler handler) {
  methods_.emplace_back(std::move(path), [this, handler](rpc::Call& call, const fleet::Caller&) {
    (this->*handler)(call);
  });
}

void AdminService::Deploy(rpc::Call& call) {
  DeploySession::Accept(options_.loop, options_.deployer, call);
}

void AdminService::Remove(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::RemoveRequest>(
      call, [loop = options_.loop, deployer = options_.deployer](
                const std::shared_ptr<UnaryCall>& unary, const lever::v1::RemoveRequest& request) {
        const std::string environment = request.environment().empty()
                                            ? std::string(policy::kDefaultEnvironment)
                                            : request.environment();
        deployer->Remove(environment, request.service(), loop, [unary](const Status& status) {
          if (status.ok()) {
            unary->Reply(lever::v1::RemoveReply());
          } else {
            unary->Fail(status);
          }
        });
      });
}

void AdminService::ListServices(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::ListServicesRequest>(
      call, [loop = options_.loop, control = options_.control](
                const std::shared_ptr<UnaryCall>& unary,
                const lever::v1::ListServicesRequest& request) {
        control->ListServices(loop, [unary, loop, environment = request.environment()](
                                        std::vector<scale::ServiceStatus> services) {
          std::sort(services.begin(), services.end(), [](const auto& a, const auto& b) {
            return std::tie(a.spec.environment, a.spec.service) <
                   std::tie(b.spec.environment, b.spec.service);
          });
          lever::v1::ListServicesReply reply;
          for (const scale::ServiceStatus& service : services) {
            if (!Wanted(environment, service.spec.environment)) continue;
            Fill(service, loop->now_ns(), reply.add_services());
          }
          unary->Reply(reply);
        });
      });
}

void AdminService::ListInstances(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::ListInstancesRequest>(
      call, [loop = options_.loop, control = options_.control](
                const std::shared_ptr<UnaryCall>& unary,
                const lever::v1::ListInstancesRequest& request) {
        control->ListInstances(
            loop, [unary, request](const std::vector<scale::InstanceStatus>& instances) {
              lever::v1::ListInstancesReply reply;
              for (const scale::InstanceStatus& instance : instances) {
                if (!Wanted(request.environment(), instance.environment)) continue;
                if (!Wanted(request.service(), instance.service)) continue;
                Fill(instance, reply.add_instances());
              }
              unary->Reply(reply);
            });
      });
}

void AdminService::ListOwners(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::ListOwnersRequest>(
      call, [loop = options_.loop, control = options_.control](
                const std::shared_ptr<UnaryCall>& unary,
                const lever::v1::ListOwnersRequest& request) {
        control->ListOwners(
            {request.environment(), request.service()}, loop,
            [unary, request](const StatusOr<std::vector<scale::OwnerStatus>>& owners) {
              if (!owners.ok()) return unary->Fail(owners.status());
              lever::v1::ListOwnersReply reply;
              const auto shards = static_cast<uint32_t>(owners->size());
              reply.set_shards(shards);
              const std::string& resource = request.resource();
              const uint32_t wanted =
                  resource.empty() ? 0
                                   : policy::ShardOf(request.environment(), request.service(),
                                                     resource, shards);
              for (const scale::OwnerStatus& owner : *owners) {
                if (resource.empty() || owner.shard == wanted) Fill(owner, reply.add_owners());
              }
              unary->Reply(reply);
            });
      });
}

void AdminService::ChangeOwner(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::ChangeOwnerRequest>(
      call, [loop = options_.loop, control = options_.control](
                const std::shared_ptr<UnaryCall>& unary,
                const lever::v1::ChangeOwnerRequest& request) {
        const StatusOr<policy::ShardChange> change = ShardChangeOf(request.change());
        if (!change.ok()) return unary->Fail(change.status());
        if (const Status named = policy::CheckResource(request.resource()); !named.ok()) {
          return unary->Fail(named);
        }
        control->ChangeOwner(
            {request.environment(), request.service()}, request.resource(), *change,
            request.instance(), loop, [unary](const StatusOr<scale::OwnerChange>& begun) {
              if (!begun.ok()) return unary->Fail(begun.status());
              lever::v1::ChangeOwnerReply reply;
              reply.set_shard(begun->shard);
              reply.set_generation_before(begun->generation_before);
              reply.set_instance(begun->to);
              unary->Reply(reply);
            });
      });
}

void AdminService::Logs(rpc::Call& call) {
  LogsSession::Accept(options_.loop, options_.logs, call);
}

void AdminService::GetHost(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::GetHostRequest>(
      call, [details = options_.details](const std::shared_ptr<UnaryCall>& unary,
                                         const lever::v1::GetHostRequest&) {
        unary->Reply(details());
      });
}

}  // namespace lever::admin
