#include "liblever/rpc/framing.h"

#include "liblever/rpc/counters.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace lever::rpc {
namespace {

// Pieces below this are joined whatever buffer they lie in: a slice and its buffer's head cost
// about as much as the bytes.
constexpr size_t kTinyPieceBytes = 256;
// Tail buffers begin small, since most kept pieces stay alone, and double.
constexpr size_t kTailBytesMin = 256;
constexpr size_t kTailBytesMax = 16 * 1024;

constexpr uint8_t kUncompressed = 0;
constexpr uint8_t kCompressed = 1;

size_t LengthOf(const uint8_t* prefix) {
  return static_cast<size_t>(prefix[1]) << 24 | static_cast<size_t>(prefix[2]) << 16 |
         static_cast<size_t>(prefix[3]) << 8 | prefix[4];
}

}  // namespace

void MessageReader::Pieces::Push(Slice slice) {
  if (slice.empty()) return;
  bytes_ += slice.size();
  slices_.push_back(std::move(slice));
}

Slice MessageReader::Pieces::TakeFront(size_t size_max) {
  Slice& front = slices_[head_];
  Slice taken;
  if (front.size() <= size_max) {
    taken = std::move(front);
    ++head_;
  } else {
    taken = front.Sub(0, size_max);
    front.RemovePrefix(size_max);
  }
  bytes_ -= taken.size();
  if (head_ == slices_.size()) {
    Clear();
  } else if (head_ > slices_.size() / 2 && head_ >= 64) {
    slices_.erase(slices_.begin(), slices_.begin() + head_);
    settled_ -= std::min(settled_, head_);
    head_ = 0;
  }
  return taken;
}

void MessageReader::Pieces::Peek(uint8_t* to, size_t size) const {
  for (size_t i = head_; size > 0; ++i) {
    const size_t piece = std::min(size, slices_[i].size());
    std::memcpy(to, slices_[i].data(), piece);
    to += piece;
    size -= piece;
  }
}

void MessageReader::Pieces::MoveTo(SliceList* message) {
  assert(head_ == 0);
  *message = std::move(slices_);
  Clear();
}

void MessageReader::Pieces::Clear() {
  slices_.clear();
  head_ = 0;
  settled_ = 0;
  bytes_ = 0;
  DropTail();
}

size_t MessageReader::Pieces::GroupEnd(size_t begin, bool* wasteful) const {
  Buffer* owner = slices_[begin].owner();
  size_t end = begin;
  size_t bytes = 0;
  for (; end < slices_.size() && slices_[end].owner() == owner; ++end) bytes += slices_[end].size();
  *wasteful = owner != nullptr && bytes * Slice::kCompactRatio <= owner->capacity();
  return end;
}

void MessageReader::Pieces::Compact() {
  size_t kept = std::max(head_, settled_);
  size_t group_end = 0;
  bool wasteful = false;
  for (size_t i = kept; i < slices_.size(); ++i) {
    if (i >= group_end) group_end = GroupEnd(i, &wasteful);
    const bool tiny = kept > head_ && slices_[i].size() < kTinyPieceBytes;
    if (wasteful || tiny) {
      Join(Slice(std::move(slices_[i])), &kept);
    } else {
      if (kept != i) slices_[kept] = std::move(slices_[i]);
      ++kept;
    }
  }
  slices_.erase(slices_.begin() + kept, slices_.end());
  settled_ = kept;
}

void MessageReader::Pieces::Join(const Slice& slice, size_t* kept) {
  if (tail_ == nullptr || tail_->capacity() - tail_used_ < slice.size()) {
    const size_t doubled = tail_ == nullptr ? kTailBytesMin : 2 * tail_->capacity();
    DropTail();
    tail_ = Buffer::New(std::max(slice.size(), std::min(doubled, kTailBytesMax)));
  }
  uint8_t* to = tail_->data() + tail_used_;
  std::memcpy(to, slice.data(), slice.size());
  tail_used_ += slice.size();
  tail_->Ref();
  if (*kept > head_) {
    Slice& before = slices_[*kept - 1];
    if (before.owner() == tail_ && before.data() + before.size() == to) {
      before = Slice(before.data(), before.size() + slice.size(), tail_);
      return;
    }
  }
  slices_[*kept] = Slice(to, slice.size(), tail_);
  ++*kept;
}

void MessageReader::Pieces::DropTail() {
  if (tail_ == nullptr) return;
  tail_->Unref();
  tail_ = nullptr;
  tail_used_ = 0;
}

void MessageReader::Reset(size_t message_bytes_max) {
  message_bytes_max_ = message_bytes_max;
  compressed_allowed_ = false;
  received_.Clear();
  assembled_.Clear();
  prefix_bytes_ = 0;
  message_bytes_ = 0;
  consumed_ = 0;
}

void MessageReader::Append(Slice bytes) { received_.Push(std::move(bytes)); }

Status MessageReader::ReadPrefix() {
  message_bytes_ = LengthOf(prefix_);
  size_t bytes_max = message_bytes_max_;
  if (prefix_[0] != kUncompressed) {
    if (prefix_[0] != kCompressed) {
      return Internal("a message begins with the unknown flags " + std::to_string(prefix_[0]));
    }
    if (!compressed_allowed_) {
      return Internal(
          "a message is flagged as compressed, but the headers name no grpc-encoding that is known "
          "here (identity, gzip)");
    }
    bytes_max = CompressedBytesMax(bytes_max);
  }
  if (message_bytes_ > bytes_max) {
    Count(LocalCounters().limit_message_bytes);
    return ResourceExhausted("a message of " + std::to_string(message_bytes_) +
                             " bytes is above the limit of " + std::to_string(message_bytes_max_));
  }
  return Status::Ok();
}

StatusOr<bool> MessageReader::Next(SliceList* message) {
  while (prefix_bytes_ < kGrpcPrefixBytes) {
    if (received_.bytes() == 0) return false;
    const Slice piece = received_.TakeFront(kGrpcPrefixBytes - prefix_bytes_);
    std::memcpy(prefix_ + prefix_bytes_, piece.data(), piece.size());
    prefix_bytes_ += piece.size();
    consumed_ += piece.size();
    if (prefix_bytes_ == kGrpcPrefixBytes) LEVER_RETURN_IF_ERROR(ReadPrefix());
  }
  while (assembled_.bytes() < message_bytes_) {
    if (received_.bytes() == 0) return false;
    Slice piece = received_.TakeFront(message_bytes_ - assembled_.bytes());
    consumed_ += piece.size();
    assembled_.Push(std::move(piece));
  }
  assembled_.MoveTo(message);
  prefix_bytes_ = 0;
  message_bytes_ = 0;
  return true;
}

size_t MessageReader::TakeConsumed() { return std::exchange(consumed_, 0); }

bool MessageReader::HasWholeMessage() const {
  if (prefix_bytes_ == kGrpcPrefixBytes) {
    return assembled_.bytes() + received_.bytes() >= message_bytes_;
  }
  const size_t missing = kGrpcPrefixBytes - prefix_bytes_;
  if (received_.bytes() < missing) return false;
  uint8_t prefix[kGrpcPrefixBytes];
  std::memcpy(prefix, prefix_, prefix_bytes_);
  received_.Peek(prefix + prefix_bytes_, missing);
  return received_.bytes() - missing >= LengthOf(prefix);
}

void MessageReader::Compact() {
  received_.Compact();
  assembled_.Compact();
}

PrefixWriter::~PrefixWriter() {
  if (buffer_ != nullptr) buffer_->Unref();
}

Slice PrefixWriter::Prefix(size_t message_bytes, Compression compression) {
  assert(message_bytes <= UINT32_MAX);
  if (buffer_ != nullptr && buffer_->Unique()) used_ = 0;
  if (buffer_ == nullptr || used_ == kPrefixesPerBuffer * kGrpcPrefixBytes) {
    if (buffer_ != nullptr) buffer_->Unref();
    buffer_ = Buffer::New(kPrefixesPerBuffer * kGrpcPrefixBytes);
    used_ = 0;
  }
  uint8_t* prefix = buffer_->data() + used_;
  used_ += kGrpcPrefixBytes;
  prefix[0] = compression == Compression::kIdentity ? kUncompressed : kCompressed;
  for (size_t i = 0; i < 4; ++i)
    prefix[1 + i] = static_cast<uint8_t>(message_bytes >> (24 - 8 * i));
  buffer_->Ref();
  return Slice(prefix, kGrpcPrefixBytes, buffer_);
}

}  // namespace lever::rpc
