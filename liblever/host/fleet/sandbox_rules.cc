#include "liblever/host/fleet/sandbox_rules.h"

namespace lever::fleet {

StatusOr<SandboxMode> ParseSandboxMode(std::string_view text) {
  if (text == "auto") return SandboxMode::kAuto;
  if (text == "required") return SandboxMode::kRequired;
  if (text == "none") return SandboxMode::kNone;
  return InvalidArgument("sandbox: '" + std::string(text) + "' is not auto, required or none");
}

StatusOr<bool> DecideSandbox(SandboxMode mode, SandboxWish wish, const std::string& error) {
  if (mode == SandboxMode::kRequired && wish == SandboxWish::kNone) {
    return FailedPrecondition(
        "lever.json says \"sandbox\": \"none\", and this host runs nothing without a sandbox "
        "(--sandbox required)");
  }
  if (mode == SandboxMode::kNone && wish == SandboxWish::kBwrap) {
    return FailedPrecondition(
        "lever.json says \"sandbox\": \"bwrap\", and this host sandboxes nothing (--sandbox none)");
  }
  if (mode == SandboxMode::kNone || wish == SandboxWish::kNone) return false;
  if (error.empty()) return true;
  if (mode == SandboxMode::kRequired || wish == SandboxWish::kBwrap) {
    return FailedPrecondition("this host cannot sandbox: " + error);
  }
  return false;
}

}  // namespace lever::fleet
