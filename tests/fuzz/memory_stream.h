// The two ends of a connection in memory: a byte stream for the end under test, and the peer that a
// fuzz input plays. Nothing wakes the loop: who gives bytes or room marks the source ready.
//
// One thread.
#ifndef TESTS_FUZZ_MEMORY_STREAM_H_
#define TESTS_FUZZ_MEMORY_STREAM_H_

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "liblever/rpc/byte_stream.h"

namespace lever::fuzz {

// What the peer and the stream share; outlives both.
struct Wire {
  std::string to_read;  // what the end under test will read, from `read` on
  size_t read = 0;
  bool read_ended = false;  // after it
  int read_error = 0;       // 0: in order
  size_t read_piece = SIZE_MAX;
  std::string written;     // what it has written
  size_t room = SIZE_MAX;  // that the peer still takes
  size_t write_piece = SIZE_MAX;
  bool shut_down = false;  // no more will be written
};

class MemoryStream final : public rpc::ByteStream {
 public:
  explicit MemoryStream(Wire* wire) : wire_(wire), fd_(::dup(SilentFd())) {}
  ~MemoryStream() override { ::close(fd_); }

  int fd() const override { return fd_; }
  rpc::IoResult Read(std::span<uint8_t> into) override {
    const size_t there = wire_->to_read.size() - wire_->read;
    const size_t size = std::min({there, into.size(), wire_->read_piece});
    if (size == 0 && !wire_->read_ended) return {.bytes = 0, .error = EAGAIN};
    if (size == 0) return {.bytes = 0, .error = wire_->read_error};
    std::memcpy(into.data(), wire_->to_read.data() + wire_->read, size);
    wire_->read += size;
    return {.bytes = size,
            .error = 0,
            .drained = size == there && size < into.size() && !wire_->read_ended};
  }
  rpc::IoResult Write(std::span<const iovec> pieces) override {
    size_t left = std::min(wire_->room, wire_->write_piece);
    size_t moved = 0;
    for (const iovec& piece : pieces) {
      const size_t size = std::min(left, piece.iov_len);
      wire_->written.append(static_cast<const char*>(piece.iov_base), size);
      left -= size;
      moved += size;
    }
    if (wire_->room != SIZE_MAX) wire_->room -= moved;
    return {.bytes = moved, .error = moved == 0 ? EAGAIN : 0};
  }
  bool ShutdownWrite() override {
    wire_->shut_down = true;
    return true;
  }

 private:
  // An empty pipe's reading end: neither readable nor writable, for ever.
  static int SilentFd() {
    static const int fd = [] {
      int ends[2];
      return ::pipe(ends) == 0 ? ends[0] : -1;
    }();
    return fd;
  }

  Wire* wire_;
  int fd_;
};

}  // namespace lever::fuzz

#endif  // TESTS_FUZZ_MEMORY_STREAM_H_
