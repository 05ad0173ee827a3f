// leverd: a host as a program of its own. Parses flags, starts a host through lever/host.h, says when it
// is ready, and ends it in order on SIGTERM and SIGINT (a second one ends it at once).
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "daemon/standard_descriptors.h"
#include "lever/host.h"

namespace {

enum class LogFormat { kText, kJson };

const char* LevelName(lever_log_level level) {
  switch (level) {
    case LEVER_LOG_DEBUG: return "debug";
    case LEVER_LOG_INFO: return "info";
    case LEVER_LOG_WARNING: return "warning";
    case LEVER_LOG_ERROR: return "error";
  }
  return "info";
}

std::string Now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  char text[40];
  const size_t size = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + size, sizeof(text) - size, ".%03ldZ", now.tv_nsec / 1'000'000);
  return text;
}

// One write a line, so that the lines of several threads do not mix.
void WriteLine(std::string line) {
  line.push_back('\n');
  size_t written = 0;
  while (written < line.size()) {
    const ssize_t n = ::write(STDERR_FILENO, line.data() + written, line.size() - written);
    if (n <= 0) return;
    written += static_cast<size_t>(n);
  }
}

void Log(void* context, lever_log_level level, const char* line, size_t size) {
  const LogFormat format = *static_cast<const LogFormat*>(context);
  const std::string text(line, size);
  if (format == LogFormat::kText) {
    WriteLine(Now() + " " + LevelName(level) + " " + text);
    return;
  }
  const nlohmann::json record = {{"time", Now()}, {"level", LevelName(level)}, {"message", text}};
  WriteLine(record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

// Tells systemd that the service is ready (sd_notify(3)); does nothing elsewhere.
void NotifySystemd(const std::string& state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t size = std::strlen(path);
  if (size >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, path, size);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return;
  const socklen_t length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  ::sendto(socket, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address),
           length);
  ::close(socket);
}

struct Flags {
  std::vector<std::string> listen = {"127.0.0.1:8080"};
  std::string data_dir;
  std::string log_format = "text";
  bool verbose = false;
  bool insecure = false;
  uint32_t threads = 0;
  std::string service_uids;
  bool allow_root_services = false;
  std::string node;
  std::string python;
  std::string runtime_dir;
  std::string spawner;
  std::string sandbox = "auto";
  uint32_t runtime_pool = 0;
  uint64_t ram_mib = 0;
  uint32_t token_lifetime_s = 0;
  std::vector<std::string> cors_origins;
  std::vector<std::string> http_hosts;
  std::vector<std::string> upstreams;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_client_ca;
};

std::string DefaultDataDir() {
  if (::geteuid() == 0) return "/var/lib/lever";
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return std::string(state) + "/lever";
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "/tmp" : home) + "/.local/state/lever";
}

void AddFlags(CLI::App& app, Flags& flags) {
  app.add_option("--listen", flags.listen, "address to listen on (several times for several)")
      ->capture_default_str();
  flags.data_dir = DefaultDataDir();
  app.add_option("--data-dir", flags.data_dir, "where the host keeps what it must not lose")
      ->capture_default_str();
  app.add_option("--log-format", flags.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_flag("--verbose", flags.verbose, "log more");
  app.add_flag("--insecure", flags.insecure, "allow plain listening beyond loopback");
  app.add_option("--tls-cert", flags.tls_cert,
                 "PEM file of the certificate for addresses with tls: before them");
  app.add_option("--tls-key", flags.tls_key, "PEM file of its key");
  app.add_option("--tls-client-ca", flags.tls_client_ca,
                 "serve there only clients with a certificate that these have signed");
  app.add_option("--threads", flags.threads, "queues, each with a thread (default: cores)");
  app.add_option("--service-uids", flags.service_uids,
                 "user ids that services run under if the host is root (default 61184-65519)");
  app.add_flag("--allow-root-services", flags.allow_root_services,
               "run services as root if the host is root");
  app.add_option("--node", flags.node, "the node to run jsEntry with (default: on PATH)");
  app.add_option("--python", flags.python, "the python3 to run pyEntry with (default: on PATH)");
  app.add_option("--runtime-dir", flags.runtime_dir, "where services find the runtimes' packages");
  app.add_option("--spawner", flags.spawner, "the lever-spawner to use");
  app.add_option("--sandbox", flags.sandbox,
                 "sandbox services: auto (where it works), required or none")
      ->check(CLI::IsMember({"auto", "required", "none"}))
      ->capture_default_str();
  app.add_option("--runtime-pool", flags.runtime_pool,
                 "Node and Python processes of each kind started ahead, for cold starts")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  app.add_option("--ram", flags.ram_mib,
                 "MiB that instances may reserve together (default: nine tenths of the machine's memory)")
      ->check(CLI::Range(1, 1 << 30));
  app.add_option("--token-lifetime", flags.token_lifetime_s,
                 "seconds for which a token holds that is shown at a service's own address (default: 300)")
      ->check(CLI::Range(1, 86400));
  app.add_option("--cors-origins", flags.cors_origins, "origins that browsers may call from")
      ->delimiter(',');
  app.add_option("--http-hosts", flags.http_hosts,
                 "names that the Host header may have on loopback")
      ->delimiter(',');
  app.add_option("--upstream", flags.upstreams,
                 "SERVICE=ENDPOINT: pass gRPC calls of that service on to a program outside of Lever, "
                 "as in shop.v1.Cart=127.0.0.1:50051 (several times for several)");
}

std::vector<const char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<const char*> pointers;
  for (const std::string& text : strings) pointers.push_back(text.c_str());
  return pointers;
}

const char* OrNull(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

int Run(const Flags& flags) {
  LogFormat format = flags.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  // Signals are taken by sigwait() below, on this thread alone; the host's threads inherit the mask.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  const std::vector<const char*> listen = Pointers(flags.listen);
  const std::vector<const char*> cors = Pointers(flags.cors_origins);
  const std::vector<const char*> hosts = Pointers(flags.http_hosts);
  lever_host_options options{};
  options.size = sizeof(options);
  options.data_dir = flags.data_dir.c_str();
  options.listen = listen.data();
  options.listen_count = listen.size();
  options.insecure = flags.insecure ? 1 : 0;
  options.threads = flags.threads;
  options.service_uids = OrNull(flags.service_uids);
  options.allow_root_services = flags.allow_root_services ? 1 : 0;
  options.node_path = OrNull(flags.node);
  options.python_path = OrNull(flags.python);
  options.runtime_dir = OrNull(flags.runtime_dir);
  options.spawner_path = OrNull(flags.spawner);
  options.sandbox = flags.sandbox.c_str();
  options.runtime_pool = flags.runtime_pool;
  options.ram_mib = flags.ram_mib;
  options.token_lifetime_s = flags.token_lifetime_s;
  options.cors_origins = cors.data();
  options.cors_origin_count = cors.size();
  options.http_hosts = hosts.data();
  options.http_host_count = hosts.size();
  const std::vector<const char*> upstreams = Pointers(flags.upstreams);
  options.upstreams = upstreams.data();
  options.upstream_count = upstreams.size();
  options.tls_certificate_file = OrNull(flags.tls_cert);
  options.tls_key_file = OrNull(flags.tls_key);
  options.tls_client_roots_file = OrNull(flags.tls_client_ca);
  options.log_sink = Log;
  options.log_context = &format;
  options.log_least = flags.verbose ? LEVER_LOG_DEBUG : LEVER_LOG_INFO;

  lever_host* host = nullptr;
  lever_error* error = nullptr;
  const lever_status status = lever_host_start(&options, &host, &error);
  if (status != LEVER_OK) {
    std::fprintf(stderr, "leverd: %s\n", lever_error_message(error));
    lever_error_destroy(error);
    return status == LEVER_INVALID_ARGUMENT ? 2 : 1;
  }
  for (size_t i = 0; lever_host_address(host, i) != nullptr; ++i) {
    std::printf("ready on %s\n", lever_host_address(host, i));
  }
  std::fflush(stdout);
  NotifySystemd("READY=1");

  int signal_number = 0;
  ::sigwait(&signals, &signal_number);
  NotifySystemd("STOPPING=1");
  // From here on a second signal ends the process, and lever-spawner with it every instance.
  ::signal(SIGTERM, SIG_DFL);
  ::signal(SIGINT, SIG_DFL);
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  lever_host_close(host);
  lever_host_wait(host, -1);
  lever_host_destroy(host);
  return 0;
}

// As many descriptors as it may have: the usual 1,024 are few for a host's connections.
void RaiseDescriptorLimit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

int main(int argc, char** argv) {
  if (!lever::OpenStandardDescriptors()) return 1;
  CLI::App app{"leverd: a host of Lever. Starts services when they are called, and stops them."};
  app.set_version_flag("--version", std::string("leverd ") + lever_version());
  Flags flags;
  AddFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  RaiseDescriptorLimit();
  return Run(flags);
}
