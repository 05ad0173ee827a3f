#include "encode.h"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>

#include "interned.h"

namespace lever::python {
namespace {

// The library takes no value that is nested deeper (docs/wire.md).
constexpr int kDepthMax = 128;
constexpr size_t kKeptBytesMax = 1024 * 1024;
constexpr size_t kFirstBytes = 4096;

// The memory of the last encoder; guarded by the GIL.
uint8_t* kept = nullptr;
size_t kept_capacity = 0;

bool Invalid(const char* message) {
  RaiseError(LEVER_INVALID_ARGUMENT, message, LEVER_EXECUTED_NO);
  return false;
}

// Whatever is set becomes the cause of a LeverError.
bool InvalidBecause(const char* message) {
  Ref cause = TakeException();
  const Ref error = MakeError(LEVER_INVALID_ARGUMENT, message, LEVER_EXECUTED_NO);
  if (!error) return false;
  PyException_SetCause(error.get(), cause.release());
  RaiseObject(error.get());
  return false;
}

template <typename T>
void StoreBig(uint8_t* to, T value) {
  if constexpr (std::endian::native == std::endian::little) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      to[i] = static_cast<uint8_t>(value >> (8 * (sizeof(T) - 1 - i)));
    }
  } else {
    std::memcpy(to, &value, sizeof(T));
  }
}

}  // namespace

Encoder::Encoder()
    : data_(std::exchange(kept, nullptr)), capacity_(std::exchange(kept_capacity, 0)) {}

Encoder::~Encoder() {
  if (data_ == nullptr || IsFinalizing()) return;
  if (kept == nullptr && capacity_ <= kKeptBytesMax) {
    kept = data_;
    kept_capacity = capacity_;
  } else {
    std::free(data_);
  }
}

uint8_t* Encoder::Room(size_t more) {
  if (capacity_ - size_ < more) {
    size_t capacity = capacity_ == 0 ? kFirstBytes : capacity_ * 2;
    if (capacity - size_ < more) capacity = size_ + more;
    auto* data = static_cast<uint8_t*>(std::realloc(data_, capacity));
    if (data == nullptr) {
      PyErr_NoMemory();
      return nullptr;
    }
    data_ = data;
    capacity_ = capacity;
  }
  return data_ + size_;
}

bool Encoder::Head8(uint8_t head, uint8_t value) {
  uint8_t* to = Room(2);
  if (to == nullptr) return false;
  to[0] = head;
  to[1] = value;
  size_ += 2;
  return true;
}

bool Encoder::Head16(uint8_t head, uint16_t value) {
  uint8_t* to = Room(3);
  if (to == nullptr) return false;
  to[0] = head;
  StoreBig(to + 1, value);
  size_ += 3;
  return true;
}

bool Encoder::Head32(uint8_t head, uint32_t value) {
  uint8_t* to = Room(5);
  if (to == nullptr) return false;
  to[0] = head;
  StoreBig(to + 1, value);
  size_ += 5;
  return true;
}

bool Encoder::Head64(uint8_t head, uint64_t value) {
  uint8_t* to = Room(9);
  if (to == nullptr) return false;
  to[0] = head;
  StoreBig(to + 1, value);
  size_ += 9;
  return true;
}

bool Encoder::Enter(int depth) {
  if (depth < kDepthMax) return true;
  return Invalid("the value is nested more than 128 deep, or contains itself");
}

bool Encoder::Put(PyObject* value, int depth) {
  PyTypeObject* type = Py_TYPE(value);
  if (type == &PyUnicode_Type) return PutText(value);
  if (type == &PyLong_Type) return PutInt(value);
  if (value == Py_None || value == Py_False || value == Py_True) {
    uint8_t* to = Room(1);
    if (to == nullptr) return false;
    *to = value == Py_None ? 0xc0 : value == Py_False ? 0xc2 : 0xc3;
    ++size_;
    return true;
  }
  if (type == &PyDict_Type) return PutDict(value, depth);
  if (type == &PyList_Type) return PutList(value, depth);
  if (type == &PyTuple_Type) return PutTuple(value, depth);
  if (type == &PyFloat_Type) return PutFloat(PyFloat_AS_DOUBLE(value));
  if (type == &PyBytes_Type) return PutBytes(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
  return PutOther(value, depth);
}

// Subclasses, and what is rare. An enum with a mixed-in type is what it mixes in.
bool Encoder::PutOther(PyObject* value, int depth) {
  auto* type = reinterpret_cast<PyObject*>(Py_TYPE(value));
  if (type == python_part.timestamp) return PutTimestamp(value);
  if (type == python_part.ext) return PutExt(value);
  if (type == python_part.map) return PutMap(value, depth);
  if (PyUnicode_Check(value)) return PutText(value);
  if (PyLong_Check(value)) return PutInt(value);
  if (PyFloat_Check(value)) return PutFloat(PyFloat_AS_DOUBLE(value));
  if (PyDict_Check(value)) return PutDict(value, depth);
  if (PyList_Check(value)) return PutList(value, depth);
  if (PyTuple_Check(value)) return PutTuple(value, depth);
  if (PyBytes_Check(value)) return PutBytes(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
  if (PyByteArray_Check(value) || PyMemoryView_Check(value)) return PutBuffer(value);
  if (PyAnySet_Check(value)) return PutSet(value, depth);
  if (!Enter(depth)) return false;
  Ref plain(PyObject_CallOneArg(python_part.plain, value));
  return plain && Put(plain.get(), depth + 1);
}

bool Encoder::PutInt(PyObject* value) {
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
  if (overflow > 0) {
    const unsigned long long large = PyLong_AsUnsignedLongLong(value);
    if (!PyErr_Occurred()) return Head64(0xcf, large);
    PyErr_Clear();
  }
  if (overflow != 0) return Invalid("an integer is outside of -2**63 to 2**64-1");
  if (number == -1 && PyErr_Occurred()) return false;
  if (number >= -32 && number <= 127) {
    uint8_t* to = Room(1);
    if (to == nullptr) return false;
    *to = static_cast<uint8_t>(number);
    ++size_;
    return true;
  }
  if (number > 0) {
    if (number <= UINT8_MAX) return Head8(0xcc, static_cast<uint8_t>(number));
    if (number <= UINT16_MAX) return Head16(0xcd, static_cast<uint16_t>(number));
    if (number <= UINT32_MAX) return Head32(0xce, static_cast<uint32_t>(number));
    return Head64(0xcf, static_cast<uint64_t>(number));
  }
  if (number >= INT8_MIN) return Head8(0xd0, static_cast<uint8_t>(number));
  if (number >= INT16_MIN) return Head16(0xd1, static_cast<uint16_t>(number));
  if (number >= INT32_MIN) return Head32(0xd2, static_cast<uint32_t>(number));
  return Head64(0xd3, static_cast<uint64_t>(number));
}

bool Encoder::PutFloat(double value) { return Head64(0xcb, std::bit_cast<uint64_t>(value)); }

bool Encoder::PutText(PyObject* value) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(value, &size);
  if (text == nullptr) {
    return InvalidBecause("a text has half of a surrogate pair, which UTF-8 cannot hold");
  }
  const size_t bytes = static_cast<size_t>(size);
  bool ok;
  if (bytes <= 31) {
    uint8_t* to = Room(1);
    ok = to != nullptr;
    if (ok) {
      *to = static_cast<uint8_t>(0xa0 | bytes);
      ++size_;
    }
  } else if (bytes <= UINT8_MAX) {
    ok = Head8(0xd9, static_cast<uint8_t>(bytes));
  } else if (bytes <= UINT16_MAX) {
    ok = Head16(0xda, static_cast<uint16_t>(bytes));
  } else if (bytes <= UINT32_MAX) {
    ok = Head32(0xdb, static_cast<uint32_t>(bytes));
  } else {
    return Invalid("a text of 4 GiB or more cannot be sent");
  }
  uint8_t* to = ok ? Room(bytes) : nullptr;
  if (to == nullptr) return false;
  std::memcpy(to, text, bytes);
  size_ += bytes;
  return true;
}

bool Encoder::PutBytes(const void* bytes, size_t size) {
  bool ok;
  if (size <= UINT8_MAX) {
    ok = Head8(0xc4, static_cast<uint8_t>(size));
  } else if (size <= UINT16_MAX) {
    ok = Head16(0xc5, static_cast<uint16_t>(size));
  } else if (size <= UINT32_MAX) {
    ok = Head32(0xc6, static_cast<uint32_t>(size));
  } else {
    return Invalid("bytes of 4 GiB or more cannot be sent");
  }
  uint8_t* to = ok ? Room(size) : nullptr;
  if (to == nullptr) return false;
  if (size > 0) std::memcpy(to, bytes, size);
  size_ += size;
  return true;
}

bool Encoder::PutBuffer(PyObject* value) {
  Py_buffer view;
  if (PyObject_GetBuffer(value, &view, PyBUF_SIMPLE) != 0) {
    return InvalidBecause("the bytes of a memoryview must lie in one piece");
  }
  const bool ok = PutBytes(view.buf, static_cast<size_t>(view.len));
  PyBuffer_Release(&view);
  return ok;
}

// `small` for up to `small_max`, else heads with counts of two and four bytes.
bool Encoder::PutCount(size_t count, uint8_t small, size_t small_max, uint8_t two, uint8_t four) {
  if (count <= small_max) {
    uint8_t* to = Room(1);
    if (to == nullptr) return false;
    *to = static_cast<uint8_t>(small | count);
    ++size_;
    return true;
  }
  if (count <= UINT16_MAX) return Head16(two, static_cast<uint16_t>(count));
  if (count <= UINT32_MAX) return Head32(four, static_cast<uint32_t>(count));
  return Invalid("a list or dict has too many entries");
}

// plain() runs code of the program's, which may change what is being encoded.
bool Encoder::PutList(PyObject* value, int depth) {
  const Py_ssize_t count = PyList_GET_SIZE(value);
  if (!Enter(depth) || !PutCount(count, 0x90, 15, 0xdc, 0xdd)) return false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(value); ++i) {
    const Ref item = Ref::Borrowed(PyList_GET_ITEM(value, i));
    if (!Put(item.get(), depth + 1)) return false;
  }
  if (PyList_GET_SIZE(value) != count) return Invalid("a list has changed while it was encoded");
  return true;
}

bool Encoder::PutTuple(PyObject* value, int depth) {
  const Py_ssize_t count = PyTuple_GET_SIZE(value);
  if (!Enter(depth) || !PutCount(count, 0x90, 15, 0xdc, 0xdd)) return false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!Put(PyTuple_GET_ITEM(value, i), depth + 1)) return false;
  }
  return true;
}

bool Encoder::PutSet(PyObject* value, int depth) {
  const Ref list(PySequence_List(value));
  return list && PutList(list.get(), depth);
}

bool Encoder::PutDict(PyObject* value, int depth) {
  const Py_ssize_t count = PyDict_GET_SIZE(value);
  if (!Enter(depth) || !PutCount(count, 0x80, 15, 0xde, 0xdf)) return false;
  Py_ssize_t at = 0;
  Py_ssize_t done = 0;
  PyObject *key, *item;
  while (PyDict_Next(value, &at, &key, &item)) {
    const Ref key_held = Ref::Borrowed(key);
    const Ref item_held = Ref::Borrowed(item);
    if (++done > count || !Put(key, depth + 1) || !Put(item, depth + 1)) break;
    if (PyDict_GET_SIZE(value) != count) break;
  }
  if (PyErr_Occurred()) return false;
  if (done != count || PyDict_GET_SIZE(value) != count) {
    return Invalid("a dict has changed while it was encoded");
  }
  return true;
}

bool Encoder::PutMap(PyObject* value, int depth) {
  const Ref pairs(PyObject_GetAttr(value, names.pairs));
  if (!pairs) return false;
  const Ref list(PySequence_Tuple(pairs.get()));
  if (!list) return false;
  const Py_ssize_t count = PyTuple_GET_SIZE(list.get());
  if (!Enter(depth) || !PutCount(count, 0x80, 15, 0xde, 0xdf)) return false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* pair = PyTuple_GET_ITEM(list.get(), i);
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
      return Invalid("a lever.Map holds pairs of key and value");
    }
    if (!Put(PyTuple_GET_ITEM(pair, 0), depth + 1)) return false;
    if (!Put(PyTuple_GET_ITEM(pair, 1), depth + 1)) return false;
  }
  return true;
}

bool Encoder::PutExtHead(size_t size, int type) {
  const auto type_byte = static_cast<uint8_t>(type);
  const size_t fixed[] = {1, 2, 4, 8, 16};
  for (size_t i = 0; i < std::size(fixed); ++i) {
    if (size == fixed[i]) return Head8(static_cast<uint8_t>(0xd4 + i), type_byte);
  }
  bool ok;
  if (size <= UINT8_MAX) {
    ok = Head8(0xc7, static_cast<uint8_t>(size));
  } else if (size <= UINT16_MAX) {
    ok = Head16(0xc8, static_cast<uint16_t>(size));
  } else if (size <= UINT32_MAX) {
    ok = Head32(0xc9, static_cast<uint32_t>(size));
  } else {
    return Invalid("an extension of 4 GiB or more cannot be sent");
  }
  uint8_t* to = ok ? Room(1) : nullptr;
  if (to == nullptr) return false;
  *to = type_byte;
  ++size_;
  return true;
}

bool Encoder::PutTimestamp(PyObject* value) {
  const Ref seconds_object(PyObject_GetAttr(value, names.seconds));
  const Ref nanos_object(PyObject_GetAttr(value, names.nanos));
  if (!seconds_object || !nanos_object) return false;
  const long long seconds = PyLong_AsLongLong(seconds_object.get());
  if (seconds == -1 && PyErr_Occurred()) return InvalidBecause("seconds: beyond 64 bits");
  const long nanos = PyLong_AsLong(nanos_object.get());
  if (nanos < 0 || nanos > 999999999) {
    PyErr_Clear();
    return Invalid("nanos: an integer from 0 to 999999999 is expected");
  }
  const int timestamp_type = -1;
  if (seconds >= 0 && seconds >> 34 == 0) {
    if (nanos == 0 && seconds <= UINT32_MAX) {
      uint8_t* to = PutExtHead(4, timestamp_type) ? Room(4) : nullptr;
      if (to == nullptr) return false;
      StoreBig(to, static_cast<uint32_t>(seconds));
      size_ += 4;
      return true;
    }
    uint8_t* to = PutExtHead(8, timestamp_type) ? Room(8) : nullptr;
    if (to == nullptr) return false;
    StoreBig(to, static_cast<uint64_t>(nanos) << 34 | static_cast<uint64_t>(seconds));
    size_ += 8;
    return true;
  }
  uint8_t* to = PutExtHead(12, timestamp_type) ? Room(12) : nullptr;
  if (to == nullptr) return false;
  StoreBig(to, static_cast<uint32_t>(nanos));
  StoreBig(to + 4, static_cast<uint64_t>(seconds));
  size_ += 12;
  return true;
}

bool Encoder::PutExt(PyObject* value) {
  const Ref type_object(PyObject_GetAttr(value, names.type));
  const Ref data(PyObject_GetAttr(value, names.data));
  if (!type_object || !data) return false;
  const long type = PyLong_AsLong(type_object.get());
  if (type < -128 || type > 127 || PyErr_Occurred() || !PyBytes_Check(data.get())) {
    PyErr_Clear();
    return Invalid("a lever.Ext has a type from -128 to 127, and bytes");
  }
  const auto size = static_cast<size_t>(PyBytes_GET_SIZE(data.get()));
  uint8_t* to = PutExtHead(size, static_cast<int>(type)) ? Room(size) : nullptr;
  if (to == nullptr) return false;
  if (size > 0) std::memcpy(to, PyBytes_AS_STRING(data.get()), size);
  size_ += size;
  return true;
}

void Payload::Bytes(PyObject* value, int kind) {
  held_ = Ref::Borrowed(value);
  slice_ = {.data = reinterpret_cast<const uint8_t*>(PyBytes_AS_STRING(value)),
            .size = static_cast<size_t>(PyBytes_GET_SIZE(value))};
  kind_ = kind;
}

bool Payload::Encode(PyObject* value, int kind) {
  if (!encoder_.Put(value)) return false;
  slice_ = {.data = encoder_.data(), .size = encoder_.size()};
  kind_ = kind;
  return true;
}

bool Payload::Message(PyObject* value, bool error) {
  if (!PyBytes_Check(value)) return Encode(value, error ? LEVER_KIND_ERROR_VALUE : LEVER_KIND_VALUE);
  Bytes(value, error ? LEVER_KIND_ERROR_RAW : LEVER_KIND_RAW);
  return true;
}

bool Payload::Arguments(PyObject* args) {
  const bool is_list = PyList_Check(args);
  if (!is_list && !PyTuple_Check(args)) return Invalid("the arguments must be a list or a tuple");
  const Py_ssize_t count = is_list ? PyList_GET_SIZE(args) : PyTuple_GET_SIZE(args);
  if (count == 1) {
    PyObject* only = is_list ? PyList_GET_ITEM(args, 0) : PyTuple_GET_ITEM(args, 0);
    if (PyBytes_Check(only)) {
      Bytes(only, LEVER_KIND_RAW);
      return true;
    }
  }
  return Encode(args, LEVER_KIND_VALUE);
}

}  // namespace lever::python
