// The logs of services, from a host to standard output.
#ifndef DAEMON_LEVER_LOG_STREAM_H_
#define DAEMON_LEVER_LOG_STREAM_H_

#include "daemon/lever/command.h"
#include "daemon/lever/connection.h"
#include "liblever/base/status.h"

namespace lever::cli {

// Shows lines until there are no more, or `cancel_fd` (connection.h) says so: CANCELLED.
Status ShowLogs(const Globals& globals, const LogsArguments& arguments,
                int cancel_fd = Connection::kOwnSignals);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_LOG_STREAM_H_
