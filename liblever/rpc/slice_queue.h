// Bytes that wait to be sent, in order, as shared slices.
//
// Not thread-safe. Invariants
//  1. bytes() is the sum of what was pushed and not yet removed.
//  2. No empty slice is kept.
//  3. After Compact() the memory that the queue pins is in proportion to bytes(): small neighbours
//  lie
//     in one buffer, and no slice keeps a buffer alive that is much larger than itself.
#ifndef LIBLEVER_RPC_SLICE_QUEUE_H_
#define LIBLEVER_RPC_SLICE_QUEUE_H_

#include <cstddef>
#include <vector>

#include "liblever/base/slice.h"

namespace lever::rpc {

class SliceQueue {
 public:
  void Push(Slice slice);
  // The oldest slice; there is one.
  const Slice& front() const { return slices_[head_]; }
  // The oldest `size` bytes, all of them within the first slice.
  Slice TakeFront(size_t size);
  void RemoveFront(size_t size);

  bool empty() const { return bytes_ == 0; }
  size_t bytes() const { return bytes_; }
  // The slices, oldest first.
  std::span<const Slice> slices() const { return std::span(slices_).subspan(head_); }
  void Clear();
  // Copies what was pushed since the last time and would waste memory if it stayed.
  void Compact();

 private:
  void DropFront();
  size_t MergeRun(size_t begin, size_t kept);

  std::vector<Slice> slices_;
  size_t head_ = 0;       // slices before it are gone
  size_t compacted_ = 0;  // slices before it need no further look
  size_t bytes_ = 0;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_SLICE_QUEUE_H_
