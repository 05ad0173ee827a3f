// One TLS handshake on a loop: a connected socket in, an encrypted stream out.
//
// Threads: those of its loop. Destroying it gives the handshake up and closes the socket.
#ifndef LIBLEVER_RPC_TLS_HANDSHAKE_H_
#define LIBLEVER_RPC_TLS_HANDSHAKE_H_

#include <functional>
#include <memory>
#include <string>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/rpc/byte_stream.h"
#include "liblever/rpc/tls.h"
#include "liblever/rpc/tls_stream.h"

namespace lever::rpc {

class TlsHandshake final : private IoSource, private Timer {
 public:
  // Called once, never from inside Start(): with the stream, whose input may be waiting in it already
  // (ByteStream::HasBufferedInput), or with UNAVAILABLE saying why not. It may destroy the handshake.
  using Done = std::function<void(StatusOr<std::unique_ptr<TlsStream>>)>;

  // A server's side of a socket that was accepted: it has kTlsHandshakeTimeoutNs. A failure is counted and
  // logged, at most one line a second.
  static StatusOr<std::unique_ptr<TlsHandshake>> Accept(Loop* loop,
                                                        std::unique_ptr<ByteStream> socket,
                                                        TlsServerContext& context, TlsOffer offer,
                                                        Done done);
  // A client's side; the time is the caller's to bound. `host` is the endpoint's, for which the context
  // may have another name.
  static StatusOr<std::unique_ptr<TlsHandshake>> Connect(Loop* loop,
                                                         std::unique_ptr<ByteStream> socket,
                                                         TlsClientContext& context,
                                                         const std::string& host, Done done);
  ~TlsHandshake() override;

 private:
  TlsHandshake(Loop* loop, std::unique_ptr<TlsStream> stream, TlsSide side, Done done);
  Status Start();
  void Finish(StatusOr<std::unique_ptr<TlsStream>> result);
  void Failed(const std::string& why);

  uint32_t OnReady(uint32_t events) override;
  void OnTimer() override;

  Loop* const loop_;
  std::unique_ptr<TlsStream> stream_;
  const TlsSide side_;
  const std::string peer_;
  Done done_;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_TLS_HANDSHAKE_H_
