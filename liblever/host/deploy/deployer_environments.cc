// Environments: made, listed and removed. On the control loop.
#include <algorithm>
#include <map>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/deploy/deployer.h"
#include "liblever/host/registry/scan.h"
#include "liblever/host/registry/schema.h"
#include "liblever/policy/address.h"

namespace lever::deploy {
namespace {

// Environments have no settings.
constexpr char kEmptyRecord[] = "{}";

}  // namespace

// ---- One at a time ----

Status Deployer::TakeEnvironment(const std::string& environment) {
  const auto of_it = [&](const Name& name) { return name.first == environment; };
  if (busy_environments_.contains(environment) || std::any_of(busy_.begin(), busy_.end(), of_it)) {
    return Aborted("another change of environment " + environment + " or of a service in it is " +
                   "under way")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  // Ending a watch takes it out of the set.
  const std::set<Name> watched = watched_;
  for (const Name& name : watched) {
    if (of_it(name)) LEVER_RETURN_IF_ERROR(EndWatch(name));
  }
  busy_environments_.insert(environment);
  return Status::Ok();
}

void Deployer::TellEnvironments(std::function<void(Status)> done) {
  registry::ScanPrefix(
      options_.registry, registry::KindPrefix(registry::KeyKind::kEnvironment),
      [self = shared_from_this(),
       done = std::move(done)](const StatusOr<std::vector<registry::Entry>>& entries) {
        if (!entries.ok()) {
          done(entries.status());
          return;
        }
        std::vector<std::string> environments{std::string(policy::kDefaultEnvironment)};
        for (const registry::Entry& entry : *entries) {
          const auto key = registry::ParseKey(entry.key);
          if (key && key->env != policy::kDefaultEnvironment) {
            environments.push_back(key->env);
          }
        }
        self->options_.control->SetEnvironments(std::move(environments));
        done(Status::Ok());
      });
}

// ---- List ----

void Deployer::ListEnvironments(Loop* loop,
                                std::function<void(StatusOr<std::vector<EnvironmentInfo>>)> done) {
  Post([self = shared_from_this(), answer = AnswerOn(loop, std::move(done))] {
    registry::ScanPrefix(
        self->options_.registry, registry::KindPrefix(registry::KeyKind::kEnvironment),
        [self, answer](const StatusOr<std::vector<registry::Entry>>& entries) {
          if (!entries.ok()) {
            answer(entries.status());
            return;
          }
          auto counts = std::make_shared<std::map<std::string, uint32_t>>();
          (*counts)[std::string(policy::kDefaultEnvironment)] = 0;
          for (const registry::Entry& entry : *entries) {
            if (const auto key = registry::ParseKey(entry.key)) (*counts)[key->env] = 0;
          }
          registry::ScanPrefix(
              self->options_.registry, registry::KindPrefix(registry::KeyKind::kService),
              [counts, answer](const StatusOr<std::vector<registry::Entry>>& services) {
                if (!services.ok()) {
                  answer(services.status());
                  return;
                }
                for (const registry::Entry& entry : *services) {
                  const auto key = registry::ParseKey(entry.key);
                  if (key && counts->contains(key->env)) ++(*counts)[key->env];
                }
                std::vector<EnvironmentInfo> rows;
                for (const auto& [name, services] : *counts) rows.push_back({name, services});
                answer(std::move(rows));
              });
        });
  });
}

// Nothing else is done to the environment until `work` has called what it is given.
void Deployer::WithEnvironment(std::string environment, EnvironmentDone answer,
                               std::function<void(const EnvironmentDone&)> work) {
  Post([self = shared_from_this(), environment = std::move(environment),
        answer = std::move(answer), work = std::move(work)] {
    if (Status taken = self->TakeEnvironment(environment); !taken.ok()) {
      answer(std::move(taken));
      return;
    }
    work([self, environment, answer](StatusOr<uint32_t> services) {
      self->busy_environments_.erase(environment);
      answer(std::move(services));
    });
  });
}

// ---- Create ----

void Deployer::CreateEnvironment(std::string environment, std::string copy_from, Loop* loop,
                                 std::function<void(StatusOr<uint32_t>)> done) {
  auto answer = AnswerOn(loop, std::move(done));
  Status status = policy::CheckEnvironment(environment);
  if (status.ok() && !copy_from.empty()) status = policy::CheckEnvironment(copy_from);
  if (status.ok() && environment == policy::kDefaultEnvironment) {
    status = AlreadyExists("environment " + environment + " is there always");
  }
  if (!status.ok()) {
    answer(std::move(status));
    return;
  }
  WithEnvironment(environment, std::move(answer), [self = shared_from_this(), environment,
                                                   copy_from](const EnvironmentDone& finish) {
    if (copy_from.empty()) {
      self->PutEnvironment(environment, {}, finish);
      return;
    }
    self->CheckEnvironment(copy_from, [self, environment, copy_from, finish](Status checked) {
      if (!checked.ok()) {
        finish(std::move(checked));
        return;
      }
      // What is being copied is not collected.
      self->collector_->Enter([self, environment, copy_from, finish] {
        self->ReadForCopy(copy_from,
                          [self, environment, finish](StatusOr<std::vector<Copy>> copies) {
                            const auto leave = [self, finish](StatusOr<uint32_t> services) {
                              self->collector_->Leave();
                              finish(std::move(services));
                            };
                            if (!copies.ok()) {
                              leave(copies.status());
                            } else {
                              self->PutEnvironment(environment, std::move(copies).value(), leave);
                            }
                          });
      });
    });
  });
}

void Deployer::ReadForCopy(const std::string& environment,
                           std::function<void(StatusOr<std::vector<Copy>>)> done) {
  registry::ScanPrefix(
      options_.registry, registry::KindPrefix(registry::KeyKind::kService, environment),
      [self = shared_from_this(), environment,
       done](const StatusOr<std::vector<registry::Entry>>& services) {
        if (!services.ok()) {
          done(services.status());
          return;
        }
        auto records = std::make_shared<std::map<std::string, ServiceRecord>>();
        for (const registry::Entry& entry : *services) {
          const auto key = registry::ParseKey(entry.key);
          const StatusOr<ServiceRecord> record = ParseServiceRecord(entry.value);
          if (!key || !record.ok()) {
            done(DataLoss(entry.key + " cannot be read, and so not copied"));
            return;
          }
          // A copy has the version that serves alone.
          records->emplace(key->service, *record).first->second.canary.reset();
        }
        registry::ScanPrefix(
            self->options_.registry, registry::KindPrefix(registry::KeyKind::kVersion, environment),
            [records, done](const StatusOr<std::vector<registry::Entry>>& versions) {
              if (!versions.ok()) {
                done(versions.status());
                return;
              }
              std::vector<Copy> copies;
              for (const registry::Entry& entry : *versions) {
                const auto key = registry::ParseKey(entry.key);
                if (!key) continue;
                const auto record = records->find(key->service);
                if (record == records->end() || record->second.version != key->number) {
                  continue;
                }
                StatusOr<VersionRecord> version = ParseVersionRecord(entry.value);
                if (!version.ok()) {
                  done(DataLoss(entry.key + " cannot be read, and so not copied"));
                  return;
                }
                // A secret is told to those only that it was set for.
                version->settings.secrets.clear();
                copies.push_back({key->service, record->second, std::move(*version)});
              }
              done(std::move(copies));
            });
      });
}

// The environment first, so that nothing is ever in one that is not there; each service in a
// transaction of its own, since a version's record may be a quarter of a megabyte.
void Deployer::PutEnvironment(const std::string& environment, std::vector<Copy> copies,
                              std::function<void(StatusOr<uint32_t>)> done) {
  const std::string key = registry::EnvironmentKey(environment);
  registry::Transaction transaction;
  transaction.If(registry::Compare::Missing(key)).Then(registry::Operation::Put(key, kEmptyRecord));
  options_.registry->Commit(
      std::move(transaction),
      [self = shared_from_this(), environment, copies = std::move(copies),
       done = std::move(done)](const StatusOr<registry::TransactionResult>& result) {
        if (!result.ok() || !result->succeeded) {
          done(result.ok() ? AlreadyExists("there is an environment " + environment + " already")
                                 .WithExecuted(LEVER_EXECUTED_NO)
                           : result.status());
          return;
        }
        self->TellEnvironments([self, environment, copies, done](Status told) {
          if (!told.ok()) {
            done(std::move(told));
            return;
          }
          self->PutCopies(environment, std::make_shared<std::vector<Copy>>(copies), 0, done);
        });
      });
}

void Deployer::PutCopies(const std::string& environment, std::shared_ptr<std::vector<Copy>> copies,
                         size_t next, std::function<void(StatusOr<uint32_t>)> done) {
  if (next == copies->size()) {
    done(static_cast<uint32_t>(next));
    return;
  }
  const Copy& copy = (*copies)[next];
  registry::Transaction transaction;
  transaction.If(registry::Compare::Exists(registry::EnvironmentKey(environment)))
      .Then(registry::Operation::Put(registry::ServiceKey(environment, copy.service),
                                     Encode(copy.record)))
      .Then(registry::Operation::Put(
          registry::VersionKey(environment, copy.service, copy.record.version),
          Encode(copy.version)));
  options_.registry->Commit(
      std::move(transaction),
      [self = shared_from_this(), environment, copies, next,
       done = std::move(done)](const StatusOr<registry::TransactionResult>& result) {
        if (!result.ok() || !result->succeeded) {
          const Status why = result.ok() ? Aborted("it was removed meanwhile") : result.status();
          done(Status(why.code(),
                      "environment " + environment + " is there with " + std::to_string(next) +
                          " of " + std::to_string(copies->size()) + " services: " + why.message() +
                          "; delete it with --force and try again"));
          return;
        }
        const Copy& copied = (*copies)[next];
        StatusOr<scale::ServiceSpec> spec =
            MakeSpec(environment, copied.record.version, copied.version, *self->options_.secrets);
        if (!spec.ok()) {
          done(spec.status());
          return;
        }
        self->ServeAtStart(std::move(*spec));
        self->PutCopies(environment, copies, next + 1, done);
      });
}

// ---- Delete ----

void Deployer::DeleteEnvironment(std::string environment, Force force, Loop* loop,
                                 std::function<void(StatusOr<uint32_t>)> done) {
  auto answer = AnswerOn(loop, std::move(done));
  Status status = policy::CheckEnvironment(environment);
  if (status.ok() && environment == policy::kDefaultEnvironment) {
    status = FailedPrecondition("environment " + environment + " cannot be deleted");
  }
  if (!status.ok()) {
    answer(std::move(status));
    return;
  }
  WithEnvironment(environment, std::move(answer), [self = shared_from_this(), environment,
                                                   force](const EnvironmentDone& finish) {
    self->CheckEnvironment(environment, [self, environment, force, finish](Status checked) {
      if (!checked.ok()) {
        finish(std::move(checked));
        return;
      }
      self->options_.control->ListServices(
          &self->options_.control->loop(),
          [self, environment, force, finish](const std::vector<scale::ServiceStatus>& services) {
            self->EmptyEnvironment(environment, force, services, finish);
          });
    });
  });
}

void Deployer::EmptyEnvironment(const std::string& environment, Force force,
                                const std::vector<scale::ServiceStatus>& running,
                                std::function<void(StatusOr<uint32_t>)> done) {
  for (const scale::ServiceStatus& service : running) {
    if (service.spec.environment != environment || service.deployed || service.instances == 0) {
      continue;
    }
    done(FailedPrecondition("environment " + environment + " has a program attached as " +
                            service.spec.service + ": end it first")
             .WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  registry::ScanPrefix(
      options_.registry, registry::KindPrefix(registry::KeyKind::kService, environment),
      [self = shared_from_this(), environment, force,
       done = std::move(done)](const StatusOr<std::vector<registry::Entry>>& entries) {
        if (!entries.ok()) {
          done(entries.status());
          return;
        }
        auto names = std::make_shared<std::vector<std::string>>();
        for (const registry::Entry& entry : *entries) {
          if (const auto key = registry::ParseKey(entry.key)) names->push_back(key->service);
        }
        if (!names->empty() && force == Force::kNo) {
          const std::string more = names->size() > 1
                                       ? " and " + std::to_string(names->size() - 1) +
                                             (names->size() > 2 ? " others" : " other")
                                       : "";
          done(FailedPrecondition("environment " + environment + " has " + names->front() + more +
                                  ": remove them first, or delete it with --force")
                   .WithExecuted(LEVER_EXECUTED_NO));
          return;
        }
        self->RemoveAll(environment, names, 0, done);
      });
}

void Deployer::RemoveAll(const std::string& environment,
                         std::shared_ptr<std::vector<std::string>> services, size_t next,
                         std::function<void(StatusOr<uint32_t>)> done) {
  if (next < services->size()) {
    RemoveTaken({environment, (*services)[next]},
                [self = shared_from_this(), environment, services, next, done](Status removed) {
                  if (!removed.ok()) {
                    done(std::move(removed));
                  } else {
                    self->RemoveAll(environment, services, next + 1, done);
                  }
                });
    return;
  }
  registry::Transaction transaction;
  transaction.Then(registry::Operation::Delete(registry::EnvironmentKey(environment)));
  options_.registry->Commit(std::move(transaction),
                            [self = shared_from_this(), services,
                             done](const StatusOr<registry::TransactionResult>& result) {
                              if (!result.ok()) {
                                done(result.status());
                                return;
                              }
                              self->TellEnvironments([services, done](Status told) {
                                if (!told.ok()) {
                                  done(std::move(told));
                                } else {
                                  done(static_cast<uint32_t>(services->size()));
                                }
                              });
                            });
}

}  // namespace lever::deploy
