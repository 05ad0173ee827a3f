// Ends an instance that is starting, so that the host gives its version up: the host itself waits for it
// until its startTimeout, and takes no other deploy of the service before that.
//
// For a host of this process's own, whose instances are processes of this machine and user.
#ifndef DAEMON_LEVER_DEV_STARTING_INSTANCE_H_
#define DAEMON_LEVER_DEV_STARTING_INSTANCE_H_

#include <cstdint>
#include <string>

#include "daemon/lever/connection.h"
#include "liblever/base/status.h"

namespace lever::cli {

// Of the newest version of `service` above `serving`. OK also if there is none, or none yet.
Status KillStartingInstance(Connection* connection, const std::string& environment,
                            const std::string& service, uint64_t serving);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_STARTING_INSTANCE_H_
