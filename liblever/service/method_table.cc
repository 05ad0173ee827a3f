#include "liblever/service/method_table.h"

#include <algorithm>

#include "liblever/policy/address.h"

namespace lever::service {

Status MethodTable::Add(std::string_view name, void* user_data) {
  LEVER_RETURN_IF_ERROR(policy::CheckMethod(name));
  if (methods_.size() >= kMethodsMax) return ResourceExhausted("too many methods");
  const Method method{.user_data = user_data, .streaming = policy::IsStreamingMethod(name)};
  if (!methods_.emplace(std::string(name), method).second) {
    return AlreadyExists("there is a method " + std::string(name) + " already");
  }
  return Status::Ok();
}

std::vector<std::string> MethodTable::Names() const {
  std::vector<std::string> names;
  names.reserve(methods_.size());
  for (const auto& [name, method] : methods_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace lever::service
