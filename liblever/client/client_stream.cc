#include "liblever/client/client_stream.h"

#include <algorithm>
#include <utility>

#include "liblever/route/wire.h"

namespace lever::client {

using route::Envelope;

ClientStreamImpl::ClientStreamImpl(ClientImpl* client, route::Framing framing)
    : StreamCore(client->loop(), framing), client_(client) {}

void ClientStreamImpl::Begin(std::shared_ptr<Target> target, Request request, int64_t deadline_ns,
                             StreamHandler* handler) {
  handler_ = handler;
  credit_.Add(request.read_messages, request.read_bytes);
  attempts_.Begin(client_, std::move(target), request, deadline_ns);
  if (request.resume != nullptr) {
    point_.token = request.resume->token;
    point_.received = request.resume->received;
    resumed_ = true;
  }
  // A pass-through stream begins with nothing unless it was given a message.
  if (!attempts_.bare() || request.kind != Kind::kNone) {
    sent_.SetArguments(Pack(request.kind, std::move(request.payload)));
  }
  StartAttempt();
}

void ClientStreamImpl::StartAttempt() {
  phase_ = Phase::kRunning;
  credit_.Restart();
  call_ = attempts_.Start(route::kStreamPath, credit_.Take(), this);
  if (SliceList first = sent_.arguments(); !first.empty()) {
    if (resumed_) {
      // Nothing comes before it has begun: the point stands still.
      first.push_back(route::WriteMarks({point_.token, sent_.consumed(), point_.received}));
    }
    call_->Write(std::move(first));
  }
  for (const SliceList& message : sent_.messages()) call_->Write(message);
  ForgetIfTooMuch();
  if (send_closed_) call_->CloseSend();
  if (writable_wanted_) WantWritable();
}

// ---- Writing ----

Status ClientStreamImpl::Write(Kind kind, SliceList payload) {
  if (send_closed_) return FailedPrecondition("nothing can be written after close_send");
  if (IsError(kind)) return InvalidArgument("a caller's message is not an error");
  if (framing_ == route::Framing::kBare && kind != Kind::kRaw) {
    return InvalidArgument("a gRPC message is written as raw bytes");
  }
  LEVER_RETURN_IF_ERROR(route::CheckOutgoing(kind, payload));
  if (!failed_.has_value()) Queue(Pack(kind, std::move(payload)));
  return Status::Ok();
}

void ClientStreamImpl::Queue(SliceList message) {
  if (sent_.kept()) sent_.Add(message);
  if (call_ == nullptr) return;  // the next attempt writes it
  call_->Write(std::move(message));
  ForgetIfTooMuch();
}

void ClientStreamImpl::ForgetIfTooMuch() {
  if (attempts_.of_resource()) {
    if (!Paced() && sent_.bytes() > kUnreadBytesMax) sent_.Forget();
  } else if (sent_.arguments_bytes() + sent_.bytes() > kReplayBytesMax) {
    sent_.Forget();
  }
}

size_t ClientStreamImpl::queued_bytes() const {
  if (call_ == nullptr) return sent_.arguments_bytes() + sent_.bytes();
  return Paced() ? std::max(call_->queued_bytes(), sent_.bytes()) : call_->queued_bytes();
}

bool ClientStreamImpl::HeldBack() const {
  return Paced() && sent_.bytes() >= rpc::kStreamQueuedBytesLow;
}

void ClientStreamImpl::CloseSend() {
  if (std::exchange(send_closed_, true)) return;
  if (call_ != nullptr) call_->CloseSend();
}

// ---- What comes back ----

void ClientStreamImpl::OnHeaders(rpc::Call& call) {
  begun_ = Resumable() && call.headers().Find(route::kResumeHeader) == route::kResumeYes;
  if (!begun_) {
    // It may have begun anew there, and what has been done would be done again.
    if (resumed_) return Cancel(Unimplemented("the resource's streams can be resumed no more"));
    sent_.Forget();
  }
  // A writer that waited for what is kept no more, or what it does not hear of.
  if (writable_wanted_) core_loop_->AtTurnEnd(this);
}

void ClientStreamImpl::OnMessage(rpc::Call& call, SliceList message) {
  if (!Delivering()) return;
  StatusOr<Envelope> envelope = route::OpenMessage(std::move(message), framing_);
  if (!envelope.ok()) {
    return Cancel(Internal("a message of the stream is broken: " + envelope.status().message()));
  }
  if (error_.kind != Kind::kNone || moved_) {
    return Cancel(Internal("a message came after the method's last one"));
  }
  if (envelope->moved) return OnMoved(*envelope);
  if (begun_) {
    if (Status taken = TakeMarks(*envelope); !taken.ok()) return Cancel(taken);
  }
  if (!IsError(envelope->kind)) {
    Deliver(std::move(envelope).value());
    // Nothing more can come now that says what was read.
    if (writable_wanted_ && begun_ && !credit_.given()) core_loop_->AtTurnEnd(this);
    return;
  }
  error_.kind = envelope->kind;
  error_.payload = std::move(envelope->payload);
}

Status ClientStreamImpl::TakeMarks(const Envelope& envelope) {
  if (envelope.has_resume && envelope.resume.size() > route::kResumeTokenBytesMax) {
    return Internal("a resume token of the stream is too large");
  }
  if (sent_.kept() && envelope.consumed > sent_.consumed()) {
    if (!sent_.Consumed(envelope.consumed)) {
      return Internal("the other side says that it has read what was not sent");
    }
    if (writable_wanted_) core_loop_->AtTurnEnd(this);
  }
  if (envelope.has_resume) point_.token.assign(envelope.resume.view());
  if (!envelope.bookkeeping() && !IsError(envelope.kind)) ++point_.received;
  return Status::Ok();
}

void ClientStreamImpl::OnMoved(const Envelope& envelope) {
  credit_.Skipped();
  if (!begun_) {
    return Cancel(Unavailable("the stream's resource has moved to another instance"));
  }
  if (!sent_.kept()) {
    return Cancel(Unavailable("the stream's resource has moved to another instance, and more was "
                              "written while nothing was read than is kept to be sent again"));
  }
  const StatusOr<route::Moved> moved = route::ParseMoved(envelope.payload);
  if (!moved.ok()) return Cancel(Internal("a message of the stream is broken: " +
                                          moved.status().message()));
  if (moved->consumed < sent_.consumed()) {
    return Cancel(Internal("the other side says that it has read less than it said before"));
  }
  if (!sent_.Consumed(moved->consumed)) {
    return Cancel(Internal("the other side says that it has read what was not sent"));
  }
  moved_ = ran_ = true;
  attempts_.MovedTo(moved->shard, moved->owner);
}

void ClientStreamImpl::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  attempts_.Ended(end);
  if (!failed_.has_value()) {
    std::optional<int64_t> next_ns;
    if (std::exchange(moved_, false)) {
      // All of it has come, however the connection ended behind it.
      resumed_ = true;
      next_ns = core_loop_->now_ns();
    } else if (!end.status.ok() && sent_.kept() && !begun_) {
      next_ns = attempts_.NextAt(end);
    }
    if (next_ns.has_value()) {
      begun_ = false;
      phase_ = Phase::kWaiting;
      core_loop_->Arm(this, *next_ns);
      return;
    }
  }
  Outcome outcome{.status = end.status, .trailing = end.trailers};
  if (end.status.ok()) {
    if (error_.kind != Kind::kNone) {
      outcome.status = Status(LEVER_METHOD_ERROR, "");
      outcome.kind = error_.kind;
      outcome.payload = std::move(error_.payload);
    }
    outcome.status = std::move(outcome.status).WithExecuted(LEVER_EXECUTED_YES);
  } else if (ran_ && outcome.status.executed() == LEVER_EXECUTED_NO) {
    outcome.status = std::move(outcome.status).WithExecuted(ExecutedSoFar());
  }
  Complete(std::move(outcome));
}

// ---- The end ----

void ClientStreamImpl::Cancel(const Status& status) {
  if (failed_.has_value() || phase_ == Phase::kEnded) return;
  failed_ = status;
  if (call_ != nullptr) return call_->Cancel(status);
  phase_ = Phase::kEnding;
  core_loop_->Arm(this, core_loop_->now_ns());
}

void ClientStreamImpl::Abandon() { Cancel(Cancelled("the client was closed")); }

lever_executed ClientStreamImpl::ExecutedSoFar() const {
  return ran_ ? LEVER_EXECUTED_UNKNOWN : attempts_.ExecutedSoFar();
}

void ClientStreamImpl::OnTimer() {
  if (phase_ == Phase::kWaiting) return StartAttempt();
  Complete({.status = std::move(*failed_).WithExecuted(ExecutedSoFar())});
}

void ClientStreamImpl::Complete(Outcome outcome) {
  phase_ = Phase::kEnded;
  client_->Remove(this);
  if (begun_ || resumed_) outcome.resume = &point_;
  handler_->OnEnd(*this, std::move(outcome));
  delete this;
}

}  // namespace lever::client
