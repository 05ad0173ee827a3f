// The module lever._lever: what the Python part calls. Functions that every call goes through are in types
// of their own (call.h, client.h, incoming.h), which cost less to call than pybind11's.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "call.h"
#include "client.h"
#include "decode.h"
#include "encode.h"
#include "engine.h"
#include "incoming.h"
#include "interned.h"
#include "request.h"

namespace py = pybind11;

namespace lever::python {
namespace {

[[noreturn]] void Throw(lever_status status, lever_error* error = nullptr) {
  RaiseRefusal(status, error);
  throw py::error_already_set();
}

py::object Owned(PyObject* object) {
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

Engine* Living(Engine& engine) {
  if (engine.ended()) Throw(LEVER_CANCELLED);
  return &engine;
}

// ---- Engines ----

PyObject* OnReadable(PyObject* self, PyObject*) {
  auto* engine = static_cast<Engine*>(PyCapsule_GetPointer(self, nullptr));
  if (engine == nullptr || !engine->OnReadable()) return nullptr;
  Py_RETURN_NONE;
}

PyObject* FlushNow(PyObject* self, PyObject*) {
  auto* engine = static_cast<Engine*>(PyCapsule_GetPointer(self, nullptr));
  if (engine == nullptr || !engine->Flush()) return nullptr;
  Py_RETURN_NONE;
}

PyMethodDef on_readable{"on_readable", OnReadable, METH_NOARGS, nullptr};
PyMethodDef flush{"flush", FlushNow, METH_NOARGS, nullptr};

// open_engine(loop, capacity, events_per_turn) -> (engine, descriptor, what the loop calls)
py::tuple OpenEngine(const py::object& loop, uint32_t capacity, uint32_t events_per_turn) {
  EngineOptions options;
  if (capacity > 0) options.capacity = capacity;
  options.events_per_turn = events_per_turn;
  Engine::Owner engine = Engine::Open(loop.ptr(), options);
  if (engine == nullptr) throw py::error_already_set();
  Engine* raw = engine.get();
  py::object object = py::cast(std::move(engine));
  // The loop's functions keep the engine alive by the capsule.
  PyCapsule_Destructor release = [](PyObject* capsule) {
    Py_XDECREF(static_cast<PyObject*>(PyCapsule_GetContext(capsule)));
  };
  py::object capsule = Owned(PyCapsule_New(raw, nullptr, release));
  PyCapsule_SetContext(capsule.ptr(), object.inc_ref().ptr());
  const py::object flush_function = Owned(PyCFunction_New(&flush, capsule.ptr()));
  raw->SetObject(object.ptr(), flush_function.ptr());
  return py::make_tuple(object, lever_queue_fd(raw->queue()),
                        Owned(PyCFunction_New(&on_readable, capsule.ptr())));
}

// ---- Streams ----

// `token`: bytes from which the method's stream could go on behind the message, or None.
lever_status Write(Engine& engine, uint64_t id, int kind, const lever_slice* slice,
                   const py::object& token) {
  lever_queue* queue = Living(engine)->queue();
  lever_status status = LEVER_OK;
  if (token.is_none()) {
    status = lever_stream_write(queue, id, kind, slice, 1);
  } else {
    const std::string_view view = py::cast<py::bytes>(token);
    status = lever_stream_write_resumable(queue, id, kind, slice, 1, view.data(), view.size());
  }
  engine.Requested();
  return status;
}

// None: taken. A number: a status. Else there was no room: (kind, bytes) to be written later.
py::object StreamSend(Engine& engine, uint64_t id, const py::object& value,
                      const py::object& token) {
  Payload payload;
  if (!payload.Message(value.ptr())) throw py::error_already_set();
  const lever_status status = Write(engine, id, payload.kind(), payload.slice(), token);
  if (status == LEVER_OK) return py::none();
  if (status != LEVER_WOULD_BLOCK) return py::int_(static_cast<int>(status));
  const auto* data = reinterpret_cast<const char*>(payload.slice()->data);
  return py::make_tuple(payload.kind(), py::bytes(data, payload.slice()->size));
}

// (kind, bytes) of a message.
py::tuple EncodeMessage(const py::object& value) {
  Payload payload;
  if (!payload.Message(value.ptr())) throw py::error_already_set();
  const auto* data = reinterpret_cast<const char*>(payload.slice()->data);
  return py::make_tuple(payload.kind(), py::bytes(data, payload.slice()->size));
}

int StreamWrite(Engine& engine, uint64_t id, int kind, const py::bytes& bytes,
                const py::object& token) {
  const std::string_view view = bytes;
  const lever_slice slice{.data = reinterpret_cast<const uint8_t*>(view.data()),
                          .size = view.size()};
  return Write(engine, id, kind, &slice, token);
}

// The method of a stream that moves has returned.
int StreamMoved(Engine& engine, uint64_t id, uint64_t unread) {
  const lever_status status = lever_stream_moved(Living(engine)->queue(), id, unread);
  engine.Requested();
  return status;
}

int StreamRead(Engine& engine, uint64_t id, uint64_t messages, uint64_t bytes) {
  const lever_status status = lever_stream_read(Living(engine)->queue(), id, messages, bytes);
  engine.Requested();
  return status;
}

int StreamCloseSend(Engine& engine, uint64_t id) {
  const lever_status status = lever_stream_close_send(Living(engine)->queue(), id);
  engine.Requested();
  return status;
}

// Ends an incoming stream with the method's own error.
int StreamFail(Engine& engine, uint64_t id, const py::object& exception) {
  const Ref values(PyObject_CallOneArg(python_part.error_value, exception.ptr()));
  if (!values) throw py::error_already_set();
  for (Py_ssize_t i = 0; i < 2; ++i) {
    Payload payload;
    if (!payload.Message(PyTuple_GET_ITEM(values.get(), i), true)) {
      PyErr_Clear();
      continue;
    }
    const lever_status status =
        lever_stream_fail(Living(engine)->queue(), id, payload.kind(), payload.slice(), 1);
    engine.Requested();
    return status;
  }
  return LEVER_INVALID_ARGUMENT;
}

int StreamCancel(Engine& engine, uint64_t id, int status, const std::string& message) {
  const lever_status result =
      lever_stream_cancel(Living(engine)->queue(), id, static_cast<lever_status>(status),
                          message.data(), message.size());
  engine.Requested();
  return result;
}

// ---- Time that a test moves ----

void HoldTime(Engine& engine) {
  const lever_status status = lever_queue_hold_time(Living(engine)->queue());
  if (status != LEVER_OK) Throw(status);
}

void AdvanceTime(Engine& engine, int64_t by_ns) {
  const lever_status status = lever_queue_advance_time(Living(engine)->queue(), by_ns);
  if (status != LEVER_OK) Throw(status);
}

void ResumeTime(Engine& engine) {
  if (!engine.ended()) lever_queue_resume_time(engine.queue());
}

// ---- Clients and services ----

[[noreturn]] void BadOption(const char* name, const char* wanted) {
  const std::string text = std::string(name) + ": " + wanted + " is expected";
  RaiseError(LEVER_INVALID_ARGUMENT, text.c_str(), LEVER_EXECUTED_NO);
  throw py::error_already_set();
}

std::optional<std::string> Text(const py::dict& from, const char* name) {
  if (!from.contains(name) || from[name].is_none()) return std::nullopt;
  const py::object given = from[name];
  Py_ssize_t size = 0;
  const char* text =
      PyUnicode_Check(given.ptr()) ? PyUnicode_AsUTF8AndSize(given.ptr(), &size) : nullptr;
  if (text != nullptr) return std::string(text, static_cast<size_t>(size));
  PyErr_Clear();
  BadOption(name, "a text");
}

template <typename T>
T Count(const py::dict& from, const char* name) {
  try {
    return py::cast<T>(py::object(from[name]));
  } catch (const py::cast_error&) {
    BadOption(name, "an integer, 0 or more,");
  }
}

// In nanoseconds.
int64_t Seconds(const py::dict& from, const char* name) {
  constexpr double kSecondsMax = 9e9;  // what int64 reaches
  const double seconds = PyFloat_AsDouble(py::object(from[name]).ptr());
  if (!PyErr_Occurred() && seconds >= 0) {
    return static_cast<int64_t>(std::min(seconds, kSecondsMax) * 1e9);
  }
  PyErr_Clear();
  BadOption(name, "a number of seconds, 0 or more,");
}

std::optional<TlsTexts> Tls(const py::dict& from) {
  if (!from.contains("tls") || from["tls"].is_none()) return std::nullopt;
  const py::object given_object = from["tls"];
  if (!py::isinstance<py::dict>(given_object)) BadOption("tls", "a dict");
  const py::dict given = given_object;
  TlsTexts texts;
  texts.ca = Text(given, "ca");
  texts.cert = Text(given, "cert");
  texts.key = Text(given, "key");
  texts.server_name = Text(given, "server_name");
  for (const auto& entry : given) {
    const std::string key = py::str(entry.first);
    if (key != "ca" && key != "cert" && key != "key" && key != "server_name") {
      BadOption("tls", "a dict of ca, cert, key and server_name");
    }
  }
  return texts;
}

bool Flag(const py::dict& from, const char* name) {
  return from.contains(name) && py::cast<bool>(py::object(from[name]));
}

ClientOptions ClientOptionsOf(const py::dict& from) {
  ClientOptions options;
  options.host = Text(from, "host");
  options.env = Text(from, "env");
  options.echo = Flag(from, "echo");
  options.only_through_host = Flag(from, "only_through_host");
  options.in_process = Flag(from, "in_process");
  if (from.contains("message_bytes_max")) {
    options.message_bytes_max = Count<size_t>(from, "message_bytes_max");
  }
  options.tls = Tls(from);
  return options;
}

class ServiceHandle {
 public:
  ServiceHandle(Engine& engine, const py::object& owner, const py::dict& given) {
    lever_service_options options{};
    options.size = sizeof(options);
    const auto name = Text(given, "name"), env = Text(given, "env"), host = Text(given, "host"),
               listen = Text(given, "listen"), runtime = Text(given, "runtime"),
               config = Text(given, "config_json"), secrets = Text(given, "secrets_json");
    PointTo(name, &options.name, &options.name_size);
    PointTo(env, &options.environment, &options.environment_size);
    PointTo(host, &options.host, &options.host_size);
    PointTo(listen, &options.listen, &options.listen_size);
    PointTo(runtime, &options.runtime, &options.runtime_size);
    PointTo(config, &options.config_json, &options.config_json_size);
    PointTo(secrets, &options.secrets_json, &options.secrets_json_size);
    options.is_private = Flag(given, "private") ? 1 : 0;
    options.in_process = Flag(given, "in_process") ? 1 : 0;
    options.concurrency_max = Count<uint32_t>(given, "max_concurrency");
    options.drain_timeout_ns = Seconds(given, "drain_timeout");
    auto tls = Tls(given);
    if (tls) options.tls = tls->Point();
    attachment_ = Living(engine)->Attach(owner.ptr());
    options.user_data = attachment_.get();
    lever_error* error = nullptr;
    const lever_status status =
        lever_service_create(engine.queue(), &options, &attachment_->service, &error);
    if (status == LEVER_OK) return;
    engine.Detach(attachment_.get());
    Throw(status, error);
  }

  void AddMethod(const py::str& name, const py::object& function, bool in_pool, bool is_stream) {
    Add(name, function, in_pool, is_stream, lever_service_add_method)->of_resource = false;
  }

  void SetResource(const py::dict& given) {
    lever_resource_options options{};
    options.size = sizeof(options);
    options.concurrency_max = Count<uint32_t>(given, "max_concurrency");
    options.idle_timeout_ns = Seconds(given, "idle_timeout");
    options.resumes = Flag(given, "resumes") ? 1 : 0;
    lever_error* error = nullptr;
    const lever_status status = lever_service_set_resource(Get(), &options, &error);
    if (status != LEVER_OK) Throw(status, error);
  }

  // `attribute` is what the method is on objects of the program's class.
  void AddResourceMethod(const py::str& name, const py::str& attribute, bool in_pool,
                         bool is_stream) {
    Add(name, attribute, in_pool, is_stream, lever_service_add_resource_method)->of_resource =
        true;
  }

  // From here on calls of the resource are the object's. Nothing where the service is closed by now, as
  // for the next three.
  void ResourceOpened(uint64_t id, const py::object& object, const py::str& name) {
    if (attachment_->service == nullptr) return;
    attachment_->resources[id] = {Ref::Borrowed(object.ptr()), Ref::Borrowed(name.ptr())};
    lever_resource_opened(attachment_->service, id, LEVER_OK, nullptr, 0);
    attachment_->engine->Requested();
  }

  void ResourceRefused(uint64_t id, const std::string& why) {
    if (attachment_->service == nullptr) return;
    lever_resource_opened(attachment_->service, id, LEVER_INTERNAL, why.data(), why.size());
    attachment_->engine->Requested();
  }

  // With what it carries; None: nothing. Raises where that cannot be sent: it is to be answered yet.
  void ResourceClosed(uint64_t id, const py::object& carried) {
    if (attachment_->service == nullptr) return;
    lever_status status = LEVER_OK;
    if (carried.is_none()) {
      status = lever_resource_closed(attachment_->service, id, LEVER_OK, LEVER_KIND_NONE, nullptr, 0);
    } else {
      Payload payload;
      if (!payload.Message(carried.ptr())) throw py::error_already_set();
      status = lever_resource_closed(attachment_->service, id, LEVER_OK, payload.kind(),
                                     payload.slice(), 1);
    }
    attachment_->engine->Requested();
    if (status != LEVER_OK) Throw(status);
  }

  void ResourceLost(uint64_t id) {
    if (attachment_->service == nullptr) return;
    lever_resource_closed(attachment_->service, id, LEVER_INTERNAL, LEVER_KIND_NONE, nullptr, 0);
    attachment_->engine->Requested();
  }

  void Start() {
    lever_error* error = nullptr;
    const lever_status status = lever_service_start(Get(), &error);
    if (status != LEVER_OK) Throw(status, error);
    attachment_->engine->Requested();
  }

  void Drain() {
    const lever_status status = lever_service_drain(Get());
    if (status != LEVER_OK) Throw(status);
    attachment_->engine->Requested();
  }

  // False: it is closed already.
  bool Close() {
    if (attachment_->service == nullptr) return false;
    lever_service_close(attachment_->service);
    attachment_->engine->Requested();
    return true;
  }

  py::dict Details() {
    lever_service_details details{};
    details.size = sizeof(details);
    const lever_status status = lever_service_get_details(Get(), &details);
    if (status != LEVER_OK) Throw(status);
    py::dict out;
    out["env"] = details.environment;
    out["name"] = details.name;
    out["instance"] = details.instance;
    out["version"] = details.version;
    out["config_json"] = details.config_json;
    out["listening"] = details.listening;
    out["secrets_json"] = details.secrets_json;
    return out;
  }

  lever_service* Get() {
    if (attachment_->service == nullptr) {
      RaiseError(LEVER_CANCELLED, "the service is closed", LEVER_EXECUTED_NO);
      throw py::error_already_set();
    }
    return attachment_->service;
  }

 private:
  Method* Add(const py::str& name, const py::object& function, bool in_pool, bool is_stream,
              decltype(&lever_service_add_method) add) {
    auto method = std::make_unique<Method>();
    method->service = attachment_.get();
    method->function = Ref::Borrowed(function.ptr());
    method->name = Ref::Borrowed(name.ptr());
    method->in_pool = in_pool;
    method->is_stream = is_stream;
    const std::string text = name;
    const lever_status status = add(Get(), text.data(), text.size(), method.get());
    if (status != LEVER_OK) Throw(status);
    attachment_->methods.push_back(std::move(method));
    return attachment_->methods.back().get();
  }

  std::shared_ptr<Attachment> attachment_;
};

// client(engine, owner, options, service or None) -> ClientHandle
py::object MakeClient(Engine& engine, const py::object& owner, const py::dict& options,
                      const py::object& service) {
  lever_service* native = service.is_none() ? nullptr : py::cast<ServiceHandle&>(service).Get();
  return Owned(NewClient(Living(engine), owner.ptr(), ClientOptionsOf(options), native));
}

py::object MakeSyncClient(const py::dict& options) {
  return Owned(NewSyncClient(ClientOptionsOf(options)));
}

// ---- Values ----

py::bytes EncodeValue(const py::object& value) {
  Encoder encoder;
  if (!encoder.Put(value.ptr())) throw py::error_already_set();
  return py::bytes(reinterpret_cast<const char*>(encoder.data()), encoder.size());
}

py::object DecodeValue(const py::bytes& bytes) {
  const std::string_view view = bytes;
  const lever_slice slice{.data = reinterpret_cast<const uint8_t*>(view.data()),
                          .size = view.size()};
  lever_error* error = nullptr;
  const lever_status status = lever_value_check(&slice, 1, &error);
  if (status != LEVER_OK) Throw(status, error);
  return Owned(Decode(slice.data, slice.size).release());
}

py::bytes FromJson(const std::string& json) {
  uint8_t* data = nullptr;
  size_t size = 0;
  lever_error* error = nullptr;
  const lever_status status = lever_value_from_json(json.data(), json.size(), &data, &size, &error);
  if (status != LEVER_OK) Throw(status, error);
  const py::bytes out(reinterpret_cast<const char*>(data), size);
  lever_free(data);
  return out;
}

// configure(name=object, ...): what interned.h says.
void Configure(const py::kwargs& parts) {
  const struct {
    const char* name;
    PyObject** where;
  } list[] = {
      {"timestamp", &python_part.timestamp},
      {"ext", &python_part.ext},
      {"map", &python_part.map},
      {"from_timestamp", &python_part.from_timestamp},
      {"plain", &python_part.plain},
      {"error", &python_part.error},
      {"method_error", &python_part.method_error},
      {"error_value", &python_part.error_value},
      {"read_metadata", &python_part.read_metadata},
      {"cancelled_error", &python_part.cancelled_error},
      {"invalid_state", &python_part.invalid_state},
      {"current", &python_part.current},
  };
  for (const auto& part : list) {
    py::object given = parts[part.name];
    PyObject* before = std::exchange(*part.where, given.release().ptr());
    Py_XDECREF(before);
  }
}

}  // namespace
}  // namespace lever::python

PYBIND11_MODULE(_lever, m) {
  namespace lp = lever::python;
  if (!lp::InternNames() || !lp::InitCallType() || !lp::InitIncomingTypes() ||
      !lp::InitClientTypes() || !lp::InitSyncType()) {
    throw py::error_already_set();
  }
  m.attr("version") = lever_version();
  m.attr("Call") = py::handle(reinterpret_cast<PyObject*>(lp::CallType()));
  m.attr("Incoming") = py::handle(reinterpret_cast<PyObject*>(lp::IncomingType()));
  m.attr("Run") = py::handle(reinterpret_cast<PyObject*>(lp::RunType()));
  py::class_<lp::Engine, lp::Engine::Owner>(m, "Engine")
      .def("shutdown", &lp::Engine::Shutdown)
      .def("abandon", &lp::Engine::Abandon)
      .def("delivered", &lp::Engine::delivered)
      .def("hold_time", lp::HoldTime)
      .def("advance_time", lp::AdvanceTime)
      .def("resume_time", lp::ResumeTime)
      .def("stream_send", lp::StreamSend)
      .def("stream_write", lp::StreamWrite)
      .def("stream_moved", lp::StreamMoved)
      .def("stream_read", lp::StreamRead)
      .def("stream_close_send", lp::StreamCloseSend)
      .def("stream_fail", lp::StreamFail)
      .def("stream_cancel", lp::StreamCancel);
  py::class_<lp::ServiceHandle>(m, "ServiceHandle")
      .def(py::init<lp::Engine&, const py::object&, const py::dict&>(), py::keep_alive<1, 2>())
      .def("add_method", &lp::ServiceHandle::AddMethod)
      .def("set_resource", &lp::ServiceHandle::SetResource)
      .def("add_resource_method", &lp::ServiceHandle::AddResourceMethod)
      .def("resource_opened", &lp::ServiceHandle::ResourceOpened)
      .def("resource_refused", &lp::ServiceHandle::ResourceRefused)
      .def("resource_closed", &lp::ServiceHandle::ResourceClosed)
      .def("resource_lost", &lp::ServiceHandle::ResourceLost)
      .def("start", &lp::ServiceHandle::Start)
      .def("drain", &lp::ServiceHandle::Drain)
      .def("close", &lp::ServiceHandle::Close)
      .def("details", &lp::ServiceHandle::Details);
  m.def("open_engine", lp::OpenEngine);
  m.def("client", lp::MakeClient);
  m.def("sync_client", lp::MakeSyncClient);
  m.def("encode", lp::EncodeValue);
  m.def("encode_message", lp::EncodeMessage);
  m.def("decode", lp::DecodeValue);
  m.def("from_json", lp::FromJson);
  m.def("configure", lp::Configure);
}
