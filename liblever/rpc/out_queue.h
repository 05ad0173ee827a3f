// The bytes that a connection has for its socket.
//
// Small pieces are copied one behind the other into a chunk, large ones are shared; what comes out
// is a list of pieces for one writev. Not thread-safe.
//
// Invariants
//  1. Bytes leave in the order in which they came.
//  2. appended() - written() == bytes(): both count from the connection's beginning, so that a
//  position
//     noted when a frame was appended tells later whether any byte of it was written.
#ifndef LIBLEVER_RPC_OUT_QUEUE_H_
#define LIBLEVER_RPC_OUT_QUEUE_H_

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "liblever/base/slice.h"
#include "liblever/rpc/slice_queue.h"

namespace lever::rpc {

class OutQueue {
 public:
  OutQueue() = default;
  OutQueue(const OutQueue&) = delete;
  OutQueue& operator=(const OutQueue&) = delete;
  ~OutQueue();

  void Append(std::span<const uint8_t> bytes);
  // Moves the first `size` bytes of `queue` over.
  void AppendFrom(SliceQueue* queue, size_t size);

  size_t bytes() const { return static_cast<size_t>(appended_ - written_); }
  uint64_t appended() const { return appended_; }
  uint64_t written() const { return written_; }

  // The first pieces, for writev. Valid until the queue is changed. Returns how many.
  size_t Gather(std::span<iovec> pieces);
  void Written(size_t size);
  // At the end of a turn: keeps no memory that what is left does not need.
  void EndTurn();

 private:
  void Seal();

  SliceQueue sealed_;
  Buffer* chunk_ = nullptr;
  size_t chunk_begin_ = 0;  // [chunk_begin_, chunk_end_) of the chunk comes after sealed_
  size_t chunk_end_ = 0;
  uint64_t appended_ = 0;
  uint64_t written_ = 0;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_OUT_QUEUE_H_
