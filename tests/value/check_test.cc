#include "liblever/value/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lever/lever.h"
#include "liblever/base/slice.h"
#include "liblever/value/limits.h"
#include "tests/vectors/vectors.h"

namespace lever::value {
namespace {

using vectors::FromHex;

Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Everything that MessagePack has, with text of one to four bytes a character.
std::string Everything() {
  return FromHex(
      "dc0017"                        // an array of 23
      "c0c2c3"                        // nil, false, true
      "7fe0ccffcdffffceffffffff"      // integers
      "cfffffffffffffffff"            //
      "d080d18000d280000000"          //
      "d38000000000000000"            //
      "ca3fc00000cb3ff8000000000000"  // floats
      "aa61c3bce282acf09f9880"        // text
      "d90161da000162c403010203"      // longer text, binary
      "d60500010203c703ff010203"      // extensions
      "82a1610193c0c0c0810190"        // a map of two, whose second key is an array
      "90");
}

TEST(CheckValue, AcceptsEveryType) {
  EXPECT_TRUE(CheckValue(AsBytes(Everything())).ok())
      << CheckValue(AsBytes(Everything())).ToString();
}

TEST(CheckValue, RefusesEveryPrefix) {
  const std::string value = Everything();
  for (size_t size = 0; size < value.size(); ++size) {
    const Status status = CheckValue(AsBytes(value).first(size));
    EXPECT_EQ(status.code(), LEVER_INVALID_ARGUMENT) << size;
  }
}

TEST(CheckValue, GivesTheSameForPiecesCutAnywhere) {
  const std::string valid = Everything();
  const std::string with_more = valid + "x";
  std::string broken = valid;
  broken[broken.find('\x9f')] = 'x';  // inside a character
  for (const std::string& value : {valid, with_more, broken}) {
    const Status whole = CheckValue(AsBytes(value));
    for (size_t first = 0; first <= value.size(); ++first) {
      for (size_t second = first; second <= value.size(); ++second) {
        const Bytes pieces[] = {AsBytes(value).first(first),
                                AsBytes(value).subspan(first, second - first),
                                AsBytes(value).subspan(second)};
        EXPECT_EQ(CheckValue(pieces).ToString(), whole.ToString()) << first << " " << second;
      }
    }
    std::vector<Bytes> bytes;
    for (size_t at = 0; at < value.size(); ++at) bytes.push_back(AsBytes(value).subspan(at, 1));
    EXPECT_EQ(CheckValue(bytes).ToString(), whole.ToString());
  }
}

TEST(CheckValue, TakesSlicesOfBothKinds) {
  const std::string value = FromHex("92a26869c0");
  const Slice slices[] = {Slice::Static(std::string_view(value).substr(0, 2)),
                          Slice::Static(std::string_view(value).substr(2))};
  EXPECT_TRUE(CheckValue(slices).ok());
  EXPECT_EQ(*CheckArguments(slices), 2u);
  const lever_slice c_slices[] = {{AsBytes(value).data(), 3}, {AsBytes(value).data() + 3, 2}};
  EXPECT_TRUE(CheckValue(c_slices).ok());
  EXPECT_EQ(*CheckArguments(c_slices), 2u);
  EXPECT_EQ(CheckValue(std::span<const Bytes>()).code(), LEVER_INVALID_ARGUMENT);
}

TEST(CheckValue, CountsDepthThroughKeysAndValues) {
  std::string keys;
  for (uint32_t level = 0; level < kDepthMax; ++level) keys.push_back('\x81');
  for (uint32_t level = 0; level <= kDepthMax; ++level) keys.push_back('\xc0');
  EXPECT_TRUE(CheckValue(AsBytes(keys)).ok());
  EXPECT_EQ(CheckValue(AsBytes("\x91" + keys)).code(), LEVER_INVALID_ARGUMENT);
}

TEST(CheckValue, TakesManySiblingsAtTheGreatestDepth) {
  std::string value;
  for (uint32_t level = 1; level < kDepthMax; ++level) value.push_back('\x91');
  value.append("\xdc\x10", 2).push_back('\0');  // 4,096 empty arrays would be one level too deep
  const size_t header = value.size() - 3;
  value.append(4096, '\xc0');
  EXPECT_TRUE(CheckValue(AsBytes(value)).ok());
  value[header + 3] = '\x90';
  EXPECT_EQ(CheckValue(AsBytes(value)).code(), LEVER_INVALID_ARGUMENT);
}

TEST(CheckValue, NamesTheOffset) {
  EXPECT_EQ(CheckValue(AsBytes(FromHex("92c0c1"))).message(),
            "MessagePack: the byte c1, which is no value, at byte 2");
  EXPECT_EQ(CheckValue(AsBytes(FromHex("91ddff000000"))).message(),
            "MessagePack: more elements than bytes at byte 1");
}

TEST(CheckArguments, CountsAnArrayAndRefusesAllElse) {
  EXPECT_EQ(*CheckArguments(AsBytes(FromHex("90"))), 0u);
  EXPECT_EQ(*CheckArguments(AsBytes(FromHex("93010203"))), 3u);
  EXPECT_EQ(*CheckArguments(AsBytes(FromHex("dc000101"))), 1u);
  EXPECT_EQ(*CheckArguments(AsBytes(FromHex("dd0000000101"))), 1u);
  for (const char* hex : {"80", "c0", "a0", "c400", "01", "", "9101c0", "92c0"}) {
    const auto count = CheckArguments(AsBytes(FromHex(hex)));
    EXPECT_EQ(count.status().code(), LEVER_INVALID_ARGUMENT) << hex;
    EXPECT_EQ(count.status().executed(), LEVER_EXECUTED_NO) << hex;
  }
}

}  // namespace
}  // namespace lever::value
