#include "liblever/host/gateway/relay.h"

#include <algorithm>
#include <utility>

#include "liblever/host/gateway/grpc_reply.h"
#include "liblever/policy/address.h"
#include "liblever/policy/retry.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/call.h"
#include "liblever/rpc/grpc_timeout.h"

namespace lever::gateway {
namespace {

// Codes that pass, as grpc-status has them.
constexpr std::string_view kGrpcResourceExhausted = "8";
constexpr std::string_view kGrpcUnavailable = "14";

// Fields that the host sets itself, or that belong to one hop only.
bool ForOneHop(std::string_view name) {
  return name == route::kCallerHeader || name == route::kAttemptHeader || name == "grpc-timeout" ||
         name == "connection" || name == "te";
}

}  // namespace

void Relay::Start(Loop* loop, Router* router, RelayCounters* counters, const fleet::Caller& caller,
                  rpc::Stream& stream) {
  // Owns itself: see DeleteIfDone().
  Relay* relay = new Relay(loop, router, counters, caller, stream);
  stream.set_handler(&relay->down_handler_);
  const Status status = relay->ReadRequest(caller);
  if (!status.ok()) {
    relay->EndCaller(status.WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  relay->Route();
}

Relay::Relay(Loop* loop, Router* router, RelayCounters* counters, const fleet::Caller& caller,
             rpc::Stream& stream)
    : loop_(loop),
      router_(router),
      counters_(counters),
      down_handler_(this),
      up_handler_(this),
      down_(&stream),
      caller_(caller.identity),
      deadline_timer_([this] { OnDeadline(); }),
      again_timer_([this] { Route(); }) {}

void Relay::Route() { router_->Route(this, {environment_, service_}, deadline_ns_); }

Status Relay::ReadRequest(const fleet::Caller& caller) {
  const rpc::HeaderList& request = down_->headers();
  const auto proto = request.Find(route::kProtoHeader);
  if (proto && *proto != route::kProtoVersion) {
    return FailedPrecondition("the caller speaks lever-proto " + std::string(*proto) +
                              ", this host " + std::string(route::kProtoVersion));
  }
  const auto url = request.Find(route::kUrlHeader);
  if (!url) return InvalidArgument("the header lever-url is missing");
  LEVER_ASSIGN_OR_RETURN(policy::Address address, policy::ParseAddressHeaders(
                                                      *url, request.Find(route::kResourceHeader)));
  if (address.environment.empty()) {
    address.environment = !caller.environment.empty() ? caller.environment
                                                      : std::string(policy::kDefaultEnvironment);
  }
  environment_ = address.environment;
  service_ = address.service;
  if (const auto timeout = request.Find("grpc-timeout")) {
    const std::optional<int64_t> timeout_ns = rpc::ParseGrpcTimeout(*timeout);
    if (!timeout_ns) return InvalidArgument("grpc-timeout is malformed");
    deadline_ns_ = DeadlineAfter(loop_->now_ns(), *timeout_ns);
  }
  host_retries_ = !request.Find(route::kAttemptHeader);
  keeping_ = true;
  return router_->CheckCall(address, caller);
}

void Relay::BuildHeaders() {
  headers_.Clear();
  const rpc::HeaderList& request = down_->headers();
  for (size_t i = 0; i < request.size(); ++i) {
    const rpc::HeaderView field = request[i];
    if (!ForOneHop(field.name)) headers_.Add(field.name, field.value, field.indexing);
  }
  headers_.Add("te", "trailers");
  if (!caller_.empty()) headers_.Add(route::kCallerHeader, caller_);
  if (host_retries_) {
    headers_.Add(route::kAttemptHeader, std::to_string(attempt_));
  } else {
    headers_.Add(route::kAttemptHeader, *request.Find(route::kAttemptHeader));
  }
  if (deadline_ns_ != kNever) {
    const int64_t left_ns = std::max<int64_t>(deadline_ns_ - loop_->now_ns(), 1);
    headers_.Add("grpc-timeout", rpc::FormatGrpcTimeout(rpc::CoarseTimeout(left_ns)));
  }
}

void Relay::OnRouted(const std::shared_ptr<Backend>& backend) {
  if (down_ == nullptr) {
    DeleteIfDone();
    return;
  }
  ++attempt_;
  BuildHeaders();
  backend_ = backend;
  backend_->Begin();
  began_ns_ = loop_->now_ns();
  up_ = backend_->connection()->StartStream(headers_, rpc::Stream::End::kNo, &up_handler_);
  if (up_ == nullptr) {
    if (TryAgain(Sent::kNothing)) return;
    LeaveInstance();
    EndCaller(Unavailable("the connection to the instance takes no more streams")
                  .WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  (attempt_ == 1 ? counters_->calls : counters_->resends).fetch_add(1, std::memory_order_relaxed);
  for (const Slice& slice : kept_) up_->Write(slice);
  if (request_ended_) up_->EndWrite();
  loop_->Arm(&deadline_timer_, deadline_ns_);
  ConsumeRequest();
}

void Relay::OnRefused(const Status& status) { EndCaller(status); }

void Relay::OnRequestData(Slice data) {
  request_unconsumed_ += data.size();
  if (up_ != nullptr) up_->Write(data);
  if (keeping_) {
    kept_bytes_ += data.size();
    if (up_ == nullptr || kept_bytes_ <= rpc::kStreamWindowBytes) {
      data.Compact();
      kept_.push_back(std::move(data));
    } else {
      keeping_ = false;
      kept_.clear();
    }
  }
  // Until there is an instance, the window bounds what is kept.
  if (up_ != nullptr) ConsumeRequest();
}

void Relay::OnRequestEnd() {
  request_ended_ = true;
  if (up_ != nullptr) up_->EndWrite();
}

void Relay::ConsumeRequest() {
  if (down_ == nullptr || up_ == nullptr || !up_->Writable()) return;
  down_->Consume(std::exchange(request_unconsumed_, 0));
}

void Relay::ConsumeReply() {
  if (down_ == nullptr || up_ == nullptr || !down_->Writable()) return;
  up_->Consume(std::exchange(reply_unconsumed_, 0));
}

void Relay::OnCallerClosed() {
  down_ = nullptr;
  ended_ = true;
  router_->Cancel(this);
  loop_->Disarm(&again_timer_);
  if (up_ != nullptr) {
    up_->Reset(rpc::kHttp2Cancel);  // OnInstanceClosed() follows
    return;
  }
  DeleteIfDone();
}

void Relay::OnReplyHeaders() {
  reply_headers_ = true;
  // A reply that is only a status comes as headers with the stream's end: it is forwarded as such, and
  // may say that the call surely did not run.
  if (!up_->headers().Find("grpc-status")) ForwardHeaders(rpc::Stream::End::kNo);
}

void Relay::ForwardHeaders(rpc::Stream::End end) {
  reply_headers_ = false;
  headers_forwarded_ = true;
  keeping_ = false;
  kept_.clear();
  if (down_ != nullptr && !ended_) down_->SendHeaders(up_->headers(), end);
}

void Relay::OnReplyData(Slice data) {
  if (reply_headers_) ForwardHeaders(rpc::Stream::End::kNo);
  reply_unconsumed_ += data.size();
  if (down_ == nullptr || ended_) return;
  down_->Write(std::move(data));
  ConsumeReply();
}

void Relay::OnReplyEnd() {
  if (down_ == nullptr || ended_) return;
  if (reply_headers_) {
    const rpc::HeaderList& headers = up_->headers();
    const bool not_run = headers.Find(rpc::kExecutedTrailer) == rpc::kExecutedNo;
    // Another attempt would be refused for any other reason just so.
    const std::string_view code = headers.Find("grpc-status").value_or("");
    const bool passing = code == kGrpcUnavailable || code == kGrpcResourceExhausted;
    if (not_run && passing && TryAgain(Sent::kRequest)) return;
    ForwardHeaders(rpc::Stream::End::kYes);
  } else if (up_->trailers().empty()) {
    down_->EndWrite();
  } else {
    down_->EndWithTrailers(up_->trailers());
  }
  ended_ = true;
}

bool Relay::TryAgain(Sent sent) {
  // Whoever counts his attempts decides himself, once an instance has heard of one.
  if (!host_retries_ && sent == Sent::kRequest) return false;
  // The first time at once, for a connection that was about to end; then with a little patience.
  const int64_t wait_ns = attempt_ <= 1 ? 0 : policy::kRetryFirstNs << attempt_;
  if (!keeping_ || down_ == nullptr || attempt_ >= kAttemptsMax ||
      deadline_ns_ - loop_->now_ns() <= wait_ns) {
    return false;
  }
  rpc::Stream* const old = std::exchange(up_, nullptr);
  if (old != nullptr) {
    // Its end is told to nobody: this attempt is over.
    old->set_handler(nullptr);
    old->Reset(rpc::kHttp2Cancel);
  }
  LeaveInstance();
  reply_headers_ = false;
  if (wait_ns == 0) {
    Route();
  } else {
    loop_->Arm(&again_timer_, loop_->now_ns() + wait_ns);
  }
  return true;
}

void Relay::OnInstanceClosed(const rpc::StreamClose& close) {
  up_ = nullptr;
  LeaveInstance();
  if (!ended_) {
    const bool not_run = close.unprocessed || close.never_written;
    if (not_run && TryAgain(close.never_written ? Sent::kNothing : Sent::kRequest)) return;
    EndCaller(StatusOfClose(close, not_run));
    return;
  }
  DeleteIfDone();
}

Status Relay::StatusOfClose(const rpc::StreamClose& close, bool not_run) const {
  const lever_executed executed = not_run ? LEVER_EXECUTED_NO : LEVER_EXECUTED_UNKNOWN;
  if (!close.connection_status.ok()) {
    return Unavailable("the connection to the instance ended: " + close.connection_status.message())
        .WithExecuted(executed);
  }
  if (deadline_ns_ <= loop_->now_ns()) return DeadlineExceeded("the deadline has passed");
  return Unavailable("the instance broke the call off").WithExecuted(executed);
}

void Relay::OnDeadline() {
  if (ended_) return;
  router_->Cancel(this);
  EndCaller(DeadlineExceeded("the deadline has passed"));
  // OnInstanceClosed() follows.
  if (up_ != nullptr) up_->Reset(rpc::kHttp2Cancel);
}

void Relay::EndCaller(const Status& status) {
  loop_->Disarm(&again_timer_);
  if (down_ != nullptr && !ended_) {
    ended_ = true;
    SendGrpcStatus(*down_, status, headers_forwarded_ ? HeadersSent::kYes : HeadersSent::kNo);
  }
  DeleteIfDone();
}

void Relay::LeaveInstance() {
  if (backend_ == nullptr) return;
  backend_->End(loop_->now_ns() - began_ns_);
  backend_.reset();
}

void Relay::DeleteIfDone() {
  if (down_ == nullptr && up_ == nullptr) delete this;
}

}  // namespace lever::gateway
