// Canaries: giving one another share, promoting it, giving it up. On the control loop.
#include <string>
#include <utility>

#include "liblever/host/deploy/deploy_job.h"
#include "liblever/host/deploy/deployer.h"
#include "liblever/host/registry/schema.h"
#include "liblever/policy/canary.h"

namespace lever::deploy {

void Deployer::FailJob(const std::shared_ptr<Job>& job, std::string why) {
  Finish(job, FailedPrecondition(std::move(why)).WithExecuted(LEVER_EXECUTED_NO));
}

bool Deployer::TakeCanaryWay(const std::shared_ptr<Job>& job) {
  const std::optional<CanaryRecord>& canary = job->before->canary;
  if (!canary) {
    if (job->kind != Job::Kind::kPromote) return false;
    FailJob(job, job->ServiceText() + " has no canary to promote");
    return true;
  }
  const bool is_canary = job->kind == Job::Kind::kPromote ||
                         (job->canary && canary->bundle == job->bundle);
  if (is_canary) {
    if (job->canary == canary->terms) {
      job->result.version = canary->version;
      job->result.canary_share = canary->terms.share;
      job->result.unchanged = true;
      Finish(job, Status::Ok());
      return true;
    }
    job->wanted = canary->version;
    job->exists = true;
    ReadVersion(job, job->wanted);
    return true;
  }
  if (job->kind == Job::Kind::kRollback &&
      (job->wanted == 0 || job->wanted == job->before->version)) {
    GiveUpCanary(job);
    return true;
  }
  FailJob(job, job->ServiceText() + " version " + std::to_string(canary->version) +
                   " is a canary with " + policy::FormatShare(canary->terms.share) +
                   " of the calls: `lever promote` or `lever rollback` it first");
  return true;
}

void Deployer::GiveUpCanary(std::shared_ptr<Job> job) {
  const std::string key = registry::ServiceKey(job->name.first, job->name.second);
  job->now = *job->before;
  job->now.canary.reset();
  registry::Transaction transaction;
  transaction.If(registry::Compare::ModRevision(key, job->read_revision))
      .Then(registry::Operation::Put(key, Encode(job->now)));
  options_.registry->Commit(
      std::move(transaction), [self = shared_from_this(),
                               job](const StatusOr<registry::TransactionResult>& result) {
        if (!result.ok()) {
          self->Finish(job, result.status());
          return;
        }
        if (!result->succeeded) {
          self->Finish(job, Aborted(job->ServiceText() + " was changed meanwhile: try again")
                                .WithExecuted(LEVER_EXECUTED_NO));
          return;
        }
        self->options_.control->EndCanary({job->name.first, job->name.second});
        job->result.version = job->now.version;
        self->Finish(job, Status::Ok());
      });
}

void Deployer::SetCanaryAtStart(scale::ServiceSpec spec, const CanaryRecord& canary) {
  options_.control->SetCanary(std::move(spec), canary.terms, scale::CanaryStart::kAtOnce,
                              [](const Status&) {});
}

}  // namespace lever::deploy
