#include "engine.h"

#include <chrono>
#include <utility>

#include "call.h"
#include "decode.h"
#include "incoming.h"
#include "interned.h"

namespace lever::python {
namespace {

// Batches in one turn, so that what else the loop has to do gets its turn.
constexpr int kBatchesMax = 8;
// How long an end waits for the last words to its peers.
constexpr int64_t kShutdownNs = 500 * 1000 * 1000;

int64_t SteadyNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

// Without the GIL. Nothing here has a destructor: a thread may end where it waits for the GIL again.
lever_status Next(lever_queue* queue, lever_event* events, size_t capacity, int64_t timeout_ns,
                  size_t* count) {
  lever_status status;
  Py_BEGIN_ALLOW_THREADS;
  status = lever_queue_next(queue, events, sizeof(lever_event), capacity, timeout_ns, count);
  Py_END_ALLOW_THREADS;
  return status;
}

// From where a stream of ours that has ended could be taken up again. False with an exception set.
bool SetResume(PyObject* error, const lever_event& event) {
  const Ref token(PyBytes_FromStringAndSize(static_cast<const char*>(event.resume_token),
                                            static_cast<Py_ssize_t>(event.resume_token_size)));
  const Ref received(PyLong_FromUnsignedLongLong(event.resume_received));
  return token && received &&
         Ref(PyObject_CallMethodObjArgs(error, names.set_resume, token.get(), received.get(),
                                        nullptr));
}

}  // namespace

Engine::Owner Engine::Open(PyObject* loop, const EngineOptions& options) {
  Owner engine(new Engine);
  lever_queue_options queue_options{};
  queue_options.size = sizeof(queue_options);
  queue_options.flush_explicitly = LEVER_FLUSH_PROMISED;
  queue_options.events_per_turn = options.events_per_turn;
  lever_error* error = nullptr;
  const lever_status status = lever_queue_create(&queue_options, &engine->queue_, &error);
  if (status != LEVER_OK) {
    RaiseError(status, lever_error_message(error), LEVER_EXECUTED_NO);
    lever_error_destroy(error);
    return nullptr;
  }
  engine->loop_ = Ref::Borrowed(loop);
  engine->options_ = options;
  engine->thread_ = PyThread_get_thread_ident();
  engine->batch_.resize(options.capacity);
  return engine;
}

Engine::~Engine() { Shutdown(); }

void Engine::Release::operator()(Engine* engine) const {
  // A loop that still runs on another thread while the interpreter ends: all of it stays as it is.
  if (!engine->InUse()) delete engine;
}

bool Engine::InUse() const { return inside_ > 0 || IsFinalizing(); }

// ---- Turns ----

bool Engine::OnReadable() {
  if (in_turn_ || ending_) return true;
  in_turn_ = true;
  thread_ = PyThread_get_thread_ident();
  for (int i = 0; i < kBatchesMax && !ending_; ++i) {
    size_t count = 0;
    ++inside_;
    const lever_status status = Next(queue_, batch_.data(), batch_.size(), 0, &count);
    --inside_;
    if (status != LEVER_OK) break;
    delivered_ += count;
    for (size_t at = 0; at < count; ++at) Deliver(batch_[at]);
    if (count < batch_.size()) break;
  }
  in_turn_ = false;
  flush_due_ = true;
  Flush();
  if (!fatal_) return true;
  Ref fatal = std::move(fatal_);
  RaiseObject(fatal.get());
  return false;
}

bool Engine::Flush() {
  if (!std::exchange(flush_due_, false) || ending_) return true;
  lever_queue* queue = queue_;
  ++inside_;
  Py_BEGIN_ALLOW_THREADS;
  lever_queue_flush(queue);
  Py_END_ALLOW_THREADS;
  --inside_;
  return true;
}

void Engine::Requested() {
  // What other threads request makes the descriptor readable.
  if (in_turn_ || flush_due_ || ending_ || PyThread_get_thread_ident() != thread_) return;
  const Ref handle(PyObject_CallMethodOneArg(loop_.get(), names.call_soon, flush_.get()));
  if (handle) {
    flush_due_ = true;
    return;
  }
  // The loop is closed: nobody would write it otherwise.
  PyErr_Clear();
  flush_due_ = true;
  Flush();
}

bool Engine::CallSoon(PyObject* callback, PyObject* context, PyObject* argument) {
  PyObject* arguments[] = {loop_.get(), callback, argument, context};
  const Ref keywords(PyTuple_Pack(1, names.context));
  const Ref handle(keywords ? PyObject_VectorcallMethod(names.call_soon, arguments,
                                                        3 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                                        keywords.get())
                            : nullptr);
  return static_cast<bool>(handle);
}

void Engine::CallBack(PyObject* callback, PyObject* context, PyObject* argument) {
  if (ending_) return;
  if (!in_turn_ || PyContext_Enter(context) != 0) {
    PyErr_Clear();
    if (!CallSoon(callback, context, argument)) PyErr_Clear();  // closed: nobody waits any more
    return;
  }
  const Ref result(PyObject_CallOneArg(callback, argument));
  if (!result) Report(callback);
  PyContext_Exit(context);
}

void Engine::Report(PyObject* of) {
  const bool ends = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) != 0 ||
                    PyErr_ExceptionMatches(PyExc_SystemExit) != 0;
  if (ends && (!in_turn_ || fatal_)) return PyErr_WriteUnraisable(of);
  Ref exception = TakeException();
  if (ends) {
    fatal_ = std::move(exception);
    return;
  }
  const Ref text(PyUnicode_FromFormat("Exception in %R", of));
  const Ref report(text ? PyDict_New() : nullptr);
  const bool told =
      report && PyDict_SetItem(report.get(), names.message, text.get()) == 0 &&
      PyDict_SetItem(report.get(), names.exception, exception.get()) == 0 &&
      Ref(PyObject_CallMethodOneArg(loop_.get(), names.call_exception_handler, report.get()));
  if (told) return;
  RaiseObject(exception.get());
  PyErr_WriteUnraisable(of);
}

// ---- Events ----

void Engine::Deliver(const lever_event& event) {
  if (ending_) return Drop(event);
  switch (event.type) {
    case LEVER_EVENT_CALL_DONE:
      return CallDone(static_cast<Call*>(event.user_data), event);
    case LEVER_EVENT_STREAM_MESSAGE:
    case LEVER_EVENT_STREAM_HALF_CLOSED:
    case LEVER_EVENT_WRITABLE:
    case LEVER_EVENT_STREAM_MOVING:
    case LEVER_EVENT_STREAM_END: {
      if (event.user_data != nullptr) {
        return DeliverStream(event, static_cast<PyObject*>(event.user_data));
      }
      const auto found = incoming_.find(event.id);
      if (found == incoming_.end()) return;
      const Ref stream = Ref::Borrowed(found->second.get());
      if (event.type == LEVER_EVENT_STREAM_END) incoming_.erase(found);
      return DeliverStream(event, stream.get());
    }
    case LEVER_EVENT_INCOMING_CALL:
    case LEVER_EVENT_INCOMING_STREAM:
      return OnIncoming(this, static_cast<Method*>(event.method), event);
    case LEVER_EVENT_INCOMING_CANCELLED: {
      const auto found = incoming_.find(event.id);
      if (found == incoming_.end()) return;
      const Ref object = Ref::Borrowed(found->second.get());
      return OnIncomingCancelled(this, object.get());
    }
    case LEVER_EVENT_SERVICE_STATE: return OnServiceState(event);
    case LEVER_EVENT_RESOURCE_OPEN:
    case LEVER_EVENT_RESOURCE_CLOSE: return OnResource(event);
    case LEVER_EVENT_CLOSED: return OnClosed(event);
    default: return;
  }
}

void Engine::DeliverStream(const lever_event& event, PyObject* stream) {
  Ref result;
  if (event.type == LEVER_EVENT_STREAM_MESSAGE) {
    size_t size = 0;
    for (size_t i = 0; i < event.slice_count; ++i) size += event.slices[i].size;
    const Ref value = DecodePayload(event.kind, event.slices, event.slice_count);
    const Ref bytes(value ? PyLong_FromSize_t(size) : nullptr);
    PyObject* arguments[] = {stream, value.get(), bytes.get()};
    if (bytes) {
      result.Reset(PyObject_VectorcallMethod(names.on_message, arguments,
                                             3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
    }
  } else if (event.type == LEVER_EVENT_STREAM_HALF_CLOSED) {
    result.Reset(PyObject_CallMethodNoArgs(stream, names.on_half_closed));
  } else if (event.type == LEVER_EVENT_WRITABLE) {
    result.Reset(PyObject_CallMethodNoArgs(stream, names.on_writable));
  } else if (event.type == LEVER_EVENT_STREAM_MOVING) {
    result.Reset(PyObject_CallMethodNoArgs(stream, names.on_moving));
  } else {
    Ref error = Ref::Borrowed(Py_None);
    if (event.status == LEVER_METHOD_ERROR) {
      const Ref value = DecodePayload(event.kind, event.slices, event.slice_count);
      error = Ref(value ? PyObject_CallOneArg(python_part.method_error, value.get()) : nullptr);
    } else if (event.status != LEVER_OK) {
      error = MakeError(event.status, event.message, event.executed);
      if (error && event.resumed != 0 && !SetResume(error.get(), event)) error.Reset(nullptr);
    }
    if (error) result.Reset(PyObject_CallMethodOneArg(stream, names.on_end, error.get()));
  }
  if (!result) Report(stream);
  // The library's reference to a stream of ours.
  if (event.type == LEVER_EVENT_STREAM_END && event.user_data != nullptr) Py_DECREF(stream);
}

void Engine::OnServiceState(const lever_event& event) {
  const auto found = attachments_.find(static_cast<Attachment*>(event.user_data));
  if (found == attachments_.end() || !found->second->owner) return;
  const Ref owner = Ref::Borrowed(found->second->owner.get());
  Ref error = Ref::Borrowed(Py_None);
  if (event.service_state == LEVER_SERVICE_DETACHED) {
    error = MakeError(event.status, event.message, event.executed);
  }
  const Ref state(PyLong_FromLong(event.service_state));
  const Ref result(error && state ? PyObject_CallMethodObjArgs(owner.get(), names.on_state,
                                                               state.get(), error.get(), nullptr)
                                  : nullptr);
  if (!result) Report(owner.get());
}

// The service's owner is told, which answers. One that is closed is found by no call any more.
void Engine::OnResource(const lever_event& event) {
  const auto found = attachments_.find(static_cast<Attachment*>(event.user_data));
  if (found == attachments_.end() || !found->second->owner) return;
  Attachment* attachment = found->second.get();
  const Ref owner = Ref::Borrowed(attachment->owner.get());
  Ref result;
  if (event.type == LEVER_EVENT_RESOURCE_CLOSE) {
    attachment->resources.erase(event.resource);
    result = Ref(PyObject_CallMethod(owner.get(), "_on_resource_close", "Ki",
                                     static_cast<unsigned long long>(event.resource),
                                     static_cast<int>(event.close_reason)));
  } else {
    Ref state = Ref::Borrowed(Py_None);
    if (event.kind != LEVER_KIND_NONE) {
      state = DecodePayload(event.kind, event.slices, event.slice_count);
    }
    if (state) {
      result = Ref(PyObject_CallMethod(
          owner.get(), "_on_resource_open", "KKs#Oi",
          static_cast<unsigned long long>(event.resource),
          static_cast<unsigned long long>(event.generation), event.resource_name,
          static_cast<Py_ssize_t>(event.resource_name_size), state.get(),
          static_cast<int>(event.origin)));
    }
  }
  if (!result) Report(owner.get());
}

void Engine::OnClosed(const lever_event& event) {
  const Ref owner = TakeClosed(event);
  if (!owner) return;
  const Ref result(PyObject_CallMethodNoArgs(owner.get(), names.on_closed));
  if (!result) Report(owner.get());
}

Ref Engine::TakeClosed(const lever_event& event) {
  const auto found = attachments_.find(static_cast<Attachment*>(event.user_data));
  if (found == attachments_.end()) return Ref();
  const std::shared_ptr<Attachment> attachment = found->second;
  attachments_.erase(found);
  Destroy(attachment.get());
  const auto methods = std::move(attachment->methods);
  const auto resources = std::move(attachment->resources);
  return std::move(attachment->owner);
}

std::shared_ptr<Attachment> Engine::Attach(PyObject* owner) {
  auto attachment = std::make_shared<Attachment>();
  attachment->engine = this;
  attachment->owner = Ref::Borrowed(owner);
  attachments_.emplace(attachment.get(), attachment);
  return attachment;
}

void Engine::Detach(Attachment* attachment) {
  attachment->engine = nullptr;
  attachments_.erase(attachment);
}

void Engine::Destroy(Attachment* attachment) {
  attachment->engine = nullptr;
  // Waits for whoever drives, which takes moments; another thread that drives needs no GIL meanwhile.
  if (attachment->client != nullptr) lever_client_destroy(attachment->client);
  if (attachment->service != nullptr) lever_service_destroy(attachment->service);
  attachment->client = nullptr;
  attachment->service = nullptr;
}

void Engine::AddIncoming(uint64_t id, PyObject* object) {
  incoming_[id] = Ref::Borrowed(object);
}

void Engine::RemoveIncoming(uint64_t id) {
  const auto found = incoming_.find(id);
  if (found == incoming_.end()) return;
  const Ref object = std::move(found->second);
  incoming_.erase(found);
}

// ---- The end ----

void Engine::Drop(const lever_event& event) {
  if (event.type == LEVER_EVENT_CALL_DONE) {
    CallDropped(static_cast<Call*>(event.user_data));
  } else if (event.type == LEVER_EVENT_STREAM_END && event.user_data != nullptr) {
    Py_DECREF(static_cast<PyObject*>(event.user_data));
  } else if (event.type == LEVER_EVENT_CLOSED) {
    TakeClosed(event);
  }
}

void Engine::Shutdown() {
  if (queue_ == nullptr || ending_) return;
  ending_ = true;
  if (InUse()) return;
  for (const auto& [attachment, held] : attachments_) {
    if (attachment->client != nullptr) lever_client_close(attachment->client);
    if (attachment->service != nullptr) lever_service_close(attachment->service);
  }
  const int64_t until_ns = SteadyNs() + kShutdownNs;
  while (!attachments_.empty()) {
    const int64_t left_ns = until_ns - SteadyNs();
    size_t count = 0;
    if (left_ns <= 0 || Next(queue_, batch_.data(), batch_.size(), left_ns, &count) != LEVER_OK) {
      break;
    }
    for (size_t i = 0; i < count; ++i) Drop(batch_[i]);
  }
  // With something still open, or a thread inside, this is refused: the process is about to end.
  lever_queue_destroy(queue_);
  queue_ = nullptr;
  for (const auto& [attachment, held] : attachments_) {
    attachment->engine = nullptr;
    attachment->client = nullptr;
    attachment->service = nullptr;
  }
  incoming_.clear();
  loop_.Reset();
  flush_.Reset();
}

void Engine::Abandon() {
  if (queue_ == nullptr || ending_) return;
  ending_ = true;
  for (const auto& [attachment, held] : attachments_) Destroy(attachment);
  lever_queue_destroy(queue_);
  queue_ = nullptr;
}

}  // namespace lever::python
