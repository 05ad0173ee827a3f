// The versions of a service: their settings, going back to one, and which are kept. On the control
// loop.
#include <algorithm>
#include <memory>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/deploy/deploy_job.h"
#include "liblever/host/deploy/deployer.h"
#include "liblever/host/registry/scan.h"
#include "liblever/host/registry/schema.h"
#include "liblever/policy/address.h"
#include "liblever/policy/versions_kept.h"

namespace lever::deploy {
namespace {

Status CheckNames(const std::string& environment, const std::string& service) {
  LEVER_RETURN_IF_ERROR(policy::CheckEnvironment(environment));
  return policy::CheckService(service);
}

}  // namespace

// ---- Changes ----

// From here it goes the way of an upload that is stored (deployer_steps.cc).
void Deployer::BeginJob(std::shared_ptr<Job> job, std::string environment, std::string service) {
  const auto fail = [job](Status status) {
    job->loop->Post([job, status = std::move(status)] { job->done(status); });
  };
  if (Status status = CheckNames(environment, service); !status.ok()) {
    fail(std::move(status));
    return;
  }
  job->name = {std::move(environment), std::move(service)};
  Post([self = shared_from_this(), job, fail] {
    if (Status taken = self->Take(job->name); !taken.ok()) {
      fail(std::move(taken));
      return;
    }
    self->ReadRecord(job);
  });
}

void Deployer::ChangeSettings(std::string environment, std::string service, SettingsChange change,
                              Loop* loop, std::function<void(StatusOr<DeployResult>)> done) {
  auto job = std::make_shared<Job>();
  job->kind = Job::Kind::kSettings;
  job->change = std::move(change);
  job->loop = loop;
  job->done = std::move(done);
  BeginJob(std::move(job), std::move(environment), std::move(service));
}

void Deployer::Rollback(std::string environment, std::string service, uint64_t version, Loop* loop,
                        std::function<void(StatusOr<DeployResult>)> done) {
  auto job = std::make_shared<Job>();
  job->kind = Job::Kind::kRollback;
  job->wanted = version;
  job->loop = loop;
  job->done = std::move(done);
  BeginJob(std::move(job), std::move(environment), std::move(service));
}

void Deployer::Promote(std::string environment, std::string service, Loop* loop,
                       std::function<void(StatusOr<DeployResult>)> done) {
  auto job = std::make_shared<Job>();
  job->kind = Job::Kind::kPromote;
  job->loop = loop;
  job->done = std::move(done);
  BeginJob(std::move(job), std::move(environment), std::move(service));
}

void Deployer::ChooseVersion(std::shared_ptr<Job> job) {
  job->exists = true;
  if (job->wanted == job->before->version) {
    Unchanged(std::move(job));
    return;
  }
  if (job->wanted != 0) {
    ReadVersion(job, job->wanted);
    return;
  }
  registry::ScanPrefix(
      options_.registry,
      registry::KindPrefix(registry::KeyKind::kVersion, job->name.first, job->name.second),
      [self = shared_from_this(), job](const StatusOr<std::vector<registry::Entry>>& versions) {
        if (!versions.ok()) {
          self->Finish(job, versions.status());
          return;
        }
        for (const registry::Entry& entry : *versions) {
          const auto key = registry::ParseKey(entry.key);
          if (key && key->number < job->before->version) {
            job->wanted = std::max(job->wanted, key->number);
          }
        }
        if (job->wanted == 0) {
          self->Finish(job, FailedPrecondition("no version of " + job->ServiceText() + " before " +
                                               std::to_string(job->before->version) + " is kept")
                                .WithExecuted(LEVER_EXECUTED_NO));
          return;
        }
        self->ReadVersion(job, job->wanted);
      });
}

// ---- What is kept ----

void Deployer::Prune(const Name& name, const ServiceRecord& current) {
  registry::ScanPrefix(
      options_.registry, registry::KindPrefix(registry::KeyKind::kVersion, name.first, name.second),
      [self = shared_from_this(), name,
       current](const StatusOr<std::vector<registry::Entry>>& entries) {
        if (!entries.ok()) {
          Log(LogLevel::kWarning,
              "old versions were not looked at: " + entries.status().ToString());
          return;
        }
        std::vector<policy::VersionSize> versions;
        for (const registry::Entry& entry : *entries) {
          const auto key = registry::ParseKey(entry.key);
          const StatusOr<VersionRecord> record = ParseVersionRecord(entry.value);
          // What cannot be read is nothing to go back to.
          if (!key) continue;
          versions.push_back({key->number, record.ok() ? record->bundle : "",
                              record.ok() ? record->packed_bytes : UINT64_MAX});
        }
        std::vector<std::string> keys;
        for (const uint64_t number : policy::VersionsToDrop(versions, current.version)) {
          keys.push_back(registry::VersionKey(name.first, name.second, number));
          for (const policy::VersionSize& version : versions) {
            if (version.number != number) continue;
            self->collector_->Retire(name.first, name.second, number, version.bundle);
          }
        }
        // Not if somebody went back to one of them meanwhile.
        self->DropVersions(std::move(keys),
                           {registry::Compare::Value(registry::ServiceKey(name.first, name.second),
                                                     Encode(current))});
      });
}

// ---- Lists ----

void Deployer::ReadCurrent(const Name& name,
                           std::function<void(StatusOr<Current>)> done) {
  options_.registry->Get(
      registry::ServiceKey(name.first, name.second),
      [self = shared_from_this(), name,
       done = std::move(done)](const StatusOr<registry::GetResult>& read) {
        if (!read.ok() || !read->entry) {
          const scale::ServiceName service{name.first, name.second};
          done(read.ok()
                   ? NotFound("there is no service " + service.ToString() + " that was deployed")
                   : read.status());
          return;
        }
        const StatusOr<ServiceRecord> record = ParseServiceRecord(read->entry->value);
        if (!record.ok()) {
          done(record.status());
          return;
        }
        self->options_.registry->Get(
            registry::VersionKey(name.first, name.second, record->version),
            [record = *record, done](const StatusOr<registry::GetResult>& version) {
              if (!version.ok() || !version->entry) {
                done(version.ok() ? DataLoss("the record of the version is missing")
                                  : version.status());
                return;
              }
              StatusOr<VersionRecord> parsed = ParseVersionRecord(version->entry->value);
              if (!parsed.ok()) {
                done(parsed.status());
              } else {
                done(std::make_pair(record, std::move(*parsed)));
              }
            });
      });
}

void Deployer::WithCurrent(std::string environment, std::string service,
                           std::function<void(Status)> fail,
                           std::function<void(const Name&, const Current&)> use) {
  if (Status status = CheckNames(environment, service); !status.ok()) {
    fail(std::move(status));
    return;
  }
  Post([self = shared_from_this(), name = Name(std::move(environment), std::move(service)),
        fail = std::move(fail), use = std::move(use)] {
    self->ReadCurrent(name, [name, fail, use](const StatusOr<Current>& current) {
      if (current.ok()) {
        use(name, *current);
      } else {
        fail(current.status());
      }
    });
  });
}

void Deployer::ListVersions(std::string environment, std::string service, Loop* loop,
                            std::function<void(StatusOr<std::vector<VersionInfo>>)> done) {
  const auto answer = AnswerOn(loop, std::move(done));
  WithCurrent(
      std::move(environment), std::move(service), answer,
      [self = shared_from_this(), answer](const Name& name, const Current& current) {
        registry::ScanPrefix(
            self->options_.registry,
            registry::KindPrefix(registry::KeyKind::kVersion, name.first, name.second),
            [answer, serving = current.first.version, canary = current.first.canary](
                const StatusOr<std::vector<registry::Entry>>& entries) {
              if (!entries.ok()) {
                answer(entries.status());
                return;
              }
              std::vector<VersionInfo> rows;
              for (const registry::Entry& entry : *entries) {
                const auto key = registry::ParseKey(entry.key);
                const StatusOr<VersionRecord> record = ParseVersionRecord(entry.value);
                if (!key || !record.ok()) continue;
                VersionInfo& row = rows.emplace_back();
                row.version = key->number;
                row.current = key->number == serving;
                if (canary && canary->version == key->number) row.canary = canary->terms;
                row.deployed_unix_ns = record->deployed_unix_ns;
                row.bundle = record->bundle;
                row.reason = record->reason;
              }
              std::reverse(rows.begin(), rows.end());
              answer(std::move(rows));
            });
      });
}

void Deployer::ListSettings(std::string environment, std::string service, Loop* loop,
                            std::function<void(StatusOr<SettingsInfo>)> done) {
  const auto answer = AnswerOn(loop, std::move(done));
  WithCurrent(std::move(environment), std::move(service), answer,
              [answer](const Name&, const Current& current) {
                const VersionRecord& version = current.second;
                StatusOr<std::string> config =
                    MergedConfig(version.manifest.config_json, version.settings);
                if (!config.ok()) {
                  answer(config.status());
                  return;
                }
                SettingsInfo info{current.first.version, std::move(*config), {}, {}};
                for (const auto& [key, value] : version.settings.config) {
                  info.config_set.push_back(key);
                }
                for (const auto& [key, value] : version.settings.secrets) {
                  info.secrets.push_back(key);
                }
                answer(std::move(info));
              });
}

}  // namespace lever::deploy
