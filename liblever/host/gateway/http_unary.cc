#include "liblever/host/gateway/http_unary.h"

#include <utility>

#include "liblever/host/gateway/http_limits.h"
#include "liblever/host/gateway/http_reply.h"
#include "liblever/host/gateway/http_values.h"
#include "liblever/rpc/counters.h"

namespace lever::gateway {

void HttpUnary::Serve(std::shared_ptr<HttpContext> context, HttpExchange& exchange,
                      MethodRequest request) {
  // Owns itself: see DeleteIfDone().
  HttpUnary* unary = new HttpUnary(std::move(context), exchange, std::move(request));
  exchange.set_handler(unary);
  unary->context_->loop->Arm(unary, unary->request_.call.deadline_ns);
  if (ContentLength(exchange.request()).value_or(0) > kHttpBodyBytesMax) {
    rpc::Count(rpc::LocalCounters().limit_http_body);
    unary->Refuse(413, ResourceExhausted("the body is larger than a message may be, " +
                                         std::to_string(kHttpBodyBytesMax) + " bytes"));
  }
}

HttpUnary::HttpUnary(std::shared_ptr<HttpContext> context, HttpExchange& exchange,
                     MethodRequest request)
    : context_(std::move(context)),
      exchange_(&exchange),
      request_(std::move(request)),
      call_(context_->loop, context_->router, context_->counters, this) {}

HttpUnary::~HttpUnary() {
  context_->loop->Disarm(this);
  context_->held_bytes -= held_bytes_;
}

void HttpUnary::Hold(size_t bytes) {
  held_bytes_ += bytes;
  context_->held_bytes += bytes;
}

void HttpUnary::OnBody(std::string_view data) {
  exchange_->Consume(data.size());
  if (replied_) return;
  if (body_.size() + data.size() > kHttpBodyBytesMax) {
    rpc::Count(rpc::LocalCounters().limit_http_body);
    Refuse(413, ResourceExhausted("the body is larger than a message may be, " +
                                  std::to_string(kHttpBodyBytesMax) + " bytes"));
    return;
  }
  if (context_->held_bytes + data.size() > kHttpHeldBytesMax) {
    rpc::Count(rpc::LocalCounters().limit_http_held);
    Refuse(0, ResourceExhausted("the host holds too many bytes of other requests"));
    return;
  }
  Hold(data.size());
  body_.append(data);
}

StatusOr<SliceList> HttpUnary::ReadBody() {
  SliceList payload;
  if (request_.bytes_in) {
    payload.push_back(Slice::Copy(body_));
  } else {
    LEVER_ASSIGN_OR_RETURN(const std::string arguments, ReadArguments(body_));
    payload.push_back(Slice::Copy(arguments));
  }
  body_ = std::string();
  const size_t bytes = payload[0].size();
  if (bytes + route::EnvelopePrefixBytes(bytes) > rpc::kMessageBytesMax) {
    return ResourceExhausted("the arguments are larger than a message may be, " +
                             std::to_string(rpc::kMessageBytesMax) + " bytes");
  }
  return payload;
}

void HttpUnary::OnBodyEnd() {
  if (replied_) return;
  StatusOr<SliceList> payload = ReadBody();
  if (!payload.ok()) {
    const bool too_large = payload.status().code() == LEVER_RESOURCE_EXHAUSTED;
    Refuse(too_large ? 413 : 0, payload.status());
    return;
  }
  // From here on the call watches the deadline.
  context_->loop->Disarm(this);
  call_.Write(request_.bytes_in ? route::Kind::kRaw : route::Kind::kValue, std::move(*payload));
  call_.CloseSend();
  call_.Start(std::move(request_.call));
}

void HttpUnary::OnTimer() {
  Refuse(0, DeadlineExceeded("the request's body did not come before the deadline"));
}

void HttpUnary::Refuse(int http_status, const Status& status) {
  if (exchange_ == nullptr || std::exchange(replied_, true)) return;
  context_->loop->Disarm(this);
  body_ = std::string();
  const Status not_run = status.WithExecuted(LEVER_EXECUTED_NO);
  SendError(*exchange_, http_status != 0 ? http_status : HttpStatusOf(not_run), not_run,
            request_.extra);
}

void HttpUnary::OnCallMessage(route::Envelope message) {
  if (std::exchange(has_answer_, true)) {
    call_.Cancel(Internal("the instance answered a unary call with more than one message"));
    return;
  }
  answer_ = std::move(message);
}

void HttpUnary::OnCallEnd(const Status& status) {
  if (exchange_ != nullptr && !std::exchange(replied_, true)) Reply(status);
  DeleteIfDone();
}

void HttpUnary::Reply(const Status& status) {
  if (!status.ok()) {
    SendError(*exchange_, status, request_.extra);
    return;
  }
  if (!has_answer_) {
    SendError(*exchange_, Internal("the instance answered a unary call without a message"),
              request_.extra);
    return;
  }
  const bool is_error = route::IsError(answer_.kind);
  Slice body;
  std::string_view type = kTypeJson;
  std::optional<Slice> bytes;
  if (request_.bytes_out) bytes = PayloadBytes(answer_.kind, answer_.payload);
  if (bytes) {
    body = std::move(*bytes);
    type = kTypeBytes;
  } else {
    const StatusOr<std::string> json = PayloadToJson(answer_.kind, answer_.payload);
    if (!json.ok()) {
      SendError(*exchange_, json.status(), request_.extra);
      return;
    }
    body = Slice::Copy(*json);
  }
  answer_ = route::Envelope();
  Hold(body.size());
  if (is_error) request_.extra.Add("lever-error", "method");
  SendWhole(*exchange_, is_error ? 500 : 200, type, std::move(body), request_.extra);
}

void HttpUnary::OnClosed() {
  exchange_ = nullptr;
  if (call_.running()) call_.Cancel(Cancelled("the client has gone"));
  DeleteIfDone();
}

void HttpUnary::DeleteIfDone() {
  if (exchange_ == nullptr && !call_.running()) delete this;
}

}  // namespace lever::gateway
