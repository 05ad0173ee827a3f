#include "liblever/host/gateway/h2_exchange.h"

#include <string>
#include <utility>

#include "liblever/host/gateway/http_limits.h"
#include "liblever/host/gateway/http_reply.h"

namespace lever::gateway {

H2Exchange& H2Exchange::Over(rpc::Stream& stream) {
  H2Exchange* exchange = new H2Exchange(&stream);
  stream.set_handler(exchange);
  return *exchange;
}

void H2Exchange::SendHead(const HttpHead& head) {
  head_.Add(":status", std::to_string(head.status));
  head_.Add("date", HttpDate());
  for (size_t i = 0; i < head.fields.size(); ++i) {
    head_.Add(head.fields[i].name, head.fields[i].value);
  }
  has_length_ = head.content_length.has_value();
  if (head.content_length) head_.Add("content-length", std::to_string(*head.content_length));
  stream_->SendHeaders(head_);
}

void H2Exchange::Write(Slice data) { stream_->Write(std::move(data)); }

void H2Exchange::End() {
  if (stream_->remote_ended() || !has_length_) return stream_->EndWrite();
  lingering_ = true;
  Loop& loop = stream_->connection().loop();
  loop.Arm(this, loop.now_ns() + kHttp2LingerTimeoutNs);
}

void H2Exchange::EndNow() {
  lingering_ = false;
  stream_->connection().loop().Disarm(this);
  stream_->EndWrite();
}

void H2Exchange::OnData(rpc::Stream& stream, Slice data) {
  if (!lingering_) return handler_->OnBody(data.view());
  stream.Consume(data.size());
  discarded_bytes_ += data.size();
  if (discarded_bytes_ > kHttp2DiscardBytesMax) EndNow();
}

void H2Exchange::OnRemoteEnd(rpc::Stream& stream) {
  if (lingering_) return EndNow();
  handler_->OnBodyEnd();
}

void H2Exchange::OnClosed(rpc::Stream& stream, const rpc::StreamClose& close) {
  stream.connection().loop().Disarm(this);
  HttpHandler* handler = handler_;
  delete this;
  handler->OnClosed();
}

}  // namespace lever::gateway
