#include "liblever/service/incoming_stream.h"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

#include "liblever/route/user_headers.h"
#include "liblever/service/resources.h"

namespace lever::service {

using route::Envelope;

namespace {

const rpc::HeaderList& ResumableHeaders() {
  static const rpc::HeaderList headers = [] {
    rpc::HeaderList list;
    list.Add(route::kResumeHeader, route::kResumeYes);
    return list;
  }();
  return headers;
}

}  // namespace

IncomingStreamImpl::IncomingStreamImpl(ServiceImpl* service)
    : StreamCore(service->loop(), route::Framing::kEnvelope), service_(service) {}

void IncomingStreamImpl::Accept(rpc::Call& call, const RequestInfo& info) {
  call_ = &call;
  info_ = info;
  caller_.assign(info.caller);
  info_.caller = caller_;
  resource_name.swap(info_.resource);
  shard = info_.shard.shard;
  generation = info_.shard.generation;
  resumable_ = OfAResource() && service_->ownership()->resumes() &&
               call.headers().Find(route::kResumeHeader) == route::kResumeYes;
  began_ns_ = core_loop_->now_ns();
  service_->StreamBegan(this, *this);
  call.set_handler(this);
  call.set_message_bytes_max(service_->message_bytes_max());
  call.Read(1);
}

// ---- What comes in ----

Status IncomingStreamImpl::TakeResumption(const Envelope& envelope) {
  if (!resumable_) return Unimplemented("streams of this resource cannot be resumed");
  LEVER_RETURN_IF_ERROR(route::CheckResumeToken(envelope.resume.view()));
  if (std::max(envelope.received, envelope.consumed) > kMessageNumberMax) {
    return InvalidArgument("a stream has no messages of such numbers");
  }
  resumed_ = {std::string(envelope.resume.view()), envelope.received, envelope.consumed};
  consumption_.Begin(envelope.consumed);
  return Status::Ok();
}

void IncomingStreamImpl::OnMessage(rpc::Call& call, SliceList message) {
  StatusOr<Envelope> envelope = route::OpenMessage(std::move(message), framing_);
  if (phase_ == Phase::kBegun) {
    // What the method has not read comes again elsewhere.
    if (cancelled_ || moving_) return;
    if (envelope.ok() && !IsError(envelope->kind) && !envelope->moved) {
      if (resumable_ && !envelope->bookkeeping()) {
        consumption_.Delivered(TotalSize(envelope->payload));
      }
      return Deliver(std::move(envelope).value());
    }
    return Cancel(InvalidArgument(envelope.ok() ? "a caller's message is a value or raw bytes"
                                                : envelope.status().message()));
  }
  // Who waits for its resource is not read from.
  assert(phase_ == Phase::kReceiving);
  Status refused = envelope.ok() ? route::CheckArguments(*envelope) : envelope.status();
  if (refused.ok() && envelope->has_resume) refused = TakeResumption(*envelope);
  if (!refused.ok()) return Refuse(refused);
  kind_ = envelope->kind;
  payload_ = std::move(envelope->payload);
  route::AddUserHeaders(call.headers(), &metadata_);
  if (!OfAResource()) return Offer();
  phase_ = Phase::kWaiting;
  waiting_bytes = TotalSize(payload_) + metadata_.AccountedBytes() + resource_name.size() +
                  envelope->resume.size();
  service_->ownership()->Admit(this);
}

void IncomingStreamImpl::Offer() {
  phase_ = Phase::kOffered;
  service_->handler()->OnIncomingStream(*service_, *this);
}

OfResource IncomingStreamImpl::of() const {
  if (resource == nullptr) return {};
  return {resource->id, shard, generation};
}

void IncomingStreamImpl::OnPeerEnd(rpc::Call& call) {
  if (phase_ == Phase::kReceiving) {
    return Refuse(InvalidArgument("a stream's first message are the arguments"));
  }
  half_closed_ = true;
  TellHalfClosed();
}

void IncomingStreamImpl::TellHalfClosed() {
  if (!half_closed_ || half_closed_told_ || !Delivering() || moving_) return;
  half_closed_told_ = true;
  handler_->OnHalfClosed(*this);
}

void IncomingStreamImpl::OnTurnEnd() {
  TellHalfClosed();
  StreamCore::OnTurnEnd();
}

void IncomingStreamImpl::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  if (phase_ >= Phase::kOffered) {
    const lever_executed executed = end.status.ok() ? LEVER_EXECUTED_YES : LEVER_EXECUTED_UNKNOWN;
    handler_->OnEnd(*this, {.status = end.status.WithExecuted(executed)});
  }
  Done();
}

// ---- What the method does ----

bool IncomingStreamImpl::Begin() {
  assert(phase_ == Phase::kOffered);
  // Who was told that it did not run is not to hear of it again.
  Status refused = cancelled_ ? Cancelled("the stream was given up before the method began")
                              : service_->MayBegin(info_.deadline_ns);
  if (!refused.ok()) {
    Refuse(refused);
    return false;
  }
  if (OfAResource() && !service_->ownership()->MayBegin(*this)) {
    rpc::HeaderList trailers;
    refused = service_->ownership()->Refusal(shard, &trailers);
    Refuse(refused, &trailers);
    return false;
  }
  SetBegun();
  return true;
}

void IncomingStreamImpl::SetBegun() {
  assert(phase_ == Phase::kOffered);
  phase_ = Phase::kBegun;
  if (call_ == nullptr || cancelled_) return;
  // At once, so that the caller knows that it has begun.
  call_->SendHeaders(resumable_ ? &ResumableHeaders() : nullptr);
  if (moving_) return handler_->OnMoving(*this);
  GiveCredit();
  if (half_closed_) core_loop_->AtTurnEnd(this);
}

void IncomingStreamImpl::Read(uint64_t messages, uint64_t bytes) {
  if (resumable_ && window_given_) {
    consumption_.Read(messages);
    ReportConsumed();
  }
  window_given_ |= messages > 0;
  if (!moving_) AddCredit(messages, bytes);
}

// By itself only where nothing is written that could say it. Who does not read is told when there is
// room again: it would pile up.
void IncomingStreamImpl::ReportConsumed() {
  if (!consumption_.Due() || !Delivering() || moving_ || send_closed_ || call_ == nullptr) return;
  if (!call_->Writable()) {
    report_owed_ = true;
    return call_->WantWritable();
  }
  SliceList message;
  message.push_back(route::WriteMarks({.consumed = consumption_.Report()}));
  call_->Write(std::move(message), rpc::Compress::kNo);
}

void IncomingStreamImpl::OnWritable(rpc::Call& call) {
  // Before it, what the program writes may say it.
  StreamCore::OnWritable(call);
  if (std::exchange(report_owed_, false)) ReportConsumed();
}

Status IncomingStreamImpl::Write(Kind kind, SliceList payload) {
  return WriteMessage(kind, std::move(payload), nullptr);
}

Status IncomingStreamImpl::WriteResumable(Kind kind, SliceList payload, std::string_view token) {
  LEVER_RETURN_IF_ERROR(route::CheckResumeToken(token));
  return WriteMessage(kind, std::move(payload), &token);
}

Status IncomingStreamImpl::WriteMessage(Kind kind, SliceList payload,
                                        const std::string_view* token) {
  if (phase_ != Phase::kBegun) return FailedPrecondition("the stream has not begun");
  if (send_closed_) return FailedPrecondition("nothing can be written after the end");
  if (IsError(kind)) return InvalidArgument("the method's own error is told by Fail()");
  LEVER_RETURN_IF_ERROR(route::CheckOutgoing(kind, payload));
  if (!MaySend()) return Status::Ok();
  SliceList message = Pack(kind, std::move(payload));
  if (resumable_ && (token != nullptr || consumption_.News())) {
    route::StreamMarks marks;
    if (token != nullptr) marks.resume = *token;
    if (consumption_.News()) marks.consumed = consumption_.Report();
    message.push_back(route::WriteMarks(marks));
  }
  call_->Write(std::move(message));
  return Status::Ok();
}

Status IncomingStreamImpl::MoveOn(uint64_t unread) {
  if (!moving_ || phase_ != Phase::kBegun) return FailedPrecondition("the stream does not move");
  if (send_closed_) return FailedPrecondition("the stream has been ended already");
  send_closed_ = true;
  if (MaySend()) {
    route::Moved moved = service_->ownership()->NextOwner(shard);
    moved.consumed = consumption_.AllBut(unread);
    call_->Write(route::WriteMoved(moved), rpc::Compress::kNo);
    call_->Finish(Status::Ok());
  }
  // It may be gone when the resource has been closed by this.
  service_->ownership()->Ended(this);
  return Status::Ok();
}

bool IncomingStreamImpl::MaySend() {
  if (call_ == nullptr || cancelled_) return false;
  if (!OfAResource() || service_->ownership()->MayReply(*this)) return true;
  Cancel(Unavailable("the instance's grant of the resource has ended"));
  return false;
}

void IncomingStreamImpl::CloseSend() { EndSend(Ending::kDone); }

void IncomingStreamImpl::EndSend(Ending outcome) {
  if (std::exchange(send_closed_, true)) return;
  if (MaySend()) {
    service_->Ended(outcome);
    call_->Finish(Status::Ok());
  }
  if (moving_ && phase_ == Phase::kBegun) service_->ownership()->Ended(this);
}

Status IncomingStreamImpl::Fail(Kind kind, SliceList payload) {
  if (phase_ != Phase::kBegun) return FailedPrecondition("the stream has not begun");
  if (send_closed_) return FailedPrecondition("the stream has been ended already");
  if (!IsError(kind)) return InvalidArgument("an error is of kind ERROR_VALUE or ERROR_RAW");
  LEVER_RETURN_IF_ERROR(route::CheckOutgoing(kind, payload));
  if (MaySend()) call_->Write(Pack(kind, std::move(payload)));
  EndSend(Ending::kError);
  return Status::Ok();
}

void IncomingStreamImpl::Cancel(const Status& status) {
  if (cancelled_ || call_ == nullptr) return;
  cancelled_ = true;
  const bool begun = phase_ == Phase::kBegun ||
                     (phase_ == Phase::kOffered && service_->handler()->HasBegun(*this));
  call_->Cancel(status.WithExecuted(begun ? LEVER_EXECUTED_UNKNOWN : LEVER_EXECUTED_NO));
}

// ---- The end ----

void IncomingStreamImpl::Refuse(const Status& status, const rpc::HeaderList* trailers) {
  rpc::Call* call = std::exchange(call_, nullptr);
  call->set_handler(nullptr);
  call->Finish(status.WithExecuted(LEVER_EXECUTED_NO), trailers);
  Done();
}

void IncomingStreamImpl::RefuseUnrun(const Status& status, const rpc::HeaderList* trailers) {
  Refuse(status, trailers);
}

void IncomingStreamImpl::MoveAway(const Status& status, const rpc::HeaderList* trailers) {
  if (cancelled_ || call_ == nullptr) return;
  if (phase_ == Phase::kOffered && !service_->handler()->HasBegun(*this)) {
    cancelled_ = true;
    return call_->Finish(status.WithExecuted(LEVER_EXECUTED_NO), trailers);  // OnEnd() follows
  }
  if (resumable_) {
    if (std::exchange(moving_, true)) return;
    // Its method has returned, and only its caller has not read all of it.
    if (send_closed_) return service_->ownership()->Ended(this);
    // Begun on another thread, it is told when that is known here.
    if (phase_ == Phase::kBegun) handler_->OnMoving(*this);
    return;
  }
  Cancel(Unavailable("the stream's resource has moved to another instance"));
}

std::string IncomingStreamImpl::Describe() const {
  return DescribeRequest(info_, core_loop_->now_ns() - began_ns_);
}

void IncomingStreamImpl::Abandon(const Status& status) {
  if (phase_ < Phase::kOffered) return Refuse(status);
  Cancel(status);
}

void IncomingStreamImpl::Done() {
  if (OfAResource()) service_->ownership()->Ended(this);
  service_->StreamEnded(this, *this);
  delete this;
}

}  // namespace lever::service
