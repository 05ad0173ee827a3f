#include "liblever/rpc/counters.h"

#include <mutex>

namespace lever::rpc {
namespace {

struct ThreadBlock;

// Never destroyed: a thread may end after the process's statics have.
struct Registry {
  std::mutex mutex;
  ThreadBlock* first = nullptr;
  Counters ended;  // of threads that have ended
};

Registry& TheRegistry() {
  static Registry* const registry = new Registry;
  return *registry;
}

void AddTo(Counters* sum, const CounterBlock& block) {
#define LEVER_RPC_COUNTER_(name) sum->name += block.name.load(std::memory_order_relaxed);
  LEVER_RPC_COUNTERS(LEVER_RPC_COUNTER_)
#undef LEVER_RPC_COUNTER_
}

struct ThreadBlock {
  ThreadBlock() {
    Registry& registry = TheRegistry();
    const std::lock_guard lock(registry.mutex);
    next = registry.first;
    if (next != nullptr) next->before = this;
    registry.first = this;
  }
  ~ThreadBlock() {
    Registry& registry = TheRegistry();
    const std::lock_guard lock(registry.mutex);
    AddTo(&registry.ended, block);
    (before == nullptr ? registry.first : before->next) = next;
    if (next != nullptr) next->before = before;
    ended = true;
  }

  CounterBlock block;
  ThreadBlock* next = nullptr;
  ThreadBlock* before = nullptr;

  static thread_local bool ended;
};

thread_local bool ThreadBlock::ended = false;
thread_local ThreadBlock of_this_thread;

}  // namespace

CounterBlock& LocalCounters() {
  // What ends after its thread's own variables (connections of a static) is counted nowhere.
  static CounterBlock nowhere;
  return ThreadBlock::ended ? nowhere : of_this_thread.block;
}

Counters GlobalCounters() {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  Counters sum = registry.ended;
  for (ThreadBlock* at = registry.first; at != nullptr; at = at->next) AddTo(&sum, at->block);
  return sum;
}

}  // namespace lever::rpc
