// Ten thousand broken values each way: a clear error or a right answer, and nothing allocated beyond
// the bound. The oracles are a decoder written here, and a JSON parser of another make.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "liblever/base/slice.h"
#include "liblever/value/json.h"
#include "tests/value/counted_allocations.h"
#include "tests/value/mutation.h"
#include "tests/vectors/vectors.h"

namespace lever::value {
namespace {

using vectors::FromHex;
using vectors::ToHex;

constexpr int kRounds = 10'000;

Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

size_t AllowedBytes(std::string_view input) {
  return kAllocationPerInputByteMax * input.size() + kAllocationFixedMax;
}

// Whether `text` is valid UTF-8, by the table of RFC 3629, section 4.
bool OracleUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto byte = [&](size_t i) {
      return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
    };
    const auto tail = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
    const unsigned a = byte(at), b = byte(at + 1);
    if (a < 0x80) {
      at += 1;
    } else if (a >= 0xc2 && a <= 0xdf && tail(at + 1)) {
      at += 2;
    } else if (((a == 0xe0 && b >= 0xa0 && b <= 0xbf) || (a == 0xed && b >= 0x80 && b <= 0x9f) ||
                (a >= 0xe1 && a <= 0xef && a != 0xed && tail(at + 1))) &&
               tail(at + 2)) {
      at += 3;
    } else if (((a == 0xf0 && b >= 0x90 && b <= 0xbf) || (a == 0xf4 && b >= 0x80 && b <= 0x8f) ||
                (a >= 0xf1 && a <= 0xf3 && tail(at + 1))) &&
               tail(at + 2) && tail(at + 3)) {
      at += 4;
    } else {
      return false;
    }
  }
  return true;
}

// The plain recursive decoder: what is one whole value no deeper than the limit.
class Oracle {
 public:
  explicit Oracle(std::string_view bytes) : bytes_(bytes) {}
  bool Accepts() { return Value(0) && at_ == bytes_.size(); }

 private:
  bool Number(size_t size, uint64_t* out) {
    if (bytes_.size() - at_ < size) return false;
    *out = 0;
    for (size_t i = 0; i < size; ++i) *out = *out << 8 | static_cast<unsigned char>(bytes_[at_++]);
    return true;
  }
  bool Skip(uint64_t size) {
    if (bytes_.size() - at_ < size) return false;
    at_ += size;
    return true;
  }
  bool Text(uint64_t size) {
    const size_t from = at_;
    return Skip(size) && OracleUtf8(bytes_.substr(from, size));
  }
  bool Items(uint64_t count, uint32_t depth) {
    if (depth + 1 > kDepthMax) return false;
    for (uint64_t i = 0; i < count; ++i) {
      if (!Value(depth + 1)) return false;
    }
    return true;
  }
  bool Value(uint32_t depth) {
    uint64_t first = 0, size = 0;
    if (!Number(1, &first)) return false;
    if (first <= 0x7f || first >= 0xe0) return true;
    if (first <= 0x8f) return Items(2 * (first & 15), depth);
    if (first <= 0x9f) return Items(first & 15, depth);
    if (first <= 0xbf) return Text(first & 31);
    switch (first) {
      case 0xc0: case 0xc2: case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return Number(1u << (first - 0xc4), &size) && Skip(size);
      case 0xc7: case 0xc8: case 0xc9: return Number(1u << (first - 0xc7), &size) && Skip(size + 1);
      case 0xca: return Skip(4);
      case 0xcb: return Skip(8);
      case 0xcc: case 0xcd: case 0xce: case 0xcf: return Skip(1u << (first - 0xcc));
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: return Skip(1u << (first - 0xd0));
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return Skip(1 + (1u << (first - 0xd4)));
      case 0xd9: case 0xda: case 0xdb: return Number(1u << (first - 0xd9), &size) && Text(size);
      case 0xdc: case 0xdd: return Number(2u << (first - 0xdc), &size) && Items(size, depth);
      case 0xde: case 0xdf: return Number(2u << (first - 0xde), &size) && Items(2 * size, depth);
      default: return false;  // 0xc1
    }
  }

  std::string_view bytes_;
  size_t at_ = 0;
};

SliceList InPieces(const std::string& bytes, Random* random) {
  SliceList pieces;
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min<size_t>(bytes.size() - at, random->Below(9));
    pieces.push_back(Slice::Copy(std::string_view(bytes).substr(at, size)));
    at += size;
  }
  return pieces;
}

// Whatever the bytes are: the answer is the oracle's, and it costs no more than it may.
void ExpectRightAnswer(const std::string& bytes, Random* random) {
  const bool good = Oracle(bytes).Accepts();
  AllocationCount checking;
  const Status status = CheckValue(AsBytes(bytes));
  const size_t checked = checking.bytes();
  ASSERT_EQ(status.ok(), good) << ToHex(bytes) << " " << status.ToString();
  const SliceList pieces = InPieces(bytes, random);
  ASSERT_EQ(CheckValue(std::span<const Slice>(pieces)).ok(), good) << ToHex(bytes);

  AllocationCount writing;
  const auto json = MessagePackToJson(bytes);
  ASSERT_LE(writing.bytes(), AllowedBytes(bytes)) << ToHex(bytes);
  ASSERT_EQ(json.ok(), good) << ToHex(bytes);
  if (!good) {
    ASSERT_EQ(status.code(), LEVER_INVALID_ARGUMENT);
    ASSERT_EQ(status.executed(), LEVER_EXECUTED_NO);
    ASSERT_FALSE(status.message().empty());
    ASSERT_LE(checked, 1024u);
    ASSERT_EQ(json.status().code(), LEVER_INVALID_ARGUMENT);
    return;
  }
  ASSERT_EQ(checked, 0u) << ToHex(bytes);
  ASSERT_TRUE(nlohmann::json::accept(*json)) << *json;
  const auto back = JsonToMessagePack(*json);
  ASSERT_TRUE(back.ok()) << *json << back.status().ToString();
  ASSERT_EQ(*MessagePackToJson(*back), *json);
}

void ExpectRightAnswerToJson(const std::string& json) {
  AllocationCount reading;
  const auto value = JsonToMessagePack(json);
  ASSERT_LE(reading.bytes(), AllowedBytes(json)) << json;
  if (!value.ok()) {
    ASSERT_EQ(value.status().code(), LEVER_INVALID_ARGUMENT);
    ASSERT_EQ(value.status().executed(), LEVER_EXECUTED_NO);
    ASSERT_FALSE(value.status().message().empty());
    for (const char c : value.status().message()) ASSERT_TRUE(c >= ' ' && c <= '~') << json;
    return;
  }
  ASSERT_TRUE(nlohmann::json::accept(json)) << json;
  ASSERT_TRUE(CheckValue(AsBytes(*value)).ok()) << json;
  const auto written = MessagePackToJson(*value);
  ASSERT_TRUE(written.ok()) << json;
  ASSERT_EQ(*JsonToMessagePack(*written), *value) << json;
}

std::vector<std::string> Seeds(const char* field) {
  std::vector<std::string> seeds;
  const nlohmann::json vectors = vectors::LoadVectors("values.json");
  for (const auto& entry : vectors.at("both")) {
    const std::string text = entry.at(field);
    seeds.push_back(std::string_view(field) == "msgpack" ? FromHex(text) : text);
  }
  // Some that are larger, and nest.
  if (std::string_view(field) == "msgpack") {
    seeds.push_back(FromHex("93") + seeds[5] + FromHex("82a16192c0c3a162dc0003010203") + seeds[9]);
    seeds.push_back(FromHex("dd00000002de0001c40200ffc70305aabbccdf00000001d9026869ca3f800000"));
  } else {
    seeds.push_back(R"([[{"a":[1,2.5,{"b":null}]},"ä\u00e4\ud83d\ude00"],{"$bytes":"AAEC"}])");
    seeds.push_back(R"({"$map":[[1,{"$time":"2020-01-01T00:00:00Z"}],[[],{"$ext":[5,"AA=="]}]]})");
  }
  return seeds;
}

TEST(HostileMessagePack, TenThousandMutationsGetTheRightAnswer) {
  const std::vector<std::string> seeds = Seeds("msgpack");
  const std::string headers = FromHex("c0c1c4c5c6c7c8c9cacbcfd3d4d8d9dadbdcdddedf809f91a1ff00");
  Random random(TestSeed());
  int good = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string bytes = Mutated(seeds, headers, &random);
    good += Oracle(bytes).Accepts();
    ASSERT_NO_FATAL_FAILURE(ExpectRightAnswer(bytes, &random));
  }
  // The mutations are worth something if neither answer is rare.
  EXPECT_GT(good, kRounds / 50);
  EXPECT_LT(good, kRounds - kRounds / 50);
}

TEST(HostileMessagePack, CutAtEachByteItIsRefused) {
  Random random(1);
  for (const std::string& seed : Seeds("msgpack")) {
    ASSERT_TRUE(CheckValue(AsBytes(seed)).ok());
    for (size_t size = 0; size < seed.size(); ++size) {
      ASSERT_FALSE(CheckValue(AsBytes(seed).first(size)).ok()) << ToHex(seed) << " cut to " << size;
      ASSERT_NO_FATAL_FAILURE(ExpectRightAnswer(seed.substr(0, size), &random));
    }
  }
}

TEST(HostileMessagePack, FiveBytesDoNotReserveFourGigabytes) {
  Random random(1);
  for (const char* claim : {"ddff000000", "ddffffffff", "dfff000000", "dfffffffff", "dbff000000",
                            "c6ff000000", "c9ff00000001", "dcffff", "deffff", "dd7fffffffdd7fffffff"}) {
    ASSERT_FALSE(CheckValue(AsBytes(FromHex(claim))).ok()) << claim;
    ASSERT_NO_FATAL_FAILURE(ExpectRightAnswer(FromHex(claim), &random));
  }
}

TEST(HostileMessagePack, DeepNestingIsRefusedAtTheFirstLevelTooMuch) {
  Random random(1);
  for (const char* level : {"91", "dc0001", "dd00000001", "81c0", "de0001c0", "8191c0"}) {
    std::string deep;
    for (int i = 0; i < kRounds; ++i) deep += FromHex(level);
    ASSERT_NO_FATAL_FAILURE(ExpectRightAnswer(deep, &random));
    deep += '\xc0';
    ASSERT_FALSE(CheckValue(AsBytes(deep)).ok()) << level;
    ASSERT_NO_FATAL_FAILURE(ExpectRightAnswer(deep, &random));
  }
  std::string most(kDepthMax, '\x91');
  EXPECT_TRUE(CheckValue(AsBytes(most + '\xc0')).ok());
  EXPECT_FALSE(CheckValue(AsBytes('\x91' + most + '\xc0')).ok());
}

TEST(HostileJson, TenThousandMutationsGetTheRightAnswer) {
  const std::vector<std::string> seeds = Seeds("json");
  Random random(TestSeed());
  int good = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string json = Mutated(seeds, "[]{}\",:$\\u0123456789eE+-. tfn\xc3\xa4\xff", &random);
    good += JsonToMessagePack(json).ok();
    ASSERT_NO_FATAL_FAILURE(ExpectRightAnswerToJson(json));
  }
  EXPECT_GT(good, kRounds / 50);
  EXPECT_LT(good, kRounds - kRounds / 50);
}

TEST(HostileJson, CutAtEachByteItIsRefused) {
  for (const std::string& seed : Seeds("json")) {
    if (std::string("[{\"tfn").find(seed[0]) == std::string::npos) continue;
    ASSERT_TRUE(JsonToMessagePack(seed).ok()) << seed;
    for (size_t size = 0; size < seed.size(); ++size) {
      ASSERT_FALSE(JsonToMessagePack(seed.substr(0, size)).ok()) << seed << " cut to " << size;
      ASSERT_NO_FATAL_FAILURE(ExpectRightAnswerToJson(seed.substr(0, size)));
    }
  }
}

TEST(HostileJson, DeepNestingCostsNoMoreThanItsBytes) {
  for (const char* level : {"[", "{\"a\":", "[[],", "{\"$map\":[[", "{\"$ext\":[1,", "{\"$$a\":"}) {
    std::string deep;
    for (int i = 0; i < kRounds; ++i) deep += level;
    ASSERT_FALSE(JsonToMessagePack(deep).ok()) << level;
    ASSERT_NO_FATAL_FAILURE(ExpectRightAnswerToJson(deep));
  }
}

TEST(HostileJson, LargeInputsStayWithinTheBound) {
  std::string objects = "[", keys = "{", numbers = "[", strings = "[";
  for (int i = 0; i < 50'000; ++i) {
    const std::string n = std::to_string(i);
    objects += i == 0 ? "{\"a\":1}" : ",{\"a\":1}";
    keys += (i == 0 ? "\"" : ",\"") + n + "\":1";
    numbers += i == 0 ? "1e0" : ",1e0";
    strings += i == 0 ? "\"\\u00e4\"" : ",\"\\u00e4\"";
  }
  for (const std::string& json : {objects + "]", keys + "}", numbers + "]", strings + "]"}) {
    ASSERT_TRUE(JsonToMessagePack(json).ok());
    ASSERT_NO_FATAL_FAILURE(ExpectRightAnswerToJson(json));
    Random random(1);
    ASSERT_NO_FATAL_FAILURE(ExpectRightAnswer(*JsonToMessagePack(json), &random));
  }
}

}  // namespace
}  // namespace lever::value
