// What both roles share: the pool, reading by credit, writing, the end. The client's and the
// server's own parts are in call_client.cc and call_server.cc.
#include "liblever/rpc/call.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include "liblever/rpc/call_impl.h"

namespace lever::rpc {
namespace {

class IgnoringHandler final : public StreamHandler {
 public:
  void OnData(Stream& stream, Slice data) override {}
  void OnRemoteEnd(Stream& stream) override {}
  void OnClosed(Stream& stream, const StreamClose& close) override {}
};

}  // namespace

StreamHandler* IgnoreStream() {
  static IgnoringHandler handler;
  return &handler;
}

// ---- The pool ----

// The ended calls of one thread.
class CallPool {
 public:
  ~CallPool() {
    ended_ = true;
    while (first_ != nullptr) delete std::exchange(first_, first_->next_free_);
  }

  static CallImpl* Take() {
    CallPool& pool = pool_;
    if (pool.first_ == nullptr) return new CallImpl;
    --pool.size_;
    return std::exchange(pool.first_, std::exchange(pool.first_->next_free_, nullptr));
  }

  static void Put(CallImpl* call) {
    // A call may end while the thread's own variables are destroyed.
    if (ended_ || pool_.size_ == kPooledCallsMax) {
      delete call;
      return;
    }
    call->next_free_ = pool_.first_;
    pool_.first_ = call;
    ++pool_.size_;
  }

 private:
  CallImpl* first_ = nullptr;
  size_t size_ = 0;

  static thread_local bool ended_;
  static thread_local CallPool pool_;
};

thread_local bool CallPool::ended_ = false;
thread_local CallPool CallPool::pool_;

CallImpl* CallImpl::FromPool(Loop* loop, Role role, CallHandler* handler, CallOwner* owner) {
  CallImpl* call = CallPool::Take();
  assert(call->phase_ == Phase::kFree && call->stream_ == nullptr);
  call->loop_ = loop;
  call->role_ = role;
  call->handler_ = handler;
  call->owner_ = owner;
  return call;
}

void CallImpl::Recycle() {
  assert(stream_ == nullptr && !delivering_);
  loop_->Disarm(this);
  if (TurnEnd::is_linked()) TurnEnd::unlink();
  if (CallHook::is_linked()) CallHook::unlink();
  phase_ = Phase::kFree;
  deliver_due_ = kept_noted_ = headers_held_ = headers_sent_ = send_closed_ = wrote_message_ = false;
  writable_owed_ = message_delivered_ = never_written_ = peer_ended_ = peer_end_told_ = false;
  compression_ = peer_compression_ = Compression::kIdentity;
  handler_ = nullptr;
  owner_ = nullptr;
  tag_.reset();
  deadline_ns_ = kNever;
  credit_ = 0;
  end_ = Status::Ok();
  reader_.Reset(kMessageBytesMax);
  path_.clear();
  headers_.Recycle();
  trailers_.Recycle();
  outgoing_.Recycle();
  waiting_.clear();
  waiting_bytes_ = 0;
  CallPool::Put(this);
}

// ---- Reading ----

void CallImpl::Read(uint64_t messages) {
  credit_ += std::min(messages, std::numeric_limits<uint64_t>::max() - credit_);
  if (phase_ != Phase::kOpen || delivering_ || reader_.Empty()) return;
  deliver_due_ = true;
  loop_->AtTurnEnd(this);
}

void CallImpl::OnData(Stream& stream, Slice data) {
  if (headers_held_) {
    headers_held_ = false;
    ShowHeaders();
  }
  // Also what comes after Finish() or Cancel(): the window is not given back, so it is little.
  if (phase_ != Phase::kOpen) return;
  reader_.Append(std::move(data));
  Deliver();
}

void CallImpl::Deliver() {
  delivering_ = true;
  deliver_due_ = false;
  Status broken;
  while (phase_ == Phase::kOpen && credit_ > 0) {
    SliceList message;
    StatusOr<bool> whole = reader_.Next(&message);
    const size_t consumed = reader_.TakeConsumed();
    if (stream_ != nullptr && consumed > 0) stream_->Consume(consumed);
    if (!whole.ok()) broken = std::move(whole).status();
    if (!broken.ok() || !*whole) break;
    if (reader_.compressed()) {
      StatusOr<SliceList> inflated = InflateGzip(message, reader_.message_bytes_max());
      if (!inflated.ok()) {
        broken = std::move(inflated).status();
        break;
      }
      message = std::move(inflated).value();
    }
    --credit_;
    message_delivered_ = true;
    if (handler_ != nullptr) handler_->OnMessage(*this, std::move(message));
  }
  delivering_ = false;
  if (phase_ != Phase::kOpen) return;
  if (!broken.ok()) return Fail(std::move(broken));
  AfterDelivery();
}

void CallImpl::AfterDelivery() {
  if (!reader_.Empty() || kept_noted_) loop_->AtTurnEnd(this);
  if (!peer_ended_ || reader_.HasWholeMessage()) return;
  if (Client()) {
    if (!reader_.Empty() && end_.ok()) {
      end_ = Internal("the reply ended in the middle of a message");
    }
    return End(std::move(end_));
  }
  if (peer_end_told_) return;
  if (!reader_.Empty()) return Fail(Internal("the request ended in the middle of a message"));
  peer_end_told_ = true;
  if (handler_ != nullptr) handler_->OnPeerEnd(*this);
}

void CallImpl::OnTurnEnd() {
  if (phase_ == Phase::kEnding) {
    if (stream_ == nullptr) End(std::move(end_));
    return;
  }
  if (phase_ != Phase::kOpen) return;
  // Delivering marks the call again if something is left.
  if (deliver_due_) return Deliver();
  reader_.Compact();
  NoteKept();
}

// What is assembled was given back to the window, and is held for the peer all the same.
void CallImpl::NoteKept() {
  if (stream_ == nullptr) return;
  const size_t kept = reader_.assembled_bytes();
  kept_noted_ = kept > 0;
  if (stream_->SetKept(kept)) return;
  Fail(ResourceExhausted("too much is held for this connection already"));
}

void CallImpl::SetPeerCompression(Compression compression) {
  if (compression == Compression::kIdentity) return;
  peer_compression_ = compression;
  reader_.AllowCompressed();
}

// ---- Writing ----

Compression CallImpl::CompressMessage(SliceList* message) const {
  SliceList compressed = DeflateGzip(*message);
  if (TotalSize(compressed) >= TotalSize(*message)) return Compression::kIdentity;
  *message = std::move(compressed);
  return compression_;
}

void CallImpl::Write(SliceList&& message, Compress compress) {
  const bool open = phase_ == Phase::kOpen && stream_ != nullptr;
  if (send_closed_ || !(open || phase_ == Phase::kWaiting)) return;
  Compression as = Compression::kIdentity;
  if (compression_ != as && compress == Compress::kAsTheCall) as = CompressMessage(&message);
  const size_t bytes = TotalSize(message);
  if (bytes > UINT32_MAX) {
    return Cancel(ResourceExhausted("a message of " + std::to_string(bytes) +
                                    " bytes does not fit into gRPC's 32 bits"));
  }
  Slice prefix = prefixes_.Prefix(bytes, as);
  wrote_message_ = true;
  if (!open) {
    waiting_.push_back(std::move(prefix));
    for (Slice& slice : message) waiting_.push_back(std::move(slice));
    waiting_bytes_ += kGrpcPrefixBytes + bytes;
  } else {
    if (!Client() && !headers_sent_) SendHeaders(nullptr);
    if (stream_->queued_bytes() == 0) run_bytes_ = 0;
    run_bytes_ += kGrpcPrefixBytes + bytes;
    stream_->Write(std::move(prefix));
    if (bytes > 0) stream_->Write(std::move(message));
  }
  if (queued_bytes() >= kStreamQueuedBytesMax) writable_owed_ = true;
}

size_t CallImpl::queued_bytes() const {
  return stream_ != nullptr ? stream_->queued_bytes() : waiting_bytes_;
}

void CallImpl::WantWritable() {
  writable_owed_ = true;
  if (stream_ != nullptr) stream_->WantWritable();
}

void CallImpl::OnWritable(Stream& stream) {
  writable_owed_ = false;
  if (phase_ == Phase::kOpen && handler_ != nullptr) handler_->OnWritable(*this);
}

// ---- The end ----

void CallImpl::LeaveStream() {
  if (stream_ == nullptr) return;
  stream_->set_handler(IgnoreStream());
  stream_ = nullptr;
}

void CallImpl::Cancel(const Status& status) {
  if (phase_ == Phase::kWaiting) return EndLater(status);
  if (phase_ != Phase::kOpen && phase_ != Phase::kFinishing) return;
  if (stream_ == nullptr) return EndLater(status);
  if (Client()) {
    // The stream's close says whether anything of the call was written.
    stream_->Reset(kHttp2Cancel);
    phase_ = Phase::kEnding;
    end_ = status;
    return;
  }
  const size_t queued_bytes = stream_->queued_bytes();
  if (phase_ == Phase::kOpen && (queued_bytes == 0 || queued_bytes == run_bytes_)) {
    // The peer has whole messages only: it can be told why no more come.
    stream_->DropQueued();
    SendStatus(status, nullptr);
  } else {
    stream_->Reset(kHttp2Cancel);
  }
  LeaveStream();
  EndLater(status);
}

void CallImpl::Fail(Status status) {
  const bool untouched = !Client() && !message_delivered_ && !headers_sent_;
  Cancel(untouched ? std::move(status).WithExecuted(LEVER_EXECUTED_NO) : status);
}

void CallImpl::EndLater(Status status) {
  if (phase_ == Phase::kEnding || phase_ == Phase::kEnded) return;
  never_written_ = Client() && phase_ == Phase::kWaiting;
  end_ = std::move(status);
  phase_ = Phase::kEnding;
  loop_->AtTurnEnd(this);
}

void CallImpl::EndWithConnection(const Status& status) {
  if (phase_ == Phase::kEnding || phase_ == Phase::kEnded) return;
  if (stream_ == nullptr) return EndLater(status);
  phase_ = Phase::kEnding;
  end_ = status;
}

void CallImpl::EndWithoutStream(const Status& status) {
  LeaveStream();
  if (phase_ == Phase::kEnding) return loop_->AtTurnEnd(this);
  EndLater(status);
}

void CallImpl::End(Status status) {
  assert(phase_ != Phase::kEnded && phase_ != Phase::kFree);
  assert(stream_ == nullptr && !delivering_);
  phase_ = Phase::kEnded;
  if (never_written_ && !status.ok()) status = std::move(status).WithExecuted(LEVER_EXECUTED_NO);
  if (Client() && message_delivered_ && status.executed() == LEVER_EXECUTED_NO) {
    status = std::move(status).WithExecuted(LEVER_EXECUTED_UNKNOWN);
  }
  const CallEnd end{.status = std::move(status),
                    .trailers = trailers_.empty() ? nullptr : &trailers_,
                    .replied = Client() && message_delivered_,
                    .never_written = never_written_};
  if (handler_ != nullptr) handler_->OnEnd(*this, end);
  if (owner_ != nullptr) {
    CallHook::unlink();
    owner_->OnCallGone();
  }
  Recycle();
}

// ---- Call ----

Call* Call::Start(Connection* connection, const CallOptions& options, CallHandler* handler) {
  CallOptions with_scheme = options;
  if (connection->encrypted()) with_scheme.scheme = "https";
  CallImpl* call = CallImpl::NewClient(&connection->loop(), with_scheme, handler, nullptr);
  if (call->waiting() && !call->Attach(connection)) {
    call->Discard();
    return nullptr;
  }
  return call;
}

const HeaderList& Call::headers() const { return CallImpl::From(*this).headers(); }
std::string_view Call::path() const { return CallImpl::From(*this).path(); }
int64_t Call::deadline_ns() const { return CallImpl::From(*this).call_deadline_ns(); }
void Call::set_handler(CallHandler* handler) { CallImpl::From(*this).set_handler(handler); }
void Call::set_message_bytes_max(size_t bytes) {
  CallImpl::From(*this).set_message_bytes_max(bytes);
}
void Call::Read(uint64_t messages) { CallImpl::From(*this).Read(messages); }
void Call::SendHeaders(const HeaderList* metadata) { CallImpl::From(*this).SendHeaders(metadata); }
void Call::Write(SliceList message, Compress compress) {
  CallImpl::From(*this).Write(std::move(message), compress);
}
Compression Call::peer_compression() const { return CallImpl::From(*this).peer_compression(); }
bool Call::message_was_compressed() const {
  return CallImpl::From(*this).message_was_compressed();
}
void Call::set_compression(Compression compression) {
  CallImpl::From(*this).set_compression(compression);
}
size_t Call::queued_bytes() const { return CallImpl::From(*this).queued_bytes(); }
void Call::WantWritable() { CallImpl::From(*this).WantWritable(); }
bool Call::Writable() const { return queued_bytes() < kStreamQueuedBytesMax; }
void Call::CloseSend() { CallImpl::From(*this).CloseSend(); }
void Call::Cancel(const Status& status) { CallImpl::From(*this).Cancel(status); }
void Call::Finish(const Status& status, const HeaderList* trailers) {
  CallImpl::From(*this).Finish(status, trailers);
}

}  // namespace lever::rpc
