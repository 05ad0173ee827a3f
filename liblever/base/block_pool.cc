#include "liblever/base/block_pool.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace lever {
namespace {

#if defined(__SANITIZE_ADDRESS__)
// A block that is kept would hide a use after free.
constexpr bool kKeepBlocks = false;
#else
constexpr bool kKeepBlocks = true;
#endif

}  // namespace

BlockPool::~BlockPool() {
  for (Header*& first : kept_) {
    while (first != nullptr) {
      Header* const next = first->next;
      std::free(first);
      first = next;
    }
  }
}

void* BlockPool::Allocate(size_t size) {
  if (size > SIZE_MAX / 2) return nullptr;
  size_t bytes = size + sizeof(Header);
  const size_t index = ClassOf(bytes);
  Header* block;
  if (index == kClasses) {
    block = static_cast<Header*>(std::malloc(bytes));
  } else {
    bytes = (index + 1) * kClassBytes;
    block = kept_[index];
    if (block != nullptr) {
      kept_[index] = block->next;
      --kept_count_[index];
    } else {
      block = static_cast<Header*>(std::malloc(bytes));
    }
  }
  if (block == nullptr) return nullptr;
  block->bytes = bytes;
  return block + 1;
}

void BlockPool::Release(void* block) {
  if (block == nullptr) return;
  Header* const header = static_cast<Header*>(block) - 1;
  const size_t index = ClassOf(header->bytes);
  if (!kKeepBlocks || index == kClasses || kept_count_[index] == kKeptMax) {
    std::free(header);
    return;
  }
  header->next = kept_[index];
  kept_[index] = header;
  ++kept_count_[index];
}

void* BlockPool::Resize(void* block, size_t size) {
  if (block == nullptr) return Allocate(size);
  const size_t room = (static_cast<Header*>(block) - 1)->bytes - sizeof(Header);
  // A large block that has become a small one gives its memory back.
  if (size <= room && (room <= kClasses * kClassBytes || size >= room / 2)) return block;
  void* const moved = Allocate(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, std::min(size, room));
  Release(block);
  return moved;
}

}  // namespace lever
