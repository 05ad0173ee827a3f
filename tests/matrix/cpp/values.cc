#include "tests/matrix/cpp/values.h"

#include <cstdint>
#include <ctime>
#include <limits>
#include <string_view>
#include <tuple>
#include <vector>

namespace matrix {
namespace {

using lever::Value;
using Bytes = std::vector<char>;
using Packer = msgpack::packer<msgpack::sbuffer>;
using Double = std::numeric_limits<double>;
using Int64 = std::numeric_limits<int64_t>;

constexpr size_t kMib = 1 << 20;
const msgpack::type::nil_t kNil{};

// What has no one type in C++: built piece by piece.
template <typename F>
Value Build(F pack) {
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  pack(packer);
  return Value::FromPacked(std::string(buffer.data(), buffer.size()));
}

Value Nested(uint32_t depth, bool map) {
  return Build([&](Packer& packer) {
    for (uint32_t i = 1; i < depth; ++i) {
      if (map) {
        packer.pack_map(1);
        packer.pack(std::string("d"));
      } else {
        packer.pack_array(1);
      }
    }
    if (map) {
      packer.pack_map(0);
    } else {
      packer.pack_array(0);
    }
  });
}

Bytes AllBytes(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i);
  return bytes;
}

Value Time(int64_t seconds, long nanos = 0) { return Value(timespec{seconds, nanos}); }

Value Extension(int8_t type, const Bytes& data) {
  return Value(msgpack::type::ext(type, data.data(), static_cast<uint32_t>(data.size())));
}

void AddScalars(std::map<std::string, Value>& values) {
  values["nil"] = Value();
  values["true"] = Value(true);
  values["false"] = Value(false);
  const std::map<std::string, int64_t> integers = {
      {"zero", 0}, {"minus_1", -1}, {"127", 127}, {"128", 128}, {"255", 255}, {"256", 256},
      {"65535", 65535}, {"65536", 65536}, {"minus_128", -128}, {"minus_129", -129},
      {"2_31", int64_t{1} << 31}, {"minus_2_31", -(int64_t{1} << 31)},
      {"minus_2_31_less_1", -(int64_t{1} << 31) - 1}, {"2_32", int64_t{1} << 32},
      {"2_53", int64_t{1} << 53}, {"2_53_plus_1", (int64_t{1} << 53) + 1},
      {"minus_2_53_less_1", -(int64_t{1} << 53) - 1}, {"2_63_less_1", Int64::max()},
      {"minus_2_63", Int64::min()}};
  for (const auto& [name, value] : integers) values["int_" + name] = Value(value);
  values["int_2_64_less_1"] = Value(std::numeric_limits<uint64_t>::max());
  const std::map<std::string, double> floats = {
      {"half", 0.5}, {"minus_zero", -0.0}, {"nan", Double::quiet_NaN()},
      {"infinity", Double::infinity()}, {"minus_infinity", -Double::infinity()},
      {"whole", 1.0}, {"least", Double::denorm_min()}, {"greatest", Double::max()}};
  for (const auto& [name, value] : floats) values["float_" + name] = Value(value);
}

void AddTexts(std::map<std::string, Value>& values) {
  values["text_empty"] = Value(std::string());
  values["text_ascii"] = Value(std::string("Lever"));
  values["text_unicode"] = Value(std::string("Grüße, 世界 🚀"));
  values["text_nul"] = Value(std::string("a\0b", 3));
  values["text_1_mib"] = Value(std::string(kMib, 'x'));
  values["uuid"] = Value(std::string("123e4567-e89b-12d3-a456-426614174000"));
  values["bytes_empty"] = Value(Bytes());
  values["bytes_256"] = Value(AllBytes(256));
  values["bytes_1_mib"] = Value(AllBytes(kMib));
}

void AddContainers(std::map<std::string, Value>& values) {
  values["array_empty"] = Value(std::vector<int>());
  values["array_mixed"] = Value(std::make_tuple(kNil, true, 1, std::string("a"), Bytes{1},
                                                std::vector<int>(), std::map<int, int>()));
  values["array_nested_100"] = Nested(100, false);
  values["map_empty"] = Value(std::map<std::string, int>());
  values["map_text_keys"] = Value(std::map<std::string, Value>{
      {"a", Value(1)}, {"b", Value(std::vector<int>{2, 3})}});
  values["map_nested_100"] = Nested(100, true);
  values["map_proto_key"] = Value(std::map<std::string, int>{{"__proto__", 1}, {"constructor", 2}});
  values["map_int_keys"] = Value(std::map<int, std::string>{{1, "one"}, {-1, "minus one"}});
  values["map_mixed_keys"] = Build([](Packer& packer) {
    packer.pack_map(4);
    packer.pack(std::string("s")).pack(2).pack(3).pack(3).pack(true).pack(4).pack(kNil).pack(5);
  });
  values["map_float_key"] = Value(std::map<double, std::string>{{1.5, "x"}});
  values["map_bytes_key"] = Value(std::map<Bytes, int>{{Bytes{'k'}, 1}});
  values["map_array_key"] = Value(std::map<std::vector<int>, int>{{{1, 2}, 3}});
}

void AddTimesAndExtensions(std::map<std::string, Value>& values) {
  values["time_epoch"] = Time(0);
  values["time_millis"] = Time(1700000000, 123000000);
  values["time_micros"] = Time(1700000000, 123456000);
  values["time_nanos"] = Time(1700000000, 123456789);
  values["time_before_1970"] = Time(-1, 500000000);
  values["time_year_1"] = Time(-62135596800);
  values["time_year_10000"] = Time(253402300800);
  values["time_greatest"] = Time(Int64::max(), 999999999);
  values["time_least"] = Time(Int64::min());
  values["ext_unknown"] = Extension(42, {1, 2, 3});
  values["ext_empty"] = Extension(5, {});
  values["ext_negative"] = Extension(-100, AllBytes(32));
}

}  // namespace

std::map<std::string, lever::Value> AllValues() {
  std::map<std::string, Value> values;
  AddScalars(values);
  AddTexts(values);
  AddContainers(values);
  AddTimesAndExtensions(values);
  return values;
}

}  // namespace matrix
