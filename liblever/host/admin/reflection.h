// grpc.reflection, v1 and v1alpha: the host's services, out of the descriptors linked into it.
//
// Both versions have the same messages, so one implementation serves both. Threads: the call's loop.
#ifndef LIBLEVER_HOST_ADMIN_REFLECTION_H_
#define LIBLEVER_HOST_ADMIN_REFLECTION_H_

#include <memory>
#include <string>
#include <vector>

#include "liblever/rpc/call.h"

namespace lever::admin {

class Reflection {
 public:
  // The full names of the services to list.
  explicit Reflection(std::vector<std::string> services);
  void Serve(rpc::Call& call) const;

 private:
  class Session;
  std::shared_ptr<const std::vector<std::string>> services_;
};

}  // namespace lever::admin

#endif  // LIBLEVER_HOST_ADMIN_REFLECTION_H_
