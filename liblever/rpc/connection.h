// An HTTP/2 connection, either role, and its streams. Knows frames, nothing of gRPC or services.
//
// Threads: all of it belongs to one Loop and is used only by who holds that loop's word.
//
// Invariants
//  1. nghttp2's callbacks only record. Handlers are called after nghttp2 has returned, in the order in
//     which things happened, so that a handler may do anything to any stream or connection.
//  2. What is written in a turn leaves in one writev at the turn's end (Loop::AtTurnEnd).
//  3. Every stream ends with exactly one OnClosed(); the Stream is gone when that returns.
//  4. Every connection ends with exactly one OnClosed(), after all its streams had theirs.
//  5. The connection's receive window is given back on receipt, a stream's only by Consume(): a stream
//     that nobody reads holds at most one window and holds up no other stream.
#ifndef LIBLEVER_RPC_CONNECTION_H_
#define LIBLEVER_RPC_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <span>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/rpc/headers.h"
#include "liblever/rpc/limits.h"

namespace lever::rpc {

class Connection;
class Stream;

enum class Role : uint8_t { kClient, kServer };

// How a stream ended.
struct StreamClose {
  // 0 (NO_ERROR) if both sides ended in order; else the HTTP/2 error code of RST_STREAM or of the
  // connection's end.
  uint32_t error_code = 0;
  // Whether the peer surely did not process it: never written, REFUSED_STREAM, or above the last id of
  // GOAWAY.
  bool unprocessed = false;
  // Whether no byte of it was handed to the socket.
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
  // queued_bytes() has fallen below kStreamQueuedBytesLow after it was above the maximum.
  virtual void OnWritable(Stream& stream) {}
  // The last call. The stream is destroyed when it returns.
  virtual void OnClosed(Stream& stream, const StreamClose& close) = 0;
};

// One HTTP/2 stream. Made and owned by its Connection.
class Stream {
 public:
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Connection& connection() const { return *connection_; }
  int32_t id() const { return id_; }
  void set_handler(StreamHandler* handler) { handler_ = handler; }

  // The peer's headers (a server: the request's, pseudo headers included) and trailers.
  const HeaderList& headers() const { return headers_; }
  const HeaderList& trailers() const { return trailers_; }
  bool remote_ended() const { return remote_ended_; }

  // Server: the response's headers (":status" first). `end` without a body.
  enum class End : bool { kNo, kYes };
  void SendHeaders(const HeaderList& headers, End end = End::kNo);
  // Queues bytes. They are kept (shared, not copied) until written; the caller watches
  // queued_bytes(), which nothing here refuses to exceed.
  void Write(Slice data);
  void Write(SliceList data);
  // Ends our side after what is queued: with trailers, or with an empty DATA flag.
  void EndWithTrailers(const HeaderList& trailers);
  void EndWrite();
  bool local_ended() const { return local_ended_; }
  size_t queued_bytes() const { return queued_bytes_; }
  bool Writable() const { return queued_bytes_ < kStreamQueuedBytesMax; }
  // RST_STREAM. OnClosed follows, later in the turn.
  void Reset(uint32_t error_code);

  // Gives `bytes` of the received data back to the peer's window.
  void Consume(size_t bytes);

 private:
  friend class Connection;
  friend class Session;
  Stream() = default;
  ~Stream() = default;

  Connection* connection_ = nullptr;
  StreamHandler* handler_ = nullptr;
  int32_t id_ = 0;
  bool remote_ended_ = false;
  bool local_ended_ = false;
  size_t queued_bytes_ = 0;
  HeaderList headers_;
  HeaderList trailers_;
};

// Whoever owns a connection. Called on the loop's thread.
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  // Server: a request's headers are in stream.headers(). Must set the stream's handler.
  virtual void OnRequest(Stream& stream) = 0;
  // Client: the peer's SETTINGS have come, so that the connection is known to work.
  virtual void OnReady(Connection& connection) {}
  // The peer sends GOAWAY, or we are draining: no new streams.
  virtual void OnDraining(Connection& connection) {}
  // The last call; the owner destroys the connection in it or later.
  virtual void OnClosed(Connection& connection, const Status& status) = 0;
};

struct ConnectionOptions {
  Role role = Role::kServer;
  uint32_t stream_window_bytes = kStreamWindowBytes;
  uint32_t streams_max = kStreamsPerConnectionMax;
  size_t header_list_bytes_max = kHeaderListBytesMax;
  int64_t keepalive_time_ns = kKeepaliveTimeNs;  // negative: none
  int64_t keepalive_timeout_ns = kKeepaliveTimeoutNs;
};

class Connection final : public IoSource, public TurnEnd {
 public:
  // Takes over a connected, non-blocking stream socket (or one whose connect() is in progress). With
  // `already_read`, bytes that a protocol sniffer has taken from it.
  static StatusOr<std::unique_ptr<Connection>> Open(Loop* loop, UniqueFd socket,
                                                    const ConnectionOptions& options,
                                                    ConnectionHandler* handler,
                                                    std::span<const uint8_t> already_read = {});
  ~Connection() override;

  Loop& loop() const { return *loop_; }
  // "127.0.0.1:53210", "unix", for logs.
  const std::string& peer() const { return peer_; }

  // Client: starts a stream. Null if no stream can be started (draining, closed, ids used up). Above
  // the peer's limit of concurrent streams, it waits its turn.
  Stream* StartStream(const HeaderList& headers, Stream::End end, StreamHandler* handler);

  size_t open_streams() const { return open_streams_; }
  bool draining() const { return draining_; }
  // GOAWAY in two steps; streams that are open go on; closes by itself when the last has ended.
  void Drain();
  // Ends it now: every stream is closed with `status`.
  void Close(const Status& status);

  uint32_t OnReady(uint32_t events) override;
  void OnTurnEnd() override;

 private:
  friend class Stream;
  friend class Session;
  Connection() = default;

  Loop* loop_ = nullptr;
  std::string peer_;
  size_t open_streams_ = 0;
  bool draining_ = false;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_CONNECTION_H_
