#include "liblever/client/target.h"

#include <utility>

#include "liblever/policy/address.h"
#include "liblever/policy/shard.h"

namespace lever::client {

StatusOr<std::shared_ptr<Target>> TargetCache::Find(std::string_view address) {
  const auto found = targets_.find(address);
  if (found != targets_.end()) return found->second;
  LEVER_ASSIGN_OR_RETURN(policy::Address parsed, policy::ParseAddress(address));
  if (parsed.environment.empty()) parsed.environment = environment_;
  auto target = std::make_shared<Target>();
  target->url = policy::FormatUrlHeader(parsed);
  if (parsed.has_resource) {
    target->resource = policy::EncodeResource(parsed.resource);
    target->resource_hash =
        policy::ResourceHash(parsed.environment, parsed.service, parsed.resource);
  }
  if (budgets_.size() >= kTargetsMax) Clear();
  auto& budget = budgets_[parsed.environment + "/" + parsed.service];
  if (budget == nullptr) budget = std::make_shared<policy::RetryBudget>();
  target->budget = budget;
  target->environment = std::move(parsed.environment);
  target->service = std::move(parsed.service);
  // Names of resources are without number: they would only push the others out.
  if (!parsed.has_resource) {
    if (targets_.size() >= kTargetsMax) Clear();
    targets_.emplace(std::string(address), target);
  }
  return target;
}

void TargetCache::Clear() {
  targets_.clear();
  budgets_.clear();
}

}  // namespace lever::client
