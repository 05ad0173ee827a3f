// What other threads hand to a loop: an intrusive list with many producers and one consumer.
//
// Push() and Empty() may be called from any thread, TakeAll() only by who holds the drive word.
//
// Invariants
//  1. Push() allocates nothing and never waits: it is a compare-and-swap on the head.
//  2. TakeAll() hands out each item once, in the order of pushing for each producer.
//  3. The head is sequentially consistent, as drive_word.h needs it.
#ifndef LIBLEVER_BASE_MAILBOX_H_
#define LIBLEVER_BASE_MAILBOX_H_

#include <atomic>
#include <utility>

namespace lever {

// Something to be run on a loop. Whoever posts it keeps it alive until Run() or Abandon().
struct MailboxItem {
  MailboxItem() = default;
  MailboxItem(const MailboxItem&) = delete;
  MailboxItem& operator=(const MailboxItem&) = delete;
  virtual ~MailboxItem() = default;

  // On the loop. The item may destroy itself in here.
  virtual void Run() = 0;
  // Instead of Run(), if the loop is destroyed first.
  virtual void Abandon() {}

  MailboxItem* next = nullptr;
};

// `Atomic` is an atomic MailboxItem*; the model test brings its own.
template <typename Atomic>
class BasicMailbox {
 public:
  void Push(MailboxItem* item) {
    MailboxItem* head = head_.load();
    do {
      item->next = head;
    } while (!head_.compare_exchange_weak(head, item));
  }

  bool Empty() const { return head_.load() == nullptr; }

  // The items in order, linked by `next`; null if there are none. Read `next` before Run().
  MailboxItem* TakeAll() {
    MailboxItem* newest_first = head_.exchange(nullptr);
    MailboxItem* in_order = nullptr;
    while (newest_first != nullptr) {
      MailboxItem* next = std::exchange(newest_first->next, in_order);
      in_order = std::exchange(newest_first, next);
    }
    return in_order;
  }

 private:
  Atomic head_{nullptr};
};

using Mailbox = BasicMailbox<std::atomic<MailboxItem*>>;

}  // namespace lever

#endif  // LIBLEVER_BASE_MAILBOX_H_
