// One connection of HTTP/1.1: its requests one after the other, and the exchange of the one that is
// being served.
//
// Threads: those of its loop.
//
// Invariants
//  1. One request at a time: what follows in a pipeline waits, up to kHttp1InputBytesMax here and
//     the rest in the kernel, and is begun only when less than half of the output queue's bound is
//     unread.
//  2. Input is read while there is room for it; a handler that does not consume stops it.
//  3. The end of the client's input while a request is served means that the client has gone: its
//     call is cancelled. (No client that waits for a reply closes its side; half-closed connections
//     cannot be told from closed ones.)
//  4. Before the socket is closed after a reply, what the client still sends is read for
//     kHttp1LingerTimeoutNs, so that the kernel does not throw the reply away.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP1_CONNECTION_H_
#define LIBLEVER_HOST_GATEWAY_HTTP1_CONNECTION_H_

#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/host/gateway/http1_parser.h"
#include "liblever/host/gateway/http_exchange.h"
#include "liblever/rpc/byte_stream.h"
#include "liblever/rpc/slice_queue.h"

namespace lever::gateway {

class HttpApi;

class Http1Connection final : private IoSource,
                              private TurnEnd,
                              private Timer,
                              private HttpExchange {
 public:
  Http1Connection(HttpApi* api, std::unique_ptr<rpc::ByteStream> socket, const HttpPeer& peer);
  ~Http1Connection() override;

  // With what has been read from the socket already.
  Status Start(std::span<const uint8_t> already_read);
  // Ends after the request that is being served.
  void Drain();
  // Ends now. The API's OnConnectionClosed() is called from inside.
  void Close() { Gone(); }

 private:
  enum class Phase : uint8_t {
    kHead,        // the next request's head is waited for
    kServing,     // a request has its handler
    kDiscarding,  // its reply is complete, its body is not
    kFlushing,    // the last reply goes out
    kLingering,   // it has; the client is to close
    kClosed,
  };

  // HttpExchange
  const rpc::HeaderList& request() const override { return parser_->head(); }
  void set_handler(HttpHandler* handler) override { handler_ = handler; }
  void SendHead(const HttpHead& head) override;
  void Write(Slice data) override;
  void End() override;
  bool Writable() const override;
  void Consume(size_t bytes) override;

  uint32_t OnReady(uint32_t events) override;
  void OnTurnEnd() override;
  void OnTimer() override;

  std::string_view Input() const { return std::string_view(input_).substr(taken_); }
  void Take(size_t bytes);
  bool HasRoom() const;
  uint32_t ReadSome(uint32_t events);
  // Works on the input until it needs more of it, or the reply has to come first.
  void Process();
  // These say whether there may be more to do.
  bool ProcessHead();
  bool ProcessBody();
  void BeginRequest();
  void EndExchange();
  void NextRequest();
  void OnInputEnd();
  void Refuse(int http_status, const Status& status);
  void FailBody();

  void Queue(Slice data);
  void Flush();
  void EndIfFlushed();
  void BeginFlushing();
  void Gone();
  void MarkDirty();

  HttpApi* api_;
  Loop* loop_;
  std::unique_ptr<rpc::ByteStream> socket_;
  HttpPeer peer_;
  Phase phase_ = Phase::kHead;

  std::string input_;
  size_t taken_ = 0;
  bool input_waits_ = false;  // in the kernel, for room
  bool input_ended_ = false;
  bool starved_ = false;         // the head that is read needs more input
  bool waits_for_room_ = false;  // the next request, in the output queue
  std::unique_ptr<Http1Parser> parser_;

  HttpHandler* handler_ = nullptr;
  size_t unconsumed_ = 0;
  size_t discarded_ = 0;
  bool body_ended_ = false;
  bool wants_continue_ = false;
  bool keep_alive_ = true;
  bool head_sent_ = false;
  bool chunked_ = false;
  bool reply_ended_ = false;

  rpc::SliceQueue out_;
  bool blocked_ = false;   // the socket takes nothing before its next EPOLLOUT
  bool was_full_ = false;  // OnWritable() is owed
  bool broken_ = false;    // writing has failed
  bool processing_ = false;
  int64_t progress_ns_ = 0;  // when the client took something last
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP1_CONNECTION_H_
