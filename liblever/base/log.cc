#include "liblever/base/log.h"

#include <atomic>
#include <mutex>
#include <shared_mutex>

namespace lever {
namespace {

constexpr int kNothing = static_cast<int>(LogLevel::kError) + 1;

// The least level that is wanted, read without a lock by LogEnabled().
std::atomic<int> least_level{kNothing};

// Shared by those who log, so that SetLogSink() returns only when nobody is in the old sink any
// more and its context may be freed.
std::shared_mutex sink_mutex;
LogSink sink = nullptr;
void* sink_context = nullptr;

}  // namespace

void SetLogSink(LogSink new_sink, void* context, LogLevel least) {
  std::unique_lock lock(sink_mutex);
  sink = new_sink;
  sink_context = context;
  least_level.store(new_sink != nullptr ? static_cast<int>(least) : kNothing,
                    std::memory_order_relaxed);
}

bool LogEnabled(LogLevel level) {
  return static_cast<int>(level) >= least_level.load(std::memory_order_relaxed);
}

void Log(LogLevel level, std::string_view line) {
  if (!LogEnabled(level)) return;
  std::shared_lock lock(sink_mutex);
  if (sink != nullptr) sink(sink_context, level, line);
}

void LogLimiter::Log(LogLevel level, int64_t now_ns, std::string line) {
  if (!LogEnabled(level)) return;
  int64_t next_ns = next_ns_.load(std::memory_order_relaxed);
  // Clocks differ in tests: one that is far behind the last line's begins anew.
  const bool due = now_ns >= next_ns || next_ns - now_ns > interval_ns_;
  if (!due || !next_ns_.compare_exchange_strong(next_ns, now_ns + interval_ns_)) {
    silent_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const uint64_t others = silent_.exchange(0, std::memory_order_relaxed);
  if (others > 0) line.append(" (and ").append(std::to_string(others)).append(" before it)");
  lever::Log(level, line);
}

}  // namespace lever
