#include "liblever/rpc/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "liblever/base/log.h"
#include "liblever/rpc/counters.h"
#include "liblever/rpc/tls_identity.h"
#include "liblever/rpc/tls_roots.h"
#include "liblever/rpc/tls_stream.h"
#include "liblever/rpc/tls_text.h"

namespace lever::rpc {
namespace {

// What RFC 9113 appendix A leaves of TLS 1.2's: forward secrecy and authenticated encryption. Those of
// TLS 1.3 are all good.
constexpr const char* kCiphersOfTls12 = "ECDHE+AESGCM:ECDHE+CHACHA20";

// Our OpenSSL is our own copy: the machine's configuration (and the program's) is not for it, and as
// threads may still run when the process ends, nothing is torn down.
void InitOnce() {
  static const int done =
      OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, nullptr);
  (void)done;
}

// A key that asks for a passphrase cannot be used; nobody is asked on a terminal.
int NoPassphrase(char* buffer, int size, int writing, void* argument) { return -1; }

Status FileError(const char* what, const std::string& file) {
  std::string why = TlsErrorText();
  if (::access(file.c_str(), R_OK) != 0) {
    return ErrnoStatus(errno, std::string("TLS: the ") + what + " " + file);
  }
  if (why.empty()) why = "nothing of the kind is in it";
  return InvalidArgument(std::string("TLS: the ") + what + " " + file + " cannot be used: " + why);
}

StatusOr<std::shared_ptr<SSL_CTX>> NewContext(const SSL_METHOD* method) {
  InitOnce();
  ERR_clear_error();
  const std::shared_ptr<SSL_CTX> context(SSL_CTX_new(method), &SSL_CTX_free);
  if (context == nullptr) return ResourceExhausted("TLS: " + TlsErrorText());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  // One read of the socket takes all that has come, instead of two reads a record.
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_default_passwd_cb(context.get(), &NoPassphrase);
  if (SSL_CTX_set_cipher_list(context.get(), kCiphersOfTls12) != 1) {
    return Internal("TLS: " + TlsErrorText());
  }
  return context;
}

Status UseCertificate(SSL_CTX* context, const std::string& certificate, const std::string& key) {
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    return FileError("certificate", certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    // Also where the key is another certificate's.
    return FileError("key", key);
  }
  if (SSL_CTX_check_private_key(context) != 1) return FileError("key", key);
  const X509* own = SSL_CTX_get0_certificate(context);
  if (own != nullptr && X509_cmp_current_time(X509_get0_notAfter(own)) < 0) {
    Log(LogLevel::kWarning, "TLS: the certificate " + certificate + " has expired");
  }
  return Status::Ok();
}

Status UseRoots(SSL_CTX* context, const std::string& file) {
  if (SSL_CTX_load_verify_file(context, file.c_str()) != 1) return FileError("roots", file);
  // What is in the file is trusted, also if it is no authority's: a server's own certificate.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
  return Status::Ok();
}

// What tells that a file is another one than before.
std::string FileSignature(const std::string& file) {
  struct stat info {};
  if (file.empty()) return {};
  if (::stat(file.c_str(), &info) != 0) return "none;";
  std::string text;
  for (const auto number :
       {static_cast<int64_t>(info.st_dev), static_cast<int64_t>(info.st_ino),
        static_cast<int64_t>(info.st_size), static_cast<int64_t>(info.st_mtim.tv_sec),
        static_cast<int64_t>(info.st_mtim.tv_nsec), static_cast<int64_t>(info.st_ctim.tv_sec),
        static_cast<int64_t>(info.st_ctim.tv_nsec)}) {
    text.append(std::to_string(number)).push_back(',');
  }
  return text;
}

// Client contexts in use, to be shared.
struct ClientContexts {
  std::mutex mutex;
  std::vector<std::weak_ptr<TlsClientContext>> list;
};

ClientContexts& OpenClientContexts() {
  static auto* const contexts = new ClientContexts;
  return *contexts;
}

}  // namespace

// ---- Following files ----

Status TlsContext::Start() {
  signature_ = Signature();
  LEVER_ASSIGN_OR_RETURN(current_, Read());
  return Status::Ok();
}

std::shared_ptr<ssl_ctx_st> TlsContext::Current(const Clock& clock) {
  const int64_t now_ns = clock.NowNs();
  if (now_ns >= next_check_ns_.load(std::memory_order_relaxed) &&
      !checking_.exchange(true, std::memory_order_acquire)) {
    Reload();
    next_check_ns_.store(now_ns + kTlsReloadCheckNs, std::memory_order_relaxed);
    checking_.store(false, std::memory_order_release);
  }
  const std::lock_guard lock(mutex_);
  return current_;
}

void TlsContext::Reload() {
  std::string signature = Signature();
  if (signature == signature_) return;
  StatusOr<SslContext> read = Read();
  // Files that change while they are read are read once more, at the next check.
  if (read.ok() && Signature() != signature) return;
  if (read.ok()) {
    signature_ = std::move(signature);
    complaint_.clear();
    Count(LocalCounters().tls_reloads);
    Log(LogLevel::kInfo, "TLS: the files that changed were read again");
    const std::lock_guard lock(mutex_);
    current_ = std::move(read).value();
    return;
  }
  if (complaint_ == read.status().message()) return;
  complaint_ = read.status().message();
  Count(LocalCounters().tls_reload_failures);
  Log(LogLevel::kError, complaint_ + "; what was read before stays in use");
}

// ---- Server ----

StatusOr<std::shared_ptr<TlsServerContext>> TlsServerContext::Open(
    const TlsServerOptions& options) {
  if (options.certificate_file.empty() || options.key_file.empty()) {
    return InvalidArgument("TLS: a server needs a certificate and its key");
  }
  std::shared_ptr<TlsServerContext> context(new TlsServerContext(options, nullptr));
  LEVER_RETURN_IF_ERROR(context->Start());
  return context;
}

StatusOr<std::shared_ptr<TlsServerContext>> TlsServerContext::Of(
    std::shared_ptr<const TlsIdentity> identity) {
  std::shared_ptr<TlsServerContext> context(new TlsServerContext({}, std::move(identity)));
  LEVER_RETURN_IF_ERROR(context->Start());
  return context;
}

StatusOr<TlsContext::SslContext> TlsServerContext::Read() const {
  LEVER_ASSIGN_OR_RETURN(SslContext context, NewContext(TLS_server_method()));
  LEVER_RETURN_IF_ERROR(
      identity_ != nullptr
          ? identity_->Use(context.get())
          : UseCertificate(context.get(), options_.certificate_file, options_.key_file));
  InstallTlsServerHooks(context.get());
  // Tickets are the sessions' only store; one is enough for a client that keeps its connection.
  SSL_CTX_set_num_tickets(context.get(), 1);
  static constexpr unsigned char kSessionContext[] = "lever";
  SSL_CTX_set_session_id_context(context.get(), kSessionContext, sizeof(kSessionContext) - 1);
  if (options_.client_roots_file.empty()) return context;
  const std::string& roots = options_.client_roots_file;
  LEVER_RETURN_IF_ERROR(UseRoots(context.get(), roots));
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(roots.c_str());
  if (names == nullptr) return FileError("clients' roots", roots);
  SSL_CTX_set_client_CA_list(context.get(), names);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

std::string TlsServerContext::Signature() const {
  return FileSignature(options_.certificate_file) + "|" + FileSignature(options_.key_file) + "|" +
         FileSignature(options_.client_roots_file);
}

// ---- Client ----

StatusOr<std::shared_ptr<TlsClientContext>> TlsClientContext::Open(
    const TlsClientOptions& given) {
  TlsClientOptions options = given;
  if (options.certificate_file.empty() != options.key_file.empty()) {
    return InvalidArgument("TLS: a client's certificate and its key go together");
  }
  if (options.roots_file.empty() && options.server_key_hash.empty()) {
    LEVER_ASSIGN_OR_RETURN(options.roots_file, FindRootsFile());
  }
  ClientContexts& open = OpenClientContexts();
  const std::lock_guard lock(open.mutex);
  std::erase_if(open.list, [](const auto& context) { return context.expired(); });
  for (const auto& weak : open.list) {
    std::shared_ptr<TlsClientContext> context = weak.lock();
    if (context != nullptr && context->options_ == options) return context;
  }
  std::shared_ptr<TlsClientContext> context(new TlsClientContext(std::move(options)));
  LEVER_RETURN_IF_ERROR(context->Start());
  open.list.push_back(context);
  return context;
}

StatusOr<std::shared_ptr<TlsClientContext>> TlsClientContext::OpenForKey(std::string key_hash) {
  if (key_hash.size() != kKeyHashBytes) {
    return InvalidArgument("TLS: the hash of a server's key has " + std::to_string(kKeyHashBytes) +
                           " bytes");
  }
  TlsClientOptions options;
  options.server_key_hash = std::move(key_hash);
  return Open(options);
}

StatusOr<TlsContext::SslContext> TlsClientContext::Read() const {
  LEVER_ASSIGN_OR_RETURN(SslContext context, NewContext(TLS_client_method()));
  if (options_.server_key_hash.empty()) {
    LEVER_RETURN_IF_ERROR(UseRoots(context.get(), options_.roots_file));
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (!options_.certificate_file.empty()) {
    LEVER_RETURN_IF_ERROR(
        UseCertificate(context.get(), options_.certificate_file, options_.key_file));
  }
  return context;
}

std::string TlsClientContext::Signature() const {
  return FileSignature(options_.roots_file) + "|" + FileSignature(options_.certificate_file) + "|" +
         FileSignature(options_.key_file);
}

}  // namespace lever::rpc
