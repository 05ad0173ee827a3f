// Values: packed MessagePack on the wire, C++ types on both sides of it. Part of lever.hpp.
#ifndef LEVER_CPP_VALUE_HPP_
#define LEVER_CPP_VALUE_HPP_

#ifndef MSGPACK_NO_BOOST
#define MSGPACK_NO_BOOST
#endif
#include <msgpack.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "lever/lever.h"

namespace lever::detail {

class StringSink {
 public:
  explicit StringSink(std::string* out) : out_(out) {}
  void write(const char* data, size_t size) { out_->append(data, size); }

 private:
  std::string* out_;
};

// A number as the big-endian bytes behind a type byte.
template <typename Bits>
std::string_view FloatBytes(char type, Bits bits, char (&bytes)[1 + sizeof(Bits)]) {
  bytes[0] = type;
  for (size_t i = sizeof(Bits); i > 0; --i, bits >>= 8) bytes[i] = static_cast<char>(bits);
  return {bytes, sizeof(bytes)};
}

}  // namespace lever::detail

// msgpack-cxx packs a float that is whole as an integer, -0.0 as 0 among them. Whoever gets it would find
// another type than was sent, so that here floats stay floats.
template <>
inline msgpack::v1::packer<lever::detail::StringSink>&
msgpack::v1::packer<lever::detail::StringSink>::pack_double(double number) {
  char buffer[9];
  const std::string_view bytes =
      lever::detail::FloatBytes('\xcb', std::bit_cast<uint64_t>(number), buffer);
  append_buffer(bytes.data(), bytes.size());
  return *this;
}
template <>
inline msgpack::v1::packer<lever::detail::StringSink>&
msgpack::v1::packer<lever::detail::StringSink>::pack_float(float number) {
  char buffer[5];
  const std::string_view bytes =
      lever::detail::FloatBytes('\xca', std::bit_cast<uint32_t>(number), buffer);
  append_buffer(bytes.data(), bytes.size());
  return *this;
}

namespace lever {

// Bytes that travel as they are, without MessagePack round them.
struct Raw {
  std::string bytes;

  friend bool operator==(const Raw&, const Raw&) = default;
};

namespace detail {

// What a payload was, with its bytes: owned, so that it outlives the queue's next turn.
struct Payload {
  lever_kind kind = LEVER_KIND_NONE;
  std::string bytes;

  bool is_raw() const { return kind == LEVER_KIND_RAW || kind == LEVER_KIND_ERROR_RAW; }
  bool is_error() const { return kind == LEVER_KIND_ERROR_VALUE || kind == LEVER_KIND_ERROR_RAW; }
};

inline Payload MakePayload(int32_t kind, const lever_slice* slices, size_t count) {
  Payload payload{static_cast<lever_kind>(kind), {}};
  for (size_t i = 0; i < count; ++i) {
    payload.bytes.append(reinterpret_cast<const char*>(slices[i].data), slices[i].size);
  }
  return payload;
}

inline lever_slice SliceOf(std::string_view bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

// A payload read as MessagePack objects that point into it: it must outlive this.
class Unpacked {
 public:
  explicit Unpacked(const Payload& payload) {
    if (payload.kind == LEVER_KIND_NONE) return;
    if (payload.is_raw()) {
      root_.type = msgpack::type::BIN;
      root_.via.bin.ptr = payload.bytes.data();
      root_.via.bin.size = static_cast<uint32_t>(payload.bytes.size());
      return;
    }
    root_ = msgpack::unpack(zone_, payload.bytes.data(), payload.bytes.size(),
                            [](msgpack::type::object_type, size_t, void*) { return true; });
  }
  const msgpack::object& root() const { return root_; }

 private:
  msgpack::zone zone_;
  msgpack::object root_;
};

}  // namespace detail

// Any value, kept packed.
class Value {
 public:
  Value() : packed_("\xc0") {}  // nil
  template <typename T>
    requires(!std::same_as<std::remove_cvref_t<T>, Value>)
  explicit Value(const T& value) {
    detail::StringSink sink(&packed_);
    msgpack::pack(sink, value);
  }
  static Value FromPacked(std::string packed) {
    Value value;
    value.packed_ = std::move(packed);
    return value;
  }

  const std::string& packed() const { return packed_; }
  // msgpack::type_error if it is of another type.
  template <typename T>
  T as() const {
    const auto handle = msgpack::unpack(packed_.data(), packed_.size());
    return handle->as<T>();
  }
  // As docs/wire.md spells values in JSON.
  std::string json() const {
    const lever_slice slice = detail::SliceOf(packed_);
    char* text = nullptr;
    size_t size = 0;
    if (lever_value_to_json(&slice, 1, &text, &size, nullptr) != LEVER_OK) return "null";
    std::string json(text, size);
    lever_free(text);
    return json;
  }

  friend bool operator==(const Value&, const Value&) = default;

 private:
  std::string packed_;
};

namespace detail {

template <typename T>
T Convert(const msgpack::object& object) {
  if constexpr (std::same_as<T, Raw>) {
    return Raw{object.as<std::string>()};
  } else {
    return object.as<T>();
  }
}

template <typename T>
T ConvertPayload(const Payload& payload) {
  if constexpr (std::is_void_v<T>) {
    return;
  } else {
    static_assert(!std::same_as<T, std::string_view>, "it would point into what is gone");
    if constexpr (std::same_as<T, Raw>) {
      if (payload.is_raw()) return Raw{payload.bytes};
    }
    return Convert<T>(Unpacked(payload).root());
  }
}

template <typename T>
Payload PackValue(const T& value) {
  if constexpr (std::same_as<T, Raw>) {
    return {LEVER_KIND_RAW, value.bytes};
  } else {
    Payload payload{LEVER_KIND_VALUE, {}};
    StringSink sink(&payload.bytes);
    msgpack::pack(sink, value);
    return payload;
  }
}

// The array of arguments; a Raw alone travels as it is.
template <typename... Args>
Payload PackArguments(const Args&... args) {
  if constexpr (sizeof...(Args) == 1 && (std::same_as<Args, Raw> && ...)) {
    return PackValue(args...);
  } else {
    static_assert((!std::same_as<Args, Raw> && ...), "lever::Raw must be the only argument");
    Payload payload{LEVER_KIND_VALUE, {}};
    StringSink sink(&payload.bytes);
    msgpack::packer packer(sink);
    packer.pack_array(static_cast<uint32_t>(sizeof...(Args)));
    (packer.pack(args), ...);
    return payload;
  }
}

}  // namespace detail
}  // namespace lever

namespace msgpack {
MSGPACK_API_VERSION_NAMESPACE(MSGPACK_DEFAULT_API_NS) {
namespace adaptor {

template <>
struct pack<lever::Value> {
  template <typename Stream>
  packer<Stream>& operator()(packer<Stream>& out, const lever::Value& value) const {
    // The body of a bin is written as it is: here one whole value.
    return out.pack_bin_body(value.packed().data(), static_cast<uint32_t>(value.packed().size()));
  }
};

template <>
struct convert<lever::Value> {
  const msgpack::object& operator()(const msgpack::object& object, lever::Value& value) const {
    std::string packed;
    lever::detail::StringSink sink(&packed);
    msgpack::pack(sink, object);
    value = lever::Value::FromPacked(std::move(packed));
    return object;
  }
};

}  // namespace adaptor
}
}  // namespace msgpack

#endif  // LEVER_CPP_VALUE_HPP_
