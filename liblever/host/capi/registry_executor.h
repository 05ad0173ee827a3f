// Runs the registry's completions on the control loop. Any thread.
#ifndef LIBLEVER_HOST_CAPI_REGISTRY_EXECUTOR_H_
#define LIBLEVER_HOST_CAPI_REGISTRY_EXECUTOR_H_

#include <functional>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/host/registry/registry.h"

namespace lever::host {

class RegistryExecutor final : public registry::Executor {
 public:
  explicit RegistryExecutor(Loop* loop) : loop_(loop) {}
  void Post(std::function<void()> task) override { loop_->Post(std::move(task)); }

 private:
  Loop* const loop_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_REGISTRY_EXECUTOR_H_
