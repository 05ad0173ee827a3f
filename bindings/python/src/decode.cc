#include "decode.h"

#include <bit>
#include <cstring>
#include <vector>

#include "interned.h"

namespace lever::python {
namespace {

constexpr int kTimestampType = -1;

// Texts that come as keys come again and again: the last of each slot is kept.
constexpr size_t kKeysKept = 1024;
constexpr size_t kKeyBytesMax = 64;
PyObject* kept_keys[kKeysKept];

class Decoder {
 public:
  explicit Decoder(const uint8_t* data) : at_(data) {}

  // A new reference, or nullptr with an exception set.
  PyObject* Value() {
    const uint8_t head = *at_++;
    if (head <= 0x7f) return PyLong_FromLong(head);
    if (head >= 0xe0) return PyLong_FromLong(static_cast<int8_t>(head));
    if (head <= 0x8f) return Map(head & 0x0f);
    if (head <= 0x9f) return Array(head & 0x0f);
    if (head <= 0xbf) return Text(head & 0x1f);
    switch (head) {
      case 0xc0: return Py_NewRef(Py_None);
      case 0xc2: return Py_NewRef(Py_False);
      case 0xc3: return Py_NewRef(Py_True);
      case 0xc4: return Bytes(Big<uint8_t>());
      case 0xc5: return Bytes(Big<uint16_t>());
      case 0xc6: return Bytes(Big<uint32_t>());
      case 0xc7: return Extension(Big<uint8_t>());
      case 0xc8: return Extension(Big<uint16_t>());
      case 0xc9: return Extension(Big<uint32_t>());
      case 0xca: return PyFloat_FromDouble(std::bit_cast<float>(Big<uint32_t>()));
      case 0xcb: return PyFloat_FromDouble(std::bit_cast<double>(Big<uint64_t>()));
      case 0xcc: return PyLong_FromLong(Big<uint8_t>());
      case 0xcd: return PyLong_FromLong(Big<uint16_t>());
      case 0xce: return PyLong_FromUnsignedLong(Big<uint32_t>());
      case 0xcf: return PyLong_FromUnsignedLongLong(Big<uint64_t>());
      case 0xd0: return PyLong_FromLong(static_cast<int8_t>(Big<uint8_t>()));
      case 0xd1: return PyLong_FromLong(static_cast<int16_t>(Big<uint16_t>()));
      case 0xd2: return PyLong_FromLong(static_cast<int32_t>(Big<uint32_t>()));
      case 0xd3: return PyLong_FromLongLong(static_cast<int64_t>(Big<uint64_t>()));
      case 0xd4: return Extension(1);
      case 0xd5: return Extension(2);
      case 0xd6: return Extension(4);
      case 0xd7: return Extension(8);
      case 0xd8: return Extension(16);
      case 0xd9: return Text(Big<uint8_t>());
      case 0xda: return Text(Big<uint16_t>());
      case 0xdb: return Text(Big<uint32_t>());
      case 0xdc: return Array(Big<uint16_t>());
      case 0xdd: return Array(Big<uint32_t>());
      case 0xde: return Map(Big<uint16_t>());
      case 0xdf: return Map(Big<uint32_t>());
      default: break;
    }
    PyErr_SetString(PyExc_ValueError, "not MessagePack");
    return nullptr;
  }

 private:
  template <typename T>
  T Big() {
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | *at_++);
    return value;
  }

  PyObject* Text(size_t size) {
    const auto* text = reinterpret_cast<const char*>(at_);
    at_ += size;
    return PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(size), nullptr);
  }

  PyObject* Bytes(size_t size) {
    const auto* bytes = reinterpret_cast<const char*>(at_);
    at_ += size;
    return PyBytes_FromStringAndSize(bytes, static_cast<Py_ssize_t>(size));
  }

  PyObject* Array(size_t count) {
    Ref list(PyList_New(static_cast<Py_ssize_t>(count)));
    if (!list) return nullptr;
    for (size_t i = 0; i < count; ++i) {
      PyObject* item = Value();
      if (item == nullptr) return nullptr;
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), item);
    }
    return list.release();
  }

  PyObject* KeptText(size_t size) {
    if (size == 0 || size > kKeyBytesMax) return Text(size);
    const size_t slot = (at_[0] * 31u + at_[size - 1] * 7u + size * 131u) % kKeysKept;
    PyObject* kept = kept_keys[slot];
    if (kept != nullptr) {
      Py_ssize_t kept_size = 0;
      const char* text = PyUnicode_AsUTF8AndSize(kept, &kept_size);
      if (text != nullptr && static_cast<size_t>(kept_size) == size &&
          std::memcmp(text, at_, size) == 0) {
        at_ += size;
        return Py_NewRef(kept);
      }
    }
    PyObject* text = Text(size);
    if (text == nullptr) return nullptr;
    kept_keys[slot] = Py_NewRef(text);
    Py_XDECREF(kept);
    return text;
  }

  PyObject* Key() {
    const uint8_t head = *at_;
    if (head >= 0xa0 && head <= 0xbf) {
      ++at_;
      return KeptText(head & 0x1f);
    }
    return Value();
  }

  // Whether a dict may have keys of this head: nothing but what is hashed quickly, and spread well.
  static bool MayBeKey(uint8_t head) {
    if (head <= 0x7f || head >= 0xe0) return true;
    if (head <= 0x9f) return false;
    if (head <= 0xc6) return true;
    return (head >= 0xca && head <= 0xd3) || (head >= 0xd9 && head <= 0xdb);
  }

  PyObject* Map(size_t count) {
    Ref dict(PyDict_New());
    if (!dict) return nullptr;
    for (size_t i = 0; i < count; ++i) {
      if (!MayBeKey(*at_)) return Pairs(dict.get(), count - i, nullptr);
      const Ref key(Key());
      if (!key) return nullptr;
      if (PyDict_SetDefault(dict.get(), key.get(), Py_NotImplemented) == nullptr) return nullptr;
      if (static_cast<size_t>(PyDict_GET_SIZE(dict.get())) == i) {
        return Pairs(dict.get(), count - i, key.get());
      }
      const Ref value(Value());
      if (!value || PyDict_SetItem(dict.get(), key.get(), value.get()) != 0) return nullptr;
    }
    return dict.release();
  }

  // The entries of `done`, and `left` more, the first of which may have its key read already.
  PyObject* Pairs(PyObject* done, size_t left, PyObject* first_key) {
    Ref pairs(PyDict_Items(done));
    if (!pairs) return nullptr;
    for (size_t i = 0; i < left; ++i) {
      const Ref key = i == 0 && first_key != nullptr ? Ref::Borrowed(first_key) : Ref(Value());
      if (!key) return nullptr;
      const Ref value(Value());
      if (!value) return nullptr;
      const Ref pair(PyTuple_Pack(2, key.get(), value.get()));
      if (!pair || PyList_Append(pairs.get(), pair.get()) != 0) return nullptr;
    }
    return PyObject_CallOneArg(python_part.map, pairs.get());
  }

  PyObject* Extension(size_t size) {
    const int type = static_cast<int8_t>(*at_++);
    if (type == kTimestampType) {
      const uint8_t* before = at_;
      PyObject* time = Time(size);
      if (time != nullptr || PyErr_Occurred()) return time;
      at_ = before;
    }
    const Ref data(Bytes(size));
    if (!data) return nullptr;
    return PyObject_CallFunction(python_part.ext, "iO", type, data.get());
  }

  // nullptr without an exception: it is none.
  PyObject* Time(size_t size) {
    int64_t seconds = 0;
    uint32_t nanos = 0;
    if (size == 4) {
      seconds = Big<uint32_t>();
    } else if (size == 8) {
      const uint64_t both = Big<uint64_t>();
      seconds = static_cast<int64_t>(both & ((1ULL << 34) - 1));
      nanos = static_cast<uint32_t>(both >> 34);
    } else if (size == 12) {
      nanos = Big<uint32_t>();
      seconds = static_cast<int64_t>(Big<uint64_t>());
    } else {
      return nullptr;
    }
    if (nanos > 999999999) return nullptr;
    return PyObject_CallFunction(python_part.from_timestamp, "LI",
                                 static_cast<long long>(seconds), nanos);
  }

  const uint8_t* at_;
};

}  // namespace

Ref Decode(const uint8_t* data, size_t size) {
  if (size == 0) {
    PyErr_SetString(PyExc_ValueError, "no value");
    return Ref();
  }
  return Ref(Decoder(data).Value());
}

Ref DecodePayload(int kind, const lever_slice* slices, size_t count) {
  if (kind == LEVER_KIND_NONE) return Ref::Borrowed(Py_None);
  const bool raw = kind == LEVER_KIND_RAW || kind == LEVER_KIND_ERROR_RAW;
  if (count == 1) {
    if (!raw) return Decode(slices[0].data, slices[0].size);
    return Ref(PyBytes_FromStringAndSize(reinterpret_cast<const char*>(slices[0].data),
                                         static_cast<Py_ssize_t>(slices[0].size)));
  }
  size_t size = 0;
  for (size_t i = 0; i < count; ++i) size += slices[i].size;
  Ref whole(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
  if (!whole) return whole;
  auto* to = reinterpret_cast<uint8_t*>(PyBytes_AS_STRING(whole.get()));
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    if (slices[i].size > 0) std::memcpy(to + at, slices[i].data, slices[i].size);
    at += slices[i].size;
  }
  if (raw) return whole;
  return Decode(to, size);
}

}  // namespace lever::python
