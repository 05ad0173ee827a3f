#include "liblever/host/gateway/http_stream.h"

#include <algorithm>
#include <utility>

#include "liblever/host/gateway/http_limits.h"
#include "liblever/host/gateway/http_reply.h"
#include "liblever/host/gateway/http_values.h"
#include "liblever/rpc/counters.h"
#include "liblever/value/json.h"

namespace lever::gateway {
namespace {

bool IsBlank(std::string_view line) {
  return std::all_of(line.begin(), line.end(),
                     [](char c) { return c == ' ' || c == '\t' || c == '\r'; });
}

}  // namespace

void HttpStream::Serve(std::shared_ptr<HttpContext> context, HttpExchange& exchange,
                       MethodRequest request) {
  // Owns itself: see DeleteIfDone().
  HttpStream* stream = new HttpStream(std::move(context), exchange, std::move(request));
  exchange.set_handler(stream);
  stream->context_->loop->Arm(stream, stream->request_.call.deadline_ns);
}

HttpStream::HttpStream(std::shared_ptr<HttpContext> context, HttpExchange& exchange,
                       MethodRequest request)
    : context_(std::move(context)),
      exchange_(&exchange),
      request_(std::move(request)),
      call_(context_->loop, context_->router, context_->counters, this) {}

HttpStream::~HttpStream() {
  context_->loop->Disarm(this);
  context_->held_bytes -= held_bytes_;
}

// ---- The body ----

void HttpStream::OnBody(std::string_view data) {
  if (ended_) {
    exchange_->Consume(data.size());
    return;
  }
  unconsumed_ += data.size();
  if (context_->held_bytes + data.size() > kHttpHeldBytesMax) {
    rpc::Count(rpc::LocalCounters().limit_http_held);
    Fail(ResourceExhausted("the host holds too many bytes of other requests"));
    return;
  }
  input_.append(data);
  TakeLines();
  context_->held_bytes += input_.size() - held_bytes_;
  held_bytes_ = input_.size();
}

void HttpStream::OnBodyEnd() {
  body_ended_ = true;
  TakeLines();
}

void HttpStream::TakeLines() {
  // The call may be ready at once, from inside.
  if (exchange_ == nullptr || taking_) return;
  taking_ = true;
  while (!ended_ && !send_closed_) {
    // Until the instance takes more, the window bounds what is kept.
    if (started_ && !call_.Writable()) break;
    if (!TakeLine()) break;
  }
  taking_ = false;
  if (started_ && !ended_ && !send_closed_ && !call_.Writable()) return;
  input_.erase(0, taken_);
  searched_ -= taken_;
  taken_ = 0;
  if (ended_) input_ = std::string();
  exchange_->Consume(std::exchange(unconsumed_, 0));
}

bool HttpStream::TakeLine() {
  const size_t end = input_.find('\n', searched_);
  const bool whole = end != std::string::npos;
  searched_ = whole ? end + 1 : input_.size();
  const size_t size = (whole ? end : input_.size()) - taken_;
  if (size > kHttpBodyBytesMax) {
    rpc::Count(rpc::LocalCounters().limit_http_body);
    Fail(ResourceExhausted("a line is larger than a message may be, " +
                           std::to_string(kHttpBodyBytesMax) + " bytes"),
         413);
    return false;
  }
  if (!whole && !body_ended_) return false;
  const std::string_view line = std::string_view(input_).substr(taken_, size);
  taken_ = searched_;
  if (!IsBlank(line)) OnLine(line);
  if (!whole && !ended_) {
    if (!started_) StartCall("\x90");
    send_closed_ = true;
    call_.CloseSend();
  }
  return whole;
}

void HttpStream::OnLine(std::string_view line) {
  StatusOr<std::string> value = started_ ? value::JsonToMessagePack(line) : ReadArguments(line);
  if (!value.ok()) {
    Fail(value.status());
    return;
  }
  if (value->size() + route::EnvelopePrefixBytes(value->size()) > rpc::kMessageBytesMax) {
    Fail(ResourceExhausted("a line is larger than a message may be, " +
                           std::to_string(rpc::kMessageBytesMax) + " bytes"),
         413);
    return;
  }
  if (!started_) {
    StartCall(std::move(*value));
    return;
  }
  SliceList payload;
  payload.push_back(Slice::Copy(*value));
  call_.Write(route::Kind::kValue, std::move(payload));
}

void HttpStream::StartCall(std::string arguments) {
  started_ = true;
  // From here on the call watches the deadline.
  context_->loop->Disarm(this);
  SliceList payload;
  payload.push_back(Slice::Copy(arguments));
  call_.Write(route::Kind::kValue, std::move(payload));
  call_.Read();
  call_.Start(std::move(request_.call));
}

void HttpStream::OnTimer() {
  Fail(DeadlineExceeded("the arguments did not come before the deadline"));
}

// ---- The reply ----

void HttpStream::SendHead() {
  if (exchange_ == nullptr || ended_ || std::exchange(head_sent_, true)) return;
  HttpHead head;
  head.fields.Add("content-type", kTypeLines);
  for (size_t i = 0; i < request_.extra.size(); ++i) {
    head.fields.Add(request_.extra[i].name, request_.extra[i].value);
  }
  exchange_->SendHead(head);
}

void HttpStream::OnCallMessage(route::Envelope message) {
  if (exchange_ == nullptr || ended_) return;
  SendHead();
  StatusOr<std::string> json = PayloadToJson(message.kind, message.payload);
  if (!json.ok()) {
    EndReply(json.status());
    call_.Cancel(json.status());
    return;
  }
  // A method's own error is the last message; the end of the call follows it.
  if (route::IsError(message.kind)) {
    exchange_->Write(Slice::Copy(MethodErrorLine(*json)));
  } else {
    exchange_->Write(Slice::Copy(json->append("\n")));
  }
  if (exchange_->Writable()) {
    call_.Read();
  } else {
    owes_credit_ = true;
  }
}

void HttpStream::OnWritable() {
  if (std::exchange(owes_credit_, false) && call_.running()) call_.Read();
}

void HttpStream::OnCallEnd(const Status& status) {
  if (exchange_ != nullptr && !ended_) {
    if (status.ok()) SendHead();
    EndReply(status);
  }
  DeleteIfDone();
}

void HttpStream::EndReply(const Status& status, int http_status) {
  ended_ = true;
  context_->loop->Disarm(this);
  if (!head_sent_) {
    SendError(*exchange_, http_status != 0 ? http_status : HttpStatusOf(status), status,
              request_.extra);
    return;
  }
  if (!status.ok()) exchange_->Write(Slice::Copy(ErrorLine(status)));
  exchange_->End();
}

void HttpStream::Fail(const Status& status, int http_status) {
  EndReply(status.WithExecuted(started_ ? LEVER_EXECUTED_UNKNOWN : LEVER_EXECUTED_NO), http_status);
  if (call_.running()) call_.Cancel(status);
}

void HttpStream::OnClosed() {
  exchange_ = nullptr;
  if (call_.running()) call_.Cancel(Cancelled("the client has gone"));
  DeleteIfDone();
}

void HttpStream::DeleteIfDone() {
  if (exchange_ == nullptr && !call_.running()) delete this;
}

}  // namespace lever::gateway
