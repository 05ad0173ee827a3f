#include "liblever/host/gateway/http_call.h"

#include <utility>

#include "liblever/policy/retry.h"
#include "liblever/route/refusal.h"
#include "liblever/route/wire.h"

namespace lever::gateway {

void HttpCall::Start(HttpCallRequest request) {
  request_ = std::move(request);
  url_ = policy::FormatUrlHeader(request_.address);
  const policy::Address& address = request_.address;
  if (address.has_resource) {
    resource_hash_ =
        policy::ResourceHash(address.environment, address.service, address.resource);
  }
  running_ = true;
  Route();
}

void HttpCall::Route() {
  router_->Route(this, {request_.address.environment, request_.address.service},
                 request_.deadline_ns, resource_hash_, request_.wish);
}

void HttpCall::RouteNow() {
  if (std::exchange(waits_for_room_, false)) {
    router_->RouteAgain(this);
  } else {
    Route();
  }
}

void HttpCall::BuildHeaders() {
  headers_.Clear();
  headers_.Add(route::kProtoHeader, route::kProtoVersion);
  headers_.Add(route::kUrlHeader, url_);
  headers_.Add(route::kAttemptHeader, std::to_string(attempt_));
  if (!request_.caller.empty()) headers_.Add(route::kCallerHeader, request_.caller);
  if (!resource_hash_) return;
  headers_.Add(route::kResourceHeader, policy::EncodeResource(request_.address.resource),
               rpc::Indexing::kNever);
  const std::string generation = GenerationHeader(std::nullopt);
  if (!generation.empty()) headers_.Add(route::kGenerationHeader, generation);
}

void HttpCall::OnRouted(const std::shared_ptr<Backend>& backend) {
  ++attempt_;
  BuildHeaders();
  backend_ = backend;
  backend_->Begin();
  began_ns_ = loop_->now_ns();
  rpc::CallOptions options;
  options.accept_compressed = false;  // they are services of ours, which do so only when asked
  options.path = request_.streams ? route::kStreamPath : route::kInvokePath;
  options.deadline_ns = request_.deadline_ns;
  options.headers = &headers_;
  options.metadata = &request_.metadata;
  // Credit for another message than the answer shows an instance that sends more.
  options.initial_credit_messages = request_.streams ? credit_ : 2;
  call_ = rpc::Call::Start(backend_->connection(), options, this);
  if (call_ == nullptr) {
    const Status status = Unavailable("the connection to the instance takes no more streams")
                              .WithExecuted(LEVER_EXECUTED_NO);
    const bool again = TryAgain(status, Sent::kNothing);
    LeaveInstance();
    if (!again) Finish(status);
    return;
  }
  (attempt_ == 1 ? counters_->calls : counters_->resends).fetch_add(1, std::memory_order_relaxed);
  for (const SliceList& message : kept_) call_->Write(message);
  if (send_closed_) call_->CloseSend();
  handler_->OnCallReady();
}

void HttpCall::OnRefused(const Status& status) { Finish(status); }

void HttpCall::Write(route::Kind kind, SliceList payload) {
  SliceList message = route::WriteEnvelope(kind, std::move(payload));
  if (keeping_) {
    kept_bytes_ += TotalSize(message);
    if (call_ == nullptr || kept_bytes_ <= request_.kept_bytes_max) {
      kept_.push_back(message);
    } else {
      keeping_ = false;
      kept_.clear();
    }
  }
  if (call_ != nullptr) {
    call_->Write(std::move(message));
  } else {
    SetHeldBytes(kept_bytes_);
  }
}

void HttpCall::CloseSend() {
  send_closed_ = true;
  if (call_ != nullptr) call_->CloseSend();
}

void HttpCall::Read() {
  ++credit_;
  if (call_ != nullptr) call_->Read(1);
}

HttpCall::End HttpCall::Cancel(const Status& status) {
  cancelled_ = true;
  if (call_ != nullptr) {
    call_->Cancel(status);
    return End::kLater;
  }
  router_->Cancel(this);
  loop_->Disarm(&again_timer_);
  running_ = false;
  return End::kNow;
}

void HttpCall::ReplyBegins() {
  keeping_ = false;
  kept_.clear();
}

void HttpCall::OnHeaders(rpc::Call& call) {
  ReplyBegins();
  if (!cancelled_) handler_->OnCallHeaders();
}

void HttpCall::OnMessage(rpc::Call& call, SliceList message) {
  ReplyBegins();
  if (cancelled_) return;
  StatusOr<route::Envelope> envelope = route::ParseEnvelope(std::move(message));
  if (!envelope.ok() || envelope->moved) {
    call.Cancel(Internal(envelope.ok() ? "the instance sent `moved` to one who does not follow"
                                       : "the instance's answer is broken: " +
                                             envelope.status().message()));
    return;
  }
  if (envelope->bookkeeping()) {
    call.Read(1);
    return;
  }
  if (credit_ > 0) --credit_;
  handler_->OnCallMessage(std::move(*envelope));
}

void HttpCall::OnWritable(rpc::Call& call) {
  if (!cancelled_) handler_->OnCallWritable();
}

bool HttpCall::TryAgain(const Status& status, Sent sent) {
  const bool may = status.executed() == LEVER_EXECUTED_NO ||
                   (request_.idempotent && status.code() == LEVER_UNAVAILABLE);
  const bool transient = status.code() == LEVER_UNAVAILABLE ||
                         status.code() == LEVER_RESOURCE_EXHAUSTED;
  if (may && transient && sent == Sent::kRequest) {
    // As for calls that are relayed: what was never written is outside of the budget.
    backend_->retry_budget().OnFailure();
    if (!backend_->retry_budget().AllowsRetry()) return false;
  }
  // The first time at once, for a connection that was about to end; then with a little patience.
  const uint32_t counted = attempt_ - refused_full_;
  const int64_t wait_ns = policy::HostRetryWaitNs(counted);
  if (!may || !transient || !keeping_ || cancelled_ || counted >= Relay::kAttemptsMax ||
      request_.deadline_ns - loop_->now_ns() <= wait_ns) {
    return false;
  }
  SetHeldBytes(kept_bytes_);
  loop_->Arm(&again_timer_, loop_->now_ns() + wait_ns);
  return true;
}

bool HttpCall::TryWaiting(const rpc::CallEnd& end) {
  if (!route::RefusedAsFull(end) || !keeping_ || cancelled_ ||
      loop_->now_ns() >= request_.deadline_ns) {
    return false;
  }
  ++refused_full_;
  backend_->OnFull();
  LeaveInstance();
  SetHeldBytes(kept_bytes_);
  waits_for_room_ = true;
  loop_->Arm(&again_timer_, loop_->now_ns());
  return true;
}

void HttpCall::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  if (TryWaiting(end)) return;
  if (end.status.ok()) backend_->retry_budget().OnSuccess();
  // One that has another owner is outside of the budget, too.
  const bool moved =
      end.trailers != nullptr && end.trailers->Find(route::kGenerationHeader).has_value();
  const bool again =
      !end.status.ok() &&
      TryAgain(end.status, end.never_written || moved ? Sent::kNothing : Sent::kRequest);
  LeaveInstance();
  if (!again) Finish(end.status);
}

void HttpCall::LeaveInstance() {
  if (backend_ == nullptr) return;
  backend_->End(loop_->now_ns() - began_ns_);
  backend_.reset();
}

// The handler may destroy this.
void HttpCall::Finish(const Status& status) {
  running_ = false;
  handler_->OnCallEnd(status);
}

}  // namespace lever::gateway
