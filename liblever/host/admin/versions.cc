// lever.v1.Admin's methods of a service's versions and of what they are set to.
#include <memory>
#include <utility>
#include <vector>

#include "liblever/host/admin/admin_service.h"
#include "liblever/host/admin/unary_call.h"
#include "liblever/policy/address.h"

namespace lever::admin {
namespace {

std::string EnvironmentOr(const std::string& environment) {
  return environment.empty() ? std::string(policy::kDefaultEnvironment) : environment;
}

deploy::SettingsChange ChangeOf(const lever::v1::ChangeSettingsRequest& request) {
  deploy::SettingsChange change;
  change.config_json.insert(request.config_json().begin(), request.config_json().end());
  change.config_unset.assign(request.config_unset().begin(), request.config_unset().end());
  change.secrets.insert(request.secrets().begin(), request.secrets().end());
  change.secrets_unset.assign(request.secrets_unset().begin(), request.secrets_unset().end());
  return change;
}

// Answers with the version that serves now.
template <typename Reply>
auto AnswerVersion(const std::shared_ptr<UnaryCall>& unary) {
  return [unary](const StatusOr<deploy::DeployResult>& result) {
    if (!result.ok()) {
      unary->Fail(result.status());
      return;
    }
    Reply reply;
    reply.set_version(result->version);
    unary->Reply(reply);
  };
}

}  // namespace

void AdminService::ListVersions(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::ListVersionsRequest>(
      call,
      [loop = options_.loop, deployer = options_.deployer](
          const std::shared_ptr<UnaryCall>& unary, const lever::v1::ListVersionsRequest& request) {
        deployer->ListVersions(EnvironmentOr(request.environment()), request.service(), loop,
                               [unary](const StatusOr<std::vector<deploy::VersionInfo>>& versions) {
                                 if (!versions.ok()) {
                                   unary->Fail(versions.status());
                                   return;
                                 }
                                 lever::v1::ListVersionsReply reply;
                                 for (const deploy::VersionInfo& info : *versions) {
                                   lever::v1::VersionRow* row = reply.add_versions();
                                   row->set_version(info.version);
                                   row->set_current(info.current);
                                   row->set_deployed_unix_ns(info.deployed_unix_ns);
                                   row->set_bundle(info.bundle);
                                   row->set_reason(info.reason);
                                   row->set_canary_share(info.canary.share);
                                   row->set_canary_sticky(info.canary.sticky);
                                 }
                                 unary->Reply(reply);
                               });
      });
}

void AdminService::Rollback(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::RollbackRequest>(
      call,
      [loop = options_.loop, deployer = options_.deployer](
          const std::shared_ptr<UnaryCall>& unary, const lever::v1::RollbackRequest& request) {
        deployer->Rollback(EnvironmentOr(request.environment()), request.service(),
                           request.version(), loop, AnswerVersion<lever::v1::RollbackReply>(unary));
      });
}

void AdminService::Promote(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::PromoteRequest>(
      call,
      [loop = options_.loop, deployer = options_.deployer](
          const std::shared_ptr<UnaryCall>& unary, const lever::v1::PromoteRequest& request) {
        deployer->Promote(EnvironmentOr(request.environment()), request.service(), loop,
                          AnswerVersion<lever::v1::PromoteReply>(unary));
      });
}

void AdminService::ChangeSettings(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::ChangeSettingsRequest>(
      call, [loop = options_.loop, deployer = options_.deployer](
                const std::shared_ptr<UnaryCall>& unary,
                const lever::v1::ChangeSettingsRequest& request) {
        deployer->ChangeSettings(EnvironmentOr(request.environment()), request.service(),
                                 ChangeOf(request), loop,
                                 [unary](const StatusOr<deploy::DeployResult>& result) {
                                   if (!result.ok()) {
                                     unary->Fail(result.status());
                                     return;
                                   }
                                   lever::v1::ChangeSettingsReply reply;
                                   reply.set_version(result->version);
                                   reply.set_unchanged(result->unchanged);
                                   unary->Reply(reply);
                                 });
      });
}

void AdminService::ListSettings(rpc::Call& call) {
  UnaryCall::AcceptAs<lever::v1::ListSettingsRequest>(
      call,
      [loop = options_.loop, deployer = options_.deployer](
          const std::shared_ptr<UnaryCall>& unary, const lever::v1::ListSettingsRequest& request) {
        deployer->ListSettings(EnvironmentOr(request.environment()), request.service(), loop,
                               [unary](const StatusOr<deploy::SettingsInfo>& info) {
                                 if (!info.ok()) {
                                   unary->Fail(info.status());
                                   return;
                                 }
                                 lever::v1::ListSettingsReply reply;
                                 reply.set_version(info->version);
                                 reply.set_config_json(info->config_json);
                                 for (const auto& name : info->config_set) {
                                   reply.add_config_set(name);
                                 }
                                 for (const auto& name : info->secrets) reply.add_secrets(name);
                                 unary->Reply(reply);
                               });
      });
}

}  // namespace lever::admin
