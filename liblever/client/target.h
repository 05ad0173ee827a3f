// What an address stands for: the headers that name it, and the route of its service.
//
// Targets are immutable but for their route, and shared by the calls that use them. A client keeps
// those of the addresses that it calls, so that a warm call neither parses nor allocates.
#ifndef LIBLEVER_CLIENT_TARGET_H_
#define LIBLEVER_CLIENT_TARGET_H_

#include <boost/container_hash/hash.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/policy/retry.h"

namespace lever::route {
struct ServiceRoute;
}  // namespace lever::route

namespace lever::client {

struct Target {
  std::string url;       // lever-url
  std::string resource;  // lever-resource, or empty
  uint64_t resource_hash = 0;  // policy::ResourceHash(), with a resource
  std::string environment;
  std::string service;
  // Of `service`; null until the first call looks for it.
  std::shared_ptr<route::ServiceRoute> route;
  // Of the service, shared by its methods.
  std::shared_ptr<policy::RetryBudget> budget;
};

class TargetCache {
 public:
  // Targets that are kept: beyond it all are forgotten, and those in use live on in their calls. The
  // same for services.
  static constexpr size_t kTargetsMax = 1024;

  explicit TargetCache(std::string environment) : environment_(std::move(environment)) {}
  const std::string& environment() const { return environment_; }
  // INVALID_ARGUMENT if the address is none.
  StatusOr<std::shared_ptr<Target>> Find(std::string_view address);
  void Clear();

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return boost::hash<std::string_view>()(text); }
  };

  std::string environment_;
  boost::unordered_flat_map<std::string, std::shared_ptr<Target>, Hash, std::equal_to<>> targets_;
  // By environment and service; forgotten together with the targets.
  boost::unordered_flat_map<std::string, std::shared_ptr<policy::RetryBudget>> budgets_;
};

}  // namespace lever::client

#endif  // LIBLEVER_CLIENT_TARGET_H_
