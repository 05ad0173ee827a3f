#include "liblever/service/incoming_call.h"

#include <cassert>
#include <utility>

#include "liblever/route/stream_core.h"
#include "liblever/route/user_headers.h"
#include "liblever/service/resources.h"

namespace lever::service {

using route::Envelope;

void IncomingCallImpl::Accept(rpc::Call& call, const RequestInfo& info) {
  assert(phase_ == Phase::kFree);
  phase_ = Phase::kReceiving;
  call_ = &call;
  info_ = info;
  caller_.assign(info.caller);
  info_.caller = caller_;
  resource_name.swap(info_.resource);
  shard = info_.shard.shard;
  generation = info_.shard.generation;
  began_ns_ = service_->loop()->now_ns();
  service_->CallBegan(this, *this);
  call.set_handler(this);
  call.set_message_bytes_max(service_->message_bytes_max());
  call.Read(1);
}

void IncomingCallImpl::OnMessage(rpc::Call& call, SliceList message) {
  StatusOr<Envelope> envelope =
      route::OpenMessage(std::move(message), route::Framing::kEnvelope);
  Status refused = envelope.ok() ? route::CheckArguments(*envelope) : envelope.status();
  if (!refused.ok()) return Refuse(refused);
  kind_ = envelope->kind;
  payload_ = std::move(envelope->payload);
  route::AddUserHeaders(call.headers(), &metadata_);
  if (!OfAResource()) return Offer();
  phase_ = Phase::kWaiting;
  waiting_bytes = TotalSize(payload_) + metadata_.AccountedBytes() + resource_name.size();
  service_->ownership()->Admit(this);
}

void IncomingCallImpl::Offer() {
  phase_ = Phase::kOffered;
  service_->handler()->OnIncomingCall(*service_, *this);
}

OfResource IncomingCallImpl::of() const {
  if (resource == nullptr) return {};
  return {resource->id, shard, generation};
}

void IncomingCallImpl::OnPeerEnd(rpc::Call& call) {
  if (phase_ == Phase::kReceiving) {
    Refuse(InvalidArgument("a unary call has one message, the arguments"));
  }
}

void IncomingCallImpl::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  if (phase_ < Phase::kOffered) return Done();
  // A caller that gives up does so at the deadline, and may be heard a little before it is reached
  // here.
  if (info_.deadline_ns != kNever &&
      service_->loop()->now_ns() >= info_.deadline_ns - kDeadlineSlackNs) {
    service_->Ended(Ending::kError);
  }
  service_->handler()->OnCancelled(*service_, *this);
}

bool IncomingCallImpl::Begin() {
  assert(phase_ == Phase::kOffered);
  Status refused = call_ != nullptr ? service_->MayBegin(info_.deadline_ns)
                                    : Cancelled("the caller is gone");
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
  phase_ = Phase::kBegun;
  return true;
}

void IncomingCallImpl::SetBegun() {
  assert(phase_ == Phase::kOffered);
  phase_ = Phase::kBegun;
}

Status IncomingCallImpl::Reply(Kind kind, SliceList payload, const rpc::HeaderList* trailing) {
  assert(phase_ == Phase::kBegun || phase_ == Phase::kOffered);
  LEVER_RETURN_IF_ERROR(route::CheckOutgoing(kind, payload));
  if (call_ != nullptr && OfAResource() && !service_->ownership()->MayReply(*this)) {
    Finish(Unavailable("the instance's grant of the resource ended before its method did")
               .WithExecuted(LEVER_EXECUTED_UNKNOWN),
           nullptr);
  }
  if (call_ != nullptr) {
    service_->Ended(route::IsError(kind) ? Ending::kError : Ending::kDone);
    call_->Write(route::WriteEnvelope(kind, std::move(payload)));
    if (trailing != nullptr && !trailing->empty()) {
      rpc::HeaderList trailers;
      route::AddUserHeaders(*trailing, &trailers);
      Finish(Status::Ok(), &trailers);
    } else {
      Finish(Status::Ok(), nullptr);
    }
  }
  Done();
  return Status::Ok();
}

void IncomingCallImpl::Fail(const Status& status) {
  if (phase_ == Phase::kOffered) return Refuse(status);
  if (call_ != nullptr) service_->Ended(Ending::kError);
  Finish(status.WithExecuted(LEVER_EXECUTED_UNKNOWN), nullptr);
  Done();
}

// User code has not begun, and will not.
void IncomingCallImpl::Refuse(const Status& status, const rpc::HeaderList* trailers) {
  Finish(status.WithExecuted(LEVER_EXECUTED_NO), trailers);
  Done();
}

void IncomingCallImpl::RefuseUnrun(const Status& status, const rpc::HeaderList* trailers) {
  Refuse(status, trailers);
}

void IncomingCallImpl::MoveAway(const Status& status, const rpc::HeaderList* trailers) {
  if (phase_ != Phase::kOffered || call_ == nullptr || service_->handler()->HasBegun(*this)) return;
  Finish(status.WithExecuted(LEVER_EXECUTED_NO), trailers);
  service_->handler()->OnCancelled(*service_, *this);
}

// The transport's last word; it goes on by itself from here.
void IncomingCallImpl::Finish(const Status& status, const rpc::HeaderList* trailers) {
  rpc::Call* call = std::exchange(call_, nullptr);
  if (call == nullptr) return;
  call->set_handler(nullptr);
  call->Finish(status, trailers);
}

std::string IncomingCallImpl::Describe() const {
  return DescribeRequest(info_, service_->loop()->now_ns() - began_ns_);
}

void IncomingCallImpl::Abandon(const Status& status) {
  const bool open = call_ != nullptr;
  const bool begun = phase_ == Phase::kBegun || (phase_ == Phase::kOffered && open &&
                                                 service_->handler()->HasBegun(*this));
  Finish(status.WithExecuted(begun ? LEVER_EXECUTED_UNKNOWN : LEVER_EXECUTED_NO), nullptr);
  if (phase_ < Phase::kOffered) return Done();
  if (open) service_->handler()->OnCancelled(*service_, *this);
}

// The handle is over.
void IncomingCallImpl::Done() {
  assert(call_ == nullptr);
  if (OfAResource()) service_->ownership()->Ended(this);
  service_->CallEnded(this, *this, service_->loop()->now_ns() - began_ns_);
  resource_name.clear();
  phase_ = Phase::kFree;
  info_ = RequestInfo();
  kind_ = Kind::kNone;
  payload_.clear();
  if (metadata_.AccountedBytes() > kKeptMetadataBytesMax) {
    metadata_ = rpc::HeaderList();
  } else {
    metadata_.Clear();
  }
  user = nullptr;
  service_->Recycle(this);
}

}  // namespace lever::service
