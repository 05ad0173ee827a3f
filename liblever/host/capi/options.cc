#include "liblever/host/capi/options.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>
#include <utility>

#include "liblever/capi/sized.h"
#include "liblever/host/fleet/machine_memory.h"
#include "liblever/route/token.h"

namespace lever::host {
namespace {

constexpr uint32_t kThreadsMax = 256;
constexpr uint32_t kRuntimePoolMax = 64;
constexpr uint64_t kRamMibMax = 1ull << 30;
constexpr uint64_t kMebibyte = 1 << 20;
// Of ten parts of the machine's memory instances may reserve so many: the host, the kernel and what else
// runs there need some.
constexpr uint64_t kRamTenths = 9;

std::string OrEmpty(const char* text) { return text == nullptr ? "" : text; }

StatusOr<std::vector<std::string>> Strings(const char* const* strings, size_t count,
                                           const char* name) {
  std::vector<std::string> copies;
  if (count > 0 && strings == nullptr) return InvalidArgument(std::string(name) + ": missing");
  for (size_t i = 0; i < count; ++i) {
    if (strings[i] == nullptr) return InvalidArgument(std::string(name) + ": an entry is NULL");
    copies.emplace_back(strings[i]);
  }
  return copies;
}

// The folders in which this library and the running program are.
std::vector<std::filesystem::path> OwnFolders() {
  std::vector<std::filesystem::path> folders;
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&lever_host_start), &info) != 0 &&
      info.dli_fname != nullptr) {
    std::error_code error;
    const auto library = std::filesystem::canonical(info.dli_fname, error);
    if (!error) folders.push_back(library.parent_path());
  }
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) folders.push_back(program.parent_path());
  return folders;
}

// The first of the candidates, relative to one of our own folders, that is there; "" if none is.
std::string Beside(std::initializer_list<const char*> candidates) {
  for (const auto& folder : OwnFolders()) {
    for (const char* candidate : candidates) {
      std::error_code error;
      const auto path = std::filesystem::canonical(folder / candidate, error);
      if (!error) return path.string();
    }
  }
  return "";
}

StatusOr<std::vector<gateway::UpstreamOptions>> Upstreams(const lever_host_options& raw) {
  LEVER_ASSIGN_OR_RETURN(const auto texts, Strings(raw.upstreams, raw.upstream_count, "upstreams"));
  std::vector<gateway::UpstreamOptions> upstreams;
  for (const std::string& text : texts) {
    LEVER_ASSIGN_OR_RETURN(upstreams.emplace_back(), gateway::ParseUpstream(text));
  }
  return upstreams;
}

// A host that passed calls on to itself would do so again and again.
Status CheckUpstreams(const HostOptions& options) {
  for (const gateway::UpstreamOptions& upstream : options.upstreams) {
    const auto& listen = options.listen;
    if (std::find(listen.begin(), listen.end(), upstream.address) != listen.end()) {
      return InvalidArgument("upstream " + upstream.service + ": " + upstream.address +
                             " is an address of this host");
    }
    const auto same = [&](const auto& other) { return other.service == upstream.service; };
    if (std::count_if(options.upstreams.begin(), options.upstreams.end(), same) > 1) {
      return InvalidArgument("upstream " + upstream.service + ": there are two of it");
    }
  }
  return Status::Ok();
}

Status FillDefaults(HostOptions& options) {
  if (options.listen.empty()) options.listen.push_back("127.0.0.1:8080");
  if (options.threads == 0) options.threads = std::max(1u, std::thread::hardware_concurrency());
  if (options.token_lifetime_s == 0) options.token_lifetime_s = route::kTokenLifetimeSeconds;
  if (options.ram_bytes == 0) options.ram_bytes = fleet::MachineMemoryBytes() / 10 * kRamTenths;
  if (options.service_uids.empty()) options.service_uids = "61184-65519";
  if (options.runtime_dir.empty()) {
    options.runtime_dir = Beside({"lever/runtime", "../lib/lever/runtime", "../runtime"});
  }
  if (options.spawner_path.empty()) {
    options.spawner_path =
        Beside({"lever-spawner", "../bin/lever-spawner", "../libexec/lever/lever-spawner"});
  }
  if (options.spawner_path.empty() && !options.driver) {
    return FailedPrecondition("there is no lever-spawner beside the library or the program");
  }
  return Status::Ok();
}

}  // namespace

StatusOr<HostOptions> ReadHostOptions(const lever_host_options* given) {
  lever_host_options raw;
  LEVER_RETURN_IF_ERROR(capi::ReadSized(given, "lever_host_options", &raw));
  HostOptions options;
  if (raw.data_dir == nullptr || raw.data_dir[0] == '\0') {
    return InvalidArgument("data_dir: missing");
  }
  std::error_code error;
  options.data_dir = std::filesystem::absolute(raw.data_dir, error).lexically_normal().string();
  if (options.data_dir.ends_with('/')) options.data_dir.pop_back();
  LEVER_ASSIGN_OR_RETURN(options.listen, Strings(raw.listen, raw.listen_count, "listen"));
  LEVER_ASSIGN_OR_RETURN(options.cors_origins,
                         Strings(raw.cors_origins, raw.cors_origin_count, "cors_origins"));
  LEVER_ASSIGN_OR_RETURN(options.http_hosts,
                         Strings(raw.http_hosts, raw.http_host_count, "http_hosts"));
  if (raw.threads > kThreadsMax) {
    return InvalidArgument("threads: more than " + std::to_string(kThreadsMax));
  }
  if (raw.runtime_pool > kRuntimePoolMax) {
    return InvalidArgument("runtime_pool: more than " + std::to_string(kRuntimePoolMax));
  }
  options.runtime_pool = raw.runtime_pool;
  if (raw.ram_mib > kRamMibMax) {
    return InvalidArgument("ram_mib: more than " + std::to_string(kRamMibMax));
  }
  options.ram_bytes = raw.ram_mib * kMebibyte;
  if (raw.token_lifetime_s > route::kTokenLifetimeSecondsMax) {
    return InvalidArgument("token_lifetime_s: more than " +
                           std::to_string(route::kTokenLifetimeSecondsMax));
  }
  options.token_lifetime_s = raw.token_lifetime_s;
  options.insecure = raw.insecure != 0;
  options.threads = raw.threads;
  options.service_uids = OrEmpty(raw.service_uids);
  options.allow_root_services = raw.allow_root_services != 0;
  options.node_path = OrEmpty(raw.node_path);
  options.python_path = OrEmpty(raw.python_path);
  options.runtime_dir = OrEmpty(raw.runtime_dir);
  options.spawner_path = OrEmpty(raw.spawner_path);
  if (raw.driver != nullptr) {
    lever_driver driver;
    LEVER_RETURN_IF_ERROR(capi::ReadSized(raw.driver, "lever_driver", &driver));
    if (driver.start == nullptr || driver.stop == nullptr) {
      return InvalidArgument("driver: a callback is missing");
    }
    options.driver = driver;
  }
  options.tls = {OrEmpty(raw.tls_certificate_file), OrEmpty(raw.tls_key_file),
                 OrEmpty(raw.tls_client_roots_file)};
  options.log_sink = raw.log_sink;
  options.log_context = raw.log_context;
  options.log_least = raw.log_least;
  LEVER_ASSIGN_OR_RETURN(options.upstreams, Upstreams(raw));
  if (raw.sandbox != nullptr) {
    LEVER_ASSIGN_OR_RETURN(options.sandbox, fleet::ParseSandboxMode(raw.sandbox));
  }
  LEVER_RETURN_IF_ERROR(FillDefaults(options));
  LEVER_RETURN_IF_ERROR(CheckUpstreams(options));
  return options;
}

}  // namespace lever::host
