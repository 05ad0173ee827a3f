#include "liblever/rpc/tls_text.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>

namespace lever::rpc {
namespace {

// Texts that the peer chose are shown only as far as they are harmless and short.
std::string Shown(const unsigned char* data, int size) {
  constexpr int kShownBytesMax = 253;
  std::string text(reinterpret_cast<const char*>(data),
                   static_cast<size_t>(std::clamp(size, 0, kShownBytesMax)));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

std::string AddressText(const ASN1_OCTET_STRING* address) {
  ASN1_OCTET_STRING* copy = ASN1_OCTET_STRING_dup(address);
  const unsigned char* bytes = ASN1_STRING_get0_data(copy);
  const int size = ASN1_STRING_length(copy);
  std::string text;
  for (int i = 0; i < size; ++i) {
    if (size == 4) {
      text.append(i == 0 ? "" : ".").append(std::to_string(bytes[i]));
    } else {
      constexpr char kDigits[] = "0123456789abcdef";
      if (i > 0 && i % 2 == 0) text.push_back(':');
      text.push_back(kDigits[bytes[i] >> 4]);
      text.push_back(kDigits[bytes[i] & 15]);
    }
  }
  ASN1_OCTET_STRING_free(copy);
  return text;
}

std::string DescribeVerify(long error, TlsSide side, std::string_view wanted,
                           std::string_view shown) {
  const std::string who =
      side == TlsSide::kClient ? "the server's certificate " : "the client's certificate ";
  switch (error) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: {
      const bool self_signed = error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
      const std::string why = self_signed ? "is self-signed and not among the roots"
                                          : "is signed by none of the roots";
      if (side == TlsSide::kServer) return who + why;
      return who + why +
             ": if it is the right one, name the file of its authority as roots (LEVER_TLS_CA)";
    }
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return who + "is for " + std::string(shown) + ", not for " + std::string(wanted);
    case X509_V_ERR_CERT_HAS_EXPIRED: return who + "or one that it rests on has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID: return who + "or one that it rests on is not valid yet";
    default: return who + "was refused: " + X509_verify_cert_error_string(error);
  }
}

std::string DescribeReason(int reason, TlsSide side) {
  switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "the server wants a client's certificate (LEVER_TLS_CERT, LEVER_TLS_KEY)";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return side == TlsSide::kClient ? "the server does not know who signed our certificate"
                                      : "the client does not know who signed our certificate";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
      return "the peer refused our certificate";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return "the peer says that our certificate has expired";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return "the client has shown no certificate";
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
      return side == TlsSide::kClient ? "the server does not speak HTTP/2 (ALPN h2)"
                                      : "the client offers no protocol that is spoken here (ALPN)";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_PROTOCOLS_AVAILABLE: return "the peer speaks no TLS 1.2 or 1.3";
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: return "no cipher that both sides have";
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST: return "plain HTTP on a TLS port";
    case SSL_R_WRONG_VERSION_NUMBER:
      return side == TlsSide::kClient ? "the server does not speak TLS here"
                                      : "the client does not speak TLS";
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return "the peer closed the connection without TLS's close_notify: what it sent may be cut short";
    default: return {};
  }
}

}  // namespace

std::string TlsErrorText() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return {};
  const char* reason = ERR_reason_error_string(error);
  return reason != nullptr ? reason : "error " + std::to_string(error);
}

std::string CertificateNames(const X509* certificate) {
  constexpr int kNamesMax = 8;
  std::string names;
  auto* alternatives = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  const int count = alternatives == nullptr ? 0 : sk_GENERAL_NAME_num(alternatives);
  for (int i = 0; i < count; ++i) {
    if (i == kNamesMax) {
      names.append(", ...");
      break;
    }
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives, i);
    std::string text;
    if (name->type == GEN_DNS) {
      text = Shown(ASN1_STRING_get0_data(name->d.dNSName), ASN1_STRING_length(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      text = AddressText(name->d.iPAddress);
    } else {
      continue;
    }
    names.append(names.empty() ? "" : ", ").append(text);
  }
  GENERAL_NAMES_free(alternatives);
  return names.empty() ? "nobody by name" : names;
}

TlsTrouble DescribeTlsTrouble(SSL* ssl, TlsSide side, std::string_view wanted,
                              std::string_view shown) {
  const unsigned long error = ERR_peek_error();
  const int reason = ERR_GET_REASON(error);
  TlsTrouble trouble;
  const std::string own_words = TlsErrorText();
  if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
    trouble.plain_http = reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST;
    trouble.cut_off = reason == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    const long verified = SSL_get_verify_result(ssl);
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
      trouble.text = DescribeVerify(verified, side, wanted, shown);
    } else {
      trouble.text = DescribeReason(reason, side);
    }
  }
  if (trouble.text.empty()) trouble.text = own_words.empty() ? "it failed" : own_words;
  return trouble;
}

}  // namespace lever::rpc
