// Runs a registry's completions on a loop, which outlives it. Any thread.
#ifndef LIBLEVER_HOST_REGISTRY_LOOP_EXECUTOR_H_
#define LIBLEVER_HOST_REGISTRY_LOOP_EXECUTOR_H_

#include <functional>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/host/registry/registry.h"

namespace lever::registry {

class LoopExecutor final : public Executor {
 public:
  explicit LoopExecutor(Loop* loop) : loop_(loop) {}
  void Post(std::function<void()> task) override { loop_->Post(std::move(task)); }

 private:
  Loop* const loop_;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_LOOP_EXECUTOR_H_
