#include "tests/matrix/cpp/describe.h"

#include <openssl/sha.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string_view>
#include <vector>

namespace matrix {
namespace {

std::string Hashed(const std::string& kind, std::string_view bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  std::string text = kind + ":" + std::to_string(bytes.size()) + ":";
  for (int i = 0; i < 8; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", digest[i]);
    text += digits;
  }
  return text;
}

std::string DescribeFloat(double value) {
  if (std::isnan(value)) return "float:7ff8000000000000";
  char text[32];
  std::snprintf(text, sizeof(text), "float:%016llx",
                static_cast<unsigned long long>(std::bit_cast<uint64_t>(value)));
  return text;
}

std::string DescribeTime(const timespec& time) {
  char text[64];
  std::snprintf(text, sizeof(text), "time:%lld.%09ld", static_cast<long long>(time.tv_sec),
                time.tv_nsec);
  return text;
}

std::string Join(char open, const std::vector<std::string>& parts, char close) {
  std::string text(1, open);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += ',';
    text += parts[i];
  }
  return text + close;
}

std::string DescribeMap(const msgpack::object_map& map) {
  std::vector<std::string> entries;
  for (uint32_t i = 0; i < map.size; ++i) {
    entries.push_back(Describe(map.ptr[i].key) + "=" + Describe(map.ptr[i].val));
  }
  std::sort(entries.begin(), entries.end());
  return Join('{', entries, '}');
}

std::string DescribeArray(const msgpack::object_array& array) {
  std::vector<std::string> items;
  for (uint32_t i = 0; i < array.size; ++i) items.push_back(Describe(array.ptr[i]));
  return Join('[', items, ']');
}

}  // namespace

std::string Describe(const msgpack::object& value) {
  switch (value.type) {
    case msgpack::type::NIL: return "nil";
    case msgpack::type::BOOLEAN: return value.via.boolean ? "true" : "false";
    case msgpack::type::POSITIVE_INTEGER: return "int:" + std::to_string(value.via.u64);
    case msgpack::type::NEGATIVE_INTEGER: return "int:" + std::to_string(value.via.i64);
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64: return DescribeFloat(value.via.f64);
    case msgpack::type::STR: return Hashed("text", {value.via.str.ptr, value.via.str.size});
    case msgpack::type::BIN: return Hashed("bytes", {value.via.bin.ptr, value.via.bin.size});
    case msgpack::type::ARRAY: return DescribeArray(value.via.array);
    case msgpack::type::MAP: return DescribeMap(value.via.map);
    case msgpack::type::EXT: {
      const int type = value.via.ext.type();
      if (type == -1) return DescribeTime(value.as<timespec>());
      return Hashed("ext:" + std::to_string(type), {value.via.ext.data(), value.via.ext.size});
    }
  }
  return "of no type";
}

std::string Describe(const lever::Value& value) {
  const auto handle = msgpack::unpack(value.packed().data(), value.packed().size());
  return Describe(handle.get());
}

}  // namespace matrix
