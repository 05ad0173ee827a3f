// Whether an instance is sandboxed: what its host says, what the service says, and what the machine can.
//
// Pure functions; any thread.
#ifndef LIBLEVER_HOST_FLEET_SANDBOX_RULES_H_
#define LIBLEVER_HOST_FLEET_SANDBOX_RULES_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/host/fleet/driver.h"

namespace lever::fleet {

enum class SandboxMode : uint8_t {
  kAuto = 0,      // where it works, unless a service says "none"
  kRequired = 1,  // always: a host on which it does not work does not start
  kNone = 2,      // never
};

// "auto", "required", "none".
StatusOr<SandboxMode> ParseSandboxMode(std::string_view text);

// True: it is sandboxed. `error`: why this machine cannot, empty if it can. FAILED_PRECONDITION: host
// and service do not agree, or the service asks for what the machine cannot do.
StatusOr<bool> DecideSandbox(SandboxMode mode, SandboxWish wish, const std::string& error);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SANDBOX_RULES_H_
