// What `lever logs` makes of a log line, and of the moment from which on it shows them.
//
// Pure but for the time zone.
#ifndef DAEMON_LEVER_LOG_TEXT_H_
#define DAEMON_LEVER_LOG_TEXT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/status.h"

namespace lever::cli {

// The moment in nanoseconds since 1970: "90", "30s", "10m", "2h" or "1d" before `now_unix_ns`, or
// "2026-11-24", "2026-11-24T22:16" and "2026-11-24T22:16:45", in UTC with a Z behind it, else local
// time.
StatusOr<int64_t> ParseSince(std::string_view text, int64_t now_unix_ns);

// The fields of a line that is a JSON object, as the loggers for machines write them.
std::optional<nlohmann::ordered_json> StructuredLine(std::string_view text);
// For people: "WARN the message key=value other=\"two words\"". Level and message are found by the
// names that pino, structlog, zap, zerolog, slog and logrus give them; their times are left out,
// since each line shows its own.
std::string StructuredText(const nlohmann::ordered_json& fields);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_LOG_TEXT_H_
