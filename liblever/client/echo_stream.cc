#include "liblever/client/echo_stream.h"

namespace lever::client {

EchoStream::EchoStream(ClientImpl* client, const Request& request, StreamHandler* handler)
    : client_(client), handler_(handler) {
  credit_.Add(request.read_messages, request.read_bytes);
}

Status EchoStream::Write(Kind kind, SliceList payload) {
  if (send_closed_) return FailedPrecondition("nothing can be written after close_send");
  if (IsError(kind)) return InvalidArgument("a caller's message is not an error");
  LEVER_RETURN_IF_ERROR(route::CheckOutgoing(kind, payload));
  if (cancelled_.has_value()) return Status::Ok();
  queued_bytes_ += TotalSize(payload);
  queue_.emplace_back(kind, std::move(payload));
  Soon();
  return Status::Ok();
}

void EchoStream::WantWritable() {
  writable_wanted_ = true;
  Soon();
}

void EchoStream::Read(uint64_t messages, uint64_t bytes) {
  credit_.Add(messages, bytes);
  Soon();
}

void EchoStream::CloseSend() {
  send_closed_ = true;
  Soon();
}

void EchoStream::Cancel(const Status& status) {
  if (cancelled_.has_value() || ended_) return;
  cancelled_ = status;
  Soon();
}

void EchoStream::Soon() {
  if (!ended_) client_->loop()->Arm(this, client_->loop()->now_ns());
}

void EchoStream::OnTimer() {
  for (int i = 0; i < kMessagesPerTurn && !queue_.empty() && !cancelled_.has_value(); ++i) {
    granted_ += credit_.Take();
    if (granted_ == 0) break;
    --granted_;
    auto [kind, payload] = std::move(queue_.front());
    queue_.pop_front();
    const size_t bytes = TotalSize(payload);
    queued_bytes_ -= bytes;
    credit_.Delivered(bytes);
    handler_->OnMessage(*this, kind, std::move(payload));
  }
  if (cancelled_.has_value()) return Complete(*std::move(cancelled_));
  if (queue_.empty() && send_closed_) return Complete(Status::Ok());
  if (writable_wanted_ && queued_bytes_ < rpc::kStreamQueuedBytesLow) {
    writable_wanted_ = false;
    handler_->OnWritable(*this);
  }
  granted_ += credit_.Take();
  if (!queue_.empty() && granted_ > 0) Soon();
}

void EchoStream::Complete(Status status) {
  ended_ = true;
  const lever_executed executed = status.ok() ? LEVER_EXECUTED_YES : LEVER_EXECUTED_UNKNOWN;
  client_->Remove(this);
  handler_->OnEnd(*this, {.status = std::move(status).WithExecuted(executed)});
  delete this;
}

}  // namespace lever::client
