// Python's objects to MessagePack.
//
// None, bool, int (64 bits), float, str, bytes (also bytearray and memoryview), list, tuple, set, dict and
// their subclasses, Timestamp, Ext and Map are written here; what else there is (dataclasses, datetime,
// UUID, ...) the Python part's plain() turns into these.
#ifndef BINDINGS_PYTHON_SRC_ENCODE_H_
#define BINDINGS_PYTHON_SRC_ENCODE_H_

#include <cstddef>
#include <cstdint>

#include "lever/lever.h"
#include "ref.h"

namespace lever::python {

// One value, encoded. The memory is used again by the next encoder, which needs none of its own then.
class Encoder {
 public:
  Encoder();
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  // Appends one value. False with a LeverError (INVALID_ARGUMENT) set, or with what plain() has raised.
  bool Put(PyObject* value) { return Put(value, 0); }

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  bool Put(PyObject* value, int depth);
  bool PutOther(PyObject* value, int depth);
  bool PutInt(PyObject* value);
  bool PutFloat(double value);
  bool PutText(PyObject* value);
  bool PutBytes(const void* bytes, size_t size);
  bool PutBuffer(PyObject* value);
  bool PutList(PyObject* value, int depth);
  bool PutTuple(PyObject* value, int depth);
  bool PutSet(PyObject* value, int depth);
  bool PutDict(PyObject* value, int depth);
  bool PutMap(PyObject* value, int depth);
  bool PutTimestamp(PyObject* value);
  bool PutExt(PyObject* value);
  bool PutExtHead(size_t size, int type);
  bool PutCount(size_t count, uint8_t small, size_t small_max, uint8_t two, uint8_t four);
  bool Enter(int depth);

  // Room for `more` bytes; null with MemoryError set.
  uint8_t* Room(size_t more);
  bool Head8(uint8_t head, uint8_t value);
  bool Head16(uint8_t head, uint16_t value);
  bool Head32(uint8_t head, uint32_t value);
  bool Head64(uint8_t head, uint64_t value);

  uint8_t* data_;
  size_t size_ = 0;
  size_t capacity_;
};

// A payload: one bytes object, which is held meanwhile, goes as it is, anything else as a value.
class Payload {
 public:
  // A message, a result, an error (`error`: kinds LEVER_KIND_ERROR_*).
  bool Message(PyObject* value, bool error = false);
  // The arguments of a call: one bytes object as it is. `args` is a list or tuple.
  bool Arguments(PyObject* args);

  int kind() const { return kind_; }
  const lever_slice* slice() const { return &slice_; }

 private:
  bool Encode(PyObject* value, int kind);
  void Bytes(PyObject* value, int kind);

  Encoder encoder_;
  Ref held_;
  lever_slice slice_{};
  int kind_ = LEVER_KIND_NONE;
};

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_ENCODE_H_
