// lever.v1.Admin's methods of environments.
#include <utility>
#include <vector>

#include "liblever/host/admin/admin_service.h"
#include "liblever/host/admin/unary_call.h"

namespace lever::admin {

void AdminService::CreateEnvironment(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::CreateEnvironmentRequest>(
      call, [loop = options_.loop, deployer = options_.deployer](
                const std::shared_ptr<UnaryCall>& unary,
                const lever::v1::CreateEnvironmentRequest& request) {
        deployer->CreateEnvironment(request.environment(), request.copy_from(), loop,
                                    [unary](const StatusOr<uint32_t>& services) {
                                      if (!services.ok()) {
                                        unary->Fail(services.status());
                                        return;
                                      }
                                      lever::v1::CreateEnvironmentReply reply;
                                      reply.set_services(*services);
                                      unary->Reply(reply);
                                    });
      });
}

void AdminService::DeleteEnvironment(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::DeleteEnvironmentRequest>(
      call, [loop = options_.loop, deployer = options_.deployer](
                const std::shared_ptr<UnaryCall>& unary,
                const lever::v1::DeleteEnvironmentRequest& request) {
        deployer->DeleteEnvironment(request.environment(),
                                    request.force() ? deploy::Force::kYes : deploy::Force::kNo,
                                    loop, [unary](const StatusOr<uint32_t>& services) {
                                      if (!services.ok()) {
                                        unary->Fail(services.status());
                                        return;
                                      }
                                      lever::v1::DeleteEnvironmentReply reply;
                                      reply.set_services(*services);
                                      unary->Reply(reply);
                                    });
      });
}

void AdminService::ListEnvironments(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::ListEnvironmentsRequest>(
      call,
      [loop = options_.loop, deployer = options_.deployer](
          const std::shared_ptr<UnaryCall>& unary, const lever::v1::ListEnvironmentsRequest&) {
        deployer->ListEnvironments(
            loop, [unary](const StatusOr<std::vector<deploy::EnvironmentInfo>>& rows) {
              if (!rows.ok()) {
                unary->Fail(rows.status());
                return;
              }
              lever::v1::ListEnvironmentsReply reply;
              for (const deploy::EnvironmentInfo& info : *rows) {
                lever::v1::EnvironmentRow* row = reply.add_environments();
                row->set_environment(info.environment);
                row->set_services(info.services);
              }
              unary->Reply(reply);
            });
      });
}

}  // namespace lever::admin
