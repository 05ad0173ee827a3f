// Logging hooks. The core names no logging library: it hands lines to a sink that the embedding
// program sets, and drops them if there is none.
//
// Thread-safe. The sink is called on whatever thread logs, must not block, and must not log.
#ifndef LIBLEVER_BASE_LOG_H_
#define LIBLEVER_BASE_LOG_H_

#include <string>
#include <string_view>

namespace lever {

enum class LogLevel { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

using LogSink = void (*)(void* context, LogLevel level, std::string_view line);

// Replaces the process's sink; null drops everything. Lines below `least` are not formatted.
void SetLogSink(LogSink sink, void* context, LogLevel least = LogLevel::kInfo);
bool LogEnabled(LogLevel level);
void Log(LogLevel level, std::string_view line);

}  // namespace lever

#endif  // LIBLEVER_BASE_LOG_H_
