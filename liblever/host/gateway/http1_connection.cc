#include "liblever/host/gateway/http1_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <utility>

#include "liblever/host/gateway/http_api.h"
#include "liblever/host/gateway/http_limits.h"
#include "liblever/host/gateway/http_reply.h"
#include "liblever/host/gateway/http_request.h"
#include "liblever/rpc/counters.h"
#include "liblever/rpc/limits.h"

namespace lever::gateway {
namespace {

constexpr uint32_t kInterest = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
constexpr uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kBrokenEvents = EPOLLHUP | EPOLLERR;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
// Bodies below this are copied between the lines that frame a chunk.
constexpr size_t kCopyBytesMax = rpc::kShareBytesMin;

// A peer that vanished is found out by the kernel. Fails on a unix socket, which needs none of it.
void SetKeepalive(int socket) {
  const int on = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepaliveIdleSeconds, sizeof(int));
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepaliveIntervalSeconds, sizeof(int));
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &kKeepaliveProbes, sizeof(int));
}

}  // namespace

Http1Connection::Http1Connection(HttpApi* api, std::unique_ptr<rpc::ByteStream> socket,
                                 const HttpPeer& peer)
    : api_(api),
      loop_(api->loop()),
      socket_(std::move(socket)),
      peer_(peer),
      parser_(std::make_unique<Http1Parser>()) {}

Http1Connection::~Http1Connection() {
  if (phase_ == Phase::kClosed) return;
  loop_->Disarm(this);
  loop_->Unwatch(this);
}

Status Http1Connection::Start(std::span<const uint8_t> already_read) {
  SetKeepalive(socket_->fd());
  input_.assign(reinterpret_cast<const char*>(already_read.data()), already_read.size());
  loop_->Arm(this, DeadlineAfter(loop_->now_ns(), kHttp1HeadTimeoutNs));
  LEVER_RETURN_IF_ERROR(loop_->Watch(socket_->fd(), kInterest, this));
  if (!input_.empty()) MarkDirty();
  if (socket_->HasBufferedInput()) loop_->MarkReady(this, EPOLLIN);
  return Status::Ok();
}

void Http1Connection::MarkDirty() {
  if (phase_ != Phase::kClosed) loop_->AtTurnEnd(this);
}

// ---- In ----

void Http1Connection::Take(size_t bytes) {
  taken_ += bytes;
  if (taken_ == input_.size()) {
    input_.clear();
    taken_ = 0;
    // An idle connection keeps no buffer.
    if (input_.capacity() > kHttp1ReadBytes) input_.shrink_to_fit();
  } else if (taken_ >= kHttp1ReadBytes) {
    input_.erase(0, taken_);
    taken_ = 0;
  }
  if (input_waits_ && HasRoom()) {
    input_waits_ = false;
    loop_->MarkReady(this, EPOLLIN);
  }
}

bool Http1Connection::HasRoom() const { return input_.size() - taken_ < kHttp1InputBytesMax; }

uint32_t Http1Connection::OnReady(uint32_t events) {
  if (phase_ == Phase::kClosed) return 0;
  if ((events & EPOLLOUT) != 0) {
    blocked_ = false;
    MarkDirty();
  }
  events &= kReadEvents;
  return events == 0 ? 0 : ReadSome(events);
}

uint32_t Http1Connection::ReadSome(uint32_t events) {
  thread_local std::array<uint8_t, kHttp1ReadBytes> buffer;
  uint32_t left = events;
  bool ended = false;
  for (size_t read = 0; left != 0 && read < kHttp1ReadBytesPerTurn;) {
    const bool throws_away = phase_ == Phase::kFlushing || phase_ == Phase::kLingering;
    if (!throws_away && !HasRoom()) {
      // Who is in the middle of a request and has closed is gone, whatever is still to be read.
      const bool gone = (events & kBrokenEvents) != 0 ||
                        ((events & EPOLLRDHUP) != 0 && phase_ == Phase::kServing);
      if (gone) Gone();
      input_waits_ = !gone;
      return 0;
    }
    const rpc::IoResult result = socket_->Read(buffer);
    if (result.bytes == 0) {
      ended = result.error != EAGAIN;
      left = 0;
      break;
    }
    read += result.bytes;
    if (!throws_away) input_.append(reinterpret_cast<const char*>(buffer.data()), result.bytes);
    Process();
    if (phase_ == Phase::kClosed) return 0;
    if (result.drained && (events & (kBrokenEvents | EPOLLRDHUP)) == 0) left = 0;
  }
  if (ended) {
    input_ended_ = true;
    OnInputEnd();
  }
  if (phase_ == Phase::kClosed) return 0;
  MarkDirty();
  return left;
}

void Http1Connection::Process() {
  if (std::exchange(processing_, true)) return;
  for (size_t requests = 0;;) {
    if (phase_ == Phase::kHead) {
      if (requests == kHttp1RequestsPerTurn) {
        loop_->MarkReady(this, EPOLLIN);
        break;
      }
      ++requests;
      if (!ProcessHead()) break;
    } else if (phase_ == Phase::kServing || phase_ == Phase::kDiscarding) {
      if (!ProcessBody()) break;
    } else {
      Take(input_.size() - taken_);
      break;
    }
  }
  processing_ = false;
}

bool Http1Connection::ProcessHead() {
  waits_for_room_ = out_.bytes() >= rpc::kStreamQueuedBytesLow;
  starved_ = !waits_for_room_ && Input().empty();
  if (waits_for_room_ || starved_) return false;
  const bool begins = !parser_->begun();
  const Http1Parser::Result result = parser_->Next(Input());
  Take(result.taken);
  switch (result.step) {
    case Http1Parser::Step::kNeedMore:
      starved_ = true;
      if (begins && parser_->begun()) {
        loop_->Arm(this, DeadlineAfter(loop_->now_ns(), kHttp1HeadTimeoutNs));
      }
      return false;
    case Http1Parser::Step::kHead: BeginRequest(); return true;
    default: Refuse(parser_->error_http_status(), parser_->error()); return false;
  }
}

void Http1Connection::BeginRequest() {
  loop_->Disarm(this);
  phase_ = Phase::kServing;
  keep_alive_ = parser_->keep_alive();
  handler_ = nullptr;
  unconsumed_ = discarded_ = 0;
  body_ended_ = head_sent_ = chunked_ = reply_ended_ = wants_continue_ = false;
  const auto expect = parser_->head().Find("expect");
  if (expect && !parser_->http_1_0()) {
    if (::strcasecmp(std::string(*expect).c_str(), "100-continue") != 0) {
      handler_ = IgnoreBody();
      keep_alive_ = false;
      SendError(*this, 417,
                InvalidArgument("the only expectation that is met is 100-continue")
                    .WithExecuted(LEVER_EXECUTED_NO),
                rpc::HeaderList());
      return;
    }
    wants_continue_ = parser_->has_body() && Input().empty();
  }
  api_->Serve(*this, peer_);
  assert(handler_ != nullptr);
  if (wants_continue_ && !head_sent_) {
    wants_continue_ = false;
    Queue(Slice::Static(kContinue));
  }
}

bool Http1Connection::ProcessBody() {
  if (reply_ended_ && phase_ == Phase::kServing) {
    EndExchange();
    return true;
  }
  if (body_ended_) {
    if (!reply_ended_) return false;
    NextRequest();
    return true;
  }
  if (phase_ == Phase::kServing && unconsumed_ >= kHttpWindowBytes) return false;
  const Http1Parser::Result result = parser_->Next(Input());
  const std::string_view piece = parser_->body();
  switch (result.step) {
    case Http1Parser::Step::kNeedMore: Take(result.taken); return false;
    case Http1Parser::Step::kBody:
      if (phase_ == Phase::kServing) {
        unconsumed_ += piece.size();
        handler_->OnBody(piece);
      } else {
        discarded_ += piece.size();
        if (discarded_ > kHttp1DiscardBytesMax) BeginFlushing();
      }
      Take(result.taken);
      return true;
    case Http1Parser::Step::kEnd:
      Take(result.taken);
      body_ended_ = true;
      if (phase_ == Phase::kServing) handler_->OnBodyEnd();
      return true;
    default: FailBody(); return false;
  }
}

// A body that makes no sense: where it ends is not known, so nothing can follow it.
void Http1Connection::FailBody() {
  const Status status = parser_->error();
  keep_alive_ = false;
  if (handler_ != nullptr) std::exchange(handler_, nullptr)->OnClosed();
  if (head_sent_) {
    BeginFlushing();
  } else {
    Refuse(parser_->error_http_status(), status.WithExecuted(LEVER_EXECUTED_UNKNOWN));
  }
}

// The reply is complete: its handler is done with it.
void Http1Connection::EndExchange() {
  phase_ = Phase::kDiscarding;
  // Without a body left the next request's own timer follows.
  if (!body_ended_) loop_->Arm(this, DeadlineAfter(loop_->now_ns(), kHttp1HeadTimeoutNs));
  std::exchange(handler_, nullptr)->OnClosed();
  // A client that waits to be told to send its body may never send it.
  if (!body_ended_ && !keep_alive_) BeginFlushing();
}

void Http1Connection::NextRequest() {
  if (!keep_alive_ || api_->draining()) {
    BeginFlushing();
    return;
  }
  phase_ = Phase::kHead;
  starved_ = false;
  parser_->Reset();
  loop_->Arm(this, DeadlineAfter(loop_->now_ns(), kHttp1IdleTimeoutNs));
}

void Http1Connection::OnInputEnd() {
  switch (phase_) {
    case Phase::kServing: Gone(); return;
    case Phase::kHead:
      // What was sent before the end is answered still.
      if (starved_) BeginFlushing();
      return;
    case Phase::kDiscarding: BeginFlushing(); return;
    case Phase::kFlushing:
    case Phase::kClosed: return;
    case Phase::kLingering: Gone(); return;
  }
}

// Answers what cannot be served at all, and ends the connection.
void Http1Connection::Refuse(int http_status, const Status& status) {
  handler_ = IgnoreBody();
  keep_alive_ = head_sent_ = chunked_ = reply_ended_ = false;
  SendError(*this, http_status, status, rpc::HeaderList());
  handler_ = nullptr;
  BeginFlushing();
}

// ---- Out ----

void Http1Connection::SendHead(const HttpHead& head) {
  assert(!head_sent_);
  head_sent_ = true;
  const bool may_chunk = !parser_->http_1_0();
  chunked_ = !head.content_length && head.status != 204 && may_chunk;
  if (!head.content_length && head.status != 204 && !may_chunk) keep_alive_ = false;
  if (api_->draining()) keep_alive_ = false;
  // A body that is not to be read: unsent because nobody told the client to, or too long.
  const bool too_long = ContentLength(parser_->head()).value_or(0) > kHttp1DiscardBytesMax;
  if (!body_ended_ && (wants_continue_ || too_long)) keep_alive_ = false;
  thread_local std::string text;  // for its memory
  text.assign("HTTP/1.1 ");
  text.append(std::to_string(head.status)).append(" ").append(HttpReason(head.status));
  const auto add = [&](std::string_view name, std::string_view value) {
    text.append("\r\n").append(name).append(": ").append(value);
  };
  add("date", HttpDate());
  for (size_t i = 0; i < head.fields.size(); ++i) add(head.fields[i].name, head.fields[i].value);
  if (head.content_length) add("content-length", std::to_string(*head.content_length));
  if (chunked_) add("transfer-encoding", "chunked");
  if (!keep_alive_) {
    add("connection", "close");
  } else if (parser_->http_1_0()) {
    add("connection", "keep-alive");
  }
  text.append("\r\n\r\n");
  Queue(Slice::Copy(text));
}

void Http1Connection::Write(Slice data) {
  if (data.empty()) return;
  if (!chunked_) {
    Queue(std::move(data));
    return;
  }
  std::array<char, 20> digits;
  char* end = std::to_chars(digits.data(), digits.data() + digits.size() - 2, data.size(), 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  const std::string_view size(digits.data(), static_cast<size_t>(end - digits.data()));
  if (data.size() < kCopyBytesMax) {
    std::string chunk(size);
    chunk.append(data.view()).append("\r\n");
    Queue(Slice::Copy(chunk));
    return;
  }
  Queue(Slice::Copy(size));
  Queue(std::move(data));
  Queue(Slice::Static("\r\n"));
}

void Http1Connection::End() {
  if (chunked_) Queue(Slice::Static("0\r\n\r\n"));
  reply_ended_ = true;
  MarkDirty();
}

bool Http1Connection::Writable() const { return out_.bytes() < rpc::kStreamQueuedBytesMax; }

void Http1Connection::Consume(size_t bytes) {
  unconsumed_ -= bytes;
  MarkDirty();
}

void Http1Connection::Queue(Slice data) {
  if (out_.empty()) progress_ns_ = loop_->now_ns();
  out_.Push(std::move(data));
  if (!Writable()) was_full_ = true;
  MarkDirty();
}

void Http1Connection::OnTurnEnd() {
  if (phase_ == Phase::kClosed) return;
  // What is written makes room, and room lets handlers and the pipeline write more.
  for (size_t round = 0; round < rpc::kWriteRoundsPerTurn; ++round) {
    Process();
    if (input_ended_ && phase_ != Phase::kFlushing) OnInputEnd();
    if (phase_ != Phase::kClosed) Flush();
    if (phase_ == Phase::kClosed) return;
    if (out_.bytes() >= rpc::kStreamQueuedBytesLow) break;
    const bool was_full = std::exchange(was_full_, false);
    if (was_full && handler_ != nullptr && !reply_ended_) handler_->OnWritable();
    if (!was_full && !(phase_ == Phase::kHead && waits_for_room_)) break;
    // In the next turn, if this one has done enough.
    if (round + 1 == rpc::kWriteRoundsPerTurn) loop_->MarkReady(this, EPOLLOUT);
  }
  out_.Compact();
  EndIfFlushed();
}

void Http1Connection::Flush() {
  while (!out_.empty() && !blocked_) {
    std::array<iovec, rpc::kWritePiecesMax> pieces;
    size_t count = 0;
    for (const Slice& slice : out_.slices()) {
      if (count == pieces.size()) break;
      pieces[count++] = {const_cast<uint8_t*>(slice.data()), slice.size()};
    }
    const rpc::IoResult result = socket_->Write(std::span(pieces).first(count));
    if (result.bytes == 0) {
      blocked_ = true;
      if (result.error != EAGAIN) Gone();
      return;
    }
    progress_ns_ = loop_->now_ns();
    for (size_t left = result.bytes; left > 0;) {
      const size_t part = std::min(left, out_.front().size());
      out_.RemoveFront(part);
      left -= part;
    }
  }
}

// ---- The end ----

void Http1Connection::BeginFlushing() {
  phase_ = Phase::kFlushing;
  loop_->Arm(this, DeadlineAfter(loop_->now_ns(), kHttp1StalledTimeoutNs));
  MarkDirty();
}

void Http1Connection::EndIfFlushed() {
  if (phase_ != Phase::kFlushing || !out_.empty()) return;
  if (input_ended_) {
    Gone();
    return;
  }
  if (!socket_->ShutdownWrite()) {
    blocked_ = true;
    return;
  }
  phase_ = Phase::kLingering;
  loop_->Arm(this, DeadlineAfter(loop_->now_ns(), kHttp1LingerTimeoutNs));
  // What waits in the kernel is thrown away, too.
  loop_->MarkReady(this, EPOLLIN);
}

void Http1Connection::OnTimer() {
  const bool unread = !out_.empty();
  const int64_t stalled_ns = DeadlineAfter(progress_ns_, kHttp1StalledTimeoutNs);
  if (unread && phase_ != Phase::kLingering && loop_->now_ns() < stalled_ns) {
    loop_->Arm(this, stalled_ns);
    return;
  }
  if (phase_ != Phase::kHead || unread) {
    if (unread) rpc::Count(rpc::LocalCounters().limit_output_time);
    Gone();
  } else if (parser_->begun()) {
    rpc::Count(rpc::LocalCounters().limit_http_head_time);
    Refuse(408, DeadlineExceeded("the request's head did not come in time")
                    .WithExecuted(LEVER_EXECUTED_NO));
  } else {
    rpc::Count(rpc::LocalCounters().limit_idle_time);
    BeginFlushing();
  }
}

void Http1Connection::Drain() {
  if (phase_ == Phase::kHead && !parser_->begun()) BeginFlushing();
}

void Http1Connection::Gone() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  loop_->Disarm(this);
  loop_->Unwatch(this);
  if (TurnEnd::is_linked()) TurnEnd::unlink();
  socket_.reset();
  out_.Clear();
  if (handler_ != nullptr) std::exchange(handler_, nullptr)->OnClosed();
  api_->OnConnectionClosed(this);
}

}  // namespace lever::gateway
