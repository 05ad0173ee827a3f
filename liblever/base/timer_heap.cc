#include "liblever/base/timer_heap.h"

#include <cassert>

#include "liblever/base/loop.h"

namespace lever {

void TimerHeap::Place(size_t index, const Entry& entry) {
  entries_[index] = entry;
  entry.timer->heap_index_ = index;
}

void TimerHeap::SiftUp(size_t index, const Entry& entry) {
  while (index > 0) {
    const size_t parent = (index - 1) / 2;
    if (!Before(entry, entries_[parent])) break;
    Place(index, entries_[parent]);
    index = parent;
  }
  Place(index, entry);
}

void TimerHeap::SiftDown(size_t index, const Entry& entry) {
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= entries_.size()) break;
    if (child + 1 < entries_.size() && Before(entries_[child + 1], entries_[child])) ++child;
    if (!Before(entries_[child], entry)) break;
    Place(index, entries_[child]);
    index = child;
  }
  Place(index, entry);
}

void TimerHeap::Push(Timer* timer, int64_t deadline_ns) {
  const Entry entry{deadline_ns, next_order_++, timer};
  entries_.push_back(entry);
  SiftUp(entries_.size() - 1, entry);
}

void TimerHeap::Remove(Timer* timer) {
  const size_t index = timer->heap_index_;
  assert(index < entries_.size() && entries_[index].timer == timer);
  const Entry last = entries_.back();
  entries_.pop_back();
  if (last.timer == timer) return;
  if (index > 0 && Before(last, entries_[(index - 1) / 2])) {
    SiftUp(index, last);
  } else {
    SiftDown(index, last);
  }
}

}  // namespace lever
