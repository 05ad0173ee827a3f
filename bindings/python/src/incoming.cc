#include "incoming.h"

#include <structmember.h>

#include <string>
#include <utility>

#include "decode.h"
#include "encode.h"
#include "interned.h"

namespace lever::python {
namespace {

struct Incoming {
  PyObject_HEAD
  Engine* engine;
  PyObject* engine_object;  // keeps `engine` alive
  PyObject* service;        // the Python part's
  PyObject* caller;
  PyObject* resource;  // its name; null: of none
  PyObject* metadata;  // a list of pairs until somebody looks, then a dict
  PyObject* object;    // what is told when the caller is gone: a Run, or a stream's or pool's
  uint64_t id;
  uint64_t generation;  // of the resource
  int64_t deadline_ns;
  bool open;       // still to be answered
  bool cancelled;  // the caller is gone
  bool metadata_read;
};

struct Run {
  PyObject_HEAD
  Incoming* incoming;
  PyObject* function;
  PyObject* args;  // a list; null once it has begun
  PyObject* name;
  PyObject* coroutine;
  PyObject* task;
};

PyTypeObject* incoming_type = nullptr;
PyTypeObject* run_type = nullptr;

PyObject* Object(Incoming* incoming) { return reinterpret_cast<PyObject*>(incoming); }
PyObject* Object(Run* run) { return reinterpret_cast<PyObject*>(run); }
Incoming* AsIncoming(PyObject* object) { return reinterpret_cast<Incoming*>(object); }
Run* AsRun(PyObject* object) { return reinterpret_cast<Run*>(object); }

// ---- Answers ----

// It is answered; the library has no more to tell of it.
void Ended(Incoming* incoming) {
  incoming->open = false;
  incoming->engine->RemoveIncoming(incoming->id);
}

void Fail(Incoming* incoming, lever_status status, const char* message) {
  if (incoming->engine->ended()) return;
  if (incoming->open) Ended(incoming);
  lever_incoming_fail(incoming->engine->queue(), incoming->id, status, message,
                      LEVER_NUL_TERMINATED);
  incoming->engine->Requested();
}

// The text of the exception that is set, which is cleared.
std::string TakeText() {
  const Ref exception = TakeException();
  const Ref text(exception ? PyObject_Str(exception.get()) : nullptr);
  const char* line = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
  std::string out = line == nullptr ? "an error without a text" : line;
  PyErr_Clear();
  return out;
}

void Send(Incoming* incoming, const Payload& payload, const char* refused) {
  if (!incoming->open || incoming->engine->ended()) return;
  Ended(incoming);
  const lever_status status =
      lever_incoming_reply(incoming->engine->queue(), incoming->id, payload.kind(),
                           payload.slice(), 1, nullptr, 0);
  if (status != LEVER_OK) return Fail(incoming, status, refused);
  incoming->engine->Requested();
}

// Answers with the exception that is set, which is cleared.
void ReplyError(Incoming* incoming) {
  const Ref exception = TakeException();
  const Ref values(PyObject_CallOneArg(python_part.error_value, exception.get()));
  for (Py_ssize_t i = 0; values && i < 2; ++i) {
    Payload payload;
    if (payload.Message(PyTuple_GET_ITEM(values.get(), i), true)) {
      return Send(incoming, payload, "the error of the method cannot be sent");
    }
    PyErr_Clear();
  }
  Fail(incoming, LEVER_INTERNAL, TakeText().c_str());
}

void Reply(Incoming* incoming, PyObject* value) {
  Payload payload;
  if (!payload.Message(value)) return ReplyError(incoming);
  Send(incoming, payload, "the answer of the method cannot be sent");
}

// Asks the library whether the method may run. False: it has refused the call.
bool Begin(Incoming* incoming) {
  if (!incoming->open || incoming->engine->ended()) return false;
  const lever_status status =
      lever_incoming_begin(incoming->engine->queue(), incoming->id);
  incoming->engine->Requested();
  if (status == LEVER_OK) return true;
  Ended(incoming);
  return false;
}

// ---- Runs ----

// The method has ended with an exception, which is set.
PySendResult RunFailed(Run* run) {
  Incoming* incoming = run->incoming;
  const bool cancelled = PyErr_ExceptionMatches(python_part.cancelled_error) != 0;
  if (!cancelled && PyErr_ExceptionMatches(PyExc_Exception) != 0) {
    ReplyError(incoming);
    return PYGEN_RETURN;
  }
  // A task that is cancelled ends so; KeyboardInterrupt and the like end more than the call. What Python runs
  // meanwhile must find no exception set.
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  if (cancelled) {
    Fail(incoming, LEVER_CANCELLED, "the method was cancelled");
  } else {
    Fail(incoming, LEVER_INTERNAL, "the service is being ended");
  }
  PyErr_Restore(type, value, trace);
  return PYGEN_ERROR;
}

PySendResult Sent(Run* run, PySendResult sent, PyObject** out) {
  if (sent == PYGEN_NEXT) return sent;
  if (sent == PYGEN_RETURN) {
    const Ref value(*out);
    Reply(run->incoming, value.get());
    sent = PYGEN_RETURN;
  } else {
    sent = RunFailed(run);
  }
  Py_CLEAR(run->task);
  *out = sent == PYGEN_RETURN ? Py_NewRef(Py_None) : nullptr;
  return sent;
}

PySendResult RunBegin(Run* run, PyObject** out) {
  *out = nullptr;
  const Ref args_list(std::exchange(run->args, nullptr));
  if (!Begin(run->incoming)) {
    Py_CLEAR(run->task);
    *out = Py_NewRef(Py_None);
    return PYGEN_RETURN;
  }
  const Ref token(PyContextVar_Set(python_part.current, Object(run->incoming)));
  const Ref args(token ? PyList_AsTuple(args_list.get()) : nullptr);
  Ref made(args ? PyObject_Call(run->function, args.get(), nullptr) : nullptr);
  if (!made) return Sent(run, PYGEN_ERROR, out);
  if (!PyCoro_CheckExact(made.get())) {
    // Something else that can be awaited, or no coroutine at all.
    PyAsyncMethods* async = Py_TYPE(made.get())->tp_as_async;
    if (async == nullptr || async->am_await == nullptr) {
      *out = made.release();
      return Sent(run, PYGEN_RETURN, out);
    }
    made = Ref(async->am_await(made.get()));
    if (!made) return Sent(run, PYGEN_ERROR, out);
  }
  run->coroutine = made.release();
  return Sent(run, PyIter_Send(run->coroutine, Py_None, out), out);
}

PySendResult RunSend(PyObject* object, PyObject* value, PyObject** out) {
  Run* run = AsRun(object);
  if (run->args != nullptr) return RunBegin(run, out);
  if (run->coroutine == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "the method has ended");
    *out = nullptr;
    return PYGEN_ERROR;
  }
  return Sent(run, PyIter_Send(run->coroutine, value, out), out);
}

// As Python's own coroutines: what is returned comes as StopIteration.
PyObject* Stepped(PySendResult sent, PyObject* value) {
  if (sent == PYGEN_NEXT) return value;
  if (sent == PYGEN_RETURN) PyErr_SetNone(PyExc_StopIteration);
  Py_XDECREF(value);
  return nullptr;
}

PyObject* RunSendMethod(PyObject* object, PyObject* value) {
  PyObject* out = nullptr;
  const PySendResult sent = RunSend(object, value, &out);
  return Stepped(sent, out);
}

PyObject* RunNext(PyObject* object) { return RunSendMethod(object, Py_None); }

PyObject* RunThrow(PyObject* object, PyObject* args) {
  Run* run = AsRun(object);
  if (run->coroutine == nullptr) {
    // Cancelled before it began: it surely has not run.
    Py_CLEAR(run->args);
    Py_CLEAR(run->task);
    Fail(run->incoming, LEVER_CANCELLED, "the method was cancelled before it began");
    PyObject* what = PyTuple_Size(args) > 0 ? PyTuple_GET_ITEM(args, 0) : PyExc_RuntimeError;
    if (PyExceptionInstance_Check(what)) {
      RaiseObject(what);
    } else {
      PyErr_SetNone(what);
    }
    return nullptr;
  }
  const Ref method(PyObject_GetAttr(run->coroutine, names.throw_));
  if (!method) return nullptr;
  PyObject* out = PyObject_Call(method.get(), args, nullptr);
  if (out != nullptr) return out;
  PySendResult sent = PYGEN_ERROR;
  if (PyErr_ExceptionMatches(PyExc_StopIteration) != 0) {
    const Ref stop = TakeException();
    out = Py_NewRef(reinterpret_cast<PyStopIterationObject*>(stop.get())->value);
    sent = PYGEN_RETURN;
  }
  sent = Sent(run, sent, &out);
  return Stepped(sent, out);
}

PyObject* RunClose(PyObject* object, PyObject*) {
  Run* run = AsRun(object);
  Py_CLEAR(run->args);
  if (run->coroutine == nullptr) Py_RETURN_NONE;
  return PyObject_CallMethodNoArgs(run->coroutine, names.close);
}

PyObject* RunName(PyObject* object, void*) { return Py_NewRef(AsRun(object)->name); }

PyObject* RunFrame(PyObject* object, void*) {
  Run* run = AsRun(object);
  if (run->coroutine == nullptr) Py_RETURN_NONE;
  PyObject* frame = PyObject_GetAttrString(run->coroutine, "cr_frame");
  if (frame != nullptr) return frame;
  PyErr_Clear();
  Py_RETURN_NONE;
}

int RunTraverse(PyObject* object, visitproc visit, void* arg) {
  Run* run = AsRun(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(Object(run->incoming));
  Py_VISIT(run->function);
  Py_VISIT(run->args);
  Py_VISIT(run->coroutine);
  Py_VISIT(run->task);
  return 0;
}

// What a step may still ask for stays.
int RunClear(PyObject* object) {
  Run* run = AsRun(object);
  Py_CLEAR(run->args);
  Py_CLEAR(run->coroutine);
  Py_CLEAR(run->task);
  return 0;
}

void RunDealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  RunClear(object);
  Run* run = AsRun(object);
  Py_XDECREF(Object(run->incoming));
  Py_XDECREF(run->function);
  Py_XDECREF(run->name);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* Itself(PyObject* object) { return Py_NewRef(object); }

PyMethodDef run_methods[] = {
    {"send", RunSendMethod, METH_O, nullptr},
    {"throw", RunThrow, METH_VARARGS, nullptr},
    {"close", RunClose, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef run_getsets[] = {
    {"__name__", RunName, nullptr, nullptr, nullptr},
    {"__qualname__", RunName, nullptr, nullptr, nullptr},
    {"cr_frame", RunFrame, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot run_slots[] = {
    {Py_tp_traverse, reinterpret_cast<void*>(RunTraverse)},
    {Py_tp_clear, reinterpret_cast<void*>(RunClear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(RunDealloc)},
    {Py_tp_iter, reinterpret_cast<void*>(Itself)},
    {Py_tp_iternext, reinterpret_cast<void*>(RunNext)},
    {Py_am_await, reinterpret_cast<void*>(Itself)},
    {Py_am_send, reinterpret_cast<void*>(RunSend)},
    {Py_tp_methods, run_methods},
    {Py_tp_getset, run_getsets},
    {0, nullptr},
};
PyType_Spec run_spec = {
    .name = "lever._Run",
    .basicsize = sizeof(Run),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = run_slots,
};

// ---- What the Python part does with an Incoming ----

PyObject* BeginMethod(PyObject* object, PyObject*) {
  return PyBool_FromLong(Begin(AsIncoming(object)));
}

PyObject* ReplyMethod(PyObject* object, PyObject* value) {
  Reply(AsIncoming(object), value);
  Py_RETURN_NONE;
}

PyObject* ReplyErrorMethod(PyObject* object, PyObject* exception) {
  RaiseObject(exception);
  ReplyError(AsIncoming(object));
  Py_RETURN_NONE;
}

PyObject* FailMethod(PyObject* object, PyObject* args) {
  int status = 0;
  const char* message = nullptr;
  if (!PyArg_ParseTuple(args, "is", &status, &message)) return nullptr;
  Fail(AsIncoming(object), static_cast<lever_status>(status), message);
  Py_RETURN_NONE;
}

// Who is told that the caller is gone.
PyObject* WatchMethod(PyObject* object, PyObject* who) {
  Incoming* incoming = AsIncoming(object);
  Py_XSETREF(incoming->object, Py_NewRef(who));
  Py_RETURN_NONE;
}

// A stream is over, however.
PyObject* EndedMethod(PyObject* object, PyObject* cancelled) {
  Incoming* incoming = AsIncoming(object);
  incoming->cancelled = incoming->cancelled || cancelled == Py_True;
  if (incoming->open) Ended(incoming);
  Py_RETURN_NONE;
}

// Events of the stream go to `stream` from now on.
PyObject* StreamMethod(PyObject* object, PyObject* stream) {
  Incoming* incoming = AsIncoming(object);
  incoming->engine->AddIncoming(incoming->id, stream);
  Py_RETURN_NONE;
}

PyObject* GetMetadata(PyObject* object, void*) {
  Incoming* incoming = AsIncoming(object);
  if (!incoming->metadata_read) {
    PyObject* list = incoming->metadata == nullptr ? Py_None : incoming->metadata;
    PyObject* read = PyObject_CallOneArg(python_part.read_metadata, list);
    if (read == nullptr) return nullptr;
    Py_XSETREF(incoming->metadata, read);
    incoming->metadata_read = true;
  }
  return Py_NewRef(incoming->metadata);
}

// Nanoseconds until the deadline, by the queue's time; None without one.
PyObject* GetRemaining(PyObject* object, void*) {
  const Incoming* incoming = AsIncoming(object);
  if (incoming->deadline_ns == INT64_MAX) Py_RETURN_NONE;
  int64_t now_ns = 0;
  const lever_status status = lever_queue_now(incoming->engine->queue(), &now_ns);
  if (status != LEVER_OK) return RaiseError(status, nullptr, LEVER_EXECUTED_UNKNOWN);
  return PyLong_FromLongLong(incoming->deadline_ns - now_ns);
}

PyObject* GetCaller(PyObject* object, void*) { return Py_NewRef(AsIncoming(object)->caller); }
PyObject* GetResource(PyObject* object, void*) {
  PyObject* name = AsIncoming(object)->resource;
  return name == nullptr ? PyUnicode_FromStringAndSize(nullptr, 0) : Py_NewRef(name);
}
PyObject* GetGeneration(PyObject* object, void*) {
  return PyLong_FromUnsignedLongLong(AsIncoming(object)->generation);
}
PyObject* GetService(PyObject* object, void*) { return Py_NewRef(AsIncoming(object)->service); }
PyObject* GetOpen(PyObject* object, void*) { return PyBool_FromLong(AsIncoming(object)->open); }
PyObject* GetCancelled(PyObject* object, void*) {
  return PyBool_FromLong(AsIncoming(object)->cancelled);
}
PyObject* GetId(PyObject* object, void*) {
  return PyLong_FromUnsignedLongLong(AsIncoming(object)->id);
}

int IncomingTraverse(PyObject* object, visitproc visit, void* arg) {
  Incoming* incoming = AsIncoming(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(incoming->engine_object);
  Py_VISIT(incoming->service);
  Py_VISIT(incoming->metadata);
  Py_VISIT(incoming->object);
  return 0;
}

int IncomingClear(PyObject* object) {
  Py_CLEAR(AsIncoming(object)->object);
  return 0;
}

void IncomingDealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  Incoming* incoming = AsIncoming(object);
  Py_XDECREF(incoming->object);
  Py_XDECREF(incoming->metadata);
  Py_XDECREF(incoming->resource);
  Py_XDECREF(incoming->caller);
  Py_XDECREF(incoming->service);
  Py_XDECREF(incoming->engine_object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef incoming_methods[] = {
    {"_begin", BeginMethod, METH_NOARGS, nullptr},
    {"_reply", ReplyMethod, METH_O, nullptr},
    {"_reply_error", ReplyErrorMethod, METH_O, nullptr},
    {"_fail", FailMethod, METH_VARARGS, nullptr},
    {"_watch", WatchMethod, METH_O, nullptr},
    {"_ended", EndedMethod, METH_O, nullptr},
    {"_stream", StreamMethod, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef incoming_getsets[] = {
    {"metadata", GetMetadata, nullptr, nullptr, nullptr},
    {"_remaining_ns", GetRemaining, nullptr, nullptr, nullptr},
    {"caller", GetCaller, nullptr, nullptr, nullptr},
    {"cancelled", GetCancelled, nullptr, nullptr, nullptr},
    {"resource", GetResource, nullptr, nullptr, nullptr},
    {"generation", GetGeneration, nullptr, nullptr, nullptr},
    {"_service", GetService, nullptr, nullptr, nullptr},
    {"_open", GetOpen, nullptr, nullptr, nullptr},
    {"_id", GetId, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot incoming_slots[] = {
    {Py_tp_traverse, reinterpret_cast<void*>(IncomingTraverse)},
    {Py_tp_clear, reinterpret_cast<void*>(IncomingClear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(IncomingDealloc)},
    {Py_tp_methods, incoming_methods},
    {Py_tp_getset, incoming_getsets},
    {0, nullptr},
};
PyType_Spec incoming_spec = {
    .name = "lever._Incoming",
    .basicsize = sizeof(Incoming),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = incoming_slots,
};

// ---- What comes in ----

// Who calls is mostly who called last.
Ref CallerText(const char* caller) {
  static PyObject* last = nullptr;
  const char* text = caller == nullptr ? "" : caller;
  if (last == nullptr || PyUnicode_CompareWithASCIIString(last, text) != 0) {
    PyObject* made = PyUnicode_FromString(text);
    if (made == nullptr) return Ref();
    Py_XSETREF(last, made);
  }
  return Ref::Borrowed(last);
}

Ref MetadataPairs(const lever_event& event) {
  Ref pairs(PyList_New(static_cast<Py_ssize_t>(event.metadata_count)));
  for (size_t i = 0; pairs && i < event.metadata_count; ++i) {
    const lever_metadata& field = event.metadata[i];
    PyObject* pair = Py_BuildValue("(s#y#)", field.name, static_cast<Py_ssize_t>(field.name_size),
                                   field.value, static_cast<Py_ssize_t>(field.value_size));
    if (pair == nullptr) return Ref();
    PyList_SET_ITEM(pairs.get(), static_cast<Py_ssize_t>(i), pair);
  }
  return pairs;
}

// What is to be called: for a method of a resource that of its object, and its name. Empty without an
// exception: the resource is not open here.
Ref FunctionOf(const Method& method, const lever_event& event, Ref* resource) {
  if (!method.of_resource) return Ref::Borrowed(method.function.get());
  const auto& open = method.service->resources;
  const auto found = open.find(event.resource);
  if (found == open.end()) return Ref();
  *resource = Ref::Borrowed(found->second.name.get());
  const Ref object = Ref::Borrowed(found->second.object.get());
  return Ref(PyObject_GetAttr(object.get(),
                              event.resumed != 0 ? names.resume : method.function.get()));
}

Ref NewIncoming(Engine* engine, Method* method, const lever_event& event, Ref resource) {
  Ref caller = CallerText(event.caller);
  Ref metadata;
  if (event.metadata_count > 0) metadata = MetadataPairs(event);
  if (!caller || (event.metadata_count > 0 && !metadata)) return Ref();
  auto* incoming = reinterpret_cast<Incoming*>(incoming_type->tp_alloc(incoming_type, 0));
  if (incoming == nullptr) return Ref();
  incoming->engine = engine;
  incoming->engine_object = Py_NewRef(engine->object());
  incoming->service = Py_NewRef(method->service->owner ? method->service->owner.get() : Py_None);
  incoming->caller = caller.release();
  incoming->metadata = metadata.release();
  incoming->resource = resource.release();
  incoming->generation = event.generation;
  incoming->id = event.id;
  incoming->deadline_ns = event.deadline_ns;
  incoming->open = true;
  return Ref(Object(incoming));
}

// The arguments, always as a list: bytes are the one argument.
Ref Arguments(const lever_event& event) {
  Ref args = DecodePayload(event.kind, event.slices, event.slice_count);
  if (!args || PyList_CheckExact(args.get())) return args;
  Ref list(PyList_New(1));
  if (list) PyList_SET_ITEM(list.get(), 0, args.release());
  return list;
}

bool StartRun(Engine* engine, Method* method, Incoming* incoming, PyObject* function, Ref args) {
  auto* run = reinterpret_cast<Run*>(run_type->tp_alloc(run_type, 0));
  if (run == nullptr) return false;
  const Ref held(Object(run));
  run->incoming = incoming;
  Py_INCREF(Object(incoming));
  run->function = Py_NewRef(function);
  run->name = Py_NewRef(method->name.get());
  run->args = args.release();
  run->task = PyObject_CallMethodOneArg(engine->loop(), names.create_task, held.get());
  if (run->task == nullptr) return false;
  // With an eager task factory it may have ended already.
  if (incoming->open) engine->AddIncoming(incoming->id, held.get());
  return true;
}

bool StartInPool(Engine* engine, Incoming* incoming, PyObject* function, Ref args) {
  engine->AddIncoming(incoming->id, Object(incoming));
  return static_cast<bool>(Ref(PyObject_CallMethodObjArgs(
      incoming->service, names.in_pool, Object(incoming), function, args.get(), nullptr)));
}

// `function` is the type's resume() where the stream has run elsewhere: (token, received) says from where.
bool StartStream(Method* method, const lever_event& event, Incoming* incoming, PyObject* function,
                 Ref args) {
  Ref resumed = Ref::Borrowed(Py_None);
  if (event.resumed != 0) {
    resumed.Reset(Py_BuildValue("y#K", static_cast<const char*>(event.resume_token),
                                static_cast<Py_ssize_t>(event.resume_token_size),
                                static_cast<unsigned long long>(event.resume_received)));
  }
  const Ref in_pool(PyBool_FromLong(method->in_pool));
  return resumed && Ref(PyObject_CallMethodObjArgs(
                        incoming->service, names.on_stream, Object(incoming), function, args.get(),
                        in_pool.get(), method->name.get(), resumed.get(), nullptr));
}

}  // namespace

void OnIncoming(Engine* engine, Method* method, const lever_event& event) {
  Ref resource;
  const Ref function = FunctionOf(*method, event, &resource);
  if (!function) {
    const bool failed = PyErr_Occurred() != nullptr;
    const std::string text = failed ? TakeText() : "the resource was closed";
    lever_incoming_fail(engine->queue(), event.id, failed ? LEVER_INTERNAL : LEVER_UNAVAILABLE,
                        text.data(), text.size());
    return;
  }
  Ref object = NewIncoming(engine, method, event, std::move(resource));
  Ref args = object ? Arguments(event) : Ref();
  if (!args) {
    const std::string text = TakeText();
    lever_incoming_fail(engine->queue(), event.id, LEVER_INVALID_ARGUMENT, text.data(),
                        text.size());
    return;
  }
  Incoming* incoming = AsIncoming(object.get());
  const bool started =
      method->is_stream ? StartStream(method, event, incoming, function.get(), std::move(args))
      : method->in_pool ? StartInPool(engine, incoming, function.get(), std::move(args))
                        : StartRun(engine, method, incoming, function.get(), std::move(args));
  if (started) return;
  if (incoming->open) {
    Fail(incoming, LEVER_INTERNAL, TakeText().c_str());
  } else {
    engine->Report(function.get());
  }
}

void OnIncomingCancelled(Engine* engine, PyObject* object) {
  if (Py_TYPE(object) == run_type) {
    Run* run = AsRun(object);
    run->incoming->cancelled = true;
    if (run->task == nullptr) return;
    const Ref task = Ref::Borrowed(run->task);
    const Ref done(PyObject_CallMethodNoArgs(task.get(), names.cancel));
    if (!done) engine->Report(object);
  } else if (Py_TYPE(object) == incoming_type) {
    Incoming* incoming = AsIncoming(object);
    incoming->cancelled = true;
    if (incoming->object == nullptr) return;
    const Ref done(PyObject_CallMethodNoArgs(incoming->object, names.on_cancelled));
    if (!done) engine->Report(object);
  }
}

uint64_t ParentFor(Engine* engine) {
  PyObject* value = nullptr;
  if (PyContextVar_Get(python_part.current, nullptr, &value) != 0) {
    PyErr_Clear();
    return 0;
  }
  const Ref current(value);
  if (!current || Py_TYPE(current.get()) != incoming_type) return 0;
  const Incoming* incoming = AsIncoming(current.get());
  return incoming->open && incoming->engine == engine ? incoming->id : 0;
}

bool InitIncomingTypes() {
  incoming_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&incoming_spec));
  run_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&run_spec));
  return incoming_type != nullptr && run_type != nullptr;
}

PyTypeObject* IncomingType() { return incoming_type; }
PyTypeObject* RunType() { return run_type; }

}  // namespace lever::python
