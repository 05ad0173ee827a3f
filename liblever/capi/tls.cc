#include "liblever/capi/tls.h"

#include <cstdlib>
#include <string>

#include "liblever/capi/inputs.h"
#include "liblever/capi/sized.h"

namespace lever::capi {
namespace {

std::string Choose(const char* text, size_t size, const char* variable) {
  if (text != nullptr) return std::string(ReadText(text, size));
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

}  // namespace

StatusOr<rpc::TlsClientOptions> ReadTlsOptions(const lever_tls_options* given,
                                               std::string_view host) {
  if (!host.starts_with("tls:")) {
    if (given == nullptr) return rpc::TlsClientOptions();
    return InvalidArgument("tls: of no use with the host " + std::string(host) +
                           ": write tls: before its address");
  }
  lever_tls_options options;
  LEVER_RETURN_IF_ERROR(ReadSizedOrDefaults(given, "lever_tls_options", &options));
  rpc::TlsClientOptions to;
  to.roots_file = Choose(options.roots_file, options.roots_file_size, "LEVER_TLS_CA");
  to.certificate_file =
      Choose(options.certificate_file, options.certificate_file_size, "LEVER_TLS_CERT");
  to.key_file = Choose(options.key_file, options.key_file_size, "LEVER_TLS_KEY");
  to.server_name = std::string(ReadText(options.server_name, options.server_name_size));
  return to;
}

}  // namespace lever::capi
