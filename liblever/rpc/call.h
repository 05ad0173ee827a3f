// One gRPC call over an HTTP/2 stream, either side: messages, metadata, deadline, status.
//
// Wire: gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md). Threads: those of the
// connection's loop.
//
// Invariants
//  1. A call has one CallHandler, which gets exactly one OnEnd(), last; the Call is gone after it.
//  2. Messages are delivered while there is credit (Read()); credit adds up. With credit for a
//     message the stream's window is given back as its bytes arrive, up to the maximum message
//     size; without credit nothing beyond one window is buffered.
//  3. A request whose first message is too large or broken is refused as surely not run: nobody has
//     seen anything of it.
//  4. Reaching the deadline ends a client's call with DEADLINE_EXCEEDED and cancels the stream; on
//     a server it only cancels the stream (OnEnd with DEADLINE_EXCEEDED).
//  5. Handlers get messages inflated, and at most the maximum message size of each.
#ifndef LIBLEVER_RPC_CALL_H_
#define LIBLEVER_RPC_CALL_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/rpc/compression.h"
#include "liblever/rpc/headers.h"
#include "liblever/rpc/limits.h"

namespace lever::rpc {

class Call;
class CallImpl;
class Connection;
class Stream;

// The trailer that says that the method surely did not run, and its only value. Finish() sets it
// for a status with executed NO, and it counts only if no message of the reply came before.
inline constexpr std::string_view kExecutedTrailer = "lever-executed";
inline constexpr std::string_view kExecutedNo = "no";

struct CallEnd {
  Status status;  // the gRPC status with its message and executed(), or what ended it on this side
  // Trailing metadata without gRPC's own fields; null if there was none.
  const HeaderList* trailers = nullptr;
  // Client: whether a message of the reply came before the end.
  bool replied = false;
  // Client: no byte of the call was handed to a socket.
  bool never_written = false;
};

class CallHandler {
 public:
  virtual ~CallHandler() = default;
  // Client: the server's initial metadata are in call.headers().
  virtual void OnHeaders(Call& call) {}
  virtual void OnMessage(Call& call, SliceList message) = 0;
  // Server: the client has sent its last message.
  virtual void OnPeerEnd(Call& call) {}
  virtual void OnWritable(Call& call) {}
  virtual void OnEnd(Call& call, const CallEnd& end) = 0;
};

struct CallOptions {
  std::string_view path;                 // "/lever.v1.Lever/Invoke"
  std::string_view authority;            // ":authority"
  std::string_view scheme = "http";      // ":scheme"; a channel knows its own
  int64_t deadline_ns = kNever;          // on the loop's clock; sent as grpc-timeout
  // Sent before the metadata as they are: Lever's own, whose names and values are known to be fit.
  const HeaderList* headers = nullptr;
  const HeaderList* metadata = nullptr;  // "-bin" values are raw here and base64 on the wire
  size_t message_bytes_max = kMessageBytesMax;
  uint64_t initial_credit_messages = 0;  // as a Read() before the first byte
  // How the call's messages are sent; each Write() may say no. Compressed ones are received always.
  Compression compression = Compression::kIdentity;
  // Whether the server is told that it may send compressed messages (grpc-accept-encoding). No, for
  // servers that would not do it unasked: a field costs each side several hundred instructions.
  bool accept_compressed = true;
  // Whether the server is told what is calling (user-agent). No, between ends of our own.
  bool user_agent = true;
};

// Of one message: as the call's compression says, or as it is.
enum class Compress : uint8_t { kAsTheCall, kNo };

class Call {
 public:
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Client: starts a call on a connection; Channel::StartCall() is the usual way. Null: the
  // connection takes no new streams. The call owns itself until its OnEnd(); `handler` outlives it.
  static Call* Start(Connection* connection, const CallOptions& options, CallHandler* handler);

  // The peer's metadata, "-bin" values decoded, gRPC's own fields taken out. On a server these are
  // the request's.
  const HeaderList& headers() const;
  // Server.
  std::string_view path() const;
  int64_t deadline_ns() const;
  void set_handler(CallHandler* handler);
  // Server, before the first Read(): the largest message that is taken, kMessageBytesMax else.
  void set_message_bytes_max(size_t bytes);

  // How the peer's messages may be compressed (grpc-encoding); on a client from OnHeaders() on.
  Compression peer_compression() const;
  // Inside OnMessage(): whether the message came compressed.
  bool message_was_compressed() const;
  // Server, before anything is sent: how messages are sent from here on, if the client accepts it;
  // as they are otherwise.
  void set_compression(Compression compression);

  // Credit for `messages` more messages.
  void Read(uint64_t messages);
  // Server: initial metadata; sent empty by the first Write() otherwise.
  void SendHeaders(const HeaderList* metadata = nullptr);
  // Queues one message. The slices are shared until written. A message that does not get smaller by
  // compression is sent as it is.
  void Write(SliceList message, Compress compress = Compress::kAsTheCall);
  size_t queued_bytes() const;
  bool Writable() const;
  // OnWritable() is owed, also if the maximum was not reached. To be called while at least
  // kStreamQueuedBytesLow is queued.
  void WantWritable();
  // Client: no more messages.
  void CloseSend();
  // Server: ends the call after what is queued. `trailers` may be null.
  void Finish(const Status& status, const HeaderList* trailers = nullptr);
  // Client: RST_STREAM(CANCEL); OnEnd follows with `status`. Server: ends at once with `status`,
  // dropping what is queued, or by RST_STREAM if it cannot be told.
  void Cancel(const Status& status);

 private:
  friend class CallImpl;
  Call() = default;
  ~Call() = default;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_CALL_H_
