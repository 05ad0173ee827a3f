#include "liblever/capi/queue.h"

#include <pthread.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstring>
#include <semaphore>

#include "liblever/route/user_headers.h"

namespace lever::capi {

lever_status CheckQueue(const lever_queue* queue) {
  if (!IsOurs(queue, ObjectKind::kQueue)) return LEVER_INVALID_ARGUMENT;
  return queue->loop->Forked() ? LEVER_FORKED : LEVER_OK;
}

void PerformAndWait(lever_queue* queue, const std::function<void()>& function) {
  {
    const QueueHold hold(queue);
    if (hold.held()) return function();
  }
  std::binary_semaphore called(0);
  queue->Post([&] {
    function();
    called.release();
  });
  // Mail may be left in a queue that nobody drives: it is run by whoever takes the word, so by us.
  while (!called.try_acquire_for(std::chrono::milliseconds(1))) const QueueHold hold(queue);
}

namespace {

LeaveMode LeaveModeOf(int32_t flush_explicitly) {
  switch (flush_explicitly) {
    case 0:
      return LeaveMode::kFlush;
    case LEVER_FLUSH_PROMISED:
      return LeaveMode::kPromiseFlush;
    default:
      return LeaveMode::kDeferFlush;
  }
}

LoopOptions ToLoopOptions(const lever_queue_options& options, const Clock* clock) {
  LoopOptions loop;
  loop.clock = clock;
  loop.spin_ns = std::max<int64_t>(options.spin_ns, 0);
  if (options.events_per_turn != 0) {
    loop.events_per_turn =
        static_cast<int>(std::min<uint32_t>(options.events_per_turn, Loop::kEventsPerTurn));
  }
  return loop;
}

uint32_t OrDefault(uint32_t value, uint32_t otherwise) { return value != 0 ? value : otherwise; }

// Where a delivery and the place in it lie in what `retained` of an event says.
constexpr int kDeliveryShift = 24;
constexpr size_t kDeliveredMax = (size_t{1} << kDeliveryShift) - 1;
static_assert(sizeof(void*) == sizeof(uint64_t));

}  // namespace
}  // namespace lever::capi

using lever::DeadlineAfter;
using lever::kNever;
using lever::Loop;
using lever::Status;
using lever::StatusOr;
using lever::capi::CallWaiter;
using lever::capi::Completion;
using lever::capi::ObjectKind;
using lever::capi::QueueHold;
using lever::capi::ServiceGate;
using lever::capi::Slot;
namespace capi = lever::capi;

// ---- Life ----

StatusOr<std::unique_ptr<lever_queue>> lever_queue::Open(const lever_queue_options& options) {
  auto clock = std::make_unique<lever::HoldableClock>();
  LEVER_ASSIGN_OR_RETURN(auto loop, Loop::Open(capi::ToLoopOptions(options, clock.get())));
  return std::unique_ptr<lever_queue>(new lever_queue(std::move(clock), std::move(loop), options));
}

lever_queue::lever_queue(std::unique_ptr<lever::HoldableClock> its_clock,
                         std::unique_ptr<Loop> its_loop, const lever_queue_options& options)
    : Object(ObjectKind::kQueue),
      clock(std::move(its_clock)),
      loop(std::move(its_loop)),
      slots(this, capi::OrDefault(options.in_flight_max, kInFlightMax)),
      leave_mode_(capi::LeaveModeOf(options.flush_explicitly)),
      mailbox_max_(capi::OrDefault(options.mailbox_max, kMailboxMax)) {}

lever_queue::~lever_queue() {
  for (Completion* completion : delivered_) delete completion;
  waiting_.clear_and_dispose([](Completion* completion) { delete completion; });
}

std::shared_ptr<lever::route::InProcess> lever_queue::in_process() {
  if (in_process_ == nullptr) in_process_ = std::make_shared<lever::route::InProcess>(loop.get());
  return in_process_;
}

ServiceGate* lever_queue::NewGate() {
  const std::lock_guard lock(gates_mutex_);
  return gates_.emplace_back(std::make_unique<ServiceGate>()).get();
}

void lever_queue::Leave() {
  if (leave_mode_ == lever::LeaveMode::kFlush) {
    loop->Flush();
    RecountNow();
  }
  // Only the thread that drives can keep the promise: nobody else knows when it waits.
  const bool broken = leave_mode_ == lever::LeaveMode::kPromiseFlush &&
                      driver_.load(std::memory_order_relaxed) != ::pthread_self();
  loop->Leave(broken ? lever::LeaveMode::kDeferFlush : leave_mode_);
}

// ---- Completions come about ----

Completion* lever_queue::NewEvent(lever_event_type type, Slot* slot) {
  Completion* completion;
  if (pool_.empty()) {
    completion = new Completion;
  } else {
    completion = pool_.back().release();
    pool_.pop_back();
  }
  completion->type = type;
  completion->slot = slot;
  if (slot != nullptr) {
    completion->id = slot->id();
    completion->user_data = slot->user_data;
  }
  waiting_.push_back(*completion);
  ++waiting_count_;
  loop->SetWorkOutside(true);
  return completion;
}

namespace {

void Fill(Completion* completion, lever::route::Outcome outcome) {
  completion->status = outcome.status.code();
  completion->executed = outcome.status.executed();
  completion->message.assign(outcome.status.message());
  completion->kind = outcome.kind;
  completion->payload = std::move(outcome.payload);
  if (outcome.trailing != nullptr) {
    lever::route::AddUserHeaders(*outcome.trailing, &completion->metadata);
  }
}

}  // namespace

void lever_queue::CompleteCall(Slot* slot, lever::route::Outcome outcome) {
  Completion* completion = NewEvent(LEVER_EVENT_CALL_DONE, slot);
  Fill(completion, std::move(outcome));
  slot->done = completion;
  CallWaiter* waiter = std::exchange(slot->waiter, nullptr);
  if (waiter == nullptr) return;
  HandOver(completion, waiter);
  waiter->Unref();
}

// Gives a completion to the thread that waits for it, unless it does not any more.
void lever_queue::HandOver(Completion* completion, CallWaiter* waiter) {
  lead_.Finish(waiter, completion, [this, completion] {
    completion->unlink();
    --waiting_count_;
    loop->SetWorkOutside(waiting_count_ > 0);
    EndOf(*completion);
  });
}

void lever_queue::CompleteStream(Slot* slot, lever::route::Outcome outcome) {
  CancelChildren(slot);
  Completion* event = NewEvent(LEVER_EVENT_STREAM_END, slot);
  event->ResumedAt(outcome.resume);
  Fill(event, std::move(outcome));
}

void lever_queue::CancelChildren(Slot* slot) {
  while (!slot->children.empty()) {
    Slot& child = slot->children.front();
    slot->children.pop_front();
    if (child.call != nullptr) child.call->Cancel();
    if (child.stream != nullptr) {
      child.stream->Cancel(lever::Cancelled("the call within which it was made has ended"));
    }
  }
}

void lever_queue::RecountLater(Slot* slot) {
  if (std::exchange(slot->recount, true)) return;
  recount_.push_back(slot);
}

void lever_queue::RecountNow() {
  for (Slot* slot : recount_) {
    slot->recount = false;
    if (slot->stream != nullptr) slot->Recount();
  }
  recount_.clear();
}

// ---- Completions are fetched ----

lever_status lever_queue::Next(lever_event* events, size_t event_size, size_t capacity,
                               int64_t timeout_ns, size_t* count) {
  if (!lead_.TakeForNext([this] { loop->Wake(); })) return LEVER_BUSY;
  lever_status status = loop->Enter(&timeout_ns).code();
  if (status == LEVER_OK) {
    driver_.store(::pthread_self(), std::memory_order_relaxed);
    RecycleDelivered();
    status = RunUntilEvent(capacity, timeout_ns);
    *count = Deliver(events, event_size, std::min(capacity, capi::kDeliveredMax));
    loop->SetWorkOutside(waiting_count_ > 0);
    if (*count == 0) loop->WantEdge();
    RecountNow();
    loop->Leave();
  }
  lead_.Release();
  // Somebody has held the word for a request of his all the time. He leaves an edge with what is
  // left.
  return status == LEVER_BUSY ? LEVER_OK : status;
}

int64_t lever_queue::RealNowNs() const {
  const int64_t ahead_ns = clock->AheadNs();
  // The turn has read the clock, unless it stands still.
  return ahead_ns != kNever ? loop->now_ns() - ahead_ns : lever::Clock::System().NowNs();
}

lever_status lever_queue::RunUntilEvent(size_t capacity, int64_t timeout_ns) {
  // What waits already is handed out first, so that it does not pile up.
  if (waiting_count_ >= capacity) return LEVER_OK;
  const int64_t until_ns = DeadlineAfter(RealNowNs(), timeout_ns);
  int64_t left_ns = waiting_count_ > 0 ? 0 : timeout_ns;
  for (;;) {
    const StatusOr<bool> did = loop->RunTurn(left_ns);
    if (!did.ok()) return did.status().code();
    if (woken.load(std::memory_order_relaxed) && woken.exchange(false)) return LEVER_OK;
    if (waiting_count_ > 0 || left_ns == 0) return LEVER_OK;
    // A signal handler has interrupted the wait, or it is over.
    if (!*did) return LEVER_OK;
    if (until_ns != kNever) left_ns = std::max<int64_t>(until_ns - RealNowNs(), 0);
    RecountNow();
  }
}

size_t lever_queue::Deliver(lever_event* events, size_t event_size, size_t capacity) {
  ++delivery_;
  const size_t written = std::min(event_size, sizeof(lever_event));
  auto* to = reinterpret_cast<unsigned char*>(events);
  size_t count = 0;
  while (count < capacity && !waiting_.empty()) {
    Completion* completion = &waiting_.front();
    waiting_.pop_front();
    --waiting_count_;
    if (Drop(completion)) {
      Recycle(completion);
      continue;
    }
    lever_event event;
    completion->Describe(&event);
    delivered_.push_back(completion);
    event.retained = reinterpret_cast<void*>(delivery_ << capi::kDeliveryShift | delivered_.size());
    std::memcpy(to, &event, written);
    if (event_size > written) std::memset(to + written, 0, event_size - written);
    to += event_size;
    ++count;
    EndOf(*completion);
  }
  return count;
}

// Whether an event is of an id that was over before. The last event of a stream that was refused is
// dropped, too, and is what frees the slot.
bool lever_queue::Drop(Completion* completion) {
  Slot* slot = completion->slot;
  if (slot == nullptr || slot->IsLive(completion->id)) return false;
  if (completion->type == LEVER_EVENT_STREAM_END && slot->IsSame(completion->id)) {
    slots.Release(slot);
  }
  return true;
}

// What the last event of an id or object does when it is handed out.
void lever_queue::EndOf(const Completion& completion) {
  if (completion.type == LEVER_EVENT_CLOSED) {
    // The object may be destroyed from here on.
    capi::MarkClosed(completion.object);
    return;
  }
  if (completion.type != LEVER_EVENT_CALL_DONE && completion.type != LEVER_EVENT_STREAM_END) return;
  Slot* slot = completion.slot;
  slot->done = nullptr;
  if (CallWaiter* waiter = std::exchange(slot->waiter, nullptr)) waiter->Unref();
  if (slot->End(completion.id)) slots.Release(slot);
}

void lever_queue::RecycleDelivered() {
  for (Completion* completion : delivered_) Recycle(completion);
  delivered_.clear();
}

void lever_queue::Recycle(Completion* completion) {
  if (pool_.size() >= kPooledCompletionsMax) {
    delete completion;
    return;
  }
  completion->Recycle();
  pool_.emplace_back(completion);
}

void lever_queue::TakeBack(Completion* completion) {
  const QueueHold hold(this);
  if (hold.held()) {
    Recycle(completion);
  } else {
    delete completion;
  }
}

const Completion* lever_queue::Delivered(const lever_event& event) const {
  const auto token = reinterpret_cast<uintptr_t>(event.retained);
  const size_t place = token & capi::kDeliveredMax;
  if (token >> capi::kDeliveryShift != delivery_ || place == 0 || place > delivered_.size()) {
    return nullptr;
  }
  return delivered_[place - 1];
}

// ---- Waiting for one call ----

Status lever_queue::WaitFor(lever_call call, int64_t timeout_ns, CallWaiter* waiter) {
  waiter->Ref();  // of the loop's side
  capi::Perform(this, [this, call, waiter] { Attach(call, waiter); });
  const bool done =
      lead_.Wait(waiter, timeout_ns, [this, waiter](int64_t left_ns) { Drive(waiter, left_ns); });
  if (!done) return lever::DeadlineExceeded("the call goes on");
  return waiter->refused == LEVER_OK ? Status::Ok() : Status(waiter->refused, "");
}

void lever_queue::Attach(lever_call call, CallWaiter* waiter) {
  Slot* slot = slots.Find(call, capi::Of(capi::kCall));
  if (slot == nullptr) {
    lead_.Refuse(waiter, LEVER_INVALID_ARGUMENT);
  } else if (slot->done != nullptr) {
    HandOver(slot->done, waiter);
  } else if (slot->waiter != nullptr && !lead_.IsAbandoned(slot->waiter)) {
    lead_.Refuse(waiter, LEVER_BUSY);
  } else {
    if (slot->waiter != nullptr) slot->waiter->Unref();
    slot->waiter = waiter;
    return;
  }
  waiter->Unref();
}

// Runs turns until the waiter is done, a lever_queue_next() wants to, or the time is over.
void lever_queue::Drive(CallWaiter* waiter, int64_t timeout_ns) {
  int64_t left_ns = timeout_ns;
  if (!loop->Enter(&left_ns).ok()) return;
  const int64_t until_ns = DeadlineAfter(RealNowNs(), left_ns);
  while (!lead_.IsDone(waiter) && !lead_.WantedByNext() && left_ns != 0) {
    if (!loop->RunTurn(left_ns).ok()) break;
    if (until_ns != kNever) left_ns = std::max<int64_t>(until_ns - RealNowNs(), 0);
    RecountNow();
  }
  loop->Leave();
}
