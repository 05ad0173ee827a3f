#include "liblever/rpc/slice_queue.h"

#include <algorithm>
#include <cassert>

#include "liblever/rpc/limits.h"

namespace lever::rpc {
namespace {

// Slots that an empty queue keeps for the next time.
constexpr size_t kSlotsKept = 64;
// Gone slots at the front are squeezed out when there are this many and they are the greater part.
constexpr size_t kGoneSlots = 32;

bool IsSmall(const Slice& slice) { return slice.size() < kShareBytesMin; }

}  // namespace

void SliceQueue::Push(Slice slice) {
  if (slice.empty()) return;
  if (head_ >= kGoneSlots && head_ * 2 >= slices_.size()) {
    slices_.erase(slices_.begin(), slices_.begin() + static_cast<ptrdiff_t>(head_));
    compacted_ -= std::min(compacted_, head_);
    head_ = 0;
  }
  bytes_ += slice.size();
  slices_.push_back(std::move(slice));
}

Slice SliceQueue::TakeFront(size_t size) {
  Slice& first = slices_[head_];
  assert(size <= first.size());
  bytes_ -= size;
  if (size == first.size()) {
    Slice taken = std::move(first);
    DropFront();
    return taken;
  }
  Slice taken = first.Sub(0, size);
  first.RemovePrefix(size);
  return taken;
}

void SliceQueue::RemoveFront(size_t size) {
  assert(size <= bytes_);
  bytes_ -= size;
  while (size > 0) {
    Slice& first = slices_[head_];
    if (size < first.size()) {
      first.RemovePrefix(size);
      return;
    }
    size -= first.size();
    first = Slice();
    DropFront();
  }
}

void SliceQueue::DropFront() {
  ++head_;
  if (head_ == slices_.size()) Clear();
}

void SliceQueue::Clear() {
  slices_.clear();
  if (slices_.capacity() > kSlotsKept) slices_.shrink_to_fit();
  head_ = 0;
  compacted_ = 0;
  bytes_ = 0;
}

void SliceQueue::Compact() {
  size_t at = std::max(compacted_, head_);
  // A small slice at the end of what was looked at before may merge with what came after it.
  if (at > head_ && IsSmall(slices_[at - 1])) --at;
  size_t kept = at;
  while (at < slices_.size()) {
    if (IsSmall(slices_[at])) {
      at = MergeRun(at, kept);
    } else {
      slices_[at].Compact();
      if (kept != at) slices_[kept] = std::move(slices_[at]);
      ++at;
    }
    ++kept;
  }
  slices_.resize(kept);
  compacted_ = kept;
}

// Puts the small slices from `begin` on into one, at `kept`. Returns the first that is not among
// them.
size_t SliceQueue::MergeRun(size_t begin, size_t kept) {
  size_t end = begin;
  size_t size = 0;
  while (end < slices_.size() && IsSmall(slices_[end]) && size < kReceiveBufferBytes) {
    size += slices_[end++].size();
  }
  if (end - begin == 1) {
    slices_[begin].Compact();
    if (kept != begin) slices_[kept] = std::move(slices_[begin]);
    return end;
  }
  Buffer* buffer = Buffer::New(size);
  size_t filled = 0;
  for (size_t i = begin; i < end; ++i) {
    std::memcpy(buffer->data() + filled, slices_[i].data(), slices_[i].size());
    filled += slices_[i].size();
    slices_[i] = Slice();
  }
  slices_[kept] = Slice(buffer->data(), size, buffer);
  return end;
}

}  // namespace lever::rpc
