// What goes wrong in TLS, in words.
//
// Functions without state; they read and empty the calling thread's queue of OpenSSL errors.
#ifndef LIBLEVER_RPC_TLS_TEXT_H_
#define LIBLEVER_RPC_TLS_TEXT_H_

#include <string>
#include <string_view>

struct ssl_st;   // OpenSSL's SSL
struct x509_st;  // and its X509

namespace lever::rpc {

// The oldest error of the queue, in OpenSSL's words; "" without one.
std::string TlsErrorText();

enum class TlsSide : bool { kServer, kClient };

struct TlsTrouble {
  std::string text;
  // The peer has sent something that is no TLS: HTTP, by the look of it.
  bool plain_http = false;
  // The peer's input ended without its close_notify.
  bool cut_off = false;
};

// "a.example, 127.0.0.1": for whom a certificate is.
std::string CertificateNames(const x509_st* certificate);

// Why a handshake or an operation of `ssl` has failed with SSL_ERROR_SSL. A client wanted the server's
// certificate to be for `wanted`, and it is for `shown`.
TlsTrouble DescribeTlsTrouble(ssl_st* ssl, TlsSide side, std::string_view wanted,
                              std::string_view shown);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_TLS_TEXT_H_
