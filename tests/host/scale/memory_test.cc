// A host on which instances may reserve a bounded amount of memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/host/scale/control_fixture.h"

namespace lever::scale {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr uint64_t kMib = 1 << 20;

// Eight instances of 50 MiB; further ones of a service get seven of them.
class MemoryTest : public ControlTest {
 protected:
  MemoryTest() : ControlTest(nullptr, 400 * kMib) {}

  static ServiceSpec Of(std::string service, uint64_t version = 1) {
    ServiceSpec spec = Spec(version);
    spec.service = std::move(service);
    spec.ram_bytes = 50 * kMib;
    spec.load_target = 1;
    return spec;
  }
  void Want(const std::string& service, uint32_t calls) {
    Do([&] { control->Demand({"dev.lever", service}, this, calls); });
    Settle();
  }
  // A service with one ready instance.
  uint64_t Run(const std::string& service) {
    Deploy(Of(service));
    Want(service, 1);
    const uint64_t key = Last();
    Ready(key);
    return key;
  }
  void Ended(uint64_t key, uint64_t ended, uint64_t errors) {
    Do([&] {
      fleet::LoadReportData report;
      report.ended_total = ended;
      report.errors_total = errors;
      report.last_active_ns = clock.NowNs();
      control->AttachLoad(key, report);
    });
    Settle();
  }
  size_t StartedOf(const std::string& service) const {
    return std::count_if(driver.started.begin(), driver.started.end(),
                         [&](const auto& entry) { return entry.second.service == service; });
  }
  std::string LacksOf(const std::string& service) {
    return directory.Find({"dev.lever", service})->view->lacks;
  }
};

TEST_F(MemoryTest, AServiceThatGrowsLeavesRoomForTheFirstOneOfAnother) {
  Deploy(Of("hello"));
  Demand(100);
  EXPECT_EQ(StartedOf("hello"), 7u) << "of 8 at a time";
  EXPECT_THAT(LacksOf("hello"), HasSubstr("which takes 50 MiB (ram): 350 MiB of 400 MiB are taken, "
                                           "and the last eighth is for services that have no instance"));
  EXPECT_THAT(failures, IsEmpty()) << "its calls wait";
  Deploy(Of("other"));
  Want("other", 5);
  EXPECT_EQ(StartedOf("other"), 1u);
  Deploy(Of("third"));
  Want("third", 1);
  EXPECT_EQ(StartedOf("third"), 0u);
  EXPECT_THAT(LacksOf("third"), HasSubstr("400 MiB of 400 MiB"));
}

TEST_F(MemoryTest, WhatComesFreeGoesToWhoWaitsFirst) {
  Deploy(Of("hello"));
  Demand(100);
  const std::vector<uint64_t> first = driver.order;
  Deploy(Of("big"));
  Want("big", 1);  // the eighth
  Deploy(Of("third"));
  Want("third", 1);
  ASSERT_EQ(StartedOf("third"), 0u);
  Want("hello", 0);
  Exited(first[0], 1);
  EXPECT_EQ(StartedOf("third"), 1u) << "further ones of hello are for later";
  EXPECT_EQ(LacksOf("third"), "");
}

TEST_F(MemoryTest, InstancesThatDoNothingGiveWay) {
  std::vector<uint64_t> keys;
  for (int i = 0; i < 8; ++i) {
    keys.push_back(Run("s" + std::to_string(i)));
    Live(kNanosPerSecond, keys);
  }
  Load(keys[0], 1, 0);  // the oldest one is busy
  Deploy(Of("more"));
  Want("more", 1);
  EXPECT_EQ(StartedOf("more"), 0u);
  EXPECT_EQ(LacksOf("more"), "") << "it comes";
  EXPECT_THAT(peers[keys[1]]->reason, HasSubstr("lever://dev.lever/more needs its memory"));
  EXPECT_EQ(peers[keys[0]]->reason, "");
  EXPECT_EQ(peers[keys[2]]->reason, "") << "one is enough";
  // Meanwhile another one cannot take it.
  Deploy(Of("late"));
  Want("late", 1);
  EXPECT_THAT(peers[keys[2]]->reason, HasSubstr("late needs its memory"));
  Exited(keys[1]);
  EXPECT_EQ(StartedOf("more"), 1u);
  EXPECT_EQ(StartedOf("late"), 0u);
  Exited(keys[2]);
  EXPECT_EQ(StartedOf("late"), 1u);
  EXPECT_TRUE(driver.killed.empty());
}

TEST_F(MemoryTest, NobodyGivesWayToWhatNobodyWaitsForOrInVain) {
  std::vector<uint64_t> keys;
  for (int i = 0; i < 8; ++i) keys.push_back(Run("s" + std::to_string(i)));
  Live(2 * kNanosPerSecond, keys);
  ServiceSpec huge = Of("huge");
  huge.ram_bytes = 1000 * kMib;
  Deploy(huge);
  Want("huge", 1);
  EXPECT_THAT(LacksOf("huge"), HasSubstr("which takes 1000 MiB"));
  for (const uint64_t key : keys) EXPECT_EQ(peers[key]->reason, "");
}

TEST_F(MemoryTest, WhoGrowsDoesNotPushOutAnotherInVain) {
  const uint64_t other = Run("other");
  Deploy(Of("hello"));
  Demand(100);
  ASSERT_EQ(StartedOf("hello"), 6u);
  const uint64_t last = Run("last");  // in the part that is for first ones
  Load(last, 1, 0);
  Advance(3 * kNanosPerSecond / 2);
  Load(other, 0, 0);
  EXPECT_EQ(peers[other]->reason, "") << "its 50 MiB are not enough for a further one";
  EXPECT_EQ(peers[last]->reason, "");
  EXPECT_EQ(StartedOf("hello"), 6u);
}

TEST_F(MemoryTest, AnInstanceIsNotIdleAtOnceAndMinInstancesStay) {
  ServiceSpec kept = Of("kept");
  kept.instances_min = 1;
  Deploy(kept);
  std::vector<uint64_t> keys = {Last()};
  Ready(keys[0]);
  for (int i = 0; i < 7; ++i) keys.push_back(Run("s" + std::to_string(i)));
  Deploy(Of("more"));
  Want("more", 1);
  for (const uint64_t key : keys) EXPECT_EQ(peers[key]->reason, "");
  EXPECT_NE(LacksOf("more"), "");
  // It is tried again.
  Live(2 * kNanosPerSecond, keys);
  EXPECT_EQ(peers[keys[0]]->reason, "");
  EXPECT_THAT(peers[keys[1]]->reason, HasSubstr("more needs its memory"));
}

TEST_F(MemoryTest, AStandbyIsNoFirstInstance) {
  std::vector<uint64_t> keys;
  for (int i = 0; i < 7; ++i) keys.push_back(Run("s" + std::to_string(i)));
  ServiceSpec spec = Of("spare");
  spec.standby = 1;
  Deploy(spec);
  EXPECT_EQ(StartedOf("spare"), 0u);
  Want("spare", 1);
  EXPECT_EQ(StartedOf("spare"), 1u) << "now it is";
}

TEST_F(MemoryTest, AStandbyGivesWayAndIsTheLastToComeBack) {
  ServiceSpec spec = Of("spare");
  spec.standby = 1;
  Deploy(spec);
  std::vector<uint64_t> keys = {Last()};
  Ready(keys[0]);
  for (int i = 0; i < 7; ++i) keys.push_back(Run("s" + std::to_string(i)));
  Live(2 * kNanosPerSecond, keys);
  for (size_t i = 1; i < keys.size(); ++i) Load(keys[i], 1, 0);
  Deploy(Of("more"));
  Want("more", 1);
  EXPECT_THAT(peers[keys[0]]->reason, HasSubstr("more needs its memory"));
  Exited(keys[0]);
  EXPECT_EQ(StartedOf("more"), 1u);
  EXPECT_EQ(StartedOf("spare"), 1u) << "it does not come back at once";
  ServiceSpec late = Of("late");
  late.ram_bytes = 100 * kMib;
  Deploy(late);
  Want("late", 1);
  Exited(keys[1], 1);
  ASSERT_EQ(StartedOf("late"), 0u);
  Exited(keys[2], 1);
  EXPECT_EQ(StartedOf("late"), 1u) << "although it asked later";
  Exited(keys[3], 1);
  EXPECT_EQ(StartedOf("spare"), 1u) << "the last eighth is left";
  Exited(keys[4], 1);
  EXPECT_EQ(StartedOf("spare"), 2u);
}

TEST_F(MemoryTest, AVersionTakesOverWithWhatThereIsMemoryFor) {
  ServiceSpec spec = Of("hello");
  spec.instances_min = 5;
  Deploy(spec);
  Ready(Last());
  const std::vector<uint64_t> old = driver.order;
  ASSERT_EQ(old.size(), 5u);
  for (size_t i = 1; i < old.size(); ++i) Ready(old[i]);
  spec.version = 2;
  Deploy(spec);
  ASSERT_EQ(driver.order.size(), 7u) << "two of five";
  Ready(driver.order[5]);
  EXPECT_FALSE(deployed.has_value()) << "one more is on its way";
  Ready(driver.order[6]);
  ASSERT_TRUE(deployed && deployed->ok());
  EXPECT_THAT(Listed(), UnorderedElementsAre(driver.order[5], driver.order[6]));
  for (const uint64_t key : old) {
    EXPECT_THAT(peers[key]->reason, HasSubstr("version 2 takes its place"));
  }
  for (const uint64_t key : old) Exited(key);
  EXPECT_EQ(driver.order.size(), 10u) << "the other three";
}

TEST_F(MemoryTest, AVersionForWhichThereIsNoneDoesNotServe) {
  ServiceSpec large = Of("hello");
  large.ram_bytes = 300 * kMib;
  Deploy(large);
  const uint64_t old = Up();
  large.version = 2;
  Deploy(large);
  ASSERT_TRUE(deployed.has_value());
  EXPECT_EQ(deployed->code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_THAT(deployed->message(), HasSubstr("which takes 300 MiB (ram): 300 MiB of 400 MiB"));
  EXPECT_THAT(Listed(), UnorderedElementsAre(old));
}

TEST_F(MemoryTest, AVersionThatIsTakenBackNeedsNoRoom) {
  ServiceSpec spec = Of("hello");
  spec.ram_bytes = 190 * kMib;
  Deploy(spec);
  const uint64_t old = Up();
  Ended(old, 1000, 5);
  spec.version = 2;
  spec.ram_bytes = 150 * kMib;
  Deploy(spec);
  const uint64_t bad = Last();
  Ready(bad);
  ASSERT_TRUE(deployed && deployed->ok());
  Do([&] { control->Watch(Hello(), 30 * kNanosPerSecond, [](WatchResult) {}); });
  Exited(old);
  ServiceSpec other = Of("other");
  other.ram_bytes = 240 * kMib;
  Deploy(other);
  Want("other", 1);
  ASSERT_EQ(StartedOf("other"), 1u) << "390 of 400 MiB are taken";
  Ended(bad, 1000, 900);
  const fleet::InstanceSpec& back = driver.started.at(Last());
  EXPECT_EQ(back.service, "hello");
  EXPECT_EQ(back.version, 1u);
}

}  // namespace
}  // namespace lever::scale
