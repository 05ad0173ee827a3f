// What a connection reads from and writes to: a socket, or something that wraps one (TLS, a test
// that injects faults).
//
// Used on one loop's thread. A stream never waits: it reports that it would.
#ifndef LIBLEVER_RPC_BYTE_STREAM_H_
#define LIBLEVER_RPC_BYTE_STREAM_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "liblever/base/fd.h"

namespace lever::rpc {

struct IoResult {
  // At least one byte was moved.
  size_t bytes = 0;
  // Otherwise why not: EAGAIN, another errno, or 0 at the end of the input.
  int error = 0;
  // Reading: the input is known to be empty now, without another try.
  bool drained = false;
};

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // What the loop watches.
  virtual int fd() const = 0;
  virtual IoResult Read(std::span<uint8_t> into) = 0;
  // After EAGAIN it is to be called with the same bytes first, wherever they lie by then.
  virtual IoResult Write(std::span<const iovec> pieces) = 0;
  // No more bytes follow; what was written is delivered. False: to be called again when the socket takes
  // more (EPOLLOUT).
  virtual bool ShutdownWrite() = 0;
  // Whether there is input that no edge of fd() will announce. Who begins, or goes on, to read makes
  // itself ready then (Loop::MarkReady).
  virtual bool HasBufferedInput() const { return false; }
  virtual bool encrypted() const { return false; }
  // In words why the last operation failed, where errno does not tell; else empty.
  virtual std::string trouble() const { return {}; }
};

// A connected, or connecting, stream socket. Sets TCP_NODELAY where there is such a thing.
std::unique_ptr<ByteStream> SocketStream(UniqueFd socket);

// "127.0.0.1:53210", "[::1]:53210", "unix"; empty while the socket is not connected.
std::string PeerName(int fd);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_BYTE_STREAM_H_
