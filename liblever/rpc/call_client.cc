// The client's part of a call: the request's headers, and what the reply's headers, trailers and
// close mean.
#include <algorithm>
#include <cassert>

#include "liblever/rpc/call_impl.h"
#include "liblever/rpc/grpc_status.h"
#include "liblever/rpc/grpc_timeout.h"
#include "liblever/rpc/metadata.h"

#ifndef LEVER_VERSION
#error "LEVER_VERSION comes from CMakeLists.txt"
#endif

namespace lever::rpc {

CallImpl* CallImpl::NewClient(Loop* loop, const CallOptions& options, CallHandler* handler,
                              CallOwner* owner) {
  CallImpl* call = FromPool(loop, Role::kClient, handler, owner);
  call->phase_ = Phase::kWaiting;
  call->credit_ = options.initial_credit_messages;
  call->reader_.Reset(options.message_bytes_max);
  call->deadline_ns_ = options.deadline_ns;
  call->BuildRequest(options);
  if (options.deadline_ns <= loop->now_ns()) {
    call->EndLater(DeadlineExceeded("the deadline had passed before the call was sent"));
  } else {
    loop->Arm(call, options.deadline_ns);
  }
  return call;
}

void CallImpl::BuildRequest(const CallOptions& options) {
  path_ = options.path;
  outgoing_.Add(":method", "POST");
  outgoing_.Add(":scheme", options.scheme);
  outgoing_.Add(":path", options.path);
  outgoing_.Add(":authority", options.authority.empty() ? "localhost" : options.authority);
  outgoing_.Add("te", "trailers");
  outgoing_.Add("content-type", "application/grpc");
  if (options.user_agent) outgoing_.Add("user-agent", "lever/" LEVER_VERSION);
  if (options.accept_compressed) outgoing_.Add(kAcceptEncodingHeader, kAcceptedEncodings);
  compression_ = options.compression;
  if (compression_ != Compression::kIdentity) {
    outgoing_.Add(kEncodingHeader, CompressionName(compression_));
  }
  if (options.headers != nullptr) {
    outgoing_.AddFrom(*options.headers, [](std::string_view) { return true; });
  }
  if (options.metadata != nullptr) AppendMetadata(*options.metadata, &outgoing_);
}

bool CallImpl::Attach(Connection* connection) {
  assert(phase_ == Phase::kWaiting);
  const auto fill = [this](HeaderList* headers) {
    *headers = outgoing_;
    if (deadline_ns_ == kNever) return;
    // At least one: what is over is ended by the timer.
    const int64_t left_ns = std::max<int64_t>(deadline_ns_ - loop_->clock().NowNs(), 1);
    headers->Add(kTimeoutHeader, FormatGrpcTimeout(CoarseTimeout(left_ns)));
  };
  stream_ = connection->StartStreamWith(fill, Stream::End::kNo, this);
  if (stream_ == nullptr) return false;
  phase_ = Phase::kOpen;
  outgoing_.Clear();
  if (!waiting_.empty()) stream_->Write(std::move(waiting_));
  waiting_.clear();
  waiting_bytes_ = 0;
  if (writable_owed_) stream_->WantWritable();
  if (send_closed_) stream_->EndWrite();
  return true;
}

void CallImpl::CloseSend() {
  if (!Client() || send_closed_) return;
  send_closed_ = true;
  if (phase_ == Phase::kOpen && stream_ != nullptr) stream_->EndWrite();
}

void CallImpl::OnHeaders(Stream& stream) {
  if (phase_ != Phase::kOpen) return;
  const HeaderList& headers = stream.headers();
  // Headers with a status are the end already, if nothing follows them ("Trailers-Only").
  headers_held_ = headers.Find("grpc-status").has_value();
  const std::string_view content_type = headers.Find("content-type").value_or("");
  if (headers_held_ || ClassifyContentType(content_type) == ContentKind::kGrpc) {
    if (!headers_held_) ShowHeaders();
    return;
  }
  const std::string_view http_status = headers.Find(":status").value_or("");
  std::string message("the response is not gRPC (HTTP status ");
  message.append(http_status).append(", content type '").append(content_type).append("')");
  Fail(Status(CodeFromHttpStatus(http_status), std::move(message)));
}

void CallImpl::ShowHeaders() {
  Status read = ReadMetadata(stream_->headers(), &headers_);
  if (!read.ok()) return Fail(Internal(read.message()));
  // One that we do not know matters only to a message that comes compressed, which fails then.
  const std::string_view encoding = stream_->headers().Find(kEncodingHeader).value_or("");
  SetPeerCompression(CompressionFromName(encoding).value_or(Compression::kIdentity));
  if (handler_ != nullptr) handler_->OnHeaders(*this);
}

void CallImpl::OnRemoteEnd(Stream& stream) {
  if (phase_ != Phase::kOpen) return;
  if (Client()) {
    if (headers_held_ && !stream.trailers().empty()) {
      headers_held_ = false;
      ShowHeaders();
      if (phase_ != Phase::kOpen) return;
    }
    ReadTrailers();
    EndOpenSide();
    LeaveStream();
    // Who waits to write is told that there is room: what the peer did not want is thrown away.
    if (writable_owed_) OnWritable(stream);
    if (phase_ != Phase::kOpen) return;
  }
  peer_ended_ = true;
  AfterDelivery();
}

// Takes status and metadata from what ended the reply. They count once all messages are delivered.
void CallImpl::ReadTrailers() {
  const HeaderList& headers = stream_->headers();
  const HeaderList& trailers = headers_held_ ? headers : stream_->trailers();
  if (trailers.empty()) {
    end_ = Internal("the reply ended without trailers");
    return;
  }
  end_ = ReadStatus(trailers, headers.Find(":status").value_or(""), Replied::kNo);
  const Status read = ReadMetadata(trailers, &trailers_);
  if (!read.ok() && end_.ok()) end_ = Internal(read.message());
}

// The peer wants no more: ends our side where it is open still.
void CallImpl::EndOpenSide() {
  if (stream_->queued_bytes() > 0) {
    stream_->Reset(kHttp2NoError);
  } else if (!send_closed_) {
    stream_->EndWrite();
  }
  send_closed_ = true;
}

Status CallImpl::StatusOfClose(const StreamClose& close) const {
  if (!close.connection_status.ok()) {
    return Unavailable("the connection ended: " + close.connection_status.message());
  }
  if (close.error_code == kHttp2Cancel && deadline_ns_ <= loop_->clock().NowNs()) {
    return DeadlineExceeded("the deadline has passed");
  }
  return StatusFromReset(close.error_code);
}

void CallImpl::OnClosed(Stream& stream, const StreamClose& close) {
  stream_ = nullptr;
  if (!Client()) return End(ServerStatusOfClose(close));
  never_written_ = close.never_written;
  Status status = phase_ == Phase::kEnding ? std::move(end_) : StatusOfClose(close);
  if (close.unprocessed) status = std::move(status).WithExecuted(LEVER_EXECUTED_NO);
  End(std::move(status));
}

void CallImpl::OnTimer() {
  if (phase_ == Phase::kWaiting && owner_ != nullptr) return EndLater(owner_->NoConnection());
  Cancel(DeadlineExceeded("the deadline has passed"));
}

}  // namespace lever::rpc
