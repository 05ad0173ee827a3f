// A table whose entries are named by ids that are never valid again after their end.
//
// An id is a slot (low 32 bits) and the slot's generation (high 32 bits); 0 is no id, and ids with
// generation 0 are never given out. Single-threaded: for whoever holds the loop's word.
//
// Invariants
//  1. Find() is O(1) and gives null for every id that was erased, ever: a slot whose generations
//  are
//     used up is retired, not begun again.
//  2. At most `limit` entries live at a time; Insert() beyond that gives 0.
//  3. A pointer from Find() is good until the next Insert() or Erase().
#ifndef LIBLEVER_BASE_SLAB_H_
#define LIBLEVER_BASE_SLAB_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace lever {

template <typename T>
class Slab {
 public:
  static constexpr size_t kLimitMax = UINT32_MAX - 1;

  explicit Slab(size_t limit = kLimitMax) : limit_(limit < kLimitMax ? limit : kLimitMax) {}

  // The id of the new entry, or 0 if the table is full.
  uint64_t Insert(T value) {
    if (size_ >= limit_) return 0;
    uint32_t slot = free_head_;
    if (slot != kNone) {
      free_head_ = slots_[slot].next_free;
    } else {
      if (slots_.size() >= kLimitMax) return 0;  // all retired: 2^64 ids were used
      slot = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    }
    slots_[slot].value.emplace(std::move(value));
    ++size_;
    return (static_cast<uint64_t>(slots_[slot].generation) << 32) | slot;
  }

  T* Find(uint64_t id) {
    const auto slot = static_cast<uint32_t>(id);
    if (slot >= slots_.size()) return nullptr;
    Slot& entry = slots_[slot];
    if (entry.generation != id >> 32 || !entry.value.has_value()) return nullptr;
    return &*entry.value;
  }

  // Whether there was such an entry.
  bool Erase(uint64_t id) {
    if (Find(id) == nullptr) return false;
    const auto slot = static_cast<uint32_t>(id);
    // Taken out first: the destructor may use the table.
    [[maybe_unused]] const std::optional<T> value = std::exchange(slots_[slot].value, std::nullopt);
    --size_;
    if (++slots_[slot].generation != 0) {
      slots_[slot].next_free = free_head_;
      free_head_ = slot;
    }
    return true;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Calls `visit(id, value)` for each entry. `visit` may erase entries, and must not insert any.
  template <typename Visit>
  void ForEach(Visit visit) {
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (!slots_[slot].value.has_value()) continue;
      visit((static_cast<uint64_t>(slots_[slot].generation) << 32) | slot, *slots_[slot].value);
    }
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Slot {
    uint32_t generation = 1;
    uint32_t next_free = kNone;
    std::optional<T> value;
  };

  size_t limit_;
  size_t size_ = 0;
  uint32_t free_head_ = kNone;
  std::vector<Slot> slots_;
};

}  // namespace lever

#endif  // LIBLEVER_BASE_SLAB_H_
