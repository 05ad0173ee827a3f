// host.h: a handle round a Host, and reports handed on to its external driver.
#include <memory>
#include <string>
#include <utility>

#include "lever/host.h"
#include "liblever/capi/error.h"
#include "liblever/host/capi/host.h"
#include "liblever/host/capi/host_handle.h"
#include "liblever/host/capi/options.h"

namespace lever::host {
namespace {

lever_status Check(const lever_host* host) {
  if (!capi::IsOurs(host, capi::ObjectKind::kHost)) return LEVER_INVALID_ARGUMENT;
  return host->fork_check.Forked() ? LEVER_FORKED : LEVER_OK;
}

StatusOr<std::unique_ptr<lever_host>> Open(const lever_host_options* given) {
  LEVER_ASSIGN_OR_RETURN(HostOptions options, ReadHostOptions(given));
  if (options.log_sink != nullptr) {
    lever_set_log_sink(options.log_sink, options.log_context, options.log_least);
  }
  auto handle = std::make_unique<lever_host>();
  LEVER_ASSIGN_OR_RETURN(handle->host, Host::Start(std::move(options), handle.get()));
  return handle;
}

// Hands a report to the external driver.
template <typename Report>
lever_status ReportTo(lever_host* host, Report report) {
  const lever_status status = Check(host);
  if (status != LEVER_OK) return status;
  ExternalDriver* driver = host->external.load(std::memory_order_acquire);
  return driver == nullptr ? LEVER_NOT_FOUND : report(*driver).code();
}

}  // namespace
}  // namespace lever::host

using lever::host::Check;
using lever::host::ReportTo;

extern "C" {

lever_status lever_host_start(const lever_host_options* options, lever_host** out,
                              lever_error** error) {
  if (out == nullptr) return lever::capi::Return(lever::InvalidArgument("out: missing"), error);
  auto opened = lever::host::Open(options);
  if (opened.ok()) *out = opened->release();
  return lever::capi::Return(opened.status(), error);
}

const char* lever_host_address(const lever_host* host, size_t index) {
  if (Check(host) != LEVER_OK || index >= host->host->addresses().size()) return nullptr;
  return host->host->addresses()[index].c_str();
}

lever_status lever_host_close(lever_host* host) {
  const lever_status status = Check(host);
  if (status == LEVER_OK) host->host->Close();
  return status;
}

lever_status lever_host_wait(lever_host* host, int64_t timeout_ns) {
  const lever_status status = Check(host);
  if (status != LEVER_OK) return status;
  return host->host->Wait(timeout_ns) ? LEVER_OK : LEVER_DEADLINE_EXCEEDED;
}

lever_status lever_host_destroy(lever_host* host) {
  const lever_status status = Check(host);
  if (status != LEVER_OK) return status;
  if (!host->host->Ended()) return LEVER_BUSY;
  delete host;
  return LEVER_OK;
}

lever_status lever_host_instance_started(lever_host* host, uint64_t id, int64_t pid,
                                         const char* address) {
  return ReportTo(host, [&](lever::host::ExternalDriver& driver) {
    return driver.ReportStarted(id, pid, address);
  });
}

lever_status lever_host_instance_failed(lever_host* host, uint64_t id, lever_status status,
                                        const char* message) {
  return ReportTo(host, [&](lever::host::ExternalDriver& driver) {
    return driver.ReportFailed(id, lever::Status(status == LEVER_OK ? LEVER_UNKNOWN : status,
                                                 message == nullptr ? "" : message));
  });
}

lever_status lever_host_instance_output(lever_host* host, uint64_t id, lever_output stream,
                                        const uint8_t* data, size_t size) {
  if (data == nullptr && size > 0) return LEVER_INVALID_ARGUMENT;
  if (stream != LEVER_OUTPUT_STDOUT && stream != LEVER_OUTPUT_STDERR) return LEVER_INVALID_ARGUMENT;
  return ReportTo(host, [&](lever::host::ExternalDriver& driver) {
    return driver.ReportOutput(id, static_cast<lever::fleet::OutputStream>(stream),
                               std::string(reinterpret_cast<const char*>(data), size));
  });
}

lever_status lever_host_instance_exited(lever_host* host, uint64_t id, int exit_code, int signal) {
  return ReportTo(host, [&](lever::host::ExternalDriver& driver) {
    return driver.ReportExited(id, exit_code, signal);
  });
}

}  // extern "C"
