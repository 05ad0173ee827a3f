// Memory for one HTTP/2 session: nghttp2 allocates and frees the same few sizes for every stream.
//
// Freed blocks are kept in lists by size, up to a bound, and given out again. Not thread-safe: a
// session is used by one thread at a time.
#ifndef LIBLEVER_RPC_BLOCK_POOL_H_
#define LIBLEVER_RPC_BLOCK_POOL_H_

#include <nghttp2/nghttp2.h>

#include <cstddef>

namespace lever::rpc {

class BlockPool {
 public:
  BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  // Everything that was allocated must have been freed.
  ~BlockPool();

  // nghttp2's table of functions; it lives as long as the pool.
  nghttp2_mem* mem() { return &mem_; }

 private:
  // What precedes every block, and keeps it aligned.
  struct alignas(std::max_align_t) Header {
    size_t size_class;
    Header* next;
  };
  // Classes of 64, 128, .. 512 bytes, header included; larger blocks are not kept.
  static constexpr size_t kClassBytes = 64;
  static constexpr size_t kClasses = 8;
  // 2 * 256 blocks a class at most; a stream takes about two of each that is used at all.
  static constexpr size_t kKeptMax = 512;

  void* Allocate(size_t size);
  void Release(void* block);
  void* Resize(void* block, size_t size);

  Header* free_[kClasses] = {};
  size_t kept_[kClasses] = {};
  nghttp2_mem mem_;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_BLOCK_POOL_H_
