// A service's name in its environment as one key of a table.
#ifndef LIBLEVER_ROUTE_SERVICE_KEY_H_
#define LIBLEVER_ROUTE_SERVICE_KEY_H_

#include <string>
#include <string_view>

namespace lever::route {

// Unique: no name has a NUL.
inline std::string ServiceKey(std::string_view environment, std::string_view service) {
  std::string key;
  key.reserve(environment.size() + 1 + service.size());
  key.append(environment).push_back('\0');
  key.append(service);
  return key;
}

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_SERVICE_KEY_H_
