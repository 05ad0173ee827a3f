// What the command prints.
#ifndef DAEMON_LEVER_OUTPUT_H_
#define DAEMON_LEVER_OUTPUT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/lever/command.h"
#include "daemon/lever/connection.h"
#include "liblever/base/status.h"

namespace lever::cli {

// All of it, as long as that takes.
Status WriteAll(int fd, std::string_view text);
// All of it to standard output, at once. Whoever reads it may be gone: SIGPIPE ends the command
// then.
Status Print(std::string_view text);
// "lever: <line>" to standard error.
void Note(std::string_view line);

// Tells of the error and gives its exit code; 0 and nothing if it is OK.
int Report(const Globals& globals, const Status& status);
// As Report(), for the end of a call: a method's own error is printed as its value.
int ReportOutcome(const Globals& globals, const Outcome& outcome);

// A payload as JSON; bytes as {"$bytes": ...}.
StatusOr<std::string> ToJson(const Payload& payload);

// Columns, as wide as they must be; the first row is the heading.
std::string Table(const std::vector<std::vector<std::string>>& rows);
// "3 s", "12 min", "5 h", "9 d"
std::string Age(int64_t age_ns);
// "512 B", "12.3 MiB"
std::string Size(uint64_t bytes);
// Without control characters, so that no text out of a service or a bundle moves the cursor.
std::string Plain(std::string_view text);
// The same, but line ends stay.
std::string PlainLines(std::string_view text);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_OUTPUT_H_
