// A byte stream under TLS: what is read from it and written to it is encrypted on its way through
// another stream.
//
// Used on one loop's thread.
//
// Invariants
//  1. Read() and Write() mean what byte_stream.h says. Neither ever waits for the other direction: there
//     is no renegotiation, and the answer to a TLS 1.3 KeyUpdate goes out with the next Write().
//  2. The pieces of one Write() are gathered into records of up to 16 KiB. A record that the socket took
//     only a part of counts as not written; Write() is then called again with the same bytes, and
//     perhaps more (who writes from a queue does).
//  3. The end of the input without the peer's close_notify is an error (ECONNRESET), not an end: bytes may
//     have been cut off.
//  4. A peer that goes on with the handshake's kind of messages (KeyUpdate, tickets, renegotiation) beyond
//     kTlsMessagesBurst is cut off.
//  5. While nothing is on its way, no buffers are held: what is left is OpenSSL's own state.
#ifndef LIBLEVER_RPC_TLS_STREAM_H_
#define LIBLEVER_RPC_TLS_STREAM_H_

#include <memory>
#include <string>

#include "liblever/base/clock.h"
#include "liblever/base/fork.h"
#include "liblever/base/status.h"
#include "liblever/rpc/byte_stream.h"
#include "liblever/rpc/tls.h"
#include "liblever/rpc/tls_text.h"
#include "liblever/rpc/token_bucket.h"

struct bio_st;         // OpenSSL's BIO,
struct bio_method_st;  // BIO_METHOD
struct ssl_st;         // and SSL

namespace lever::rpc {

// What ALPN may choose. Both ends prefer HTTP/2.
enum class TlsOffer : uint8_t { kHttp2, kHttp2OrHttp1 };
enum class TlsProtocol : uint8_t {
  kNone,  // no ALPN: the first bytes tell
  kHttp2,
  kHttp1,
};

class TlsStream final : public ByteStream {
 public:
  // A server's end. `clock` outlives the stream.
  static StatusOr<std::unique_ptr<TlsStream>> Server(std::unique_ptr<ByteStream> inner,
                                                     TlsServerContext& context, TlsOffer offer,
                                                     const Clock& clock);
  // A client's end: the server must show a certificate for `name` (a host name or an IP address), or with
  // the key that the context names, and speak HTTP/2.
  static StatusOr<std::unique_ptr<TlsStream>> Client(std::unique_ptr<ByteStream> inner,
                                                     TlsClientContext& context, std::string name,
                                                     const Clock& clock);
  ~TlsStream() override;

  enum class Step : uint8_t { kDone, kWaits, kFailed };
  // Goes on with the handshake as far as it goes now; to be called when the socket is ready, until it is
  // done. Only then may be read and written. kFailed: trouble() says why.
  Step Handshake();
  // After the handshake.
  TlsProtocol protocol() const { return protocol_; }
  // Failed because the peer speaks plain HTTP.
  bool plain_http() const { return plain_http_; }
  // Whether any byte has come: who connects and goes again is not worth a line in the log.
  bool heard() const { return heard_; }
  // For who wants to say something to a peer that speaks no TLS.
  ByteStream& inner() { return *inner_; }

  int fd() const override { return inner_->fd(); }
  IoResult Read(std::span<uint8_t> into) override;
  IoResult Write(std::span<const iovec> pieces) override;
  // Sends close_notify.
  bool ShutdownWrite() override;
  bool HasBufferedInput() const override;
  bool encrypted() const override { return true; }
  std::string trouble() const override { return trouble_; }

 private:
  friend struct TlsHooks;

  TlsStream(std::unique_ptr<ByteStream> inner, TlsSide side, const Clock& clock);
  Status Init(std::shared_ptr<ssl_ctx_st> context);
  bool Established();
  bool HasWantedKey();
  // An operation has failed with `ssl_error`, which is none of those that wait.
  int Fail(int ssl_error);

  const std::unique_ptr<ByteStream> inner_;
  const TlsSide side_;
  const Clock& clock_;
  const ForkCheck fork_check_;
  ssl_st* ssl_ = nullptr;
  TlsOffer offer_ = TlsOffer::kHttp2;
  TlsProtocol protocol_ = TlsProtocol::kNone;
  std::string name_;        // a client's: of the server
  std::string key_hash_;    // and the key that it must have; empty: one that the roots vouch for
  std::string peer_names_;  // of the certificate that did not pass
  std::string trouble_;
  TokenBucket messages_;
  size_t retry_bytes_ = 0;    // of the record that was not taken whole
  int inner_error_ = 0;       // errno of the socket
  int read_error_ = 0;        // found after bytes that were given out first
  bool read_failed_ = false;  // read_error_ is to be given out
  bool established_ = false;
  bool broken_ = false;       // nothing more may be sent
  bool close_sent_ = false;
  bool input_empty_ = false;  // the socket has no more, without another try
  bool too_many_messages_ = false;
  bool plain_http_ = false;
  bool heard_ = false;
};

// What a server's context needs of the streams that are made from it.
void InstallTlsServerHooks(ssl_ctx_st* context);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_TLS_STREAM_H_
