#include "liblever/client/unary_call.h"

#include <cassert>
#include <utility>

#include "liblever/route/stream_core.h"
#include "liblever/route/wire.h"

namespace lever::client {

using route::Envelope;
using route::Framing;

void UnaryCallImpl::Begin(std::shared_ptr<Target> target, Request request, int64_t deadline_ns,
                          UnaryHandler* handler) {
  assert(phase_ == Phase::kFree);
  handler_ = handler;
  kind_ = request.kind;
  payload_ = std::move(request.payload);
  if (client_->options().echo) {
    return EndLater({.status = Status::Ok().WithExecuted(LEVER_EXECUTED_YES),
                     .kind = kind_,
                     .payload = std::move(payload_)});
  }
  attempts_.Begin(client_, std::move(target), request, deadline_ns);
  StartAttempt();
}

void UnaryCallImpl::StartAttempt() {
  phase_ = Phase::kRunning;
  // One message is the answer; credit for another shows a peer that sends more.
  call_ = attempts_.Start(route::kInvokePath, 2, this);
  SliceList message = payload_;
  if (!attempts_.bare()) message = route::WriteEnvelope(kind_, std::move(message));
  call_->Write(std::move(message));
  call_->CloseSend();
}

void UnaryCallImpl::OnMessage(rpc::Call& call, SliceList message) {
  if (std::exchange(has_reply_, true)) {
    return call.Cancel(Internal("the peer answered a unary call with more than one message"));
  }
  StatusOr<Envelope> envelope = route::OpenMessage(
      std::move(message), attempts_.bare() ? Framing::kBare : Framing::kEnvelope);
  if (!envelope.ok()) {
    return call.Cancel(Internal("the answer is broken: " + envelope.status().message()));
  }
  reply_kind_ = envelope->kind;
  reply_ = std::move(envelope->payload);
}

void UnaryCallImpl::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  attempts_.Ended(end);
  if (!end.status.ok() && !cancelled_ && !has_reply_) {
    if (const std::optional<int64_t> next_ns = attempts_.NextAt(end); next_ns.has_value()) {
      phase_ = Phase::kWaiting;
      client_->loop()->Arm(this, *next_ns);
      return;
    }
  }
  Complete(OutcomeOf(end));
}

Outcome UnaryCallImpl::OutcomeOf(const rpc::CallEnd& end) {
  Outcome outcome{.status = end.status, .trailing = end.trailers};
  if (!end.status.ok()) return outcome;
  if (!has_reply_ || reply_kind_ == Kind::kNone) {
    outcome.status = Internal("the peer answered a unary call without a message");
    return outcome;
  }
  outcome.kind = reply_kind_;
  outcome.payload = std::move(reply_);
  if (IsError(outcome.kind)) outcome.status = Status(LEVER_METHOD_ERROR, "");
  outcome.status = std::move(outcome.status).WithExecuted(LEVER_EXECUTED_YES);
  return outcome;
}

void UnaryCallImpl::Cancel() {
  if (std::exchange(cancelled_, true)) return;
  Status status = Cancelled("the call was cancelled");
  if (phase_ == Phase::kRunning) return call_->Cancel(status);
  if (phase_ == Phase::kFree) return;
  EndLater({.status = std::move(status).WithExecuted(attempts_.ExecutedSoFar())});
}

void UnaryCallImpl::EndLater(Outcome outcome) {
  phase_ = Phase::kEnding;
  outcome_ = std::move(outcome);
  client_->loop()->Arm(this, client_->loop()->now_ns());
}

void UnaryCallImpl::OnTimer() {
  if (phase_ == Phase::kWaiting) return StartAttempt();
  Complete(std::move(outcome_));
}

void UnaryCallImpl::Complete(Outcome outcome) {
  // Before the handler, which may close the client.
  phase_ = Phase::kFree;
  client_->Remove(this);
  handler_->OnDone(*this, std::move(outcome));
  handler_ = nullptr;
  attempts_.Reset();
  payload_.clear();
  reply_.clear();
  has_reply_ = cancelled_ = false;
  reply_kind_ = Kind::kNone;
  outcome_ = Outcome();
  client_->Recycle(this);
}

}  // namespace lever::client
