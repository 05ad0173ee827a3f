// lever_queue_*, lever_event_retain, lever_call_wait: the queue as programs see it.
#include <cassert>
#include <memory>
#include <string>

#include "lever/lever.h"
#include "liblever/capi/error.h"
#include "liblever/capi/queue.h"
#include "liblever/capi/sized.h"

namespace lever::capi {
namespace {

// A payload that outlives its event, or what a call came to.
struct Retained {
  SliceList payload;
  SliceViews views;
  std::string message;

  // Small pieces of large buffers are copied out, so that what is kept is no more than it seems.
  void Take(const SliceList& from) {
    payload = from;
    for (Slice& slice : payload) slice.Compact();
    ViewSlices(payload, &views);
  }
};

void TakeResult(Completion* completion, lever_result* result) {
  auto* retained = new Retained;
  retained->Take(completion->payload);
  retained->message = std::move(completion->message);
  if (retained->message.empty()) retained->message = StatusText(completion->status);
  result->status = completion->status;
  result->executed = completion->executed;
  result->kind = static_cast<int32_t>(completion->kind);
  result->slices = retained->views.data();
  result->slice_count = retained->views.size();
  result->message = completion->status == LEVER_OK ? nullptr : retained->message.c_str();
  result->opaque = retained;
}

}  // namespace
}  // namespace lever::capi

using lever::StatusOr;
using lever::capi::CallWaiter;
using lever::capi::CheckQueue;
using lever::capi::IsOurs;
using lever::capi::ObjectKind;
using lever::capi::QueueHold;
using lever::capi::Retained;
using lever::capi::Return;

lever_status lever_queue_create(const lever_queue_options* options, lever_queue** out,
                                lever_error** error) {
  if (out == nullptr) return Return(lever::InvalidArgument("out: NULL"), error);
  lever_queue_options read;
  const lever::Status valid =
      lever::capi::ReadSizedOrDefaults(options, "lever_queue_options", &read);
  if (!valid.ok()) return Return(valid, error);
  if (read.flush_explicitly < 0 || read.flush_explicitly > LEVER_FLUSH_PROMISED) {
    return Return(lever::InvalidArgument("flush_explicitly: 0, LEVER_FLUSH_ANNOUNCED or "
                                         "LEVER_FLUSH_PROMISED"),
                  error);
  }
  StatusOr<std::unique_ptr<lever_queue>> queue = lever_queue::Open(read);
  if (queue.ok()) *out = queue->release();
  return Return(queue.status(), error);
}

lever_status lever_queue_hold_time(lever_queue* queue) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  lever::capi::PerformAndWait(queue, [queue] { queue->clock->Hold(); });
  return LEVER_OK;
}

lever_status lever_queue_advance_time(lever_queue* queue, int64_t by_ns) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  if (by_ns < 0) return LEVER_INVALID_ARGUMENT;
  bool held = false;
  lever::capi::PerformAndWait(queue, [&] {
    held = queue->clock->held();
    if (held) queue->clock->Advance(by_ns);
  });
  return held ? lever_queue_wake(queue) : LEVER_FAILED_PRECONDITION;
}

lever_status lever_queue_resume_time(lever_queue* queue) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  lever::capi::PerformAndWait(queue, [queue] { queue->clock->Resume(); });
  return LEVER_OK;
}

lever_status lever_queue_now(lever_queue* queue, int64_t* now_ns) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  if (now_ns == nullptr) return LEVER_INVALID_ARGUMENT;
  *now_ns = queue->clock->NowNs();
  return LEVER_OK;
}

lever_status lever_queue_destroy(lever_queue* queue) {
  if (!IsOurs(queue, ObjectKind::kQueue)) return LEVER_INVALID_ARGUMENT;
  if (queue->objects.load() != 0) return LEVER_BUSY;
  if (!queue->loop->Forked()) {
    // Runs what was posted last. A thread that is inside still is one too many.
    const QueueHold hold(queue);
    if (!hold.held()) return LEVER_BUSY;
    // What was destroyed last may have ends to tell, also where flushing is left to somebody else.
    queue->loop->Flush();
  }
  delete queue;
  return LEVER_OK;
}

int lever_queue_fd(const lever_queue* queue) {
  return CheckQueue(queue) == LEVER_OK ? queue->loop->fd() : -1;
}

lever_status lever_queue_next(lever_queue* queue, lever_event* events, size_t event_size,
                              size_t capacity, int64_t timeout_ns, size_t* count) {
  if (count == nullptr) return LEVER_INVALID_ARGUMENT;
  *count = 0;
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  if (events == nullptr || event_size == 0 || capacity == 0) return LEVER_INVALID_ARGUMENT;
  return queue->Next(events, event_size, capacity, timeout_ns, count);
}

lever_status lever_queue_wake(lever_queue* queue) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  queue->woken.store(true);
  queue->loop->Wake();
  return LEVER_OK;
}

lever_status lever_queue_flush(lever_queue* queue) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  if (queue->loop->TryEnter()) queue->loop->Leave(lever::LeaveMode::kFlush);
  return LEVER_OK;
}

lever_status lever_event_retain(lever_queue* queue, const lever_event* event, lever_retained* out) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  if (event == nullptr || out == nullptr) return LEVER_INVALID_ARGUMENT;
  const lever::capi::Completion* completion = queue->Delivered(*event);
  if (completion == nullptr) return LEVER_INVALID_ARGUMENT;
  auto* retained = new Retained;
  retained->Take(completion->payload);
  out->slices = retained->views.data();
  out->slice_count = retained->views.size();
  out->opaque = retained;
  return LEVER_OK;
}

void lever_retained_release(lever_retained* retained) {
  if (retained == nullptr) return;
  delete static_cast<Retained*>(retained->opaque);
  *retained = lever_retained{};
}

lever_status lever_call_wait(lever_queue* queue, lever_call call, int64_t timeout_ns,
                             lever_result* out) {
  if (const lever_status status = CheckQueue(queue); status != LEVER_OK) return status;
  lever_result result;
  const lever::Status valid = lever::capi::ReadSized(out, "lever_result", &result);
  if (!valid.ok()) return valid.code();
  // Without room for `opaque` what it has could never be released.
  if (result.size < sizeof(lever_result)) return LEVER_INVALID_ARGUMENT;
  if (queue->slots.Find(call, lever::capi::Of(lever::capi::kCall)) == nullptr) {
    return LEVER_INVALID_ARGUMENT;
  }
  auto* waiter = new CallWaiter;
  const lever::Status waited = queue->WaitFor(call, timeout_ns, waiter);
  if (waited.ok()) {
    lever::capi::TakeResult(waiter->completion, &result);
    queue->TakeBack(waiter->completion);
    [[maybe_unused]] const lever::Status written =
        lever::capi::WriteSized(result, "lever_result", out);
    assert(written.ok());
  }
  waiter->Unref();
  return waited.code();
}

void lever_result_release(lever_result* result) {
  if (result == nullptr || result->size < sizeof(lever_result)) return;
  delete static_cast<Retained*>(result->opaque);
  const size_t size = result->size;
  *result = lever_result{};
  result->size = size;
}
