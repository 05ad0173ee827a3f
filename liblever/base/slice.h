// Bytes that are shared instead of copied.
//
// A Buffer is one counted allocation; a Slice is a range of bytes and a share of the buffer that
// they lie in. Slices are values: copying one copies the share, not the bytes. The count is atomic,
// so that a slice may be released on another thread than the one that made it; the bytes themselves
// are immutable once a slice has been handed on.
//
// A slice of a 64 KiB receive buffer keeps the whole of it alive. Whoever keeps a small slice beyond
// the turn in which it arrived calls Compact(), which copies it out where that saves memory.
#ifndef LIBLEVER_BASE_SLICE_H_
#define LIBLEVER_BASE_SLICE_H_

#include <atomic>
#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace lever {

class Buffer {
 public:
  // A buffer with `capacity` writable bytes and a count of one.
  static Buffer* New(size_t capacity);

  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void Ref() { count_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) Free(this);
  }
  // Whether the caller's share is the only one, so that the bytes may be written again.
  bool Unique() const { return count_.load(std::memory_order_acquire) == 1; }

  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
  size_t capacity() const { return capacity_; }

 private:
  explicit Buffer(size_t capacity) : capacity_(capacity) {}
  static void Free(Buffer* buffer);

  std::atomic<uint32_t> count_{1};
  size_t capacity_;
};

class Slice {
 public:
  Slice() = default;
  // Takes over one share of `owner` (no increment). `owner` null: static bytes that outlive all.
  Slice(const uint8_t* data, size_t size, Buffer* owner) : data_(data), size_(size), owner_(owner) {}
  Slice(const Slice& other) : data_(other.data_), size_(other.size_), owner_(other.owner_) {
    if (owner_ != nullptr) owner_->Ref();
  }
  Slice(Slice&& other) noexcept
      : data_(other.data_), size_(other.size_), owner_(std::exchange(other.owner_, nullptr)) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  Slice& operator=(Slice other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(owner_, other.owner_);
    return *this;
  }
  ~Slice() {
    if (owner_ != nullptr) owner_->Unref();
  }

  static Slice Copy(std::span<const uint8_t> bytes);
  static Slice Copy(std::string_view text) {
    return Copy(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  // Bytes that live as long as the program.
  static Slice Static(std::string_view text) {
    return Slice(reinterpret_cast<const uint8_t*>(text.data()), text.size(), nullptr);
  }

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<const uint8_t> span() const { return {data_, size_}; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }
  Buffer* owner() const { return owner_; }

  // Bytes [offset, offset + size) as a slice of the same buffer. Both within size().
  Slice Sub(size_t offset, size_t size) const {
    if (owner_ != nullptr) owner_->Ref();
    return Slice(data_ + offset, size, owner_);
  }
  void RemovePrefix(size_t size) {
    data_ += size;
    size_ -= size;
  }

  // Copies the bytes out if the buffer is at least kCompactRatio times larger than the slice.
  void Compact();
  static constexpr size_t kCompactRatio = 4;

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  Buffer* owner_ = nullptr;
};

// A message in pieces, in order.
using SliceList = boost::container::small_vector<Slice, 2>;

size_t TotalSize(std::span<const Slice> slices);
// All bytes in one string, or one slice (no copy where there is one piece).
std::string Concat(std::span<const Slice> slices);
Slice Flatten(const SliceList& slices);

}  // namespace lever

#endif  // LIBLEVER_BASE_SLICE_H_
