#include "liblever/rpc/block_pool.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace lever::rpc {
namespace {

#if defined(__SANITIZE_ADDRESS__)
// A block that is kept would hide a use after free.
constexpr bool kKeepBlocks = false;
#else
constexpr bool kKeepBlocks = true;
#endif

}  // namespace

BlockPool::BlockPool() {
  const auto self = [](void* pool) { return static_cast<BlockPool*>(pool); };
  static constexpr auto kSelf = +[](void* pool) { return static_cast<BlockPool*>(pool); };
  (void)self;
  mem_.mem_user_data = this;
  mem_.malloc = [](size_t size, void* pool) { return kSelf(pool)->Allocate(size); };
  mem_.free = [](void* block, void* pool) { kSelf(pool)->Release(block); };
  mem_.calloc = [](size_t count, size_t size, void* pool) -> void* {
    if (size != 0 && count > SIZE_MAX / size) return nullptr;
    void* block = kSelf(pool)->Allocate(count * size);
    return block == nullptr ? nullptr : std::memset(block, 0, count * size);
  };
  mem_.realloc = [](void* block, size_t size, void* pool) {
    return kSelf(pool)->Resize(block, size);
  };
}
