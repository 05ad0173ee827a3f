// Arguments of calls: JSON from the command line as MessagePack, durations.
#ifndef DAEMON_LEVER_ARGUMENTS_H_
#define DAEMON_LEVER_ARGUMENTS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/lever/connection.h"
#include "liblever/base/status.h"

namespace lever::cli {

// One JSON value as MessagePack. `what` names it in the error: "the argument ...", "line 3".
StatusOr<std::string> FromJson(std::string_view json, const std::string& what);
// The array of arguments that a call takes. Each must be JSON by itself: a bare word is refused,
// with how to write it.
StatusOr<Payload> ArgumentsFromJson(const std::vector<std::string>& json);
// "5s", "250ms", "2m", or a number of seconds; "" is 0, the default.
StatusOr<int64_t> ParseTimeout(std::string_view text);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_ARGUMENTS_H_
