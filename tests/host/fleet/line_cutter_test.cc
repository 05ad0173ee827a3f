#include "liblever/host/fleet/line_cutter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "liblever/base/random.h"
#include "liblever/value/utf8.h"

namespace lever::fleet {
namespace {

using testing::ElementsAre;

std::vector<std::string> Cut(const std::vector<std::string>& pieces, size_t bytes_max = 100) {
  LineCutter cutter(bytes_max);
  std::vector<std::string> lines;
  const auto take = [&](std::string line) { lines.push_back(std::move(line)); };
  for (const std::string& piece : pieces) cutter.Append(piece, take);
  cutter.Finish(take);
  return lines;
}

TEST(LineCutter, CutsAtLineEndsWhereverThePiecesBreak) {
  EXPECT_THAT(Cut({"one\ntwo\n\nfour"}), ElementsAre("one", "two", "", "four"));
  EXPECT_THAT(Cut({"o", "ne", "\n", "tw", "o\n", "", "\nfo", "ur"}),
              ElementsAre("one", "two", "", "four"));
  EXPECT_THAT(Cut({"with\r\nreturns\r", "\nin\rside\n"}),
              ElementsAre("with", "returns", "in\rside"));
  EXPECT_THAT(Cut({""}), ElementsAre());
}

TEST(LineCutter, LongLinesComeInPieces) {
  EXPECT_THAT(Cut({"0123456789abcdef\n"}, 8), ElementsAre("01234567", "89abcdef"));
  EXPECT_THAT(Cut({"01234567\n"}, 8), ElementsAre("01234567"));
  EXPECT_THAT(Cut({"01234567\r\n"}, 8), ElementsAre("01234567"));
  EXPECT_THAT(Cut({"01234567\r", "\n"}, 8), ElementsAre("01234567"));
  EXPECT_THAT(Cut({"0123456", "7", "8\n"}, 8), ElementsAre("01234567", "8"));
}

TEST(LineCutter, PiecesOfALongLineDoNotBreakCharacters) {
  EXPECT_THAT(Cut({"1234567\u00e9x\n"}, 8), ElementsAre("1234567", "\u00e9x"));
  EXPECT_THAT(Cut({"12345\U0001f600y\n"}, 8), ElementsAre("12345", "\U0001f600y"));
}

TEST(LineCutter, ACharacterMayComeInTwoPieces) {
  EXPECT_THAT(Cut({"caf\xc3", "\xa9\n"}), ElementsAre("caf\u00e9"));
}

TEST(LineCutter, WhatIsNotUtf8IsReplaced) {
  EXPECT_THAT(Cut({"a\xff"
                   "b\n"}),
              ElementsAre("a\ufffd"
                          "b"));
  EXPECT_THAT(Cut({"cut \xe2\x82\n"}), ElementsAre("cut \ufffd"));
  EXPECT_THAT(Cut({"cut \xe2\x82"}), ElementsAre("cut \ufffd"));
  EXPECT_THAT(Cut({"\xe2\x82"
                   "A\n"}),
              ElementsAre("\ufffd"
                          "A"));
  EXPECT_THAT(Cut({"\xed\xa0\x80\n"}), ElementsAre("\ufffd\ufffd\ufffd"));  // a surrogate
  EXPECT_THAT(Cut({"\xc0\xaf\n"}), ElementsAre("\ufffd\ufffd"));            // too long a form
}

TEST(LineCutter, WhateverComesLinesAreUtf8AndShort) {
  constexpr uint64_t kSeed = 7;
  Random random(kSeed);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> pieces(1 + random.Below(8));
    for (std::string& piece : pieces) {
      piece.resize(random.Below(64));
      for (char& byte : piece) byte = static_cast<char>(random.Next() >> 24);
    }
    for (const std::string& line : Cut(pieces, 16)) {
      EXPECT_TRUE(value::IsUtf8(line));
      EXPECT_LE(line.size(), 16u);
      EXPECT_EQ(line.find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace lever::fleet
