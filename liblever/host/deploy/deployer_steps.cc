// What happens to a bundle after its last byte. All of it on the control loop.
#include <algorithm>
#include <chrono>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/deploy/bundle_check.h"
#include "liblever/host/deploy/deploy_job.h"
#include "liblever/host/deploy/deployer.h"
#include "liblever/host/deploy/limits.h"
#include "liblever/host/registry/schema.h"
#include "liblever/host/scale/shard_store.h"
#include "liblever/policy/address.h"

namespace lever::deploy {
namespace {

int64_t UnixNowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void Deployer::Store(std::shared_ptr<Job> job) {
  collector_->Enter([self = shared_from_this(), job] {
    job->entered = true;
    RunOnPool(
        self->options_.execute, &self->options_.control->loop(),
        [store = self->options_.store, job] {
          StatusOr<std::string> bundle = CommitChecked(store, job->file.get(), job->manifest);
          job->file.reset();
          return bundle;
        },
        [self, job](StatusOr<std::string> bundle) {
          if (!bundle.ok()) {
            self->Finish(job, bundle.status());
            return;
          }
          job->bundle = std::move(bundle).value();
          self->ReadRecord(job);
        });
  });
}

void Deployer::ReadRecord(std::shared_ptr<Job> job) {
  options_.registry->Get(registry::ServiceKey(job->name.first, job->name.second),
                         [self = shared_from_this(), job](
                             const StatusOr<registry::GetResult>& read) {
                           self->OnRecord(job, read);
                         });
}

void Deployer::OnRecord(std::shared_ptr<Job> job, const StatusOr<registry::GetResult>& read) {
  if (!read.ok()) {
    Finish(job, read.status());
    return;
  }
  if (!read->entry) {
    if (job->canary) {
      FailJob(job, "nothing of " + job->ServiceText() +
                       " serves that a canary could stand beside: deploy it without --canary first");
      return;
    }
    if (job->kind != Job::Kind::kUpload) {
      Finish(job, NotFound("there is no service " + job->ServiceText() + " that was deployed"));
      return;
    }
    job->version = {job->bundle, UnixNowNs(), job->manifest,
                    static_cast<uint64_t>(job->packed_bytes)};
    FixShards(std::move(job));
    return;
  }
  StatusOr<ServiceRecord> record = ParseServiceRecord(read->entry->value);
  if (!record.ok()) {
    Finish(job, DataLoss(record.status().message() + "; remove the service and deploy it anew"));
    return;
  }
  job->before = std::move(record).value();
  job->read_revision = read->entry->mod_revision;
  if (TakeCanaryWay(job)) return;
  if (job->kind == Job::Kind::kUpload && job->before->bundle == job->bundle) {
    Unchanged(std::move(job));
  } else if (job->kind == Job::Kind::kRollback) {
    ChooseVersion(std::move(job));
  } else {
    ReadVersion(job, job->before->version);
  }
}

void Deployer::Unchanged(std::shared_ptr<Job> job) {
  job->result.version = job->before->version;
  job->result.unchanged = true;
  Finish(job, Status::Ok());
}

void Deployer::ReadVersion(std::shared_ptr<Job> job, uint64_t number) {
  options_.registry->Get(
      registry::VersionKey(job->name.first, job->name.second, number),
      [self = shared_from_this(), job](const StatusOr<registry::GetResult>& read) {
        self->OnVersion(job, read);
      });
}

// The version before, whose settings the new one has; or the one to go back to.
void Deployer::OnVersion(std::shared_ptr<Job> job, const StatusOr<registry::GetResult>& read) {
  if (!read.ok()) {
    Finish(job, read.status());
    return;
  }
  if (!read->entry) {
    const bool back = job->kind == Job::Kind::kRollback;
    Finish(job, back ? NotFound(job->ServiceText() + " version " + std::to_string(job->wanted) +
                                " is not kept: `lever versions` lists those that are")
                     : DataLoss(job->ServiceText() + ": the record of its version is missing; " +
                                "remove the service and deploy it anew"));
    return;
  }
  StatusOr<VersionRecord> record = ParseVersionRecord(read->entry->value);
  if (!record.ok()) {
    Finish(job, DataLoss(record.status().message() + "; remove the service and deploy it anew"));
    return;
  }
  if (job->kind == Job::Kind::kUpload && !job->exists) {
    job->version = {job->bundle, UnixNowNs(), job->manifest,
                    static_cast<uint64_t>(job->packed_bytes)};
    job->version.settings = std::move(record->settings);
  } else {
    job->version = std::move(*record);
  }
  if (job->kind == Job::Kind::kSettings) {
    StatusOr<Settings> settings =
        Changed(job->version.settings, job->change,
                SecretContext(job->name.first, job->name.second), *options_.secrets);
    if (!settings.ok()) {
      Finish(job, Status(settings.status()).WithExecuted(LEVER_EXECUTED_NO));
      return;
    }
    if (*settings == job->version.settings) {
      Unchanged(std::move(job));
      return;
    }
    const bool config = settings->config != job->version.settings.config;
    job->version.settings = std::move(*settings);
    job->version.deployed_unix_ns = UnixNowNs();
    job->version.reason = config ? kReasonConfig : kReasonSecret;
  }
  FixShards(std::move(job));
}

// The first deploy of a name says how many shards it has, for ever.
void Deployer::FixShards(std::shared_ptr<Job> job) {
  options_.registry->Get(
      registry::GenerationKey(job->name.first, job->name.second),
      [self = shared_from_this(), job](const StatusOr<registry::GetResult>& read) {
        Status fixed = read.status();
        if (read.ok() && read->entry) {
          const StatusOr<scale::ShardCounter> counter =
              scale::ParseShardCounter(read->entry->value);
          fixed = counter.status();
          if (counter.ok()) {
            fixed = scale::CheckShardCount(counter->shards,
                                           static_cast<uint64_t>(job->version.manifest.shards));
          }
        }
        if (!fixed.ok()) {
          self->Finish(job, Status(fixed).WithExecuted(LEVER_EXECUTED_NO));
          return;
        }
        job->fixes_shards = !read->entry;
        self->Commit(job);
      });
}

void Deployer::Commit(std::shared_ptr<Job> job) {
  const uint64_t last = job->before ? job->before->last_version : 0;
  const uint64_t number = job->exists ? job->wanted : last + 1;
  if (job->canary) {
    job->now = *job->before;
    job->now.canary = {number, job->version.bundle, *job->canary};
  } else {
    job->now.version = number;
    job->now.bundle = job->version.bundle;
  }
  job->now.last_version = std::max(last, number);
  job->number = number;
  StatusOr<scale::ServiceSpec> spec =
      MakeSpec(job->name.first, number, job->version, *options_.secrets);
  if (!spec.ok()) {
    Finish(job, Status(spec.status()).WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  job->spec = std::move(*spec);

  const std::string key = registry::ServiceKey(job->name.first, job->name.second);
  const std::string version_key =
      registry::VersionKey(job->name.first, job->name.second, number);
  registry::Transaction transaction;
  transaction.If(registry::Compare::ModRevision(key, job->read_revision));
  if (job->name.first != policy::kDefaultEnvironment) {
    transaction.If(registry::Compare::Exists(registry::EnvironmentKey(job->name.first)));
  }
  transaction.Then(registry::Operation::Put(key, Encode(job->now)));
  if (job->fixes_shards) {
    const std::string counter = registry::GenerationKey(job->name.first, job->name.second);
    const auto shards = static_cast<uint64_t>(job->version.manifest.shards);
    transaction.If(registry::Compare::Missing(counter))
        .Then(registry::Operation::Put(counter, scale::EncodeShardCounter({0, shards})));
  }
  if (job->exists) {
    transaction.If(registry::Compare::Exists(version_key));
  } else {
    transaction.Then(registry::Operation::Put(version_key, Encode(job->version)));
  }
  options_.registry->Commit(
      std::move(transaction),
      [self = shared_from_this(), job](const StatusOr<registry::TransactionResult>& result) {
        self->OnCommitted(job, result);
      });
}

void Deployer::OnCommitted(std::shared_ptr<Job> job,
                           const StatusOr<registry::TransactionResult>& result) {
  if (!result.ok()) {
    Finish(job, result.status());
    return;
  }
  if (!result->succeeded) {
    Finish(job, Aborted(job->ServiceText() + " or its environment was changed meanwhile: try again")
                    .WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  job->revision = result->revision;
  job->result.version = job->number;
  if (job->canary) job->result.canary_share = job->canary->share;
  // The registry names the bundle now.
  if (std::exchange(job->entered, false)) collector_->Leave();
  job->Tell(DeployStep::kStored);
  Start(std::move(job));
}

void Deployer::Start(std::shared_ptr<Job> job) {
  auto started = std::make_shared<Started>(Started::kNo);
  auto answered = std::make_shared<bool>(false);
  scale::ServiceSpec spec = std::move(job->spec);
  // What cannot be started is to be told, and not first when it is needed.
  spec.start_first = job->start_first || spec.standby > 0;
  const auto done = [self = shared_from_this(), job, answered, started](Status status) {
    *answered = true;
    if (!status.ok()) {
      self->RollBack(job, status);
      return;
    }
    self->OnServing(job, *started);
  };
  if (job->canary) {
    options_.control->SetCanary(std::move(spec), *job->canary, scale::CanaryStart::kWhenReady,
                                done);
  } else {
    options_.control->Deploy(std::move(spec), done);
  }
  if (*answered) return;
  *started = Started::kYes;
  job->Tell(DeployStep::kStarting);
}

// From here on the service is free: whoever changes it ends the watch.
void Deployer::OnServing(std::shared_ptr<Job> job, Started started) {
  const int64_t watch_ns = job->version.manifest.watch_ns;
  if (watch_ns == 0 || job->watch == WatchMode::kOff || job->kind == Job::Kind::kRollback ||
      !job->before || job->before->version == job->number) {
    OnWatched(std::move(job), {});
    return;
  }
  job->serving = true;
  watched_.insert(job->name);
  Free(job->name);
  // Where nothing runs there is nothing to be seen, perhaps for hours. A canary always runs.
  if (job->watch == WatchMode::kAwait && (started == Started::kYes || job->canary)) {
    job->Tell(DeployStep::kWatching);
  } else {
    Answer(*job, Status::Ok());
  }
  options_.control->Watch({job->name.first, job->name.second}, watch_ns,
                          [self = shared_from_this(), job](const scale::WatchResult& result) {
                            self->OnWatched(job, result);
                          });
}

void Deployer::OnWatched(std::shared_ptr<Job> job, const scale::WatchResult& result) {
  watched_.erase(job->name);
  if (result.taken_back) {
    busy_.insert(job->name);
    collector_->Retire(job->name.first, job->name.second, job->number, job->version.bundle);
    RollBack(std::move(job), result.why);
    return;
  }
  // What is kept is kept while a version is watched: it may be gone back to.
  if (!job->canary) Prune(job->name, job->now);
  Finish(std::move(job), result.why);
}

void Deployer::RollBack(std::shared_ptr<Job> job, const Status& why) {
  const std::string key = registry::ServiceKey(job->name.first, job->name.second);
  registry::Transaction transaction;
  transaction.If(registry::Compare::ModRevision(key, job->revision));
  if (!job->exists) {
    transaction.Then(registry::Operation::Delete(
        registry::VersionKey(job->name.first, job->name.second, job->number)));
  }
  const std::string number = std::to_string(job->number);
  std::string message = job->ServiceText() + " version " + number + " does not start: ";
  if (job->before) {
    ServiceRecord record = *job->before;
    record.last_version = job->now.last_version;
    record.canary.reset();  // it is what was bad, or there was none
    transaction.Then(registry::Operation::Put(key, Encode(record)));
    message = job->ServiceText() + (job->serving ? " is back at version " : " stays at version ") +
              std::to_string(record.version) + "; version " + number +
              (job->serving ? " was bad: " : " does not start: ");
  } else {
    transaction.Then(registry::Operation::Delete(key));
  }
  const Status status(why.code(), message + why.message());
  options_.registry->Commit(
      std::move(transaction), [self = shared_from_this(), job,
                               status](const StatusOr<registry::TransactionResult>& result) {
        if (!result.ok()) {
          Log(LogLevel::kError, job->ServiceText() + ": the registry still names version " +
                                    std::to_string(job->number) +
                                    ", which is bad: " + result.status().ToString());
        }
        self->ForgetShards(job);
        self->Finish(job, status);
      });
}

// A name whose first version never served has not said how many shards it has; unless something of it has
// had some meanwhile.
void Deployer::ForgetShards(const std::shared_ptr<Job>& job) {
  if (!job->fixes_shards) return;
  const std::string counter = registry::GenerationKey(job->name.first, job->name.second);
  const auto shards = static_cast<uint64_t>(job->version.manifest.shards);
  registry::Transaction transaction;
  transaction.If(registry::Compare::Value(counter, scale::EncodeShardCounter({0, shards})))
      .Then(registry::Operation::Delete(counter));
  options_.registry->Commit(
      std::move(transaction), [job](const StatusOr<registry::TransactionResult>& result) {
        if (result.ok()) return;
        Log(LogLevel::kWarning, job->ServiceText() + ": the number of its shards stays: " +
                                    result.status().ToString());
      });
}

void Deployer::Finish(std::shared_ptr<Job> job, const Status& status) {
  if (job->file != nullptr) options_.execute([file = std::move(job->file)] {});
  if (std::exchange(job->entered, false)) collector_->Leave();
  collector_->Collect();
  Free(job->name);
  if (job->answered && !status.ok()) Log(LogLevel::kError, status.ToString());
  Answer(*job, status);
}

void Deployer::Answer(Job& job, const Status& status) {
  if (std::exchange(job.answered, true)) return;
  StatusOr<DeployResult> result =
      status.ok() ? StatusOr<DeployResult>(job.result) : StatusOr<DeployResult>(status);
  if (result.ok()) {
    result->environment = job.name.first;
    result->service = job.name.second;
    const uint64_t ram_mib = options_.control->Counters().ram_bytes / kMebibyte;
    const auto needed_mib = static_cast<uint64_t>(job.manifest.ram_mib);
    if (ram_mib > 0 && needed_mib > ram_mib) {
      result->notes.push_back("no instance can be started: each takes " + std::to_string(needed_mib) +
                              " MiB (ram), and those on this host may take " +
                              std::to_string(ram_mib) + " MiB together");
    }
  }
  job.loop->Post([done = job.done, result = std::move(result)] { done(result); });
}

}  // namespace lever::deploy
