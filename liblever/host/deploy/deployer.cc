// Begin, upload, remove; the steps after the last byte are in deployer_steps.cc, what is done when a
// host starts in deployer_load.cc.
#include "liblever/host/deploy/deployer.h"

#include <utility>

#include "liblever/host/deploy/deploy_job.h"
#include "liblever/host/registry/scan.h"
#include "liblever/host/registry/schema.h"
#include "liblever/policy/address.h"

namespace lever::deploy {

Deployer::Deployer(DeployerOptions options)
    : options_(std::move(options)),
      collector_(std::make_shared<Collector>(options_.control, options_.registry, options_.store,
                                             options_.execute)) {}

std::shared_ptr<Deployer> Deployer::Make(DeployerOptions options) {
  return std::shared_ptr<Deployer>(new Deployer(std::move(options)));
}

Status Deployer::Take(const Name& name) {
  const scale::ServiceName service{name.first, name.second};
  if (busy_environments_.contains(name.first)) {
    return Aborted("environment " + name.first + " is being made or removed: try again")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  if (busy_.contains(name)) {
    return Aborted("another deploy or removal of " + service.ToString() + " is under way")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  if (busy_.size() >= kDeploysMax) {
    return ResourceExhausted(std::to_string(kDeploysMax) + " deploys are under way already")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  LEVER_RETURN_IF_ERROR(EndWatch(name));
  busy_.insert(name);
  return Status::Ok();
}

Status Deployer::EndWatch(const Name& name) {
  const scale::ServiceName service{name.first, name.second};
  if (!watched_.contains(name) || options_.control->EndWatch(service)) return Status::Ok();
  return Aborted("the last version of " + service.ToString() + " is being taken back: try again")
      .WithExecuted(LEVER_EXECUTED_NO);
}

void Deployer::CheckEnvironment(const std::string& environment, std::function<void(Status)> done) {
  if (environment == policy::kDefaultEnvironment) {
    done(Status::Ok());
    return;
  }
  options_.registry->Get(
      registry::EnvironmentKey(environment),
      [environment, done = std::move(done)](const StatusOr<registry::GetResult>& read) {
        if (!read.ok()) {
          done(read.status());
        } else if (!read->entry) {
          done(NotFound("there is no environment " + environment));
        } else {
          done(Status::Ok());
        }
      });
}

// ---- Begin ----

void Deployer::Begin(std::string environment, std::string manifest_json, Loop* loop,
                     std::function<void(StatusOr<std::unique_ptr<Upload>>)> done) {
  const auto fail = [loop, done](Status status) {
    loop->Post([done, status = std::move(status)] { done(status); });
  };
  if (Status status = policy::CheckEnvironment(environment); !status.ok()) {
    fail(std::move(status));
    return;
  }
  StatusOr<Manifest> manifest = ParseManifest(manifest_json);
  if (!manifest.ok()) {
    fail(manifest.status());
    return;
  }
  if (options_.runnable) {
    Status runnable = options_.runnable(MakeSpec(environment, 0, "", *manifest));
    if (!runnable.ok()) {
      fail(std::move(runnable).WithExecuted(LEVER_EXECUTED_NO));
      return;
    }
  }
  auto job = std::make_shared<Job>();
  job->name = {std::move(environment), manifest->name};
  job->manifest = std::move(manifest).value();
  job->loop = loop;
  Post([self = shared_from_this(), job, done, fail] {
    if (Status taken = self->Take(job->name); !taken.ok()) {
      fail(std::move(taken));
      return;
    }
    self->CheckEnvironment(job->name.first, [self, job, done, fail](Status status) {
      if (!status.ok()) {
        self->Free(job->name);
        fail(std::move(status));
        return;
      }
      RunOnPool(
          self->options_.execute, job->loop,
          [store = self->options_.store] { return store->BeginUpload(); },
          [self, job, done](StatusOr<std::unique_ptr<BundleStore::Upload>> file) {
            // From here on the upload frees the name, whoever drops it.
            std::unique_ptr<Upload> upload(new Upload(self, job));
            if (!file.ok()) {
              done(file.status());
              return;
            }
            job->file = std::move(file).value();
            done(std::move(upload));
          });
    });
  });
}

// ---- Upload ----

Deployer::Upload::Upload(std::shared_ptr<Deployer> deployer, std::shared_ptr<Job> job)
    : deployer_(std::move(deployer)), job_(std::move(job)) {}

Deployer::Upload::~Upload() {
  if (finished_) return;
  // Removing the file waits on the disk.
  if (job_->file != nullptr) deployer_->options_.execute([file = std::move(job_->file)] {});
  deployer_->Post([deployer = deployer_, job = job_] { deployer->Free(job->name); });
}

void Deployer::Upload::Append(SliceList bytes, std::function<void(Status)> done) {
  bytes_ += static_cast<int64_t>(TotalSize(bytes));
  RunOnPool(
      deployer_->options_.execute, job_->loop,
      [file = job_->file, bytes = std::move(bytes)] {
        for (const Slice& slice : bytes) LEVER_RETURN_IF_ERROR(file->Append(slice.view()));
        return Status::Ok();
      },
      std::move(done));
}

void Deployer::Upload::StartFirst() { job_->start_first = true; }
void Deployer::Upload::SetWatch(WatchMode mode) { job_->watch = mode; }
void Deployer::Upload::SetCanary(scale::CanaryTerms terms) { job_->canary = terms; }

void Deployer::Upload::Finish(std::function<void(DeployStep)> progress,
                              std::function<void(StatusOr<DeployResult>)> done) {
  finished_ = true;
  job_->packed_bytes = bytes_;
  job_->progress = std::move(progress);
  job_->done = std::move(done);
  deployer_->Post([deployer = deployer_, job = job_] { deployer->Store(job); });
}

// ---- Remove ----

void Deployer::Remove(std::string environment, std::string service, Loop* loop,
                      std::function<void(Status)> done) {
  const auto answer = [loop, done = std::move(done)](Status status) {
    loop->Post([done, status = std::move(status)] { done(status); });
  };
  Status status = policy::CheckEnvironment(environment);
  if (status.ok()) status = policy::CheckService(service);
  if (!status.ok()) {
    answer(std::move(status));
    return;
  }
  Post([self = shared_from_this(), name = Name(std::move(environment), std::move(service)),
        answer] {
    if (Status taken = self->Take(name); !taken.ok()) {
      answer(std::move(taken));
      return;
    }
    self->RemoveTaken(name, [self, name, answer](Status status) {
      self->Free(name);
      answer(std::move(status));
    });
  });
}

void Deployer::RemoveTaken(const Name& name, std::function<void(Status)> done) {
  const std::string key = registry::ServiceKey(name.first, name.second);
  options_.registry->Get(key, [self = shared_from_this(), name, key,
                               done](const StatusOr<registry::GetResult>& read) {
    const scale::ServiceName service{name.first, name.second};
    if (!read.ok() || !read->entry) {
      done(read.ok() ? NotFound("there is no service " + service.ToString() + " that was deployed")
                     : read.status());
      return;
    }
    registry::ScanPrefix(self->options_.registry,
                         registry::KindPrefix(registry::KeyKind::kVersion, name.first, name.second),
                         [self, name, entry = *read->entry,
                          done](const StatusOr<std::vector<registry::Entry>>& versions) {
                           if (!versions.ok()) {
                             done(versions.status());
                           } else {
                             self->RemoveVersions(name, entry, *versions, done);
                           }
                         });
  });
}

// Records that cannot be read are removed as well: that is how one gets rid of them.
void Deployer::RemoveVersions(const Name& name, const registry::Entry& record,
                              const std::vector<registry::Entry>& versions,
                              std::function<void(Status)> done) {
  std::vector<std::pair<uint64_t, std::string>> bundles;
  for (const registry::Entry& entry : versions) {
    const auto key = registry::ParseKey(entry.key);
    StatusOr<std::string> bundle = BundleOfVersion(entry.value);
    if (key && bundle.ok()) bundles.emplace_back(key->number, std::move(*bundle));
  }
  registry::Transaction transaction;
  transaction.If(registry::Compare::ModRevision(record.key, record.mod_revision))
      .Then(registry::Operation::Delete(record.key))
      .Then(registry::Operation::DeletePrefix(
          registry::KindPrefix(registry::KeyKind::kVersion, name.first, name.second)))
      .Then(registry::Operation::DeletePrefix(
          registry::KindPrefix(registry::KeyKind::kState, name.first, name.second)))
      .Then(registry::Operation::Delete(registry::CarriedKey(name.first, name.second)));
  options_.registry->Commit(
      std::move(transaction), [self = shared_from_this(), name, bundles = std::move(bundles),
                               done](const StatusOr<registry::TransactionResult>& result) {
        const scale::ServiceName service{name.first, name.second};
        if (!result.ok() || !result->succeeded) {
          done(result.ok() ? Aborted(service.ToString() + " was changed meanwhile: try again")
                           : result.status());
          return;
        }
        // Instances of any of them may still be draining.
        for (const auto& [version, bundle] : bundles) {
          self->collector_->Retire(name.first, name.second, version, bundle);
        }
        self->options_.control->Remove(service, [self, done](Status status) {
          self->collector_->Collect();
          // The control plane may not have known it, if its record was damaged.
          done(status.code() == LEVER_NOT_FOUND ? Status::Ok() : std::move(status));
        });
      });
}

}  // namespace lever::deploy
