#include "liblever/client/client_stream.h"

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
  // A pass-through stream begins with nothing unless it was given a message.
  if (!attempts_.bare() || request.kind != Kind::kNone) {
    SliceList message = Pack(request.kind, std::move(request.payload));
    replay_bytes_ = TotalSize(message);
    replay_.push_back(std::move(message));
  }
  StartAttempt();
}

void ClientStreamImpl::StartAttempt() {
  phase_ = Phase::kRunning;
  credit_.Restart();
  call_ = attempts_.Start(route::kStreamPath, credit_.Take(), this);
  for (const SliceList& message : replay_) call_->Write(message);
  if (replay_bytes_ > kReplayBytesMax) ForgetReplay();
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
  if (replayable_) {
    replay_bytes_ += TotalSize(message);
    replay_.push_back(message);
  }
  if (call_ == nullptr) return;  // the next attempt writes it
  call_->Write(std::move(message));
  if (replay_bytes_ > kReplayBytesMax) ForgetReplay();
}

void ClientStreamImpl::ForgetReplay() {
  replayable_ = false;
  replay_.clear();
  replay_.shrink_to_fit();
  replay_bytes_ = 0;
}

size_t ClientStreamImpl::queued_bytes() const {
  return call_ != nullptr ? call_->queued_bytes() : replay_bytes_;
}

void ClientStreamImpl::CloseSend() {
  if (std::exchange(send_closed_, true)) return;
  if (call_ != nullptr) call_->CloseSend();
}

// ---- What comes back ----

void ClientStreamImpl::OnHeaders(rpc::Call& call) { ForgetReplay(); }

void ClientStreamImpl::OnMessage(rpc::Call& call, SliceList message) {
  ForgetReplay();
  if (!Delivering()) return;
  StatusOr<Envelope> envelope = route::OpenMessage(std::move(message), framing_);
  if (!envelope.ok()) {
    return Cancel(Internal("a message of the stream is broken: " + envelope.status().message()));
  }
  if (envelope->moved) {
    return Cancel(Unavailable("the stream's resource has moved to another instance"));
  }
  if (error_.kind != Kind::kNone) {
    return Cancel(Internal("a message came after the method's error"));
  }
  if (!IsError(envelope->kind)) return Deliver(std::move(envelope).value());
  error_.kind = envelope->kind;
  error_.payload = std::move(envelope->payload);
}

void ClientStreamImpl::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  attempts_.Ended(end);
  if (!end.status.ok() && !failed_.has_value() && replayable_) {
    if (const std::optional<int64_t> next_ns = attempts_.NextAt(end); next_ns.has_value()) {
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

void ClientStreamImpl::OnTimer() {
  if (phase_ == Phase::kWaiting) return StartAttempt();
  Complete({.status = std::move(*failed_).WithExecuted(attempts_.ExecutedSoFar())});
}

void ClientStreamImpl::Complete(Outcome outcome) {
  phase_ = Phase::kEnded;
  client_->Remove(this);
  handler_->OnEnd(*this, std::move(outcome));
  delete this;
}

}  // namespace lever::client
