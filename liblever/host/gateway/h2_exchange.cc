#include "liblever/host/gateway/h2_exchange.h"

#include <string>
#include <utility>

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
  if (head.content_length) head_.Add("content-length", std::to_string(*head.content_length));
  stream_->SendHeaders(head_);
}

void H2Exchange::Write(Slice data) { stream_->Write(std::move(data)); }

void H2Exchange::End() { stream_->EndWrite(); }

void H2Exchange::OnData(rpc::Stream& stream, Slice data) { handler_->OnBody(data.view()); }

void H2Exchange::OnClosed(rpc::Stream& stream, const rpc::StreamClose& close) {
  HttpHandler* handler = handler_;
  delete this;
  handler->OnClosed();
}

}  // namespace lever::gateway
