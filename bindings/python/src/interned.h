// What the compiled part needs of the Python part: classes and functions that `lever/__init__.py` hands
// over when it is imported, and the names of attributes that are looked up on every call.
#ifndef BINDINGS_PYTHON_SRC_INTERNED_H_
#define BINDINGS_PYTHON_SRC_INTERNED_H_

#include "ref.h"

namespace lever::python {

struct PythonPart {
  PyObject* timestamp = nullptr;       // class Timestamp(seconds, nanos)
  PyObject* ext = nullptr;             // class Ext(type, data)
  PyObject* map = nullptr;             // class Map(pairs)
  PyObject* from_timestamp = nullptr;  // (seconds, nanos) -> datetime or Timestamp
  PyObject* plain = nullptr;           // (object) -> what the encoder knows, or raises
  PyObject* error = nullptr;           // (status, message, executed) -> LeverError
  PyObject* method_error = nullptr;    // class MethodError(value)
  PyObject* error_value = nullptr;     // (exception) -> (value, value that surely can be sent)
  PyObject* read_metadata = nullptr;   // ([(name, value)]) -> dict
  PyObject* cancelled_error = nullptr; // asyncio.CancelledError
  PyObject* invalid_state = nullptr;   // asyncio.InvalidStateError
  PyObject* current = nullptr;         // the ContextVar of the incoming call
};
// Lives as long as the process.
extern PythonPart python_part;

struct Names {
  PyObject* call_soon;
  PyObject* context;
  PyObject* create_task;
  PyObject* call_exception_handler;
  PyObject* on_message;
  PyObject* on_half_closed;
  PyObject* on_writable;
  PyObject* on_moving;
  PyObject* on_end;
  PyObject* set_resume;
  PyObject* on_state;
  PyObject* on_closed;
  PyObject* on_stream;
  PyObject* in_pool;
  PyObject* on_cancelled;
  PyObject* cancel;
  PyObject* throw_;
  PyObject* close;
  PyObject* resume;
  PyObject* seconds;
  PyObject* nanos;
  PyObject* type;
  PyObject* data;
  PyObject* pairs;
  PyObject* message;
  PyObject* exception;
};
extern Names names;

// Makes the names. False with an exception set.
bool InternNames();

// The LeverError for a status of the library; empty with another exception set.
Ref MakeError(int status, const char* message, int executed);
// Raises it. Returns nullptr.
PyObject* RaiseError(int status, const char* message, int executed);
// Raises an exception. Returns nullptr.
PyObject* RaiseObject(PyObject* exception);
// The exception that is set, with its traceback, and which is no longer; empty without one.
Ref TakeException();

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_INTERNED_H_
