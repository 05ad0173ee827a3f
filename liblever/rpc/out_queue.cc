#include "liblever/rpc/out_queue.h"

#include <algorithm>
#include <cstring>

#include "liblever/rpc/limits.h"

namespace lever::rpc {

OutQueue::~OutQueue() {
  if (chunk_ != nullptr) chunk_->Unref();
}

void OutQueue::Append(std::span<const uint8_t> bytes) {
  appended_ += bytes.size();
  while (!bytes.empty()) {
    if (chunk_ != nullptr && chunk_end_ == chunk_->capacity()) {
      Seal();
      chunk_->Unref();
      chunk_ = nullptr;
    }
    if (chunk_ == nullptr) {
      chunk_ = Buffer::New(kReceiveBufferBytes);
      chunk_begin_ = chunk_end_ = 0;
    }
    const size_t size = std::min(bytes.size(), chunk_->capacity() - chunk_end_);
    std::memcpy(chunk_->data() + chunk_end_, bytes.data(), size);
    chunk_end_ += size;
    bytes = bytes.subspan(size);
  }
}

void OutQueue::AppendFrom(SliceQueue* queue, size_t size) {
  while (size > 0) {
    const Slice& first = queue->front();
    const size_t piece = std::min(size, first.size());
    if (piece < kShareBytesMin) {
      Append(first.span().first(piece));
      queue->RemoveFront(piece);
    } else {
      Seal();
      appended_ += piece;
      sealed_.Push(queue->TakeFront(piece));
    }
    size -= piece;
  }
}

// Makes what the chunk holds a slice of its own.
void OutQueue::Seal() {
  if (chunk_begin_ == chunk_end_) return;
  chunk_->Ref();
  sealed_.Push(Slice(chunk_->data() + chunk_begin_, chunk_end_ - chunk_begin_, chunk_));
  chunk_begin_ = chunk_end_;
}

size_t OutQueue::Gather(std::span<iovec> pieces) {
  Seal();
  const std::span<const Slice> slices = sealed_.slices();
  const size_t count = std::min(pieces.size(), slices.size());
  for (size_t i = 0; i < count; ++i) {
    pieces[i] = {const_cast<uint8_t*>(slices[i].data()), slices[i].size()};
  }
  return count;
}

void OutQueue::Written(size_t size) {
  written_ += size;
  sealed_.RemoveFront(size);
  if (bytes() == 0) chunk_begin_ = chunk_end_ = 0;
}

void OutQueue::EndTurn() {
  if (bytes() != 0) {
    Seal();
    sealed_.Compact();
  }
  if (chunk_ != nullptr) chunk_->Unref();
  chunk_ = nullptr;
  chunk_begin_ = chunk_end_ = 0;
}

}  // namespace lever::rpc
