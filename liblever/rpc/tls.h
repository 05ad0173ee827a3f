// TLS: what a listener shows its clients, and what a client trusts.
//
// TLS 1.2 and 1.3 with ALPN. A context is made from files (PEM) and follows them: a certificate, key
// or list of roots that was replaced on disk is used by the connections that begin after it, without
// a restart; those that are open go on. Files that cannot be used (half written, a key that is not the
// certificate's) leave in place what was there, and one line in the log says so.
//
// Or, without files, by a key of the process's own, of which the clients were told (tls_identity.h).
//
// Where it goes: a server's into ListenOptions::tls; a client's into Channel::To().
//
// Threads: a context may be shared by any number of threads and loops.
#ifndef LIBLEVER_RPC_TLS_H_
#define LIBLEVER_RPC_TLS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "liblever/base/clock.h"
#include "liblever/base/status.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace lever::rpc {

class TlsIdentity;

// How often the files are looked at, at most: when a handshake begins.
inline constexpr int64_t kTlsReloadCheckNs = 1 * kNanosPerSecond;

struct TlsServerOptions {
  // The certificate, followed by those that lead to a root.
  std::string certificate_file;
  std::string key_file;
  // Not empty: every client must show a certificate that one of these has signed (mutual TLS).
  std::string client_roots_file;

  bool operator==(const TlsServerOptions&) const = default;
};

struct TlsClientOptions {
  // Empty: the file that SSL_CERT_FILE names, else the first of the places where the distributions
  // keep theirs (tls_roots.h).
  std::string roots_file;
  // What the client shows a server that asks (mutual TLS): both or none.
  std::string certificate_file;
  std::string key_file;
  // The name that the server's certificate must bear; empty: the endpoint's host. Calls name it as
  // their authority.
  std::string server_name;
  // Not empty: the server is the one whose certificate has this key (KeyHashOf(), tls_identity.h), whoever
  // has signed it and whatever its name; there are no roots then.
  std::string server_key_hash = {};

  bool operator==(const TlsClientOptions&) const = default;
};

// What server and client contexts share: files that are followed.
class TlsContext {
 public:
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  virtual ~TlsContext() = default;

  // As the files say now; never null. Reads them again if they have changed, on the calling thread,
  // one thread at a time: the others go on with what there was.
  std::shared_ptr<ssl_ctx_st> Current(const Clock& clock);

 protected:
  using SslContext = std::shared_ptr<ssl_ctx_st>;

  TlsContext() = default;
  // Reads the files for the first time.
  Status Start();

 private:
  virtual StatusOr<SslContext> Read() const = 0;
  // Changes when one of the files does.
  virtual std::string Signature() const = 0;
  void Reload();

  std::mutex mutex_;  // of current_
  SslContext current_;
  std::atomic<int64_t> next_check_ns_{0};
  std::atomic<bool> checking_{false};
  // Whoever has set checking_.
  std::string signature_;
  std::string complaint_;  // logged already
};

class TlsServerContext final : public TlsContext {
 public:
  // INVALID_ARGUMENT or NOT_FOUND names the file and what is wrong with it.
  static StatusOr<std::shared_ptr<TlsServerContext>> Open(const TlsServerOptions& options);
  // Of a server that shows a key of its own, and asks its clients for no certificate.
  static StatusOr<std::shared_ptr<TlsServerContext>> Of(
      std::shared_ptr<const TlsIdentity> identity);
  const TlsServerOptions& options() const { return options_; }

 private:
  TlsServerContext(TlsServerOptions options, std::shared_ptr<const TlsIdentity> identity)
      : options_(std::move(options)), identity_(std::move(identity)) {}
  StatusOr<SslContext> Read() const override;
  std::string Signature() const override;

  const TlsServerOptions options_;
  const std::shared_ptr<const TlsIdentity> identity_;  // null: the files
};

class TlsClientContext final : public TlsContext {
 public:
  // Contexts with equal options are one: roots are many and take their time to read. Without roots
  // FAILED_PRECONDITION says where they were looked for.
  static StatusOr<std::shared_ptr<TlsClientContext>> Open(const TlsClientOptions& options = {});
  // To the server with that key, whatever else it shows.
  static StatusOr<std::shared_ptr<TlsClientContext>> OpenForKey(std::string key_hash);
  // With the roots' file filled in, where there is to be one.
  const TlsClientOptions& options() const { return options_; }

 private:
  explicit TlsClientContext(TlsClientOptions options) : options_(std::move(options)) {}
  StatusOr<SslContext> Read() const override;
  std::string Signature() const override;

  const TlsClientOptions options_;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_TLS_H_
