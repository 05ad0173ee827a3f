// An owned reference to a Python object; empty where something has failed.
//
// Threads: with the GIL held, as all of Python's objects. A function that lets go of the GIL has none of
// these alive meanwhile: a thread that finds the interpreter gone does not come back.
#ifndef BINDINGS_PYTHON_SRC_REF_H_
#define BINDINGS_PYTHON_SRC_REF_H_

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <utility>

namespace lever::python {

class Ref {
 public:
  Ref() = default;
  // Takes over a reference, as most functions of Python return one.
  explicit Ref(PyObject* owned) : object_(owned) {}
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    Reset(std::exchange(other.object_, nullptr));
    return *this;
  }
  ~Ref() { Py_XDECREF(object_); }

  static Ref Borrowed(PyObject* object) { return Ref(Py_XNewRef(object)); }

  PyObject* get() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  void Reset(PyObject* owned = nullptr) {
    PyObject* before = std::exchange(object_, owned);
    Py_XDECREF(before);
  }

 private:
  PyObject* object_ = nullptr;
};

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_REF_H_
