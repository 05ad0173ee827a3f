// Small blocks of memory for one loop, which its protocol library allocates and frees in the same few
// sizes for every stream.
//
// Freed blocks are kept in lists by size, up to a bound, and given out again, last in first out: warmer
// and cheaper than malloc() beyond the few that a thread's cache of it holds. Not thread-safe: it
// belongs to a loop, and to who holds its word. Everything must have been released before it goes.
#ifndef LIBLEVER_BASE_BLOCK_POOL_H_
#define LIBLEVER_BASE_BLOCK_POOL_H_

#include <cstddef>

namespace lever {

class BlockPool {
 public:
  // Classes of 64, 128, .. 512 bytes, a block's header of 16 included; larger blocks are not kept.
  static constexpr size_t kClassBytes = 64;
  static constexpr size_t kClasses = 8;
  // Of one class. In all at most 256 * (64 + 128 + .. + 512) bytes, 576 KiB a loop.
  static constexpr size_t kKeptMax = 256;

  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  // As malloc(), free() and realloc(). Null without memory.
  void* Allocate(size_t size);
  void Release(void* block);
  void* Resize(void* block, size_t size);

 private:
  // What precedes every block, and keeps it aligned.
  struct alignas(std::max_align_t) Header {
    union {
      size_t bytes;  // while it is given out: of the whole block
      Header* next;  // while it is kept
    };
  };
  // The class of a block of so many bytes, kClasses if it has none.
  static size_t ClassOf(size_t bytes) {
    const size_t index = (bytes - 1) / kClassBytes;
    return index < kClasses ? index : kClasses;
  }

  Header* kept_[kClasses] = {};
  size_t kept_count_[kClasses] = {};
};

}  // namespace lever

#endif  // LIBLEVER_BASE_BLOCK_POOL_H_
