// An HTTP/2 connection, either role, and its streams. Knows frames, nothing of gRPC or services.
//
// Threads: all of it belongs to one Loop and is used only by who holds that loop's word.
//
// Invariants
//  1. nghttp2's callbacks only record. Handlers are called after nghttp2 has returned, in the order
//  in
//     which things happened, so that a handler may do anything to any stream or connection.
//  2. What is written in a turn leaves in one writev at the turn's end (Loop::AtTurnEnd).
//  3. Every stream ends with exactly one OnClosed(); the Stream is gone when that returns.
//  4. Every connection ends with exactly one OnClosed(), after all its streams had theirs.
//  5. The connection's receive window is given back on receipt, a stream's only by Consume(): a
//  stream
//     that nobody reads holds at most one window and holds up no other stream.
//  6. No handler is called from inside a function of Stream or Connection, except from
//  ~Connection().
//  7. Streams share the connection fairly: after kStreamQuantumBytes the others get their turn.
//
// Bounds. Queued output is what the streams' users queue, and kConnectionOutBytesMax of frames;
// memory that it pins is in proportion to it, because what stays beyond its turn is compacted. What a
// server's connection and the process hold for their peers is bounded by kConnectionHeldBytesMax and
// kProcessHeldBytesMax: above it a stream that grows is reset with ENHANCE_YOUR_CALM, also from inside
// Write(). A connection whose peer takes nothing reads nothing from kConnectionOutBytesStalled on, and
// ends after kOutputTimeoutNs. Slices that
// OnData() hands out are pieces of a receive buffer: who keeps a small one beyond the turn calls
// Slice::Compact(). A header block beyond the limits is counted while it is decoded and not kept:
// its stream is reset with ENHANCE_YOUR_CALM (a server's handler never hears of it), and the
// connection goes on. A peer that spends more control frames or resets than limits.h grants loses
// its connection.
#ifndef LIBLEVER_RPC_CONNECTION_H_
#define LIBLEVER_RPC_CONNECTION_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/rpc/headers.h"
#include "liblever/rpc/limits.h"
#include "liblever/rpc/slice_queue.h"

namespace lever::rpc {

class ByteStream;
class Connection;
class Session;
class Stream;
struct SessionEvent;

enum class Role : uint8_t { kClient, kServer };

// HTTP/2 error codes (RFC 9113 section 7) that are used by name.
inline constexpr uint32_t kHttp2NoError = 0x0;
inline constexpr uint32_t kHttp2ProtocolError = 0x1;
inline constexpr uint32_t kHttp2InternalError = 0x2;
inline constexpr uint32_t kHttp2RefusedStream = 0x7;
inline constexpr uint32_t kHttp2Cancel = 0x8;
inline constexpr uint32_t kHttp2EnhanceYourCalm = 0xb;

// How a stream ended.
struct StreamClose {
  // 0 (NO_ERROR) if both sides ended in order, or a server's response did; else the HTTP/2 error
  // code of RST_STREAM or of the connection's end.
  uint32_t error_code = 0;
  // Whether the peer surely did not process it: never written, REFUSED_STREAM, or above the last id
  // of GOAWAY.
  bool unprocessed = false;
  // Whether no byte of it was handed to the socket. Exact: a client's stream whose HEADERS the
  // kernel took one byte of is written.
  bool never_written = false;
  // The connection's own end, where that was the cause; OK otherwise.
  Status connection_status;
};

// Whoever uses a stream. Called on the loop's thread.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // Client: the response's headers (final, not 1xx) are in stream.headers().
  virtual void OnHeaders(Stream& stream) {}
  // Body bytes. They count against the stream's window until Consume().
  virtual void OnData(Stream& stream, Slice data) = 0;
  // The peer has ended its side; trailers, if any, are in stream.trailers().
  virtual void OnRemoteEnd(Stream& stream) = 0;
  // queued_bytes() has fallen below kStreamQueuedBytesLow after it was at the maximum or above.
  virtual void OnWritable(Stream& stream) {}
  // The last call. The stream is destroyed when it returns.
  virtual void OnClosed(Stream& stream, const StreamClose& close) = 0;
};

// One HTTP/2 stream. Made and owned by its Connection, which reuses it after OnClosed().
class Stream {
 public:
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Connection& connection() const { return *connection_; }
  // 0 while a client's stream has not been written yet.
  int32_t id() const { return id_; }
  void set_handler(StreamHandler* handler) { handler_ = handler; }

  // The peer's headers (a server: the request's, pseudo headers included) and trailers.
  const HeaderList& headers() const { return headers_; }
  const HeaderList& trailers() const { return trailers_; }
  bool remote_ended() const { return remote_ended_; }

  // All of the following do nothing on a stream that is about to be closed (the peer has reset it,
  // Reset() was called, the connection has ended).

  // Server: the response's headers (":status" first). `end` without a body. Once.
  enum class End : bool { kNo, kYes };
  void SendHeaders(const HeaderList& headers, End end = End::kNo);
  // Queues bytes. They are kept (shared, not copied) until written; the caller watches
  // queued_bytes(), which nothing here refuses to exceed. Nothing may follow the end of our side.
  void Write(Slice data);
  void Write(SliceList&& data);
  // Ends our side after what is queued: with trailers, or with an empty DATA flag. A server that
  // ends its side before the peer's request has ended tells it to stop (RST_STREAM with NO_ERROR).
  void EndWithTrailers(const HeaderList& trailers);
  void EndWrite();
  bool local_ended() const { return local_ended_; }
  size_t queued_bytes() const { return queue_.bytes(); }
  // Forgets what is queued: for who knows that the peer has got nothing that this cuts short.
  void DropQueued();
  bool Writable() const { return queued_bytes() < kStreamQueuedBytesMax; }
  // OnWritable() is owed also if the maximum was not reached: for who counts in bytes of its own. To be
  // called while at least kStreamQueuedBytesLow is queued.
  void WantWritable() { was_full_ = true; }
  // RST_STREAM. What is queued is dropped, nothing that has come meanwhile is delivered any more,
  // and OnClosed follows, later in the turn.
  void Reset(uint32_t error_code);

  // Gives `bytes` of the received data back to the peer's window.
  void Consume(size_t bytes);
  // Bytes of this stream that its user keeps although he has given them back: they count in what is
  // held for the peer. False, and nothing has changed: for a peer that has this much no more is kept.
  [[nodiscard]] bool SetKept(size_t bytes);

 private:
  friend class Connection;
  friend class Session;
  using Hook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

  Stream() = default;
  ~Stream() = default;
  // Back to how it was made, keeping memory for its next use.
  void Clear();
  size_t held_bytes() const { return queue_.bytes() + unread_ + kept_; }

  Connection* connection_ = nullptr;
  Session* session_ = nullptr;
  StreamHandler* handler_ = nullptr;
  int32_t id_ = 0;

  // As its user knows it.
  bool remote_ended_ = false;
  bool local_ended_ = false;
  bool muted_ = false;     // its user has given it up: only OnClosed() is still delivered
  bool told_ = false;      // OnClosed() was called
  bool was_full_ = false;  // OnWritable() is owed

  // As nghttp2 knows it.
  bool announced_ = false;          // its user knows of it
  bool headers_submitted_ = false;  // ours
  bool final_headers_ = false;      // the peer's, not 1xx
  bool remote_end_received_ = false;
  bool has_send_trailers_ = false;
  bool deferred_ = false;  // nghttp2 waits for nghttp2_session_resume_data()
  bool closing_ = false;   // its end is recorded; nghttp2 knows it no more
  StreamClose close_;
  uint64_t headers_position_ = kNotWritten;  // where its HEADERS began in the output
  size_t quantum_used_ = 0;
  int64_t progress_ns_ = 0;  // when its side ended here, or the peer's window took something since
  SliceQueue queue_;
  size_t unread_ = 0;  // received, and not given back to the window
  size_t kept_ = 0;    // see SetKept()

  HeaderList headers_;
  HeaderList trailers_;
  HeaderList send_headers_;
  HeaderList send_trailers_;

  static constexpr uint64_t kNotWritten = UINT64_MAX;
  Hook live_hook_;       // in use
  Hook place_hook_;      // waiting to be started, or for the others' turn
  Hook unflushed_hook_;  // written to in this turn
};

// Whoever owns a connection. Called on the loop's thread.
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  // Server: a request's headers are in stream.headers(). Must set the stream's handler.
  virtual void OnRequest(Stream& stream) = 0;
  // The peer's SETTINGS have come, so that the connection is known to work.
  virtual void OnReady(Connection& connection) {}
  // The peer sends GOAWAY, or we are draining: no new streams. Once.
  virtual void OnDraining(Connection& connection) {}
  // The last call; the owner destroys the connection in it or later. OK if it ended in order, which
  // is after a drain or the peer's GOAWAY, with no stream cut off.
  virtual void OnClosed(Connection& connection, const Status& status) = 0;
};

struct ConnectionOptions {
  Role role = Role::kServer;
  uint32_t stream_window_bytes = kStreamWindowBytes;
  uint32_t streams_max = kStreamsPerConnectionMax;
  size_t header_list_bytes_max = kHeaderListBytesMax;
  // Whose calls come over it. A relay cancels what its own callers cancel, and limits each of those:
  // beyond that it is no fault of its, and all of them would lose their calls. So its resets are not
  // limited, and it has the streams of kCallersOfRelay callers.
  enum class Callers : uint8_t { kOne, kMany } callers = Callers::kOne;
  int64_t keepalive_time_ns = kKeepaliveTimeNs;  // negative: none
  int64_t keepalive_timeout_ns = kKeepaliveTimeoutNs;
  // Of one server, over all its listeners.
  size_t connections_max = kConnectionsMax;
  // Server: without a stream for so long, it drains. Negative: never.
  int64_t idle_timeout_ns = -1;
};

class Connection final : public IoSource, public TurnEnd {
 public:
  // Takes over a connected stream socket (or one whose connect() is in progress). With
  // `already_read`, bytes that a protocol sniffer has taken from it. No handler is called before
  // the turn's end.
  static StatusOr<std::unique_ptr<Connection>> Open(Loop* loop, UniqueFd socket,
                                                    const ConnectionOptions& options,
                                                    ConnectionHandler* handler,
                                                    std::span<const uint8_t> already_read = {});
  // The same over something that wraps a socket.
  static StatusOr<std::unique_ptr<Connection>> Over(Loop* loop, std::unique_ptr<ByteStream> socket,
                                                    const ConnectionOptions& options,
                                                    ConnectionHandler* handler,
                                                    std::span<const uint8_t> already_read = {});
  // Allowed at any time, in handlers too. Before OnClosed() it closes every stream from in here, as
  // CANCELLED, and its ConnectionHandler hears nothing any more.
  ~Connection() override;

  Loop& loop() const { return *loop_; }
  Role role() const { return role_; }
  // "127.0.0.1:53210", "unix", for logs.
  const std::string& peer() const { return peer_; }
  // Over TLS.
  bool encrypted() const;

  // Client: starts a stream. Null if no stream can be started (draining, closed, ids used up).
  // Above the peer's limit of concurrent streams, it waits its turn; how many may wait is the
  // caller's to bound. Headers beyond kHeaderListBytesMax (AccountedBytes()) are the caller's
  // mistake: the stream closes with INTERNAL_ERROR, never written, and RESOURCE_EXHAUSTED as the
  // connection's status.
  Stream* StartStream(const HeaderList& headers, Stream::End end, StreamHandler* handler) {
    return StartStreamWith([&headers](HeaderList* own) { *own = headers; }, end, handler);
  }
  // The same with headers that `fill` adds to the stream's own list; it is not called where no stream
  // can be started.
  template <typename Fill>
  Stream* StartStreamWith(Fill fill, Stream::End end, StreamHandler* handler) {
    Stream* const stream = NewStream(handler);
    if (stream == nullptr) return nullptr;
    fill(&stream->send_headers_);
    LaunchStream(stream, end);
    return stream;
  }

  // Streams that have not had OnClosed(), those included that wait.
  size_t open_streams() const { return open_streams_; }
  bool draining() const { return draining_; }
  // Client: whether StartStream() may start one. False from the moment at which the end is known here,
  // which may be before OnDraining() and OnClosed() are delivered.
  bool TakesStreams() const { return phase_ == Phase::kOpen && !draining_; }
  // Client: whether as many are open as the peer allows at a time, so that another would wait.
  bool Full() const;
  // GOAWAY in two steps; streams that are open go on; closes by itself when the last has ended.
  void Drain();
  // Ends it now: every stream is closed with `status`, later in the turn, and where they are many
  // kStreamEndsPerTurn of them in each turn.
  void Close(const Status& status);

  uint32_t OnReady(uint32_t events) override;
  void OnTurnEnd() override;

 private:
  friend class Stream;
  friend class Session;
  // kOpen -> (kLingering) -> kClosing -> kClosed
  enum class Phase : uint8_t {
    kOpen,
    kLingering,  // ended in order: what is unsent goes out, then the peer's end is waited for
    kClosing,    // OnClosed() is recorded
    kClosed,     // and was delivered
  };
  // One timer for each thing that a connection waits for.
  class LiveTimer final : public Timer {
   public:
    explicit LiveTimer(Connection* connection) : connection_(connection) {}
    void OnTimer() override { connection_->OnLiveTimer(); }

   private:
    Connection* connection_;
  };
  class EndTimer final : public Timer {
   public:
    explicit EndTimer(Connection* connection) : connection_(connection) {}
    void OnTimer() override { connection_->OnEndTimer(); }

   private:
    Connection* connection_;
  };

  Connection(Loop* loop, std::unique_ptr<ByteStream> socket, const ConnectionOptions& options,
             ConnectionHandler* handler);

  // StartStream()'s two halves.
  Stream* NewStream(StreamHandler* handler);
  void LaunchStream(Stream* stream, Stream::End end);
  // Whether the streams that are left are told of the end in the next turn.
  bool EndsWait() const { return phase_ == Phase::kClosing && ends_left_ == 0; }
  bool Ending() const { return phase_ == Phase::kClosing || phase_ == Phase::kClosed; }
  void MarkDirty() { loop_->AtTurnEnd(this); }
  // Reads a bounded amount. The events that are left; 0 also if the connection has been destroyed.
  uint32_t ReadSome(uint32_t events);
  void Receive(Slice bytes);
  // Input that no edge will announce.
  bool InputWaits() const;
  void OnInputEnd(int error);
  void WriteOut();
  void UpdateInterest();
  void PublishCounters();
  // Calls the handlers for what was recorded. False: the connection has been destroyed.
  bool Dispatch();
  void DispatchOne(SessionEvent* event);
  void DispatchToStream(Stream* stream, SessionEvent* event);
  void DispatchClosed(Stream* stream);
  void OnLiveTimer();
  void OnEndTimer();
  // The live timer comes at `deadline_ns` at the latest.
  void LookBy(int64_t deadline_ns) {
    if (!live_timer_.armed() || deadline_ns < live_timer_.deadline_ns()) {
      loop_->Arm(&live_timer_, deadline_ns);
    }
  }
  void LookAtInput();
  void OnBusy();
  void OnIdle();
  bool CheckPeerInTime(int64_t now_ns);
  bool CheckKeepalive(int64_t now_ns);
  // A peer that went beyond a limit of time or order.
  void CutOff(std::atomic<uint64_t>* counter, std::string_view why);
  void LogCutOff(std::string_view why) const;
  void BeginDraining();
  void FinalGoaway();
  void CheckEnded();
  void EndAs(const Status& status);
  void FinishClose();

  Loop* loop_;
  std::unique_ptr<ByteStream> socket_;
  ConnectionHandler* handler_;
  const Role role_;
  const int64_t keepalive_time_ns_;
  const int64_t keepalive_timeout_ns_;
  const int64_t idle_timeout_ns_;
  std::string peer_;
  std::unique_ptr<Session> session_;

  Phase phase_ = Phase::kOpen;
  bool ready_ = false;           // the peer's SETTINGS have come
  bool draining_ = false;        // OnDraining() was recorded
  bool drain_asked_ = false;     // by Drain(), not the peer
  bool final_goaway_ = false;    // the second one is on its way
  bool shut_down_ = false;       // no more output will follow
  bool output_blocked_ = false;  // the socket takes nothing before its next EPOLLOUT
  bool input_paused_ = false;
  Slice unread_;  // taken from the socket, and not looked at in its turn
  uint32_t interest_;  // what the loop watches the socket for
  bool keepalive_pending_ = false;  // a PING was sent at keepalive_sent_ns_
  bool dispatching_ = false;
  size_t ends_left_ = kStreamEndsPerTurn;  // kClosing: streams that may still be told of it in this turn
  bool* destroyed_ = nullptr;  // set while handlers run
  int output_error_ = 0;       // writing has failed; what the peer sent before is still read
  size_t open_streams_ = 0;
  uint64_t published_bytes_ = 0;  // of what was written, in the process's counters
  int64_t last_receive_ns_;
  int64_t turned_ns_;  // when it last became idle, or busy
  int64_t keepalive_sent_ns_ = 0;
  int64_t output_waits_ns_ = kNever;  // since when the socket takes nothing; kNever: it does
  Status input_failure_;  // the peer's bytes made no sense; what came before is still dispatched
  Status close_status_;
  LiveTimer live_timer_{this};  // whatever the peer has to do by a certain time
  EndTimer end_timer_{this};    // between the GOAWAYs, then lingering
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_CONNECTION_H_
