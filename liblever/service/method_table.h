// The methods of a service by name. Filled before the service starts, only read afterwards.
#ifndef LIBLEVER_SERVICE_METHOD_TABLE_H_
#define LIBLEVER_SERVICE_METHOD_TABLE_H_

#include <boost/container_hash/hash.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/status.h"

namespace lever::service {

struct Method {
  void* user_data = nullptr;
  bool streaming = false;
};

class MethodTable {
 public:
  static constexpr size_t kMethodsMax = 4096;

  // INVALID_ARGUMENT, ALREADY_EXISTS, RESOURCE_EXHAUSTED.
  Status Add(std::string_view name, void* user_data);
  // Null: there is none of that name. `*interned` is the name as the table keeps it.
  const Method* Find(std::string_view name, std::string_view* interned) const {
    const auto found = methods_.find(name);
    if (found == methods_.end()) return nullptr;
    *interned = found->first;
    return &found->second;
  }
  // In the order of the alphabet.
  std::vector<std::string> Names() const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return boost::hash<std::string_view>()(text); }
  };
  boost::unordered_flat_map<std::string, Method, Hash, std::equal_to<>> methods_;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_METHOD_TABLE_H_
