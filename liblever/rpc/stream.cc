#include <cassert>

#include "liblever/rpc/connection.h"
#include "liblever/rpc/session.h"

namespace lever::rpc {

void Stream::SendHeaders(const HeaderList& headers, End end) {
  if (closing_) return;
  assert(!headers_submitted_ && "the headers of a response are sent once");
  session_->SubmitResponse(this, headers, end);
  connection_->MarkDirty();
}

void Stream::Write(Slice data) {
  if (closing_) return;
  assert(!local_ended_ && "nothing follows the end of our side");
  session_->Queue(this, std::move(data));
  session_->Resume(this);
  connection_->MarkDirty();
}

void Stream::Write(SliceList&& data) {
  if (closing_) return;
  assert(!local_ended_ && "nothing follows the end of our side");
  for (Slice& slice : data) session_->Queue(this, std::move(slice));
  session_->Resume(this);
  connection_->MarkDirty();
}

void Stream::DropQueued() {
  if (!closing_) session_->DropQueued(this);
}

void Stream::EndWithTrailers(const HeaderList& trailers) {
  if (closing_ || local_ended_) return;
  if (!trailers.empty()) {
    send_trailers_ = trailers;
    has_send_trailers_ = true;
  }
  EndWrite();
}

void Stream::EndWrite() {
  if (closing_ || local_ended_) return;
  local_ended_ = true;
  progress_ns_ = connection_->loop().now_ns();
  session_->Resume(this);
  connection_->MarkDirty();
}

void Stream::Reset(uint32_t error_code) {
  if (closing_) {
    // The end is recorded already; what came before it is not wanted any more.
    muted_ = true;
    return;
  }
  session_->Reset(this, error_code);
  connection_->MarkDirty();
}

bool Stream::SetKept(size_t bytes) { return closing_ || session_->SetKept(this, bytes); }

void Stream::Consume(size_t bytes) {
  if (closing_) return;
  session_->Consume(this, bytes);
  connection_->MarkDirty();
}

void Stream::Clear() {
  assert(!live_hook_.is_linked() && !place_hook_.is_linked() && !unflushed_hook_.is_linked());
  handler_ = nullptr;
  id_ = 0;
  remote_ended_ = local_ended_ = muted_ = told_ = was_full_ = false;
  announced_ = headers_submitted_ = final_headers_ = remote_end_received_ = false;
  has_send_trailers_ = deferred_ = closing_ = false;
  close_ = StreamClose();
  headers_position_ = kNotWritten;
  quantum_used_ = 0;
  progress_ns_ = 0;
  unread_ = kept_ = 0;
  queue_.Clear();
  headers_.Recycle();
  trailers_.Recycle();
  send_headers_.Recycle();
  send_trailers_.Recycle();
}

}  // namespace lever::rpc
