#include "liblever/host/scale/state_store.h"

#include <utility>

#include "liblever/host/registry/schema.h"

namespace lever::scale {
namespace {

// A record: what it is, the generation that wrote it in decimal, a space, the payload.
constexpr char kLost = 'l';
constexpr char kValue = 'v';
constexpr char kRaw = 'r';
constexpr uint32_t kKindValue = 1;  // lever_kind
constexpr uint32_t kKindRaw = 2;

std::string Record(char what, uint64_t generation, std::string_view payload) {
  std::string record(1, what);
  record.append(std::to_string(generation)).append(" ").append(payload);
  return record;
}

}  // namespace

StateStore::StateStore(registry::Registry* registry, std::string environment, std::string service,
                       registry::Compare holder)
    : registry_(registry),
      environment_(std::move(environment)),
      service_(std::move(service)),
      holder_(std::move(holder)) {}

std::string StateStore::KeyOf(const std::string& resource) const {
  return registry::StateKey(environment_, service_, resource);
}

void StateStore::Read(const std::string& resource,
                      std::function<void(fleet::StateAnswerData)> done) {
  registry_->Get(KeyOf(resource), [done = std::move(done)](StatusOr<registry::GetResult> read) {
    fleet::StateAnswerData answer;
    if (!read.ok()) {
      answer.status = read.status();
    } else if (read->entry) {
      const std::string& record = read->entry->value;
      const size_t space = record.find(' ');
      if (space == std::string::npos || record[0] == kLost) {
        answer.origin = fleet::StateOrigin::kLost;
      } else {
        answer.origin = fleet::StateOrigin::kCarried;
        answer.payload_kind = record[0] == kValue ? kKindValue : kKindRaw;
        answer.payload = record.substr(space + 1);
      }
    }
    done(std::move(answer));
  });
}

void StateStore::Carry(const std::string& resource, uint64_t generation, uint32_t kind,
                       const std::string& payload, std::function<void(Status)> done) {
  if (kind != kKindValue && kind != kKindRaw) {
    return done(InvalidArgument("what a resource carries is a value or raw bytes"));
  }
  Write(registry::Operation::Put(KeyOf(resource),
                                 Record(kind == kKindValue ? kValue : kRaw, generation, payload)),
        std::move(done));
}

void StateStore::Lose(const std::string& resource, uint64_t generation,
                      std::function<void(Status)> done) {
  Write(registry::Operation::Put(KeyOf(resource), Record(kLost, generation, "")), std::move(done));
}

void StateStore::Forget(const std::string& resource, std::function<void(Status)> done) {
  Write(registry::Operation::Delete(KeyOf(resource)), std::move(done));
}

void StateStore::Write(registry::Operation operation, std::function<void(Status)> done) {
  registry::Transaction transaction;
  transaction.If(holder_).Then(std::move(operation));
  registry_->Commit(
      std::move(transaction),
      [done = std::move(done)](StatusOr<registry::TransactionResult> result) {
        if (!result.ok()) return done(result.status());
        done(result->succeeded ? Status::Ok()
                               : Unavailable("another host controls the service now"));
      });
}

}  // namespace lever::scale
