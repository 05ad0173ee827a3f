// An HTTP exchange on a stream of HTTP/2.
//
// A reply that is complete before its request is (a refusal, mostly) holds back the end of the
// stream until the request has ended, kHttp2DiscardBytesMax more of it were thrown away, or
// kHttp2LingerTimeoutNs are over. The end resets a stream whose request goes on, and clients that
// are just sending (curl 7.88, as in Debian 12) would drop the reply for the reset. Replies without
// a length end at once: their end is news.
//
// Threads: the stream's loop. It owns itself until the stream has closed.
#ifndef LIBLEVER_HOST_GATEWAY_H2_EXCHANGE_H_
#define LIBLEVER_HOST_GATEWAY_H2_EXCHANGE_H_

#include "liblever/base/loop.h"
#include "liblever/host/gateway/http_exchange.h"
#include "liblever/rpc/connection.h"

namespace lever::gateway {

class H2Exchange final : public HttpExchange, private rpc::StreamHandler, private Timer {
 public:
  // Takes over the stream.
  static H2Exchange& Over(rpc::Stream& stream);

  const rpc::HeaderList& request() const override { return stream_->headers(); }
  void set_handler(HttpHandler* handler) override { handler_ = handler; }
  void SendHead(const HttpHead& head) override;
  void Write(Slice data) override;
  void End() override;
  bool Writable() const override { return stream_->Writable(); }
  void Consume(size_t bytes) override { stream_->Consume(bytes); }

 private:
  explicit H2Exchange(rpc::Stream* stream) : stream_(stream) {}
  ~H2Exchange() override = default;

  void OnData(rpc::Stream& stream, Slice data) override;
  void OnRemoteEnd(rpc::Stream& stream) override;
  void OnWritable(rpc::Stream& stream) override { handler_->OnWritable(); }
  void OnClosed(rpc::Stream& stream, const rpc::StreamClose& close) override;
  void OnTimer() override { EndNow(); }
  void EndNow();

  rpc::Stream* stream_;
  HttpHandler* handler_ = nullptr;
  bool has_length_ = false;
  bool lingering_ = false;  // the reply is complete but for its end
  size_t discarded_bytes_ = 0;
  rpc::HeaderList head_;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_H2_EXCHANGE_H_
