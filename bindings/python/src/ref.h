// An owned reference to a Python object; empty where something has failed.
//
// Threads: with the GIL held, as all of Python's objects. A daemon thread that wants the GIL back while the
// interpreter ends is unwound by CPython (pthread_exit), through whatever C++ has called: it has no GIL then,
// so that nothing is released once the interpreter is ending, and no frame on its way may be noexcept.
#ifndef BINDINGS_PYTHON_SRC_REF_H_
#define BINDINGS_PYTHON_SRC_REF_H_

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <utility>

namespace lever::python {

// Whether the interpreter is being torn down: threads that it has stopped may be anywhere, and what they use
// must stay.
inline bool IsFinalizing() {
#if PY_VERSION_HEX >= 0x030d0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

class Ref {
 public:
  Ref() = default;
  // Takes over a reference, as most functions of Python return one.
  explicit Ref(PyObject* owned) : object_(owned) {}
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) {
    Reset(std::exchange(other.object_, nullptr));
    return *this;
  }
  ~Ref() noexcept(false) { Release(object_); }

  static Ref Borrowed(PyObject* object) { return Ref(Py_XNewRef(object)); }

  PyObject* get() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  void Reset(PyObject* owned = nullptr) {
    Release(std::exchange(object_, owned));
  }

 private:
  static void Release(PyObject* object) {
    if (object != nullptr && !IsFinalizing()) Py_DECREF(object);
  }

  PyObject* object_ = nullptr;
};

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_REF_H_
