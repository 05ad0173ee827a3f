// A socket with faults: it moves a few bytes at a time, and breaks where it is told to.
#ifndef TESTS_RPC_FAULTY_STREAM_H_
#define TESTS_RPC_FAULTY_STREAM_H_

#include <algorithm>
#include <cerrno>
#include <memory>
#include <random>
#include <string>

#include "liblever/base/fd.h"
#include "liblever/rpc/byte_stream.h"

namespace lever::rpc {

// A socket that moves at most `piece_max` bytes at a time, and records both directions.
class FaultyStream : public ByteStream {
 public:
  FaultyStream(UniqueFd socket, uint32_t seed, size_t piece_max)
      : inner_(SocketStream(std::move(socket))), random_(seed), piece_max_(piece_max) {}

  int fd() const override { return inner_->fd(); }
  IoResult Read(std::span<uint8_t> into) override {
    const size_t size = std::min(into.size(), Piece());
    IoResult result = inner_->Read(into.first(size));
    result.drained = false;
    if (read_log != nullptr) {
      read_log->append(reinterpret_cast<const char*>(into.data()), result.bytes);
    }
    return result;
  }
  IoResult Write(std::span<const iovec> pieces) override {
    const size_t limit = std::min({Piece(), pieces[0].iov_len, write_limit});
    if (limit == 0) return {.bytes = 0, .error = EPIPE};
    const iovec piece{pieces[0].iov_base, limit};
    const IoResult result = inner_->Write({&piece, 1});
    write_limit -= result.bytes;
    if (write_log != nullptr) {
      write_log->append(static_cast<const char*>(piece.iov_base), result.bytes);
    }
    return result;
  }
  bool ShutdownWrite() override { return inner_->ShutdownWrite(); }

  size_t write_limit = SIZE_MAX;  // then it breaks
  std::string* read_log = nullptr;
  std::string* write_log = nullptr;

 private:
  size_t Piece() { return std::uniform_int_distribution<size_t>(1, piece_max_)(random_); }

  std::unique_ptr<ByteStream> inner_;
  std::mt19937 random_;
  size_t piece_max_;
};

}  // namespace lever::rpc

#endif  // TESTS_RPC_FAULTY_STREAM_H_
