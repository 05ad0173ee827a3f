// Logging hooks. The core names no logging library: it hands lines to a sink that the embedding
// program sets, and drops them if there is none.
//
// Thread-safe. The sink is called on whatever thread logs, must not block, and must not log.
#ifndef LIBLEVER_BASE_LOG_H_
#define LIBLEVER_BASE_LOG_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace lever {

enum class LogLevel { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

using LogSink = void (*)(void* context, LogLevel level, std::string_view line);

// Replaces the process's sink; null drops everything. Lines below `least` are not formatted.
void SetLogSink(LogSink sink, void* context, LogLevel least = LogLevel::kInfo);
bool LogEnabled(LogLevel level);
void Log(LogLevel level, std::string_view line);

// For lines that strangers cause: at most one in `interval_ns`, which says how many there were between.
// Thread-safe.
class LogLimiter {
 public:
  explicit constexpr LogLimiter(int64_t interval_ns) : interval_ns_(interval_ns) {}
  // Logs `line` if one is due.
  void Log(LogLevel level, int64_t now_ns, std::string line);

 private:
  const int64_t interval_ns_;
  std::atomic<int64_t> next_ns_{INT64_MIN};
  std::atomic<uint64_t> silent_{0};
};

}  // namespace lever

#endif  // LIBLEVER_BASE_LOG_H_
