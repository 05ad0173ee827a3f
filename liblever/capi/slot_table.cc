#include "liblever/capi/slot_table.h"

#include <algorithm>
#include <cassert>

namespace lever::capi {

SlotTable::SlotTable(lever_queue* queue, uint32_t limit)
    : queue_(queue),
      limit_(std::clamp<uint32_t>(limit, 1, kLimitMax)),
      chunks_((limit_ + kChunkSlots) / kChunkSlots + kSpareChunks) {}

SlotTable::~SlotTable() {
  for (std::atomic<Slot**>& chunk : chunks_) {
    Slot** slots = chunk.load();
    if (slots == nullptr) continue;
    for (uint32_t i = 0; i < kChunkSlots; ++i) delete slots[i];
    delete[] slots;
  }
}

Slot* SlotTable::Allocate(uint64_t kind) {
  if (allocated_.fetch_add(1) >= limit_) {
    allocated_.fetch_sub(1);
    return nullptr;
  }
  Slot* slot = Pop();
  while (slot == nullptr) {
    if (!Grow()) {
      allocated_.fetch_sub(1);
      return nullptr;
    }
    slot = Pop();
  }
  slot->word.fetch_or(kind | kLive);
  return slot;
}

Slot* SlotTable::Find(uint64_t id, Kinds kinds) const {
  const auto index = static_cast<uint32_t>(id);
  if (index / kChunkSlots >= chunks_.size()) return nullptr;
  Slot* slot = At(index);
  if (slot == nullptr) return nullptr;
  const uint64_t word = slot->word.load();
  if (GenerationOf(word) != id >> 32 || (word & kLive) == 0) return nullptr;
  return (Of(word & kKindMask) & kinds) != 0 ? slot : nullptr;
}

void SlotTable::Release(Slot* slot) {
  assert((slot->word.load() & kLive) == 0);
  assert(slot->call == nullptr && slot->stream == nullptr && slot->incoming == nullptr);
  slot->user_data = nullptr;
  slot->counted_units = 0;
  slot->deadline_ns.store(kNever);
  slot->gate.store(nullptr);
  slot->bare.store(false);
  slot->moving.store(false);
  slot->resource_generation.store(0);
  const uint64_t generation = GenerationOf(slot->word.load());
  allocated_.fetch_sub(1);
  // Without kLive nobody changes the word any more.
  slot->word.store((generation + 1) << 32);
  if (generation != UINT32_MAX) Push(slot);
}

void SlotTable::Push(Slot* slot) {
  uint64_t head = free_.load();
  uint64_t next;
  do {
    slot->next_free.store(static_cast<uint32_t>(head));
    next = ((head >> 32) + 1) << 32 | slot->index;
  } while (!free_.compare_exchange_weak(head, next));
}

Slot* SlotTable::Pop() {
  uint64_t head = free_.load();
  for (;;) {
    const auto index = static_cast<uint32_t>(head);
    if (index == 0) return nullptr;
    Slot* slot = At(index);
    const uint64_t next = ((head >> 32) + 1) << 32 | slot->next_free.load();
    if (free_.compare_exchange_weak(head, next)) return slot;
  }
}

// Adds one chunk, unless another thread just has.
bool SlotTable::Grow() {
  const std::lock_guard lock(grow_mutex_);
  if (static_cast<uint32_t>(free_.load()) != 0) return true;
  if (chunk_count_ == chunks_.size()) return false;
  auto** slots = new Slot*[kChunkSlots];
  const uint32_t first = chunk_count_ * kChunkSlots;
  for (uint32_t i = 0; i < kChunkSlots; ++i) slots[i] = new Slot(queue_, first + i);
  chunks_[chunk_count_++].store(slots, std::memory_order_release);
  // Backwards, so that the lowest is taken first. Index 0 is no slot: ids of it would be no ids.
  for (uint32_t i = kChunkSlots; i-- > 0;) {
    if (first + i != 0) Push(slots[i]);
  }
  return true;
}

}  // namespace lever::capi
