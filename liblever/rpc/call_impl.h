// The one implementation of Call, for both roles. Only call.cc, channel.cc and server.cc include
// it.
//
// Threads: those of its loop. Calls come from a pool of the thread and go back to it.
//
// Invariants
//  1. The phase says what the call waits for; every change of it is in call.cc.
//  2. `stream_` is set exactly while the stream's handler is this call. A call that is over while
//     its stream is not hands the stream to a handler that ignores everything.
//  3. A handler is called from the connection's dispatch, a timer or the turn's end, never from
//     inside a function of Call; only OnEnd() makes the call go, and nothing touches it after that.
#ifndef LIBLEVER_RPC_CALL_IMPL_H_
#define LIBLEVER_RPC_CALL_IMPL_H_

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/loop.h"
#include "liblever/rpc/call.h"
#include "liblever/rpc/connection.h"
#include "liblever/rpc/framing.h"

namespace lever::rpc {

// At most this many ended calls are kept by a thread for the next ones, about 1.5 KiB each.
inline constexpr size_t kPooledCallsMax = 256;

// Who counts a call: the channel or server that it belongs to.
class CallOwner {
 public:
  // After the call's OnEnd().
  virtual void OnCallGone() = 0;
  // How a call ends whose deadline came before a connection.
  virtual Status NoConnection() const = 0;

 protected:
  ~CallOwner() = default;
};

struct CallListTag;
using CallHook =
    boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>,
                                     boost::intrusive::tag<CallListTag>>;

class CallImpl final : public Call,
                       public CallHook,
                       private StreamHandler,
                       private Timer,
                       private TurnEnd {
 public:
  static CallImpl& From(Call& call) { return static_cast<CallImpl&>(call); }
  static const CallImpl& From(const Call& call) { return static_cast<const CallImpl&>(call); }

  // A client's call that waits for Attach(). If the deadline has passed it is ending already.
  static CallImpl* NewClient(Loop* loop, const CallOptions& options, CallHandler* handler,
                             CallOwner* owner);
  // Whether it has a stream now. False, and nothing has changed, if `connection` takes none.
  bool Attach(Connection* connection);
  bool waiting() const { return phase_ == Phase::kWaiting; }
  // Takes back a call that nobody knows yet.
  void Discard() { Recycle(); }

  // The call of a request that the caller has found to be gRPC. INVALID_ARGUMENT or INTERNAL, and
  // nothing of the stream is touched, for a request that cannot be read.
  static StatusOr<CallImpl*> Accept(Loop* loop, Stream& stream, CallOwner* owner,
                                    std::shared_ptr<void> tag);
  void* tag() const { return tag_.get(); }
  void set_tag(std::shared_ptr<void> tag) { tag_ = std::move(tag); }

  // Ends it at the end of the turn, if it is not ending yet; nothing is told to the peer.
  void EndLater(Status status);
  // Ends it when the connection, which the caller closes now, has closed its stream.
  void EndWithConnection(const Status& status);
  // Ends it at the end of the turn, whatever becomes of its stream.
  void EndWithoutStream(const Status& status);
  void ForgetOwner() { owner_ = nullptr; }

  // What Call's functions do.
  void Read(uint64_t messages);
  void SendHeaders(const HeaderList* metadata);
  void Write(SliceList&& message, Compress compress);
  void CloseSend();
  void Finish(const Status& status, const HeaderList* trailers);
  void Cancel(const Status& status);
  size_t queued_bytes() const;
  void WantWritable();
  const HeaderList& headers() const { return headers_; }
  std::string_view path() const { return path_; }
  int64_t call_deadline_ns() const { return deadline_ns_; }
  void set_handler(CallHandler* handler) { handler_ = handler; }
  void set_message_bytes_max(size_t bytes) { reader_.set_message_bytes_max(bytes); }
  Compression peer_compression() const { return peer_compression_; }
  bool message_was_compressed() const { return reader_.compressed(); }
  void set_compression(Compression compression);

 private:
  friend class CallPool;

  enum class Phase : uint8_t {
    kFree,       // in the pool
    kWaiting,    // client: no stream yet; what is written is kept here
    kOpen,       // it has a stream, or (client) the end has come but not all messages are delivered
    kFinishing,  // server: finished; the end comes when the stream has closed
    kEnding,     // `end_` is decided; OnEnd() comes when the stream has closed or the turn ends
    kEnded,      // inside OnEnd()
  };

  CallImpl() = default;
  ~CallImpl() = default;
  static CallImpl* FromPool(Loop* loop, Role role, CallHandler* handler, CallOwner* owner);
  void Recycle();

  void OnHeaders(Stream& stream) override;
  void OnData(Stream& stream, Slice data) override;
  void OnRemoteEnd(Stream& stream) override;
  void OnWritable(Stream& stream) override;
  void OnClosed(Stream& stream, const StreamClose& close) override;
  void OnTimer() override;
  void OnTurnEnd() override;

  void BuildRequest(const CallOptions& options);
  Status ReadRequest();
  void ShowHeaders();
  void ReadTrailers();
  void LeaveStream();
  void EndOpenSide();
  void SendStatus(const Status& status, const HeaderList* trailers);
  void AddResponseEncodings();
  void SetPeerCompression(Compression compression);
  // Compresses `*message` if that makes it smaller, and says what it is then.
  Compression CompressMessage(SliceList* message) const;

  // These may end the call: nothing of it may be used after them.
  void Deliver();
  void AfterDelivery();
  void NoteKept();
  void Fail(Status status);
  void End(Status status);

  Status StatusOfClose(const StreamClose& close) const;
  Status ServerStatusOfClose(const StreamClose& close);
  bool Client() const { return role_ == Role::kClient; }

  Phase phase_ = Phase::kFree;
  Role role_ = Role::kClient;
  Compression compression_ = Compression::kIdentity;       // of what we send
  Compression peer_compression_ = Compression::kIdentity;  // of what we receive
  bool delivering_ = false;
  bool deliver_due_ = false;
  bool kept_noted_ = false;    // the stream knows of bytes that are kept here
  bool headers_held_ = false;  // client: they may turn out to be trailers
  bool headers_sent_ = false;  // server
  bool send_closed_ = false;   // client
  bool wrote_message_ = false;
  bool writable_owed_ = false;  // OnWritable() has to come
  bool message_delivered_ = false;
  bool never_written_ = false;  // client
  bool peer_ended_ = false;
  bool peer_end_told_ = false;  // server

  Loop* loop_ = nullptr;
  Stream* stream_ = nullptr;
  CallHandler* handler_ = nullptr;
  CallOwner* owner_ = nullptr;
  std::shared_ptr<void> tag_;
  int64_t deadline_ns_ = kNever;
  uint64_t credit_ = 0;
  Status end_;
  MessageReader reader_;
  PrefixWriter prefixes_;
  std::string path_;
  HeaderList headers_;   // the peer's metadata
  HeaderList trailers_;  // the peer's trailing metadata
  HeaderList outgoing_;  // the headers or trailers that are being made, while waiting the request's
  SliceList waiting_;    // what was written before there was a stream
  size_t waiting_bytes_ = 0;
  // Written since the stream's queue was last empty: while all of it is queued, no message has begun.
  size_t run_bytes_ = 0;
  CallImpl* next_free_ = nullptr;
};

using CallList = boost::intrusive::list<CallImpl, boost::intrusive::base_hook<CallHook>,
                                        boost::intrusive::constant_time_size<false>>;

// Takes what comes on a stream that nobody is interested in any more.
StreamHandler* IgnoreStream();

// The headers of a response that is a gRPC status and nothing else.
void SendTrailersOnly(Stream& stream, const Status& status);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_CALL_IMPL_H_
