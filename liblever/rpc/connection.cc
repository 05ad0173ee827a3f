#include "liblever/rpc/connection.h"

#include <cassert>
#include <cerrno>

#include "liblever/rpc/byte_stream.h"
#include "liblever/rpc/counters.h"
#include "liblever/rpc/session.h"

namespace lever::rpc {
namespace {

constexpr uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
// After these there is more to learn than what a short read says: the end, or an error.
constexpr uint32_t kEndEvents = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kBrokenEvents = EPOLLHUP | EPOLLERR;
// EPOLLHUP and EPOLLERR are always reported. EPOLLOUT only while the output is blocked: a unix socket
// would report it each time that its peer has read, and wake its owner for nothing once a call.
constexpr uint32_t kInterest = EPOLLIN | EPOLLRDHUP;

}  // namespace

// ---- Life ----

StatusOr<std::unique_ptr<Connection>> Connection::Open(Loop* loop, UniqueFd socket,
                                                       const ConnectionOptions& options,
                                                       ConnectionHandler* handler,
                                                       std::span<const uint8_t> already_read) {
  return Over(loop, SocketStream(std::move(socket)), options, handler, already_read);
}

StatusOr<std::unique_ptr<Connection>> Connection::Over(Loop* loop,
                                                       std::unique_ptr<ByteStream> socket,
                                                       const ConnectionOptions& options,
                                                       ConnectionHandler* handler,
                                                       std::span<const uint8_t> already_read) {
  std::unique_ptr<Connection> connection(new Connection(loop, std::move(socket), options, handler));
  LEVER_ASSIGN_OR_RETURN(connection->session_,
                         Session::Open(connection.get(), options, loop->now_ns()));
  Count(LocalCounters().connections_opened);
  LEVER_RETURN_IF_ERROR(
      loop->Watch(connection->socket_->fd(), connection->interest_, connection.get()));
  loop->Arm(&connection->live_timer_, DeadlineAfter(loop->now_ns(), kPrefaceTimeoutNs));
  connection->MarkDirty();
  if (!already_read.empty()) connection->Receive(Slice::Copy(already_read));
  if (connection->InputWaits()) loop->MarkReady(connection.get(), EPOLLIN);
  return connection;
}

Connection::Connection(Loop* loop, std::unique_ptr<ByteStream> socket,
                       const ConnectionOptions& options, ConnectionHandler* handler)
    : loop_(loop),
      socket_(std::move(socket)),
      handler_(handler),
      role_(options.role),
      keepalive_time_ns_(options.keepalive_time_ns),
      keepalive_timeout_ns_(options.keepalive_timeout_ns),
      idle_timeout_ns_(options.role == Role::kServer ? options.idle_timeout_ns : -1),
      peer_(PeerName(socket_->fd())),
      interest_(kInterest),
      last_receive_ns_(loop->now_ns()),
      turned_ns_(loop->now_ns()) {}

Connection::~Connection() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  if (phase_ == Phase::kClosed || session_ == nullptr) return;
  loop_->Unwatch(this);
  loop_->Disarm(&live_timer_);
  loop_->Disarm(&end_timer_);
  phase_ = Phase::kClosed;
  session_->CloseAll(kHttp2Cancel, Cancelled("the connection was destroyed"));
  while (Stream* stream = session_->AnyLive()) {
    // In the one that is being told right now, this connection is destroyed.
    if (!stream->told_ && stream->handler_ != nullptr) {
      stream->told_ = true;
      stream->handler_->OnClosed(*stream, stream->close_);
    }
    session_->Recycle(stream);
  }
  PublishCounters();
  Count(LocalCounters().connections_closed);
}

Stream* Connection::NewStream(StreamHandler* handler) {
  assert(role_ == Role::kClient);
  if (!TakesStreams()) return nullptr;
  if (session_->IdsUsedUp()) {
    BeginDraining();
    return nullptr;
  }
  ++open_streams_;
  OnBusy();
  MarkDirty();
  return session_->NewStream(handler);
}

void Connection::LaunchStream(Stream* stream, Stream::End end) { session_->Launch(stream, end); }

bool Connection::encrypted() const { return socket_ != nullptr && socket_->encrypted(); }
bool Connection::Full() const { return open_streams_ >= session_->peer_streams_max(); }

// ---- The end ----

void Connection::BeginDraining() {
  if (draining_) return;
  draining_ = true;
  session_->Record(SessionEvent::Kind::kDraining);
  MarkDirty();
}

void Connection::Drain() {
  if (phase_ != Phase::kOpen || drain_asked_) return;
  drain_asked_ = true;
  BeginDraining();
  if (role_ == Role::kClient) return;
  session_->SubmitShutdownNotice();
  loop_->Arm(&end_timer_, DeadlineAfter(loop_->now_ns(), kGoawayPingTimeoutNs));
}

// The second GOAWAY: what the peer had sent when it learnt of the first has come by now.
void Connection::FinalGoaway() {
  if (phase_ != Phase::kOpen || final_goaway_ || !drain_asked_) return;
  final_goaway_ = true;
  loop_->Disarm(&end_timer_);
  session_->SubmitFinalGoaway();
  MarkDirty();
}

void Connection::Close(const Status& status) {
  if (Ending()) return;
  if (phase_ == Phase::kOpen && !session_->Ended()) {
    // As good as it goes: the peer is told if its socket takes the frame.
    session_->Terminate(input_failure_.ok() ? kHttp2NoError : kHttp2ProtocolError);
    if (session_->Collect().ok()) WriteOut();
  }
  EndAs(status);
}

// Records the end of all streams, then the connection's.
void Connection::EndAs(const Status& status) {
  phase_ = Phase::kClosing;
  close_status_ = status;
  session_->CloseAll(kHttp2Cancel, status);
  session_->Record(SessionEvent::Kind::kConnectionClosed);
  MarkDirty();
}

void Connection::FinishClose() {
  loop_->Unwatch(this);
  loop_->Disarm(&live_timer_);
  loop_->Disarm(&end_timer_);
  PublishCounters();
  Count(LocalCounters().connections_closed);
  socket_.reset();
  phase_ = Phase::kClosed;
  handler_->OnClosed(*this, close_status_);
}

// Whether both sides have said all there is, and what follows from it.
void Connection::CheckEnded() {
  if (phase_ == Phase::kOpen && drain_asked_ && role_ == Role::kClient && open_streams_ == 0) {
    Close(Status::Ok());
    return;
  }
  if (phase_ == Phase::kOpen && session_->Ended()) {
    const Status failure = session_->failure();
    if (!failure.ok()) {
      LogCutOff(failure.message());
      EndAs(failure);
      return;
    }
    phase_ = Phase::kLingering;
    loop_->Arm(&end_timer_, DeadlineAfter(loop_->now_ns(), kLingerTimeoutNs));
    // A client has nothing to wait for: its last word, if any, is of no weight.
    if (role_ == Role::kClient) EndAs(Status::Ok());
  }
  if (phase_ == Phase::kLingering && !shut_down_ && session_->out().bytes() == 0) {
    // Closing with input unread would make the kernel throw away what the peer has not read yet.
    shut_down_ = socket_->ShutdownWrite();
    if (!shut_down_) output_blocked_ = true;
  }
}

void Connection::OnEndTimer() {
  if (phase_ == Phase::kLingering) {
    EndAs(Status::Ok());
  } else {
    FinalGoaway();
  }
}

// ---- In ----

uint32_t Connection::OnReady(uint32_t events) {
  if (phase_ == Phase::kClosing) {
    ends_left_ = kStreamEndsPerTurn;
    MarkDirty();
    return 0;
  }
  if ((events & EPOLLOUT) != 0) {
    output_blocked_ = output_error_ != 0;
    MarkDirty();
  }
  events &= kReadEvents;
  // A pause ends when the output has drained, or cannot drain any more.
  if (input_paused_ && (events & kBrokenEvents) == 0) return 0;
  return events == 0 ? 0 : ReadSome(events);
}

uint32_t Connection::ReadSome(uint32_t events) {
  session_->GrantWork();
  if (!unread_.empty()) {
    Receive(std::exchange(unread_, Slice()));
    if (!Dispatch()) return 0;
  }
  Buffer* buffer = Buffer::New(kReceiveBufferBytes);
  size_t used = 0;
  uint32_t left = Ending() ? 0 : events;
  for (size_t read = 0; left != 0 && unread_.empty() && read < kReadBytesPerTurn;) {
    if (buffer->Unique()) used = 0;
    if (buffer->capacity() - used < kReceiveRoomMin) {
      buffer->Unref();
      buffer = Buffer::New(kReceiveBufferBytes);
      used = 0;
    }
    const std::span<uint8_t> room(buffer->data() + used, buffer->capacity() - used);
    const IoResult result = socket_->Read(room);
    if (result.bytes == 0) {
      left = 0;
      OnInputEnd(result.error);
      break;
    }
    used += result.bytes;
    read += result.bytes;
    buffer->Ref();
    Receive(Slice(room.data(), result.bytes, buffer));
    if (!Dispatch()) {
      buffer->Unref();
      return 0;
    }
    if (result.drained && (events & kEndEvents) == 0 && output_error_ == 0) left = 0;
    if (Ending()) left = 0;
  }
  buffer->Unref();
  if (phase_ != Phase::kClosed) MarkDirty();
  return unread_.empty() || Ending() ? left : left | EPOLLIN;
}

bool Connection::InputWaits() const { return !unread_.empty() || socket_->HasBufferedInput(); }

// What the turn's work does not reach is kept for the next one.
void Connection::Receive(Slice bytes) {
  // A connection that lingers only waits for the end.
  if (phase_ != Phase::kOpen) return;
  last_receive_ns_ = loop_->now_ns();
  size_t taken = 0;
  const Status status = session_->Receive(bytes.span(), bytes.owner(), last_receive_ns_, &taken);
  if (status.ok() && taken < bytes.size()) {
    bytes.RemovePrefix(taken);
    unread_ = std::move(bytes);
  }
  if (!status.ok()) input_failure_ = status;
  if (ready_) LookAtInput();
}

// Reading gave nothing: for now (EAGAIN), because the peer has closed its side (0), or it failed.
void Connection::OnInputEnd(int error) {
  if (error == EAGAIN) {
    if (output_error_ == 0) return;
    error = output_error_;
  }
  if (phase_ == Phase::kLingering || (open_streams_ == 0 && draining_)) {
    EndAs(Status::Ok());
    return;
  }
  std::string text = "the peer closed the connection";
  if (error != 0) {
    const std::string trouble = socket_->trouble();
    text = "the connection to the peer broke";
    text = trouble.empty() ? ErrnoStatus(error, text).message() : text + ": " + trouble;
  }
  const std::string& complaint = session_->peer_complaint();
  if (!complaint.empty()) text.append(" after GOAWAY with ").append(complaint);
  EndAs(Unavailable(std::move(text)));
}

// ---- Out ----

void Connection::OnTurnEnd() {
  if (phase_ == Phase::kClosed || !Dispatch()) return;
  for (size_t round = 0; round < kWriteRoundsPerTurn && phase_ != Phase::kClosed; ++round) {
    if (phase_ == Phase::kOpen) {
      const Status status = session_->Collect();
      if (!status.ok()) EndAs(status);
    }
    WriteOut();
    CheckEnded();
    const bool room_again = session_->paused() && !output_blocked_;
    if ((!session_->has_events() || EndsWait()) && !room_again) {
      // What was marked since the turn's end began has been taken along.
      if (TurnEnd::is_linked()) TurnEnd::unlink();
      break;
    }
    if (!Dispatch()) return;
  }
  if (phase_ == Phase::kClosed) return;
  session_->EndTurn();
  UpdateInterest();
  PublishCounters();
  if (phase_ == Phase::kOpen && session_->paused() && !output_blocked_) {
    loop_->MarkReady(this, EPOLLOUT);
  }
}

void Connection::WriteOut() {
  if (phase_ != Phase::kOpen && phase_ != Phase::kLingering) return;
  OutQueue& out = session_->out();
  iovec pieces[kWritePiecesMax];
  while (out.bytes() > 0 && !output_blocked_) {
    const size_t count = out.Gather(pieces);
    const IoResult result = socket_->Write(std::span<const iovec>(pieces, count));
    if (result.bytes > 0) {
      out.Written(result.bytes);
      output_waits_ns_ = kNever;
      if (phase_ == Phase::kLingering) {
        loop_->Arm(&end_timer_, DeadlineAfter(loop_->now_ns(), kLingerTimeoutNs));
      }
      continue;
    }
    output_blocked_ = true;
    if (result.error == EAGAIN) {
      if (output_waits_ns_ == kNever) output_waits_ns_ = loop_->now_ns();
      if (ready_) LookBy(DeadlineAfter(output_waits_ns_, kOutputTimeoutNs));
      return;
    }
    // The peer may have answered before it went: its last words are read first.
    output_error_ = result.error;
    loop_->MarkReady(this, EPOLLIN | EPOLLHUP);
  }
}

// Stops reading from a peer that does not read us, and goes on when it does; asks for EPOLLOUT while
// there is something that the socket did not take.
void Connection::UpdateInterest() {
  if (phase_ != Phase::kOpen && phase_ != Phase::kLingering) return;
  const bool stalled = session_->out().bytes() > kConnectionOutBytesStalled;
  if (stalled && !input_paused_) Count(LocalCounters().limit_output_stalled);
  input_paused_ = stalled;
  const uint32_t wanted =
      (stalled ? 0 : kInterest) | (stalled || output_blocked_ ? uint32_t{EPOLLOUT} : 0);
  if (wanted == interest_) return;
  interest_ = wanted;
  const Status status = loop_->Rewatch(this, wanted);
  if (!stalled && InputWaits()) loop_->MarkReady(this, EPOLLIN);
  if (!status.ok()) EndAs(status);
}

void Connection::PublishCounters() {
  CounterBlock& counters = LocalCounters();
  Session::Sums& sums = session_->sums();
  const uint64_t sent = session_->out().written() - published_bytes_;
  published_bytes_ += sent;
  if (sent != 0) Count(counters.bytes_sent, sent);
  const auto add = [](std::atomic<uint64_t>& counter, uint64_t sum) {
    if (sum != 0) Count(counter, sum);
  };
  add(counters.bytes_received, sums.bytes_received);
  add(counters.streams_opened, sums.streams_opened);
  add(counters.streams_closed, sums.streams_closed);
  add(counters.resets_received, sums.resets_received);
  add(counters.resets_sent, sums.resets_sent);
  add(counters.goaways_sent, sums.goaways_sent);
  sums = Session::Sums();
  session_->PublishHeld();
}

// ---- Events ----

bool Connection::Dispatch() {
  // A handler may have asked the loop to flush; the events are the outer call's.
  if (dispatching_) return true;
  if (!session_->has_events() && input_failure_.ok()) return true;
  bool destroyed = false;
  destroyed_ = &destroyed;
  dispatching_ = true;
  SessionEvent event;
  for (;;) {
    while (!EndsWait() && session_->NextEvent(&event)) {
      DispatchOne(&event);
      if (destroyed) return false;
    }
    // All at once they would hold up the others of the loop.
    if (EndsWait() && session_->has_events()) loop_->MarkReady(this, EPOLLIN);
    if (input_failure_.ok() || phase_ != Phase::kOpen) break;
    // What came before the peer's mistake is delivered by now.
    Close(input_failure_);
  }
  event.data = Slice();
  dispatching_ = false;
  destroyed_ = nullptr;
  return true;
}

void Connection::DispatchOne(SessionEvent* event) {
  using Kind = SessionEvent::Kind;
  Stream* stream = event->stream;
  if (stream != nullptr && event->kind != Kind::kStreamClosed) {
    DispatchToStream(stream, event);
    return;
  }
  switch (event->kind) {
    case Kind::kStreamClosed:
      DispatchClosed(stream);
      return;
    case Kind::kReady:
      ready_ = true;
      loop_->Disarm(&live_timer_);
      open_streams_ > 0 ? OnBusy() : OnIdle();
      LookAtInput();
      if (peer_.empty()) peer_ = PeerName(socket_->fd());
      handler_->OnReady(*this);
      return;
    case Kind::kGoaway:
      session_->CloseWaiting();
      BeginDraining();
      return;
    case Kind::kDrainPong:
      FinalGoaway();
      return;
    case Kind::kDraining:
      handler_->OnDraining(*this);
      return;
    default:
      assert(event->kind == Kind::kConnectionClosed);
      FinishClose();
      return;
  }
}

void Connection::DispatchToStream(Stream* stream, SessionEvent* event) {
  using Kind = SessionEvent::Kind;
  if (event->kind == Kind::kRequest) {
    OnBusy();
    // It ended before its user heard of it: he has nothing to begin.
    if (stream->closing_) return;
    bool* const destroyed = destroyed_;
    handler_->OnRequest(*stream);
    if (!*destroyed && stream->handler_ == nullptr) stream->Reset(kHttp2InternalError);
    return;
  }
  if (event->kind == Kind::kRemoteEnd) stream->remote_ended_ = true;
  if (stream->muted_ || stream->handler_ == nullptr) return;
  switch (event->kind) {
    case Kind::kHeaders:
      stream->handler_->OnHeaders(*stream);
      return;
    case Kind::kData:
      stream->handler_->OnData(*stream, std::move(event->data));
      return;
    case Kind::kRemoteEnd:
      stream->handler_->OnRemoteEnd(*stream);
      return;
    default:
      assert(event->kind == Kind::kWritable);
      stream->handler_->OnWritable(*stream);
      return;
  }
}

void Connection::DispatchClosed(Stream* stream) {
  if (phase_ == Phase::kClosing) --ends_left_;
  if (--open_streams_ == 0) OnIdle();
  ++session_->sums().streams_closed;
  // The last one may have kept a draining connection open.
  MarkDirty();
  stream->told_ = true;
  const StreamClose close = std::move(stream->close_);
  bool* const destroyed = destroyed_;
  if (stream->handler_ != nullptr) stream->handler_->OnClosed(*stream, close);
  if (!*destroyed) session_->Recycle(stream);
}

}  // namespace lever::rpc
