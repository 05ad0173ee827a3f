// The client that blocks: a queue of its own, driven by whichever thread waits.
#include <unistd.h>

#include <chrono>
#include <iterator>

#include "client.h"
#include "decode.h"
#include "interned.h"
#include "request.h"

namespace lever::python {
namespace {

// How long a wait lasts before Python's signal handlers get their turn.
constexpr int64_t kSliceNs = 100 * 1000 * 1000;
constexpr unsigned kLookAgainUs = 500;
constexpr int64_t kCloseNs = 500 * 1000 * 1000;

PyTypeObject* sync_type = nullptr;

struct SyncHandle {
  PyObject_HEAD
  lever_queue* queue;
  lever_client* client;
  long waiting;   // threads inside
  bool closing;
};

SyncHandle* Self(PyObject* object) { return reinterpret_cast<SyncHandle*>(object); }

int64_t SteadyNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

PyObject* Closed() {
  return RaiseError(LEVER_CANCELLED, "the client is closed", LEVER_EXECUTED_NO);
}

// Without the GIL. Nothing here has a destructor: a thread may end where it waits for the GIL again.
lever_status Wait(lever_queue* queue, lever_call call, int64_t timeout_ns, lever_result* out) {
  lever_status status;
  Py_BEGIN_ALLOW_THREADS;
  status = lever_call_wait(queue, call, timeout_ns, out);
  Py_END_ALLOW_THREADS;
  return status;
}

// Waits until it is done; with a signal handler that raises it is cancelled. False with an exception set.
bool WaitForResult(SyncHandle* self, lever_call call, lever_result* result) {
  ++self->waiting;
  lever_status status;
  bool interrupted = false;
  for (;;) {
    status = Wait(self->queue, call, kSliceNs, result);
    if (status != LEVER_DEADLINE_EXCEEDED) break;
    if (interrupted || PyErr_CheckSignals() == 0) continue;
    interrupted = true;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    lever_call_cancel(self->queue, call);
    status = Wait(self->queue, call, kCloseNs, result);
    if (status == LEVER_OK) lever_result_release(result);
    PyErr_Restore(type, value, trace);
    break;
  }
  --self->waiting;
  if (interrupted) return false;
  if (status == LEVER_OK) return true;
  RaiseError(status, lever_status_text(status), LEVER_EXECUTED_UNKNOWN);
  return false;
}

PyObject* TakeResult(lever_result* result) {
  PyObject* answer = nullptr;
  if (result->status == LEVER_OK) {
    answer = DecodePayload(result->kind, result->slices, result->slice_count).release();
  } else if (result->status == LEVER_METHOD_ERROR) {
    const Ref value = DecodePayload(result->kind, result->slices, result->slice_count);
    const Ref error(value ? PyObject_CallOneArg(python_part.method_error, value.get()) : nullptr);
    if (error) RaiseObject(error.get());
  } else {
    RaiseError(result->status, result->message, result->executed);
  }
  lever_result_release(result);
  return answer;
}

// call(address, args, timeout, flags, metadata) -> the method's answer
PyObject* CallMethod(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  if (count != Request::kArguments) {
    PyErr_SetString(PyExc_TypeError, "5 arguments are expected");
    return nullptr;
  }
  SyncHandle* self = Self(object);
  uint64_t id = 0;
  {
    Request request;
    if (!request.Read(args)) return nullptr;
    if (self->client == nullptr || self->closing) return Closed();
    lever_error* error = nullptr;
    const lever_status status = lever_call_start(self->client, &request.options, &id, &error);
    if (status != LEVER_OK) return RaiseRefusal(status, error);
  }
  lever_result result{};
  result.size = sizeof(result);
  return WaitForResult(self, id, &result) ? TakeResult(&result) : nullptr;
}

void CloseNow(SyncHandle* self) {
  if (self->client == nullptr || self->closing) return;
  self->closing = true;
  lever_client_close(self->client);
  const int64_t until_ns = SteadyNs() + kCloseNs;
  // Those who wait take their completions themselves: here these would be events that nobody has.
  while (self->waiting > 0 && SteadyNs() < until_ns) {
    Py_BEGIN_ALLOW_THREADS;
    usleep(kLookAgainUs);
    Py_END_ALLOW_THREADS;
  }
  bool closed = false;
  while (!closed) {
    const int64_t left_ns = until_ns - SteadyNs();
    if (left_ns <= 0) break;
    lever_event events[8];
    size_t count = 0;
    lever_status status;
    lever_queue* queue = self->queue;
    Py_BEGIN_ALLOW_THREADS;
    status = lever_queue_next(queue, events, sizeof(lever_event), std::size(events), left_ns, &count);
    Py_END_ALLOW_THREADS;
    if (status != LEVER_OK) break;
    for (size_t i = 0; i < count; ++i) closed = closed || events[i].type == LEVER_EVENT_CLOSED;
  }
  if (closed && lever_client_destroy(self->client) == LEVER_OK) self->client = nullptr;
}

PyObject* Close(PyObject* object, PyObject*) {
  CloseNow(Self(object));
  Py_RETURN_NONE;
}

// The interpreter is ending: a thread that waits is not woken, since its program has ended around it.
PyObject* End(PyObject* object, PyObject*) {
  if (Self(object)->waiting == 0) CloseNow(Self(object));
  Py_RETURN_NONE;
}

// In a forked child: descriptors are closed.
PyObject* Abandon(PyObject* object, PyObject*) {
  SyncHandle* self = Self(object);
  self->closing = true;
  if (self->client != nullptr) lever_client_destroy(self->client);
  if (self->queue != nullptr) lever_queue_destroy(self->queue);
  self->client = nullptr;
  self->queue = nullptr;
  Py_RETURN_NONE;
}

PyObject* Stats(PyObject* object, PyObject*) {
  SyncHandle* self = Self(object);
  if (self->client == nullptr || self->closing) return Closed();
  return ClientStats(self->client);
}

void Dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  SyncHandle* self = Self(object);
  // While the interpreter ends, threads that were stopped may be inside: all of it stays as it is.
  if (IsFinalizing() || self->waiting > 0) return;
  CloseNow(self);
  // Refused where the close took too long: then it stays, and the process ends with it.
  if (self->queue != nullptr && self->client == nullptr) lever_queue_destroy(self->queue);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"call", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(CallMethod)), METH_FASTCALL,
     nullptr},
    {"close", Close, METH_NOARGS, nullptr},
    {"end", End, METH_NOARGS, nullptr},
    {"abandon", Abandon, METH_NOARGS, nullptr},
    {"stats", Stats, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
    {Py_tp_methods, methods},
    {0, nullptr},
};
PyType_Spec spec = {
    .name = "lever._lever.SyncHandle",
    .basicsize = sizeof(SyncHandle),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

}  // namespace

bool InitSyncType() {
  sync_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return sync_type != nullptr;
}

PyObject* NewSyncClient(ClientOptions options) {
  auto* handle = reinterpret_cast<SyncHandle*>(sync_type->tp_alloc(sync_type, 0));
  if (handle == nullptr) return nullptr;
  lever_queue_options queue_options{};
  queue_options.size = sizeof(queue_options);
  lever_error* error = nullptr;
  lever_status status = lever_queue_create(&queue_options, &handle->queue, &error);
  if (status == LEVER_OK) {
    lever_client_options native{};
    options.Fill(&native);
    status = lever_client_create(handle->queue, &native, &handle->client, &error);
  }
  if (status == LEVER_OK) return reinterpret_cast<PyObject*>(handle);
  Py_DECREF(reinterpret_cast<PyObject*>(handle));
  return RaiseRefusal(status, error);
}

}  // namespace lever::python
