// The HTTP/2 state of one connection: nghttp2, the streams, and what has happened to them.
//
// Bytes go in by Receive() and come out of out(); events are recorded in between and taken with
// NextEvent(). No socket, no clock, no handler: the connection round it has those. Not thread-safe.
//
// Invariants
//  1. Inside nghttp2's callbacks nothing is called but nghttp2's submit functions; everything else
//  is
//     recorded as an event. A stream's kClosed is its last event.
//  2. After Collect() nothing waits inside nghttp2 but DATA: HEADERS never do, so that whether a
//  stream
//     was written is known by its position in the output.
//  3. nghttp2 knows a client's stream only from Collect() on. Streams above the peer's limit are
//  ours,
//     and can be given up without a trace.
//  4. A stream whose end is recorded is detached: nghttp2's pointer to it is null, and it never
//  reads
//     from a stream that is being reset (nghttp2_session_predicate_data_send).
#ifndef LIBLEVER_RPC_SESSION_H_
#define LIBLEVER_RPC_SESSION_H_

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/rpc/connection.h"
#include "liblever/rpc/out_queue.h"
#include "liblever/rpc/token_bucket.h"

namespace lever::rpc {

struct SessionEvent {
  enum class Kind : uint8_t {
    kRequest,
    kHeaders,
    kData,
    kRemoteEnd,
    kWritable,
    kStreamClosed,
    kReady,             // the peer's first SETTINGS
    kGoaway,            // from the peer
    kDrainPong,         // the answer to the PING between two GOAWAYs
    kConnectionClosed,  // recorded by the connection itself
    kDraining,          // recorded by the connection itself
  };
  Kind kind = Kind::kReady;
  Stream* stream = nullptr;
  Slice data = {};
};

class Session {
 public:
  static StatusOr<std::unique_ptr<Session>> Open(Connection* connection,
                                                 const ConnectionOptions& options, int64_t now_ns);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // ---- In ----
  // A turn begins: so much may be asked of us in it (kFrameWorkFirst to kFrameWorkPerTurn).
  void GrantWork() { work_left_ = work_share_; }
  // `owner` holds the bytes; DATA that is recorded takes shares of it. `taken` says how many of them
  // were looked at: fewer than all where the turn's work is used up.
  Status Receive(std::span<const uint8_t> bytes, Buffer* owner, int64_t now_ns, size_t* taken);
  // Moves the next event into `event`. False: there is none.
  bool NextEvent(SessionEvent* event);
  bool has_events() const { return next_event_ < events_.size(); }
  void Record(SessionEvent::Kind kind, Stream* stream = nullptr) {
    events_.push_back(SessionEvent{kind, stream});
  }

  // ---- Out ----
  // Starts streams that wait, and turns everything that may be sent now into bytes of out(), DATA
  // up to kConnectionOutBytesMax.
  Status Collect();
  OutQueue& out() { return out_; }
  // Whether the last Collect() stopped because out() was full.
  bool paused() const { return paused_; }
  // At the end of a turn: compacts what stays.
  void EndTurn();

  // ---- Streams ----
  // Client: whether the connection is at the end of its stream ids.
  bool IdsUsedUp() const;
  // Client: how many streams the peer allows at a time.
  uint32_t peer_streams_max() const {
    return nghttp2_session_get_remote_settings(h2_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  }
  // Client: a stream whose send_headers_ are to be filled before it is launched.
  Stream* NewStream(StreamHandler* handler);
  // Makes it wait to be started by Collect().
  void Launch(Stream* stream, Stream::End end);
  void SubmitResponse(Stream* stream, const HeaderList& headers, Stream::End end);
  void Queue(Stream* stream, Slice data);
  // Forgets what is queued and not sent.
  void DropQueued(Stream* stream);
  // There is more to send, or the end is known.
  void Resume(Stream* stream);
  void Reset(Stream* stream, uint32_t error_code);
  void Consume(Stream* stream, size_t bytes);
  bool SetKept(Stream* stream, size_t bytes);
  // Records the end of a stream that nghttp2 is not to touch any more.
  void RecordClosed(Stream* stream, uint32_t error_code);
  // Records the end of every stream, because the connection ends with `status`.
  void CloseAll(uint32_t error_code, const Status& status);
  // Records the end of every stream that waits to be started.
  void CloseWaiting();
  // Any stream that was not recycled yet, or null.
  Stream* AnyLive() { return live_.empty() ? nullptr : &live_.front(); }
  // After its OnClosed().
  void Recycle(Stream* stream);
  // Resets streams whose end waits for a peer that has taken nothing since `before_ns`.
  void CutStalledReplies(int64_t before_ns);
  // Gives memory back that only a busy connection needs.
  void Trim();

  // ---- The connection ----
  void SubmitShutdownNotice();
  // Streams that come after it are refused.
  void SubmitFinalGoaway();
  void SubmitKeepalivePing();
  // GOAWAY with `error_code`, and no more DATA.
  void Terminate(uint32_t error_code);
  // Nothing is to be read or sent any more.
  bool Ended() const;
  // By when the frame or header block that the peer has begun must be complete; kNever if none is.
  int64_t InputDeadline() const;
  // Adds to the process's account what has changed.
  void PublishHeld();
  // Why nghttp2 or one of our limits ended it; OK if it did not.
  Status failure() const;
  // What the peer's GOAWAY said, for people; empty if there was none, or it was in order.
  const std::string& peer_complaint() const { return peer_complaint_; }

  // What was counted since the connection last took it.
  struct Sums {
    uint64_t resets_received = 0;
    uint64_t resets_sent = 0;
    uint64_t goaways_sent = 0;
    uint64_t streams_closed = 0;
    uint64_t streams_opened = 0;
    uint64_t bytes_received = 0;
  };
  Sums& sums() { return sums_; }

 private:
  friend struct SessionCallbacks;
  template <Stream::Hook Stream::*hook>
  using StreamList =
      boost::intrusive::list<Stream, boost::intrusive::member_hook<Stream, Stream::Hook, hook>,
                             boost::intrusive::constant_time_size<false>>;
  using PlaceList = StreamList<&Stream::place_hook_>;

  Session(Connection* connection, const ConnectionOptions& options, int64_t now_ns);
  Status Init();

  Stream* Take();
  Stream* Find(int32_t stream_id);
  void Detach(Stream* stream);
  void SubmitWaiting();
  bool MaySubmitNext();
  void Submit(Stream* stream);
  int SubmitTrailers(Stream* stream);
  Status Fail(ssize_t nghttp2_error) const;

  // ---- What a peer may cost; see session_limits.cc ----
  size_t FollowFrames(std::span<const uint8_t> all);
  void NoteFrame();
  void NoteHeaders(int32_t stream_id, uint32_t flags);
  void NoteContinuation(uint32_t flags);
  void NoteGoawaySent(const nghttp2_goaway& goaway);
  void NoteResetSent(uint32_t error_code);
  void SpendControlFrame();
  void SpendReset();
  void EarnWork(int64_t work) { work_share_ = std::min(kFrameWorkPerTurn, work_share_ + work); }
  void FailLimit(std::atomic<uint64_t>* counter, std::string_view what);
  // What a callback of Receive() answers nghttp2: to stop where it is, once a limit was hit.
  int Verdict() const;
  void EndAtLimit();
  void CountReceiveError(ssize_t nghttp2_error);
  // Whether more may be held for the peer: in all, or (not null) for that stream.
  bool MayHold(const Stream* stream) {
    return held_ <= kConnectionHeldBytesFree || MayHoldMuch(stream);
  }
  bool MayHoldMuch(const Stream* stream);

  // ---- What nghttp2 calls; see session_callbacks.cc ----
  int OnBeginHeaders(const nghttp2_frame* frame);
  int OnHeader(const nghttp2_frame* frame, std::string_view name, std::string_view value,
               uint8_t flags);
  void OnFrame(const nghttp2_frame* frame);
  void OnHeadersFrame(const nghttp2_frame* frame);
  void OnGoawayFrame(const nghttp2_goaway& goaway);
  void OnDataChunk(int32_t stream_id, const uint8_t* data, size_t size);
  void OnStreamClose(int32_t stream_id, uint32_t error_code);
  void OnInvalidFrame(const nghttp2_frame* frame, int nghttp2_error);
  void BeforeFrameSend(const nghttp2_frame* frame);
  void OnFrameSent(const nghttp2_frame* frame);
  void OnFrameNotSent(const nghttp2_frame* frame, int nghttp2_error);
  ssize_t ReadData(Stream* stream, size_t size, uint32_t* flags);
  void SendData(Stream* stream, const uint8_t* frame_header, size_t size);
  void OnRemoteEnd(Stream* stream);

  Connection* connection_;
  const Role role_;
  const ConnectionOptions options_;
  nghttp2_session* h2_ = nullptr;

  std::vector<SessionEvent> events_;
  size_t next_event_ = 0;
  OutQueue out_;
  Buffer* receiving_ = nullptr;     // during Receive()
  size_t received_data_bytes_ = 0;  // during Receive(): DATA, for the connection's window
  int64_t now_ns_;

  StreamList<&Stream::live_hook_> live_;
  PlaceList waiting_;  // to be started
  PlaceList yielded_;  // have had their quantum
  StreamList<&Stream::unflushed_hook_> unflushed_;
  std::vector<Stream*> pool_;
  int32_t found_id_ = 0;  // the last stream that Find() found
  Stream* found_ = nullptr;

  size_t started_ = 0;  // client: streams that nghttp2 knows
  bool settings_received_ = false;
  bool discard_data_ = false;
  bool limit_failed_ = false;
  bool limit_told_ = false;      // the session was terminated for it
  bool failure_counted_ = false;
  bool peer_left_ = false;  // a client that is done, with a GOAWAY that makes no sense
  bool paused_ = false;
  int32_t last_accepted_id_ = INT32_MAX;  // server: of the final GOAWAY
  uint32_t goaway_error_ = 0;             // that we sent
  std::string failure_;
  std::string peer_complaint_;
  TokenBucket control_frames_;
  TokenBucket resets_;
  uint64_t late_headers_ = 0;      // that streams which we have reset may still bring
  uint64_t resets_spent_ = 0;      // of those that nghttp2 is about to send
  size_t incoming_ = 0;            // server: streams that nghttp2 knows
  int32_t last_incoming_id_ = 0;   // server
  size_t header_block_bytes_ = 0;  // of the block that is open or was last, as it came
  size_t continuations_ = 0;       // of that block
  bool header_block_open_ = false;
  bool in_headers_ = false;        // the last frame that began is of a header block
  static constexpr size_t kFrameHeaderBytes = 9;
  uint8_t frame_header_[kFrameHeaderBytes];
  uint8_t frame_header_size_ = 0;  // of the header that has come in part
  int64_t work_share_;  // of a turn, as the peer has earned it
  int64_t work_left_;
  uint32_t frame_left_;            // of the frame that has come in part, after its header
  int64_t frame_began_ns_ = 0;     // the last frame, or the first one of its header block
  size_t held_ = 0;                // queued, unread and kept of all streams
  int64_t held_published_ = 0;
  Sums sums_;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_SESSION_H_
