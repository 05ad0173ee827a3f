// One attachment for all threads of an instance.
//
// An instance that a host has started has one attachment to it, which belongs to the queue of the
// main thread. A client that a worker thread makes without an address is made on that queue, and
// called from the worker: the C ABI allows any thread. What comes back comes on the main thread,
// which copies it and wakes the worker. So the calls of all threads are the instance's own, and its
// host needs to know nothing of threads.
//
// An event's user_data says whose it is: the low 32 bits are the token that JavaScript gave, the
// high ones the borrower, 0 for the queue's own thread.
//
// Threads: any.
//
// Invariants
//  1. A borrower that has left is never woken, and no event is kept for it.
//  2. A client that was lent is destroyed when its LEVER_EVENT_CLOSED has been taken: by its
//     borrower, or, where that has left, by the lender.
//  3. Node ends worker threads before the environment of the main thread, which alone lends: a
//     borrower never outlives the lender's queue.
#ifndef BINDINGS_NODE_SRC_LENDING_H_
#define BINDINGS_NODE_SRC_LENDING_H_

#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lever/lever.h"

namespace lever::node {

// An event with all that it points to.
class OwnedEvent {
 public:
  explicit OwnedEvent(const lever_event& event);
  OwnedEvent(const OwnedEvent&) = delete;
  OwnedEvent& operator=(const OwnedEvent&) = delete;

  const lever_event& event() const { return event_; }

 private:
  lever_event event_;
  std::vector<uint8_t> payload_;
  lever_slice slice_{};
  std::string message_;
  std::vector<std::string> texts_;
  std::vector<lever_metadata> metadata_;
};

// Events for a thread that has borrowed.
class Borrower {
 public:
  explicit Borrower(uv_async_t* wake) : wake_(wake) {}

  // False: it has left.
  bool Put(const lever_event& event);
  // At most `most`, the oldest first; *left says whether there are more.
  std::vector<std::unique_ptr<OwnedEvent>> Take(size_t most, bool* left);
  // Nothing is put any more, and `wake` not used.
  void Leave();

 private:
  std::mutex mutex_;
  uv_async_t* wake_;  // null: it has left
  std::deque<std::unique_ptr<OwnedEvent>> events_;
};

// `service` is that of the process, which its main thread has made: from any other this does nothing.
void OfferToLend(lever_queue* queue, lever_service* service);
// After it nothing is lent any more.
void EndLending(const lever_service* service);
// Whether a thread whose queue is `own` may borrow.
bool IsLent(const lever_queue* own);
// Makes a client of the lent service, on the lender's queue. Nothing if none is lent to `own`.
std::optional<lever_status> Borrow(const lever_queue* own, lever_client_options options,
                                   lever_client** client, lever_queue** lender,
                                   lever_error** error);

// The number that is told in an event's user_data.
uint32_t AddBorrower(std::shared_ptr<Borrower> borrower);
void RemoveBorrower(uint32_t number);

inline void* BorrowedUserData(uint32_t borrower, uint32_t token) {
  return reinterpret_cast<void*>(static_cast<uintptr_t>(uint64_t{borrower} << 32 | token));
}
inline uint32_t BorrowerOf(const lever_event& event) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(event.user_data) >> 32);
}
// Gives an event to the borrower that it is for.
void Forward(const lever_event& event);

}  // namespace lever::node

#endif  // BINDINGS_NODE_SRC_LENDING_H_
