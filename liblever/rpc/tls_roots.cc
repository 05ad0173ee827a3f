#include "liblever/rpc/tls_roots.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace lever::rpc {

std::span<const char* const> KnownRootsFiles() {
  static constexpr const char* kFiles[] = {
      "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch, Alpine
      "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Fedora, RHEL 7 and later
      "/etc/pki/tls/certs/ca-bundle.crt",                   // RHEL 6
      "/etc/ssl/ca-bundle.pem",                             // openSUSE
      "/var/lib/ca-certificates/ca-bundle.pem",             // SUSE
      "/etc/ssl/cert.pem",                                  // Alpine, OpenBSD
      "/etc/ssl/certs/ca-bundle.crt",                       // NixOS
      "/etc/pki/tls/cacert.pem",                            // OpenELEC
  };
  return kFiles;
}

StatusOr<std::string> FindRootsFile() {
  return FindRootsFile(std::getenv("SSL_CERT_FILE"), KnownRootsFiles());
}

StatusOr<std::string> FindRootsFile(const char* ssl_cert_file,
                                    std::span<const char* const> places) {
  if (ssl_cert_file != nullptr && ssl_cert_file[0] != '\0') {
    if (::access(ssl_cert_file, R_OK) == 0) return std::string(ssl_cert_file);
    return FailedPrecondition("no roots for TLS: SSL_CERT_FILE names " +
                              std::string(ssl_cert_file) + ": " + std::strerror(errno));
  }
  std::string looked_at;
  for (const char* place : places) {
    if (::access(place, R_OK) == 0) return std::string(place);
    looked_at.append(looked_at.empty() ? "" : ", ").append(place);
  }
  return FailedPrecondition(
      "no roots for TLS: SSL_CERT_FILE is not set, and none of these can be read: " + looked_at +
      "; install ca-certificates, or name a file of roots (LEVER_TLS_CA)");
}

}  // namespace lever::rpc
