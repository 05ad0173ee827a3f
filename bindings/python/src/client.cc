#include "client.h"

#include <new>

#include "call.h"
#include "incoming.h"
#include "interned.h"
#include "request.h"

namespace lever::python {
namespace {

PyTypeObject* handle_type = nullptr;

struct ClientHandle {
  PyObject_HEAD
  PyObject* engine_object;
  std::shared_ptr<Attachment> attachment;
};

ClientHandle* Self(PyObject* object) { return reinterpret_cast<ClientHandle*>(object); }

// The handle's engine; null with an exception set where the client is closed.
Engine* EngineOf(PyObject* object) {
  const Attachment& attachment = *Self(object)->attachment;
  if (attachment.engine != nullptr && attachment.client != nullptr) return attachment.engine;
  RaiseError(LEVER_CANCELLED, "the client is closed", LEVER_EXECUTED_NO);
  return nullptr;
}

bool Count(Py_ssize_t count, Py_ssize_t wanted) {
  if (count == wanted) return true;
  PyErr_Format(PyExc_TypeError, "%zd arguments are expected, not %zd", wanted, count);
  return false;
}

PyObject* Start(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  if (!Count(count, Request::kArguments)) return nullptr;
  Request request;
  if (!request.Read(args)) return nullptr;
  // Behind what may run code of the program's, which may close the client.
  Engine* engine = EngineOf(object);
  if (engine == nullptr) return nullptr;
  request.options.parent = ParentFor(engine);
  Call* call = NewCall(engine, object);
  if (call == nullptr) return nullptr;
  Ref held(reinterpret_cast<PyObject*>(call));
  request.options.user_data = call;
  uint64_t id = 0;
  lever_error* error = nullptr;
  const lever_status status =
      lever_call_start(Self(object)->attachment->client, &request.options, &id, &error);
  if (status != LEVER_OK) return RaiseRefusal(status, error);
  CallStarted(call, id);
  engine->Requested();
  return held.release();
}

// None, or (token, received): bytes, and a number. False with an exception set.
bool ReadResume(PyObject* resume, lever_call_options* options) {
  if (resume == Py_None) return true;
  Py_ssize_t size = 0;
  const char* token = nullptr;
  unsigned long long received = 0;
  if (!PyArg_ParseTuple(resume, "y#K", &token, &size, &received)) return false;
  options->flags |= LEVER_CALL_RESUME;
  options->resume_token = token;
  options->resume_token_size = static_cast<size_t>(size);
  options->resume_received = received;
  return true;
}

PyObject* OpenStream(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  constexpr Py_ssize_t kOwn = 3;
  if (!Count(count, kOwn + Request::kArguments + 1)) return nullptr;
  Request request;
  if (!request.Read(args + kOwn) ||
      !ReadResume(args[kOwn + Request::kArguments], &request.options)) {
    return nullptr;
  }
  Engine* engine = EngineOf(object);
  if (engine == nullptr) return nullptr;
  request.options.parent = ParentFor(engine);
  request.options.user_data = args[0];
  request.options.read_messages = PyLong_AsUnsignedLongLong(args[1]);
  request.options.read_bytes = PyLong_AsUnsignedLongLong(args[2]);
  if (PyErr_Occurred()) return nullptr;
  uint64_t id = 0;
  lever_error* error = nullptr;
  const lever_status status =
      lever_stream_open(Self(object)->attachment->client, &request.options, &id, &error);
  if (status != LEVER_OK) return RaiseRefusal(status, error);
  Py_INCREF(args[0]);  // until its last event
  engine->Requested();
  return PyLong_FromUnsignedLongLong(id);
}

PyObject* Close(PyObject* object, PyObject*) {
  const Attachment& attachment = *Self(object)->attachment;
  if (attachment.client == nullptr) Py_RETURN_FALSE;
  lever_client_close(attachment.client);
  attachment.engine->Requested();
  Py_RETURN_TRUE;
}

PyObject* Stats(PyObject* object, PyObject*) {
  if (EngineOf(object) == nullptr) return nullptr;
  return ClientStats(Self(object)->attachment->client);
}

int Traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(Self(object)->engine_object);
  return 0;
}

// A client that nobody has any more is closed; its calls in flight end with CANCELLED.
void Dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  ClientHandle* self = Self(object);
  if (self->attachment != nullptr && self->attachment->client != nullptr) {
    // An exception may be on its way, and must find what runs here to have left it.
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    self->attachment->owner.Reset();
    lever_client_close(self->attachment->client);
    self->attachment->engine->Requested();
    PyErr_Restore(kind, value, trace);
  }
  self->attachment.~shared_ptr();
  Py_CLEAR(self->engine_object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"start", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Start)), METH_FASTCALL,
     nullptr},
    {"open_stream", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(OpenStream)),
     METH_FASTCALL, nullptr},
    {"close", Close, METH_NOARGS, nullptr},
    {"stats", Stats, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_traverse, reinterpret_cast<void*>(Traverse)},
    {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
    {Py_tp_methods, methods},
    {0, nullptr},
};
PyType_Spec spec = {
    .name = "lever._lever.ClientHandle",
    .basicsize = sizeof(ClientHandle),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

}  // namespace

void PointTo(const std::optional<std::string>& text, const char** data, size_t* size) {
  if (!text) return;
  *data = text->data();
  *size = text->size();
}

const lever_tls_options* TlsTexts::Point() {
  options.size = sizeof(options);
  PointTo(ca, &options.roots_file, &options.roots_file_size);
  PointTo(cert, &options.certificate_file, &options.certificate_file_size);
  PointTo(key, &options.key_file, &options.key_file_size);
  PointTo(server_name, &options.server_name, &options.server_name_size);
  return &options;
}

void ClientOptions::Fill(lever_client_options* out) {
  out->size = sizeof(*out);
  PointTo(host, &out->host, &out->host_size);
  PointTo(env, &out->environment, &out->environment_size);
  out->echo = echo ? 1 : 0;
  out->only_through_host = only_through_host ? 1 : 0;
  out->in_process = in_process ? 1 : 0;
  out->message_bytes_max = message_bytes_max;
  if (tls) out->tls = tls->Point();
}

PyObject* NewClient(Engine* engine, PyObject* owner, ClientOptions options, lever_service* service) {
  auto* handle = reinterpret_cast<ClientHandle*>(handle_type->tp_alloc(handle_type, 0));
  if (handle == nullptr) return nullptr;
  const std::shared_ptr<Attachment> attachment = engine->Attach(owner);
  new (&handle->attachment) std::shared_ptr<Attachment>(attachment);
  handle->engine_object = Py_NewRef(engine->object());
  lever_client_options native{};
  options.Fill(&native);
  native.service = service;
  native.user_data = attachment.get();
  lever_error* error = nullptr;
  const lever_status status =
      lever_client_create(engine->queue(), &native, &attachment->client, &error);
  if (status == LEVER_OK) return reinterpret_cast<PyObject*>(handle);
  engine->Detach(attachment.get());
  Py_DECREF(reinterpret_cast<PyObject*>(handle));
  return RaiseRefusal(status, error);
}

PyObject* ClientStats(lever_client* client) {
  lever_client_stats stats{};
  stats.size = sizeof(stats);
  const lever_status status = lever_client_get_stats(client, &stats);
  if (status != LEVER_OK) return RaiseRefusal(status, nullptr);
  return Py_BuildValue(
      "(KKKK)", static_cast<unsigned long long>(stats.calls_direct),
      static_cast<unsigned long long>(stats.calls_through_host),
      static_cast<unsigned long long>(stats.retries),
      static_cast<unsigned long long>(stats.direct_connections));
}

bool InitClientTypes() {
  handle_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return handle_type != nullptr;
}

}  // namespace lever::python
