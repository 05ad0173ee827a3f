#include "daemon/lever-dev/report.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "daemon/lever/output.h"

namespace lever::cli {
namespace {

void PrintEvent(const nlohmann::json& event) {
  const std::string text =
      event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  // Nobody is left to be told that standard error cannot be written.
  (void)WriteAll(STDERR_FILENO, text);
}

bool IsJson(const Globals& globals) { return globals.format == Format::kJson; }

}  // namespace

void ReportListening(const Globals& globals, const DevHost& host) {
  if (IsJson(globals)) {
    PrintEvent({{"event", "listening"}, {"host", host.address()}, {"data", host.data_dir()}});
    return;
  }
  const std::string data = host.is_temporary() ? "" : "; data in " + host.data_dir();
  if (host.moved().empty()) {
    Note("listening on " + host.address() + data);
    return;
  }
  Note(host.moved() + ": listening on " + host.address() + data + "; elsewhere: export LEVER_HOST=" +
       host.address());
}

void ReportDeployed(const Globals& globals, const std::string& service, uint64_t version,
                    int64_t took_ns) {
  const std::string address = "lever://" + globals.environment + "/" + service;
  if (IsJson(globals)) {
    PrintEvent({{"event", "deployed"}, {"service", address}, {"version", version}});
    return;
  }
  char took[32];
  std::snprintf(took, sizeof(took), "%.1f s", static_cast<double>(took_ns) / 1e9);
  Note(address + " version " + std::to_string(version) + " serves (" + took + ")");
}

void ReportFailed(const Globals& globals, const std::string& service, uint64_t version,
                  const Status& status) {
  if (IsJson(globals)) {
    PrintEvent({{"event", "failed"},
                {"service", service},
                {"version", version},
                {"code", StatusName(status.code())},
                {"message", status.message()}});
    return;
  }
  Note(service + ": " + std::string(StatusName(status.code())) + ": " +
       PlainLines(status.message()));
  Note(service + ": " + (version == 0 ? "waiting for an edit"
                                      : "version " + std::to_string(version) + " goes on"));
}

void ReportStopping(const Globals& globals) {
  if (IsJson(globals)) {
    PrintEvent({{"event", "stopping"}});
  } else {
    Note("stopping; once more ends it at once");
  }
}

}  // namespace lever::cli
