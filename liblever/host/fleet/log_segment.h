// A file of a service's log: its name, its first line, and the lines.
//
//   <number of its first line, 20 digits>.log
//   lever-log 1 <environment> <service>
//   <number> <unix time, ns> <version> <o|e> <instance> <text>
//
// Plain text, so that it can be read without Lever, too. A line that is torn, or was made of zeros
// by a crash of the machine, does not parse and is passed over: nothing is ever written behind it,
// because a host that starts begins new files.
//
// Pure functions; any thread.
#ifndef LIBLEVER_HOST_FLEET_LOG_SEGMENT_H_
#define LIBLEVER_HOST_FLEET_LOG_SEGMENT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace lever::fleet {

// One line as it stands in a file.
struct StoredLine {
  uint64_t number = 0;  // rises from line to line, over all services and starts of the host
  int64_t time_unix_ns = 0;
  uint64_t version = 0;
  bool is_stderr = false;
  std::string_view instance;
  std::string_view text;  // without a line's end
};

// With the line's end.
void AppendLine(const StoredLine& line, std::string* bytes);
// `bytes` without the line's end; nullopt for what AppendLine() has not written.
std::optional<StoredLine> ParseLine(std::string_view bytes);

std::string SegmentHeader(std::string_view environment, std::string_view service);
// Environment and service of a header without its line's end.
std::optional<std::pair<std::string, std::string>> ParseSegmentHeader(std::string_view line);

std::string SegmentFileName(uint64_t first_number);
std::optional<uint64_t> ParseSegmentFileName(std::string_view name);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_LOG_SEGMENT_H_
