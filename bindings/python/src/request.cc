#include "request.h"

#include <cmath>

#include "interned.h"

namespace lever::python {
namespace {

bool Invalid(const char* message) {
  RaiseError(LEVER_INVALID_ARGUMENT, message, LEVER_EXECUTED_NO);
  return false;
}

}  // namespace

bool Request::ReadTimeout(PyObject* timeout) {
  if (timeout == Py_None) return true;
  const double seconds = PyFloat_AsDouble(timeout);
  if (PyErr_Occurred()) PyErr_Clear();
  else if (seconds > 0) {
    // Further away than int64 reaches is no deadline.
    constexpr double kSecondsMax = 9e9;
    options.timeout_ns = seconds > kSecondsMax ? -1 : static_cast<int64_t>(std::ceil(seconds * 1e9));
    return true;
  }
  return Invalid("timeout: a number of seconds above 0 is expected");
}

bool Request::ReadMetadata(PyObject* pairs) {
  if (pairs == Py_None) return true;
  for (Py_ssize_t i = 0; i < PyList_Size(pairs); ++i) {
    lever_metadata field{};
    Py_ssize_t name_size = 0, value_size = 0;
    if (!PyArg_ParseTuple(PyList_GET_ITEM(pairs, i), "y#y#", &field.name, &name_size, &field.value,
                          &value_size)) {
      return false;
    }
    field.name_size = static_cast<size_t>(name_size);
    field.value_size = static_cast<size_t>(value_size);
    metadata_.push_back(field);
  }
  options.metadata = metadata_.data();
  options.metadata_count = metadata_.size();
  return true;
}

bool Request::Read(PyObject* const* args) {
  options.size = sizeof(options);
  if (!PyUnicode_Check(args[0])) return Invalid("the address must be a text");
  Py_ssize_t size = 0;
  options.address = PyUnicode_AsUTF8AndSize(args[0], &size);
  if (options.address == nullptr) {
    PyErr_Clear();
    return Invalid("the address has half of a surrogate pair");
  }
  options.address_size = static_cast<size_t>(size);
  if (!payload_.Arguments(args[1]) || !ReadTimeout(args[2])) return false;
  const long flags = PyLong_AsLong(args[3]);
  if (flags == -1 && PyErr_Occurred()) return false;
  options.flags = static_cast<uint32_t>(flags);
  options.kind = payload_.kind();
  options.slices = payload_.slice();
  options.slice_count = 1;
  return ReadMetadata(args[4]);
}

PyObject* RaiseRefusal(lever_status status, lever_error* error) {
  const char* message = error == nullptr ? lever_status_text(status) : lever_error_message(error);
  RaiseError(status, message, LEVER_EXECUTED_NO);
  lever_error_destroy(error);
  return nullptr;
}

}  // namespace lever::python
