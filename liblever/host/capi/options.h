// lever_host_options, read and checked.
#ifndef LIBLEVER_HOST_CAPI_OPTIONS_H_
#define LIBLEVER_HOST_CAPI_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lever/host.h"
#include "liblever/base/status.h"
#include "liblever/host/fleet/sandbox_rules.h"
#include "liblever/host/gateway/upstream.h"
#include "liblever/rpc/tls.h"

namespace lever::host {

struct HostOptions {
  std::string data_dir;
  std::vector<std::string> listen;
  bool insecure = false;
  uint32_t threads = 0;
  std::string service_uids;
  bool allow_root_services = false;
  std::string node_path;
  std::string python_path;
  std::string runtime_dir;
  std::string spawner_path;
  std::vector<std::string> cors_origins;
  std::vector<std::string> http_hosts;
  rpc::TlsServerOptions tls;
  std::optional<lever_driver> driver;
  lever_log_sink log_sink = nullptr;
  void* log_context = nullptr;
  lever_log_level log_least = LEVER_LOG_DEBUG;
  std::vector<gateway::UpstreamOptions> upstreams;
  fleet::SandboxMode sandbox = fleet::SandboxMode::kAuto;
  uint32_t runtime_pool = 0;
  int64_t token_lifetime_s = 0;
  uint64_t ram_bytes = 0;  // that instances may reserve; 0: the machine does not say what it has
};

// INVALID_ARGUMENT names what is wrong. Defaults are filled in: the listening address, the number of
// threads, and the files beside the library or program.
StatusOr<HostOptions> ReadHostOptions(const lever_host_options* options);

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_OPTIONS_H_
