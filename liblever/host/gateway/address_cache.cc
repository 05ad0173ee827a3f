#include "liblever/host/gateway/address_cache.h"

#include <utility>

namespace lever::gateway {

StatusOr<std::shared_ptr<const policy::Address>> AddressCache::Parse(
    std::string_view url, std::optional<std::string_view> resource) {
  if (!resource.has_value()) {
    const auto found = addresses_.find(url);
    if (found != addresses_.end()) return found->second;
  }
  LEVER_ASSIGN_OR_RETURN(policy::Address parsed, policy::ParseAddressHeaders(url, resource));
  auto address = std::make_shared<const policy::Address>(std::move(parsed));
  if (!resource.has_value()) {
    if (addresses_.size() >= kAddressesMax) addresses_.clear();
    addresses_.emplace(std::string(url), address);
  }
  return address;
}

}  // namespace lever::gateway
