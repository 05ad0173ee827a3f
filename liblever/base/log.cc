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

}  // namespace lever
