// Whether somebody listens where the host should be.
//
// The library tries for seconds to reach a host, which is what a service wants while a host
// restarts. Who types a command wants to be told at once that no host runs on this machine.
#ifndef DAEMON_LEVER_PROBE_H_
#define DAEMON_LEVER_PROBE_H_

#include <string_view>

#include "liblever/base/status.h"

namespace lever::cli {

// UNAVAILABLE, unexecuted, if a connection to this machine is refused. OK if it is not, or if that
// cannot be told at once: for other machines, for names.
Status ProbeHost(std::string_view host);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_PROBE_H_
