#include "lending.h"

#include <unistd.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace lever::node {
namespace {

struct Lender {
  std::mutex mutex;
  lever_queue* queue = nullptr;
  lever_service* service = nullptr;
};

struct Borrowers {
  std::mutex mutex;
  uint32_t last = 0;
  std::unordered_map<uint32_t, std::shared_ptr<Borrower>> by_number;
};

// Never destroyed: threads may end after the static objects.
Lender& TheLender() {
  static auto* lender = new Lender;
  return *lender;
}

Borrowers& TheBorrowers() {
  static auto* borrowers = new Borrowers;
  return *borrowers;
}

}  // namespace

// ---- Events ----

OwnedEvent::OwnedEvent(const lever_event& event) : event_(event) {
  for (size_t i = 0; i < event.slice_count; ++i) {
    const lever_slice& slice = event.slices[i];
    payload_.insert(payload_.end(), slice.data, slice.data + slice.size);
  }
  slice_ = {.data = payload_.data(), .size = payload_.size()};
  event_.slices = &slice_;
  event_.slice_count = event.slice_count == 0 ? 0 : 1;
  if (event.message != nullptr) event_.message = (message_ = event.message).c_str();
  texts_.reserve(2 * event.metadata_count);
  for (size_t i = 0; i < event.metadata_count; ++i) {
    const lever_metadata& field = event.metadata[i];
    const std::string& name = texts_.emplace_back(field.name, field.name_size);
    const std::string& value = texts_.emplace_back(field.value, field.value_size);
    metadata_.push_back({name.data(), name.size(), value.data(), value.size()});
  }
  event_.metadata = metadata_.data();
  event_.caller = nullptr;  // of what comes in, which is never lent
  event_.retained = nullptr;
}

bool Borrower::Put(const lever_event& event) {
  auto owned = std::make_unique<OwnedEvent>(event);
  const std::lock_guard lock(mutex_);
  if (wake_ == nullptr) return false;
  events_.push_back(std::move(owned));
  if (events_.size() == 1) uv_async_send(wake_);
  return true;
}

std::vector<std::unique_ptr<OwnedEvent>> Borrower::Take(size_t most, bool* left) {
  std::vector<std::unique_ptr<OwnedEvent>> taken;
  const std::lock_guard lock(mutex_);
  const size_t count = std::min(most, events_.size());
  taken.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    taken.push_back(std::move(events_.front()));
    events_.pop_front();
  }
  *left = !events_.empty();
  return taken;
}

void Borrower::Leave() {
  std::deque<std::unique_ptr<OwnedEvent>> dropped;
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
  dropped.swap(events_);
  for (const auto& owned : dropped) {
    const lever_event& event = owned->event();
    if (event.type == LEVER_EVENT_CLOSED) {
      lever_client_destroy(static_cast<lever_client*>(event.object));
    }
  }
}

// ---- The lender ----

void OfferToLend(lever_queue* queue, lever_service* service) {
  if (gettid() != getpid()) return;
  Lender& lender = TheLender();
  const std::lock_guard lock(lender.mutex);
  if (lender.service != nullptr) return;
  lender.queue = queue;
  lender.service = service;
}

void EndLending(const lever_service* service) {
  Lender& lender = TheLender();
  const std::lock_guard lock(lender.mutex);
  if (lender.service != service) return;
  lender.queue = nullptr;
  lender.service = nullptr;
}

bool IsLent(const lever_queue* own) {
  Lender& lender = TheLender();
  const std::lock_guard lock(lender.mutex);
  return lender.service != nullptr && lender.queue != own;
}

std::optional<lever_status> Borrow(const lever_queue* own, lever_client_options options,
                                   lever_client** client, lever_queue** lender,
                                   lever_error** error) {
  Lender& from = TheLender();
  const std::lock_guard lock(from.mutex);
  if (from.service == nullptr || from.queue == own) return std::nullopt;
  options.service = from.service;
  *lender = from.queue;
  return lever_client_create(from.queue, &options, client, error);
}

// ---- Borrowers ----

uint32_t AddBorrower(std::shared_ptr<Borrower> borrower) {
  Borrowers& borrowers = TheBorrowers();
  const std::lock_guard lock(borrowers.mutex);
  // In as many steps as there are numbers, 0 apart, the first ones are free again.
  while (++borrowers.last == 0 || borrowers.by_number.contains(borrowers.last)) {
  }
  borrowers.by_number.emplace(borrowers.last, std::move(borrower));
  return borrowers.last;
}

void RemoveBorrower(uint32_t number) {
  Borrowers& borrowers = TheBorrowers();
  const std::lock_guard lock(borrowers.mutex);
  borrowers.by_number.erase(number);
}

void Forward(const lever_event& event) {
  std::shared_ptr<Borrower> borrower;
  {
    Borrowers& borrowers = TheBorrowers();
    const std::lock_guard lock(borrowers.mutex);
    const auto found = borrowers.by_number.find(BorrowerOf(event));
    if (found != borrowers.by_number.end()) borrower = found->second;
  }
  if (borrower != nullptr && borrower->Put(event)) return;
  if (event.type == LEVER_EVENT_CLOSED) {
    lever_client_destroy(static_cast<lever_client*>(event.object));
  }
}

}  // namespace lever::node
