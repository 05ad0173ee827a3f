// The slots of a queue: ids are handed out and looked up by any thread, without waiting for the
// loop.
//
// Threads: Allocate() and Find() by any thread, Release() by who holds the loop's word, or who has
// given the id to nobody.
//
// Invariants
//  1. Find() gives null, for ever, for every id that is over, and for every one that never was.
//  2. At most `limit` slots are allocated at a time. Slots are freed with the table.
//  3. A slot whose generations are used up is retired.
// Slots lie in chunks that are never moved; those that are free form a stack, whose head has a
// counter beside it against the same slot's having gone and come back meanwhile.
#ifndef LIBLEVER_CAPI_SLOT_TABLE_H_
#define LIBLEVER_CAPI_SLOT_TABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "liblever/capi/slot.h"

namespace lever::capi {

class SlotTable {
 public:
  static constexpr uint32_t kLimitMax = 1 << 24;

  SlotTable(lever_queue* queue, uint32_t limit);
  ~SlotTable();

  // A live slot of that kind; null if the limit is reached.
  Slot* Allocate(uint64_t kind);
  // The slot of a live id of one of these kinds, or null.
  Slot* Find(uint64_t id, Kinds kinds) const;
  void Release(Slot* slot);

 private:
  static constexpr uint32_t kChunkSlots = 256;
  // Room for slots that are retired.
  static constexpr uint32_t kSpareChunks = 16;

  Slot* At(uint32_t index) const {
    Slot* const* chunk = chunks_[index / kChunkSlots].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : chunk[index % kChunkSlots];
  }
  void Push(Slot* slot);
  Slot* Pop();
  bool Grow();

  lever_queue* const queue_;
  const uint32_t limit_;
  std::atomic<uint32_t> allocated_{0};
  std::atomic<uint64_t> free_{0};  // a counter (high), and the index of the first free slot (low)
  std::mutex grow_mutex_;
  uint32_t chunk_count_ = 0;
  std::vector<std::atomic<Slot**>> chunks_;
};

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_SLOT_TABLE_H_
