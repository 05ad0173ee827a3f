// What closed resources carry to their next owners, durable in the registry: one key a resource,
// with what it carries, or that it is lost.
//
// Threads: the registry's executor; what it calls is called there.
#ifndef LIBLEVER_HOST_SCALE_STATE_STORE_H_
#define LIBLEVER_HOST_SCALE_STATE_STORE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "liblever/base/status.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/registry/registry.h"

namespace lever::scale {

class StateStore {
 public:
  // `holder` is what must hold for a write: that the controller's lease is ours.
  StateStore(registry::Registry* registry, std::string environment, std::string service,
             registry::Compare holder);

  // What the resource is opened with, as far as its record tells: kNew without one.
  void Read(const std::string& resource, std::function<void(fleet::StateAnswerData)> done);
  // Durable when it is answered.
  void Carry(const std::string& resource, uint64_t generation, uint32_t kind,
             const std::string& payload, std::function<void(Status)> done);
  void Lose(const std::string& resource, uint64_t generation, std::function<void(Status)> done);
  void Forget(const std::string& resource, std::function<void(Status)> done);

 private:
  void Write(registry::Operation operation, std::function<void(Status)> done);
  std::string KeyOf(const std::string& resource) const;

  registry::Registry* const registry_;
  const std::string environment_;
  const std::string service_;
  const registry::Compare holder_;
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_STATE_STORE_H_
