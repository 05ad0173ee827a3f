// What a call and the opening of a stream have in common: the arguments that the Python part gives, and the
// options of the library that they become.
#ifndef BINDINGS_PYTHON_SRC_REQUEST_H_
#define BINDINGS_PYTHON_SRC_REQUEST_H_

#include <vector>

#include "encode.h"
#include "lever/lever.h"
#include "ref.h"

namespace lever::python {

// The arguments (address, args, timeout, flags, metadata): a text, a list or tuple, seconds or None, flags of
// lever.h, and None or a list of pairs of bytes. What `options` points to belongs to those and to this.
class Request {
 public:
  static constexpr Py_ssize_t kArguments = 5;
  // False with an exception set.
  bool Read(PyObject* const* args);

  lever_call_options options{};

 private:
  bool ReadTimeout(PyObject* timeout);
  bool ReadMetadata(PyObject* pairs);

  Payload payload_;
  std::vector<lever_metadata> metadata_;
};

// Raises what the library has refused a request with, and frees it. Returns nullptr.
PyObject* RaiseRefusal(lever_status status, lever_error* error);

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_REQUEST_H_
