#include "liblever/base/slice.h"

#include <new>

namespace lever {
namespace {

// The size of a receive buffer, which is what is allocated again and again.
constexpr size_t kBlockBytes = 64 * 1024;
// At most this many free blocks are kept by a thread: 16 x 64 KiB = 1 MiB.
constexpr size_t kBlocksKeptMax = 16;

#if defined(__SANITIZE_ADDRESS__)
// A block that is kept would hide a use after free.
constexpr bool kKeepBlocks = false;
#else
constexpr bool kKeepBlocks = true;
#endif

// A slice may be released in the destructor of another thread_local, after the cache has ended. A
// plain bool has no destructor and so no end before the thread's.
thread_local bool block_cache_ended = false;

// The free blocks of one thread.
class BlockCache {
 public:
  ~BlockCache() {
    block_cache_ended = true;
    while (count_ > 0) ::operator delete(blocks_[--count_]);
  }

  void* Take() { return count_ > 0 ? blocks_[--count_] : nullptr; }

  bool Put(void* block) {
    if (count_ == kBlocksKeptMax) return false;
    blocks_[count_++] = block;
    return true;
  }

 private:
  size_t count_ = 0;
  void* blocks_[kBlocksKeptMax];
};

thread_local BlockCache block_cache;

}  // namespace

Buffer* Buffer::New(size_t capacity) {
  void* memory = nullptr;
  if (kKeepBlocks && capacity == kBlockBytes && !block_cache_ended) memory = block_cache.Take();
  if (memory == nullptr) memory = ::operator new(sizeof(Buffer) + capacity);
  return new (memory) Buffer(capacity);
}

void Buffer::Free(Buffer* buffer) {
  const bool keep = kKeepBlocks && buffer->capacity_ == kBlockBytes;
  buffer->~Buffer();
  if (keep && !block_cache_ended && block_cache.Put(buffer)) return;
  ::operator delete(buffer);
}

Slice Slice::Copy(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return Slice();
  Buffer* buffer = Buffer::New(bytes.size());
  std::memcpy(buffer->data(), bytes.data(), bytes.size());
  return Slice(buffer->data(), bytes.size(), buffer);
}

void Slice::Compact() {
  if (owner_ == nullptr || owner_->capacity() / kCompactRatio < size_) return;
  *this = Copy(span());
}

size_t TotalSize(std::span<const Slice> slices) {
  size_t total = 0;
  for (const Slice& slice : slices) total += slice.size();
  return total;
}

std::string Concat(std::span<const Slice> slices) {
  std::string text;
  text.reserve(TotalSize(slices));
  for (const Slice& slice : slices) text.append(slice.view());
  return text;
}

Slice Flatten(const SliceList& slices) {
  if (slices.empty()) return Slice();
  if (slices.size() == 1) return slices.front();
  const size_t total = TotalSize(slices);
  if (total == 0) return Slice();
  Buffer* buffer = Buffer::New(total);
  size_t offset = 0;
  for (const Slice& slice : slices) {
    // An empty slice may have no address at all.
    if (!slice.empty()) std::memcpy(buffer->data() + offset, slice.data(), slice.size());
    offset += slice.size();
  }
  return Slice(buffer->data(), total, buffer);
}

}  // namespace lever
