#include "liblever/base/fork.h"

#include <pthread.h>

#include <atomic>
#include <cstdlib>

namespace lever {
namespace {

std::atomic<uint32_t> fork_count{0};

void CountInChild() { fork_count.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

uint32_t ForkCount() {
  static const int registered = ::pthread_atfork(nullptr, nullptr, CountInChild);
  // Only fails without memory. Going on would let a child write into its parent's connections.
  if (registered != 0) std::abort();
  return fork_count.load(std::memory_order_relaxed);
}

}  // namespace lever
