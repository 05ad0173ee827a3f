// The server's part of a call: reading the request's headers, sending headers and status.
#include <optional>
#include <string>

#include "liblever/rpc/call_impl.h"
#include "liblever/rpc/grpc_status.h"
#include "liblever/rpc/grpc_timeout.h"
#include "liblever/rpc/metadata.h"

namespace lever::rpc {
namespace {

void AddResponseHeaders(HeaderList* headers) {
  headers->Add(":status", "200");
  headers->Add("content-type", "application/grpc");
}

}  // namespace

void SendTrailersOnly(Stream& stream, const Status& status) {
  HeaderList headers;
  AddResponseHeaders(&headers);
  if (status.code() == LEVER_UNIMPLEMENTED) {
    headers.Add(kAcceptEncodingHeader, kAcceptedEncodings);
  }
  AppendStatus(status, Replied::kNo, &headers);
  stream.SendHeaders(headers, Stream::End::kYes);
}

StatusOr<CallImpl*> CallImpl::Accept(Loop* loop, Stream& stream, CallOwner* owner,
                                     std::shared_ptr<void> tag) {
  CallImpl* call = FromPool(loop, Role::kServer, nullptr, owner);
  call->phase_ = Phase::kOpen;
  call->stream_ = &stream;
  call->tag_ = std::move(tag);
  Status read = call->ReadRequest();
  if (!read.ok()) {
    call->stream_ = nullptr;
    call->Recycle();
    return read;
  }
  stream.set_handler(call);
  if (call->deadline_ns_ != kNever) loop->Arm(call, call->deadline_ns_);
  return call;
}

Status CallImpl::ReadRequest() {
  const HeaderList& headers = stream_->headers();
  path_ = headers.Find(":path").value_or("");
  if (const auto encoding = headers.Find(kEncodingHeader); encoding.has_value()) {
    const std::optional<Compression> known = CompressionFromName(*encoding);
    if (!known) {
      return Unimplemented("compression by " + std::string(*encoding) +
                           " is not supported: use one of " + std::string(kAcceptedEncodings));
    }
    SetPeerCompression(*known);
  }
  if (const auto timeout = headers.Find(kTimeoutHeader); timeout.has_value()) {
    const std::optional<int64_t> timeout_ns = ParseGrpcTimeout(*timeout);
    if (!timeout_ns) return Internal("invalid grpc-timeout '" + std::string(*timeout) + "'");
    // A turn's clock may lag behind; the call began when its headers were read.
    deadline_ns_ = DeadlineAfter(loop_->clock().NowNs(), *timeout_ns);
  }
  return ReadMetadata(headers, &headers_);
}

void CallImpl::set_compression(Compression compression) {
  if (Client() || headers_sent_ || stream_ == nullptr) return;
  const auto accepted = stream_->headers().Find(kAcceptEncodingHeader);
  compression_ = Accepts(accepted.value_or(""), compression) ? compression : Compression::kIdentity;
}

void CallImpl::AddResponseEncodings() {
  if (compression_ != Compression::kIdentity) {
    outgoing_.Add(kEncodingHeader, CompressionName(compression_));
  }
  // Who uses compression is told what else it may use; others have no need to know.
  if (peer_compression_ != Compression::kIdentity) {
    outgoing_.Add(kAcceptEncodingHeader, kAcceptedEncodings);
  }
}

void CallImpl::SendHeaders(const HeaderList* metadata) {
  if (Client() || headers_sent_ || phase_ != Phase::kOpen) return;
  headers_sent_ = true;
  AddResponseHeaders(&outgoing_);
  AddResponseEncodings();
  if (metadata != nullptr) AppendMetadata(*metadata, &outgoing_);
  stream_->SendHeaders(outgoing_);
  outgoing_.Clear();
}

void CallImpl::SendStatus(const Status& status, const HeaderList* trailers) {
  if (!headers_sent_) AddResponseHeaders(&outgoing_);
  AppendStatus(status, wrote_message_ ? Replied::kYes : Replied::kNo, &outgoing_);
  if (trailers != nullptr) AppendMetadata(*trailers, &outgoing_);
  if (headers_sent_) {
    stream_->EndWithTrailers(outgoing_);
  } else {
    stream_->SendHeaders(outgoing_, Stream::End::kYes);
  }
  outgoing_.Clear();
}

void CallImpl::Finish(const Status& status, const HeaderList* trailers) {
  if (Client() || phase_ != Phase::kOpen) return;
  SendStatus(status, trailers);
  phase_ = Phase::kFinishing;
  end_ = status;
}

Status CallImpl::ServerStatusOfClose(const StreamClose& close) {
  if (phase_ == Phase::kEnding) return std::move(end_);
  if (!close.connection_status.ok()) {
    return Cancelled("the client's connection ended: " + close.connection_status.message());
  }
  // The client has got all of it.
  if (phase_ == Phase::kFinishing && close.error_code == kHttp2NoError) return std::move(end_);
  return Cancelled("the client cancelled the call");
}

}  // namespace lever::rpc
