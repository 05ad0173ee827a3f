// What a host starts with: the environments and services of the registry. On the control loop.
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "liblever/base/log.h"
#include "liblever/host/deploy/deploy_job.h"
#include "liblever/host/deploy/deployer.h"
#include "liblever/host/registry/scan.h"
#include "liblever/host/registry/schema.h"

namespace lever::deploy {

struct Deployer::Loading {
  std::map<Name, ServiceRecord> services;
  std::function<void(Status)> done;
};

void Deployer::LoadAll(std::function<void(Status)> done) {
  auto loading = std::make_shared<Loading>();
  loading->done = std::move(done);
  TellEnvironments([self = shared_from_this(), loading](Status told) {
    if (!told.ok()) {
      loading->done(std::move(told));
      return;
    }
    self->LoadServices(loading);
  });
}

void Deployer::LoadServices(std::shared_ptr<Loading> loading) {
  registry::ScanPrefix(
      options_.registry, registry::KindPrefix(registry::KeyKind::kService),
      [self = shared_from_this(), loading](const StatusOr<std::vector<registry::Entry>>& entries) {
        if (!entries.ok()) {
          loading->done(entries.status());
          return;
        }
        for (const registry::Entry& entry : *entries) {
          const auto key = registry::ParseKey(entry.key);
          StatusOr<ServiceRecord> record = ParseServiceRecord(entry.value);
          if (!key || !record.ok()) {
            Log(LogLevel::kError, entry.key + ": left out, its record cannot be read");
            continue;
          }
          loading->services.emplace(Name(key->env, key->service),
                                    std::move(record).value());
        }
        registry::ScanPrefix(self->options_.registry,
                             registry::KindPrefix(registry::KeyKind::kVersion),
                             [self, loading](StatusOr<std::vector<registry::Entry>> versions) {
                               if (!versions.ok()) {
                                 loading->done(versions.status());
                                 return;
                               }
                               self->LoadVersions(loading, std::move(versions).value());
                             });
      });
}

void Deployer::LoadVersions(std::shared_ptr<Loading> loading,
                            std::vector<registry::Entry> versions) {
  std::vector<std::string> stale;
  std::vector<std::pair<scale::ServiceSpec, CanaryRecord>> canaries;
  for (const registry::Entry& entry : versions) {
    const auto key = registry::ParseKey(entry.key);
    if (!key) continue;
    const auto service = loading->services.find(Name(key->env, key->service));
    if (service == loading->services.end()) stale.push_back(entry.key);
    if (service == loading->services.end()) continue;
    const std::optional<CanaryRecord>& canary = service->second.canary;
    const bool is_canary = canary && canary->version == key->number;
    if (service->second.version != key->number && !is_canary) continue;
    const StatusOr<VersionRecord> version = ParseVersionRecord(entry.value);
    if (!version.ok()) {
      Log(LogLevel::kError, entry.key + ": left out: " + version.status().message());
      continue;
    }
    StatusOr<scale::ServiceSpec> spec =
        MakeSpec(key->env, key->number, *version, *options_.secrets);
    if (!spec.ok()) {
      Log(LogLevel::kError, entry.key + ": left out: " + spec.status().message());
      continue;
    }
    if (is_canary) {
      canaries.emplace_back(std::move(*spec), *canary);
    } else {
      ServeAtStart(std::move(*spec));
    }
  }
  for (auto& [spec, canary] : canaries) SetCanaryAtStart(std::move(spec), canary);
  DropVersions(std::move(stale), {});
  collector_->Collect();
  loading->done(Status::Ok());
}

// A deploy with instances to keep serves only once the first of them is ready, and would be refused
// for good if that fails. A service that was deployed before serves at once, whatever becomes of it.
void Deployer::ServeAtStart(scale::ServiceSpec spec) {
  scale::ServiceSpec at_once = spec;
  at_once.instances_min = 0;
  options_.control->Deploy(std::move(at_once), [](const Status&) {});
  if (spec.instances_min == 0) return;
  const std::string name = spec.name().ToString();
  options_.control->Deploy(std::move(spec), [name](const Status& status) {
    if (status.ok()) return;
    Log(LogLevel::kWarning, name + " did not start with the host: " + status.ToString() +
                                "; it starts with its next call");
  });
}

void Deployer::DropVersions(std::vector<std::string> keys,
                            std::vector<registry::Compare> compares) {
  // Half of what a transaction may do: there is no hurry.
  constexpr size_t kBatch = registry::kTransactionOperationsMax / 2;
  for (size_t begin = 0; begin < keys.size(); begin += kBatch) {
    registry::Transaction transaction;
    transaction.compares = compares;
    for (size_t i = begin; i < std::min(keys.size(), begin + kBatch); ++i) {
      transaction.Then(registry::Operation::Delete(std::move(keys[i])));
    }
    options_.registry->Commit(std::move(transaction),
                              [self = shared_from_this()](
                                  const StatusOr<registry::TransactionResult>& result) {
                                self->collector_->Collect();
                                if (result.ok()) return;
                                Log(LogLevel::kWarning, "records of old versions were not removed: " +
                                                            result.status().ToString());
                              });
  }
}

}  // namespace lever::deploy
