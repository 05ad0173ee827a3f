#include "liblever/policy/carried_account.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace lever::policy {
namespace {

using Verdict = CarriedAccount::Verdict;
using Notice = CarriedAccount::Notice;

constexpr uint64_t kMax = 6400;  // of which 100 are for tombstones alone

TEST(CarriedAccountTest, TakesWhatFitsToTheByte) {
  CarriedAccount account(kMax, 0);
  EXPECT_EQ(account.Carry(6300, 10, 0), Verdict::kCarried);
  EXPECT_EQ(account.bytes(), 6300u);
  EXPECT_EQ(account.TakeNotice(), Notice::kNone);
  EXPECT_EQ(account.Carry(1, 1, 0), Verdict::kLost);
  CarriedAccount other(kMax, 0);
  EXPECT_EQ(other.Carry(6301, 10, 0), Verdict::kLost);
  EXPECT_EQ(other.bytes(), 10u);
}

TEST(CarriedAccountTest, WhatIsReplacedIsFree) {
  CarriedAccount account(kMax, 0);
  ASSERT_EQ(account.Carry(6300, 10, 0), Verdict::kCarried);
  EXPECT_EQ(account.Carry(6300, 10, 6300), Verdict::kCarried) << "the same once more";
  EXPECT_EQ(account.Carry(6000, 10, 6300), Verdict::kCarried);
  EXPECT_EQ(account.bytes(), 6000u);
  EXPECT_EQ(account.Carry(6301, 10, 6000), Verdict::kLost) << "and not what it was before";
  EXPECT_EQ(account.bytes(), 10u);
  account.Forget(10);
  EXPECT_EQ(account.bytes(), 0u);
}

TEST(CarriedAccountTest, TombstonesHaveRoomOfTheirOwnAndABoundToo) {
  CarriedAccount account(kMax, 6300);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(account.Lose(10, 0), Verdict::kLost) << i;
  EXPECT_EQ(account.bytes(), kMax);
  EXPECT_EQ(account.Lose(10, 0), Verdict::kRefused);
  EXPECT_EQ(account.Carry(11, 10, 0), Verdict::kRefused);
  EXPECT_EQ(account.bytes(), kMax);
  // An old record that stayed would be opened again.
  EXPECT_EQ(account.Lose(12, 11), Verdict::kLost);
  EXPECT_EQ(account.Carry(200, 13, 12), Verdict::kLost);
}

TEST(CarriedAccountTest, IsSaidToBeFullOnceUntilAQuarterIsFree) {
  CarriedAccount account(kMax, 6300);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(account.Carry(100, 1, 0), Verdict::kLost);
    EXPECT_EQ(account.TakeNotice(), i == 0 ? Notice::kFull : Notice::kNone);
    account.Forget(200);
    EXPECT_EQ(account.Carry(199, 1, 0), Verdict::kCarried) << "one more fits";
    EXPECT_EQ(account.TakeNotice(), Notice::kNone);
  }
  EXPECT_EQ(account.lost(), 5u);
  account.Forget(account.bytes() - 4801);
  EXPECT_EQ(account.TakeNotice(), Notice::kNone);
  account.Forget(1);
  EXPECT_EQ(account.TakeNotice(), Notice::kRoomAgain);
  EXPECT_EQ(account.TakeNotice(), Notice::kNone);
  EXPECT_EQ(account.lost(), 5u);
  EXPECT_EQ(account.Carry(6000, 1, 0), Verdict::kLost);
  EXPECT_EQ(account.TakeNotice(), Notice::kFull);
  EXPECT_EQ(account.lost(), 1u);
}

TEST(CarriedAccountTest, ThatOfTheProductIsOneGiB) {
  CarriedAccount account(kServiceCarriedBytesMax, 0);
  uint64_t records = 0;
  while (account.Carry(uint64_t{1} << 20, 40, 0) == Verdict::kCarried) ++records;
  EXPECT_EQ(records, 1024u - 16);
  EXPECT_LE(account.bytes(), uint64_t{1} << 30);
}

// Whatever happens, it says what is stored, and that is never above the bound.
TEST(CarriedAccountTest, AgreesWithWhatIsStoredOverRandomHistories) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    CarriedAccount account(kMax, 0);
    std::map<uint64_t, uint64_t> stored;
    for (int i = 0; i < 500; ++i) {
      const uint64_t resource = random() % 60;
      const uint64_t there = stored.contains(resource) ? stored[resource] : 0;
      const uint64_t record = 20 + random() % 400;
      // In place of a record it may be longer than that by the digits of a generation.
      const uint64_t tombstone = 18;
      Verdict verdict = Verdict::kRefused;
      switch (random() % 3) {
        case 0: verdict = account.Carry(record, tombstone, there); break;
        case 1: verdict = account.Lose(tombstone, there); break;
        default: account.Forget(there); stored.erase(resource);
      }
      if (verdict == Verdict::kCarried) stored[resource] = record;
      if (verdict == Verdict::kLost) stored[resource] = tombstone;
      uint64_t sum = 0;
      for (const auto& [name, bytes] : stored) sum += bytes;
      ASSERT_EQ(account.bytes(), sum) << "seed " << seed << ", step " << i;
      ASSERT_LE(sum, kMax) << "seed " << seed << ", step " << i;
    }
  }
}

}  // namespace
}  // namespace lever::policy
