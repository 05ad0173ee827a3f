// The armed timers of a loop: a binary heap by deadline, and by the order of arming where deadlines
// are equal. Single-threaded: for whoever holds the loop's word.
//
// Invariants
//  1. Top() is the earliest entry; of equal deadlines the one that was armed first.
//  2. Every timer in the heap knows its index, so that it can be taken out from the middle.
#ifndef LIBLEVER_BASE_TIMER_HEAP_H_
#define LIBLEVER_BASE_TIMER_HEAP_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lever {

class Timer;

class TimerHeap {
 public:
  struct Entry {
    int64_t deadline_ns;
    uint64_t order;  // rises with each arming
    Timer* timer;
  };

  bool empty() const { return entries_.empty(); }
  const Entry& Top() const { return entries_.front(); }
  // The order that the next Push() gets.
  uint64_t next_order() const { return next_order_; }

  void Push(Timer* timer, int64_t deadline_ns);
  void Remove(Timer* timer);

 private:
  static bool Before(const Entry& a, const Entry& b) {
    return a.deadline_ns != b.deadline_ns ? a.deadline_ns < b.deadline_ns : a.order < b.order;
  }
  void Place(size_t index, const Entry& entry);
  void SiftUp(size_t index, const Entry& entry);
  void SiftDown(size_t index, const Entry& entry);

  std::vector<Entry> entries_;
  uint64_t next_order_ = 0;
};

}  // namespace lever

#endif  // LIBLEVER_BASE_TIMER_HEAP_H_
