#include "interned.h"

#include <cstring>

namespace lever::python {

PythonPart python_part;
Names names;

bool InternNames() {
  const struct {
    PyObject** where;
    const char* text;
  } list[] = {
      {&names.call_soon, "call_soon"},
      {&names.context, "context"},
      {&names.create_task, "create_task"},
      {&names.call_exception_handler, "call_exception_handler"},
      {&names.on_message, "_on_message"},
      {&names.on_half_closed, "_on_half_closed"},
      {&names.on_writable, "_on_writable"},
      {&names.on_moving, "_on_moving"},
      {&names.on_end, "_on_end"},
      {&names.set_resume, "_set_resume"},
      {&names.on_state, "_on_state"},
      {&names.on_closed, "_on_closed"},
      {&names.on_stream, "_on_stream"},
      {&names.in_pool, "_in_pool"},
      {&names.on_cancelled, "_on_cancelled"},
      {&names.cancel, "cancel"},
      {&names.throw_, "throw"},
      {&names.close, "close"},
      {&names.resume, "resume"},
      {&names.seconds, "seconds"},
      {&names.nanos, "nanos"},
      {&names.type, "type"},
      {&names.data, "data"},
      {&names.pairs, "_pairs"},
      {&names.message, "message"},
      {&names.exception, "exception"},
  };
  for (const auto& entry : list) {
    *entry.where = PyUnicode_InternFromString(entry.text);
    if (*entry.where == nullptr) return false;
  }
  return true;
}

Ref MakeError(int status, const char* message, int executed) {
  const char* text = message == nullptr ? "" : message;
  // A text of the library may quote what a peer has sent.
  Ref line(PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(std::strlen(text)), "replace"));
  if (!line) return Ref();
  return Ref(PyObject_CallFunction(python_part.error, "iOi", status, line.get(), executed));
}

PyObject* RaiseError(int status, const char* message, int executed) {
  const Ref error = MakeError(status, message, executed);
  return error ? RaiseObject(error.get()) : nullptr;
}

PyObject* RaiseObject(PyObject* exception) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception)), exception);
  return nullptr;
}

Ref TakeException() {
  PyObject *type, *exception, *trace;
  PyErr_Fetch(&type, &exception, &trace);
  PyErr_NormalizeException(&type, &exception, &trace);
  if (trace != nullptr) PyException_SetTraceback(exception, trace);
  Py_XDECREF(type);
  Py_XDECREF(trace);
  return Ref(exception);
}

}  // namespace lever::python
