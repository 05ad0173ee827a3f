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

// `Item` has a member `next`, `Atomic` is an atomic Item*; the model test brings its own.
template <typename Item, typename Atomic>
class BasicMailbox {
 public:
  void Push(Item* item) {
    Item* head = head_.load();
    do {
      item->next = head;
    } while (!head_.compare_exchange_weak(head, item));
  }

  bool Empty() const { return head_.load() == nullptr; }

  // The items in order, linked by `next`; null if there are none. Read `next` before Run().
  Item* TakeAll() {
    Item* newest_first = head_.exchange(nullptr);
    Item* in_order = nullptr;
    while (newest_first != nullptr) {
      Item* const item = newest_first;
      newest_first = item->next;
      item->next = in_order;
      in_order = item;
    }
    return in_order;
  }

 private:
  Atomic head_{nullptr};
};

using Mailbox = BasicMailbox<MailboxItem, std::atomic<MailboxItem*>>;

}  // namespace lever

#endif  // LIBLEVER_BASE_MAILBOX_H_
