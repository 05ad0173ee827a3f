#include "call.h"

#include <structmember.h>

#include <utility>

#include "decode.h"
#include "interned.h"

namespace lever::python {

enum class CallState : uint8_t { kNew, kPending, kDone, kCancelled };

struct Call {
  PyObject_HEAD
  Engine* engine;
  PyObject* engine_object;  // keeps `engine` alive
  PyObject* client;         // until it is done
  uint64_t id;
  CallState state;
  bool blocking;        // asyncio's mark: a task has been handed this and is to wait for it
  PyObject* result;     // or
  PyObject* exception;  // of a call that is done
  PyObject* cancel_message;
  // Who waits; mostly one task. `more` is a list of pairs.
  PyObject* callback;
  PyObject* context;
  PyObject* more;
  PyObject* weak;
};

namespace {

PyTypeObject* call_type = nullptr;

PyObject* Object(Call* call) { return reinterpret_cast<PyObject*>(call); }
Call* Self(PyObject* object) { return reinterpret_cast<Call*>(object); }

bool IsDone(const Call* call) {
  return call->state == CallState::kDone || call->state == CallState::kCancelled;
}

// ---- Waiting ----

void RunCallbacks(Call* call) {
  const Ref callback(std::exchange(call->callback, nullptr));
  const Ref context(std::exchange(call->context, nullptr));
  const Ref more(std::exchange(call->more, nullptr));
  if (callback) call->engine->CallBack(callback.get(), context.get(), Object(call));
  if (!more) return;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(more.get()); ++i) {
    PyObject* pair = PyList_GET_ITEM(more.get(), i);
    call->engine->CallBack(PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1), Object(call));
  }
}

bool AddCallback(Call* call, PyObject* callback, PyObject* context) {
  if (call->callback == nullptr && call->more == nullptr) {
    call->callback = Py_NewRef(callback);
    call->context = Py_NewRef(context);
    return true;
  }
  if (call->more == nullptr) call->more = PyList_New(0);
  const Ref pair(call->more == nullptr ? nullptr : PyTuple_Pack(2, callback, context));
  return pair && PyList_Append(call->more, pair.get()) == 0;
}

// add_done_callback(callback, *, context=None)
PyObject* AddDoneCallback(PyObject* object, PyObject* const* args, Py_ssize_t count,
                          PyObject* names_given) {
  Call* call = Self(object);
  PyObject* given = names_given != nullptr && PyTuple_GET_SIZE(names_given) == 1 ? args[count]
                                                                                 : nullptr;
  if (count != 1 || (names_given != nullptr && given == nullptr)) {
    PyErr_SetString(PyExc_TypeError, "add_done_callback(callback, *, context=None)");
    return nullptr;
  }
  const Ref context(given == nullptr || given == Py_None ? PyContext_CopyCurrent()
                                                         : Py_NewRef(given));
  if (!context) return nullptr;
  if (!IsDone(call)) {
    if (!AddCallback(call, args[0], context.get())) return nullptr;
  } else if (!call->engine->ended()) {
    if (!call->engine->CallSoon(args[0], context.get(), object)) return nullptr;
  }
  Py_RETURN_NONE;
}

// remove_done_callback(callback) -> how many there were
PyObject* RemoveDoneCallback(PyObject* object, PyObject* callback) {
  Call* call = Self(object);
  long removed = 0;
  if (call->callback != nullptr) {
    const int same = PyObject_RichCompareBool(call->callback, callback, Py_EQ);
    if (same < 0) return nullptr;
    if (same > 0) {
      const Ref before(std::exchange(call->callback, nullptr));
      const Ref context(std::exchange(call->context, nullptr));
      ++removed;
    }
  }
  const Ref more = Ref::Borrowed(call->more);
  for (Py_ssize_t i = more ? PyList_GET_SIZE(more.get()) - 1 : -1; i >= 0; --i) {
    const Ref pair = Ref::Borrowed(PyList_GET_ITEM(more.get(), i));
    const int same = PyObject_RichCompareBool(PyTuple_GET_ITEM(pair.get(), 0), callback, Py_EQ);
    if (same < 0) return nullptr;
    if (same == 0 || i >= PyList_GET_SIZE(more.get())) continue;
    if (PyList_SetSlice(more.get(), i, i + 1, nullptr) != 0) return nullptr;
    ++removed;
  }
  return PyLong_FromLong(removed);
}

// ---- The outcome ----

Ref CancelledError(Call* call) {
  if (call->cancel_message == nullptr) return Ref(PyObject_CallNoArgs(python_part.cancelled_error));
  return Ref(PyObject_CallOneArg(python_part.cancelled_error, call->cancel_message));
}

PyObject* Outcome(Call* call) {
  if (call->state == CallState::kCancelled) {
    const Ref error = CancelledError(call);
    return error ? RaiseObject(error.get()) : nullptr;
  }
  if (call->exception == nullptr) return Py_NewRef(call->result);
  // What an earlier raising has left in it would make each one longer.
  PyException_SetTraceback(call->exception, Py_None);
  return RaiseObject(call->exception);
}

PyObject* NotDone() {
  PyErr_SetString(python_part.invalid_state, "the call is not done");
  return nullptr;
}

PyObject* Result(PyObject* object, PyObject*) {
  return IsDone(Self(object)) ? Outcome(Self(object)) : NotDone();
}

PyObject* Exception(PyObject* object, PyObject*) {
  Call* call = Self(object);
  if (!IsDone(call)) return NotDone();
  if (call->state == CallState::kCancelled) return Outcome(call);
  return Py_NewRef(call->exception == nullptr ? Py_None : call->exception);
}

PyObject* Done(PyObject* object, PyObject*) { return PyBool_FromLong(IsDone(Self(object))); }

PyObject* Cancelled(PyObject* object, PyObject*) {
  return PyBool_FromLong(Self(object)->state == CallState::kCancelled);
}

PyObject* MakeCancelledError(PyObject* object, PyObject*) {
  return CancelledError(Self(object)).release();
}

void CancelWith(Call* call, PyObject* message) {
  if (call->engine->queue() != nullptr) {
    lever_call_cancel(call->engine->queue(), call->id);
    call->engine->Requested();
  }
  call->state = CallState::kCancelled;
  if (message != nullptr && message != Py_None) call->cancel_message = Py_NewRef(message);
  // Not at once: who cancels is not to be overtaken by what comes of it.
  const Ref callback(std::exchange(call->callback, nullptr));
  const Ref context(std::exchange(call->context, nullptr));
  const Ref more(std::exchange(call->more, nullptr));
  if (call->engine->ended()) return;
  const auto soon = [call](PyObject* function, PyObject* in) {
    if (!call->engine->CallSoon(function, in, Object(call))) PyErr_Clear();  // the loop is closed
  };
  if (callback) soon(callback.get(), context.get());
  for (Py_ssize_t i = 0; more && i < PyList_GET_SIZE(more.get()); ++i) {
    PyObject* pair = PyList_GET_ITEM(more.get(), i);
    soon(PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
  }
}

// cancel(msg=None) -> whether there was something to cancel
PyObject* Cancel(PyObject* object, PyObject* const* args, Py_ssize_t count,
                 PyObject* names_given) {
  Call* call = Self(object);
  const Py_ssize_t all = count + (names_given == nullptr ? 0 : PyTuple_GET_SIZE(names_given));
  if (all > 1) {
    PyErr_SetString(PyExc_TypeError, "cancel(msg=None)");
    return nullptr;
  }
  if (call->state != CallState::kPending) Py_RETURN_FALSE;
  CancelWith(call, all == 1 ? args[0] : nullptr);
  Py_RETURN_TRUE;
}

// ---- As what a coroutine awaits, and as a coroutine ----

PyObject* Iterator(PyObject* object) { return Py_NewRef(object); }

PySendResult Send(PyObject* object, PyObject*, PyObject** out) {
  Call* call = Self(object);
  if (!IsDone(call)) {
    call->blocking = true;
    *out = Py_NewRef(object);
    return PYGEN_NEXT;
  }
  *out = Outcome(call);
  return *out == nullptr ? PYGEN_ERROR : PYGEN_RETURN;
}

void SetStopIteration(PyObject* value) {
  // Of a tuple or an exception, PyErr_SetObject would make something else.
  const Ref stop(PyObject_CallOneArg(PyExc_StopIteration, value));
  if (stop) PyErr_SetObject(PyExc_StopIteration, stop.get());
}

PyObject* NextItem(PyObject* object) {
  PyObject* value = nullptr;
  const PySendResult sent = Send(object, Py_None, &value);
  if (sent == PYGEN_NEXT) return value;
  if (sent == PYGEN_RETURN) SetStopIteration(value);
  Py_XDECREF(value);
  return nullptr;
}

PyObject* SendMethod(PyObject* object, PyObject*) { return NextItem(object); }

// throw(type_or_value[, value[, traceback]]): as with close(), nobody will wait for it.
PyObject* Throw(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  if (count < 1 || count > 3) {
    PyErr_SetString(PyExc_TypeError, "throw(exception)");
    return nullptr;
  }
  if (Self(object)->state == CallState::kPending) CancelWith(Self(object), nullptr);
  if (PyExceptionInstance_Check(args[0])) return RaiseObject(args[0]);
  if (!PyExceptionClass_Check(args[0])) {
    PyErr_SetString(PyExc_TypeError, "throw(): an exception is expected");
    return nullptr;
  }
  if (count > 1 && args[1] != Py_None && PyExceptionInstance_Check(args[1])) {
    return RaiseObject(args[1]);
  }
  const Ref exception(PyObject_CallNoArgs(args[0]));
  return exception ? RaiseObject(exception.get()) : nullptr;
}

// Nobody will wait for it.
PyObject* Close(PyObject* object, PyObject*) {
  Call* call = Self(object);
  if (call->state == CallState::kPending) CancelWith(call, nullptr);
  Py_RETURN_NONE;
}

PyObject* GetLoop(PyObject* object, PyObject*) {
  Call* call = Self(object);
  if (!call->engine->ended()) return Py_NewRef(call->engine->loop());
  PyErr_SetString(PyExc_RuntimeError, "the event loop of the call has ended");
  return nullptr;
}

PyObject* GetBlocking(PyObject* object, void*) { return PyBool_FromLong(Self(object)->blocking); }

int SetBlocking(PyObject* object, PyObject* value, void*) {
  const int truth = value == nullptr ? -1 : PyObject_IsTrue(value);
  if (truth < 0) {
    if (value == nullptr) PyErr_SetString(PyExc_AttributeError, "cannot be deleted");
    return -1;
  }
  Self(object)->blocking = truth != 0;
  return 0;
}

PyObject* GetCancelMessage(PyObject* object, void*) {
  PyObject* message = Self(object)->cancel_message;
  return Py_NewRef(message == nullptr ? Py_None : message);
}

// asyncio switches off its complaint about a future that is dropped while it is pending.
PyObject* GetFalse(PyObject*, void*) { Py_RETURN_FALSE; }
int SetNothing(PyObject*, PyObject*, void*) { return 0; }

PyObject* Repr(PyObject* object) {
  const Call* call = Self(object);
  const char* state = call->state == CallState::kCancelled ? "cancelled"
                      : call->state != CallState::kDone    ? "pending"
                      : call->exception != nullptr         ? "failed"
                                                           : "done";
  return PyUnicode_FromFormat("<lever.Call %s>", state);
}

// ---- Memory ----

int Traverse(PyObject* object, visitproc visit, void* arg) {
  Call* call = Self(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(call->engine_object);
  Py_VISIT(call->client);
  Py_VISIT(call->result);
  Py_VISIT(call->exception);
  Py_VISIT(call->cancel_message);
  Py_VISIT(call->callback);
  Py_VISIT(call->context);
  Py_VISIT(call->more);
  return 0;
}

// The engine stays: what is called back may still ask for it.
int Clear(PyObject* object) {
  Call* call = Self(object);
  Py_CLEAR(call->client);
  Py_CLEAR(call->result);
  Py_CLEAR(call->exception);
  Py_CLEAR(call->cancel_message);
  Py_CLEAR(call->callback);
  Py_CLEAR(call->context);
  Py_CLEAR(call->more);
  return 0;
}

void Dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (Self(object)->weak != nullptr) PyObject_ClearWeakRefs(object);
  Clear(object);
  Py_CLEAR(Self(object)->engine_object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"add_done_callback", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(AddDoneCallback)),
     METH_FASTCALL | METH_KEYWORDS,
     "add_done_callback(callback, *, context=None)\n\nCalls callback(call) when the call is done."},
    {"remove_done_callback", RemoveDoneCallback, METH_O,
     "Removes a callback; returns how often it was there."},
    {"cancel", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Cancel)),
     METH_FASTCALL | METH_KEYWORDS,
     "cancel(msg=None)\n\nCancels the call; False if it is done already."},
    {"result", Result, METH_NOARGS, "The answer; raises what the call has failed with."},
    {"exception", Exception, METH_NOARGS, "What the call has failed with, or None."},
    {"done", Done, METH_NOARGS, "Whether the call is done, failed or cancelled."},
    {"cancelled", Cancelled, METH_NOARGS, "Whether it was cancelled here."},
    {"get_loop", GetLoop, METH_NOARGS, "The event loop of the call."},
    {"_make_cancelled_error", MakeCancelledError, METH_NOARGS, nullptr},
    {"send", SendMethod, METH_O, nullptr},
    {"throw", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Throw)), METH_FASTCALL,
     nullptr},
    {"close", Close, METH_NOARGS, nullptr},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef getsets[] = {
    {"_asyncio_future_blocking", GetBlocking, SetBlocking, nullptr, nullptr},
    {"_cancel_message", GetCancelMessage, nullptr, nullptr, nullptr},
    {"_log_destroy_pending", GetFalse, SetNothing, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Call, weak), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>(
                    "A call that was made: await it for the method's answer.\n\n"
                    "It is under way from the moment it is made. Cancelling it, or the task that\n"
                    "awaits it, cancels the call.")},
    {Py_tp_traverse, reinterpret_cast<void*>(Traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(Clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(Repr)},
    {Py_tp_iter, reinterpret_cast<void*>(Iterator)},
    {Py_tp_iternext, reinterpret_cast<void*>(NextItem)},
    {Py_am_await, reinterpret_cast<void*>(Iterator)},
    {Py_am_send, reinterpret_cast<void*>(Send)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getsets},
    {Py_tp_members, members},
    {0, nullptr},
};

PyType_Spec spec = {
    .name = "lever.Call",
    .basicsize = sizeof(Call),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

}  // namespace

bool InitCallType() {
  call_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return call_type != nullptr;
}

PyTypeObject* CallType() { return call_type; }

Call* NewCall(Engine* engine, PyObject* client) {
  auto* call = reinterpret_cast<Call*>(call_type->tp_alloc(call_type, 0));
  if (call == nullptr) return nullptr;
  call->engine = engine;
  call->engine_object = Py_NewRef(engine->object());
  call->client = Py_NewRef(client);
  call->state = CallState::kNew;
  return call;
}

void CallStarted(Call* call, uint64_t id) {
  Py_INCREF(Object(call));
  call->id = id;
  call->state = CallState::kPending;
}

void CallDone(Call* call, const lever_event& event) {
  const Ref held(Object(call));
  const Ref client(std::exchange(call->client, nullptr));
  if (call->state != CallState::kPending) return;
  Ref exception;
  if (event.status == LEVER_OK) {
    call->result = DecodePayload(event.kind, event.slices, event.slice_count).release();
  } else if (event.status == LEVER_METHOD_ERROR) {
    const Ref value = DecodePayload(event.kind, event.slices, event.slice_count);
    exception = Ref(value ? PyObject_CallOneArg(python_part.method_error, value.get()) : nullptr);
  } else {
    exception = MakeError(event.status, event.message, event.executed);
  }
  if (call->result == nullptr && !exception) {
    // The value could not be made, for want of memory: that is how the call has failed.
    exception = TakeException();
  }
  call->exception = exception.release();
  call->state = CallState::kDone;
  RunCallbacks(call);
}

void CallDropped(Call* call) {
  const Ref held(Object(call));
  if (call->state != CallState::kPending) return;
  call->state = CallState::kCancelled;
  Clear(Object(call));
}

}  // namespace lever::python
