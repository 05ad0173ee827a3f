// The addresses that callers use, parsed: a few of them are in nearly all calls.
//
// Threads: those of one loop. What it gives is immutable and outlives it.
#ifndef LIBLEVER_HOST_GATEWAY_ADDRESS_CACHE_H_
#define LIBLEVER_HOST_GATEWAY_ADDRESS_CACHE_H_

#include <boost/container_hash/hash.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/policy/address.h"

namespace lever::gateway {

class AddressCache {
 public:
  // Addresses that are kept, each below 1 KiB: beyond it all are forgotten. Those of resources never
  // are kept: they are without number, and would only push the others out.
  static constexpr size_t kAddressesMax = 1024;

  // As policy::ParseAddressHeaders() does it.
  StatusOr<std::shared_ptr<const policy::Address>> Parse(std::string_view url,
                                                         std::optional<std::string_view> resource);

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return boost::hash<std::string_view>()(text); }
  };

  boost::unordered_flat_map<std::string, std::shared_ptr<const policy::Address>, Hash,
                            std::equal_to<>>
      addresses_;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_ADDRESS_CACHE_H_
