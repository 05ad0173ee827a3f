// What the model refuses: a history that is as it must be, with one thing changed at a time.
#include "tests/host/scale/ownership_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lever::scale {
namespace {

using Kind = HistoryEvent::Kind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kSecondNs = kNanosPerSecond;

// The first owner counts one, the second one more.
class HistoryTest : public ::testing::Test {
 protected:
  HistoryTest() {
    Own("i-1", 7, 100);
    At("i-1", 7, 101, Kind::kOpened);
    Count("i-1", 7, 102, 1);
    At("i-1", 7, 104, Kind::kAskedToLetGo);
    At("i-1", 7, 104, Kind::kLetGo);
    Own("i-2", 8, 500);
    At("i-2", 8, 501, Kind::kOpened).counted = {1};
    history.back().origin = service::Origin::kCarried;
    Count("i-2", 8, 502, 2);
  }

  // The last one; to be changed.
  HistoryEvent& At(const std::string& instance, uint64_t generation, int64_t second, Kind kind,
                   uint64_t increment = 0) {
    HistoryEvent& event = history.emplace_back();
    event.kind = kind;
    event.instance = instance;
    event.clock_ns = second * kSecondNs;
    event.shard = 3;
    event.generation = generation;
    event.resource = resource;
    event.increment = increment;
    return event;
  }
  void Own(const std::string& instance, uint64_t generation, int64_t second) {
    At(instance, generation, second, Kind::kNamed);
    At(instance, generation, second, Kind::kGranted);
    At(instance, generation, second, Kind::kRenewed).asked_ns = second * kSecondNs;
  }
  void Count(const std::string& instance, uint64_t generation, int64_t second, uint64_t increment) {
    At("", 0, 0, Kind::kAsked, increment);
    At(instance, generation, second, Kind::kDispatched, increment);
    At(instance, generation, second + 1, Kind::kEnded, increment);
    At(instance, generation, second + 1, Kind::kReplied, increment);
    At("", 0, 0, Kind::kAcknowledged, increment);
  }
  HistoryEvent& Find(Kind kind, const std::string& instance) {
    for (HistoryEvent& event : history) {
      if (event.kind == kind && event.instance == instance) return event;
    }
    ADD_FAILURE() << "there is none";
    return history.front();
  }
  void Drop(Kind kind, const std::string& instance) {
    HistoryEvent& event = Find(kind, instance);
    history.erase(history.begin() + (&event - history.data()));
  }
  std::string First(Faults faults = Faults::kAny) {
    const auto violations = Violations(history, faults);
    return violations.empty() ? "" : violations.front();
  }

  std::string resource = "carried-1";
  History history;
};

TEST_F(HistoryTest, AHandOffThatCarriesIsAsItMustBe) {
  EXPECT_THAT(Violations(history, Faults::kNone), IsEmpty());
}

TEST_F(HistoryTest, NothingIsDispatchedAfterTheTermByItsOwnClock) {
  Find(Kind::kDispatched, "i-1").clock_ns = 110 * kSecondNs - 1;
  Find(Kind::kEnded, "i-1").clock_ns = Find(Kind::kReplied, "i-1").clock_ns = 110 * kSecondNs - 1;
  EXPECT_EQ(First(), "");
  Find(Kind::kReplied, "i-1").clock_ns = 110 * kSecondNs;
  EXPECT_THAT(First(), HasSubstr("a success outside a valid grant, at i-1"));
  Find(Kind::kDispatched, "i-1").clock_ns = 110 * kSecondNs;
  EXPECT_THAT(First(), HasSubstr("a dispatch outside a valid grant, at i-1"));
}

TEST_F(HistoryTest, NothingIsDispatchedWithoutAGrantOfThatGeneration) {
  Drop(Kind::kGranted, "i-2");
  EXPECT_THAT(First(), HasSubstr("a dispatch outside a valid grant, at i-2"));
}

TEST_F(HistoryTest, NothingIsDispatchedAfterItIsToLetGoAndNothingSentAfterItHas) {
  Drop(Kind::kLetGo, "i-1");
  Count("i-1", 7, 105, 3);
  EXPECT_THAT(First(), HasSubstr("a dispatch outside a valid grant, at i-1"));
  history.clear();
  Own("i-1", 7, 100);
  At("i-1", 7, 101, Kind::kOpened);
  At("i-1", 7, 101, Kind::kDispatched, 1);
  At("i-1", 7, 102, Kind::kAskedToLetGo);
  At("i-1", 7, 102, Kind::kEnded, 1);
  At("i-1", 7, 102, Kind::kReplied, 1);
  EXPECT_EQ(First(), "");
  history.insert(history.end() - 1, history[4])->kind = Kind::kLetGo;
  EXPECT_THAT(First(), HasSubstr("a success outside a valid grant"));
}

TEST_F(HistoryTest, NothingRunsUnderAGenerationThatIsOutlived) {
  Drop(Kind::kAskedToLetGo, "i-1");
  Drop(Kind::kLetGo, "i-1");
  Count("i-1", 7, 105, 3);
  EXPECT_THAT(First(), HasSubstr("a dispatch after another was granted the shard, at i-1"));
}

TEST_F(HistoryTest, AGenerationIsOfOneInstance) {
  Own("i-3", 8, 100);
  EXPECT_THAT(First(), HasSubstr("a generation of another instance is granted, at i-3"));
}

TEST_F(HistoryTest, ACallRunsOnceAndOnlyWhatRanIsASuccess) {
  At("i-2", 8, 504, Kind::kDispatched, 2);
  EXPECT_THAT(First(), HasSubstr("dispatched twice"));
  history.back() = HistoryEvent();
  At("i-2", 8, 504, Kind::kRefused, 2);
  EXPECT_THAT(First(), HasSubstr("refused as not run, and it was"));
  history.back().kind = Kind::kAcknowledged;
  history.back().increment = 9;
  EXPECT_THAT(First(), HasSubstr("a success that nobody sent"));
  Drop(Kind::kEnded, "i-2");
  EXPECT_THAT(First(), HasSubstr("a success of what has not ended"));
  Drop(Kind::kOpened, "i-2");
  EXPECT_THAT(First(), HasSubstr("dispatched to what was last opened at i-1"));
}

TEST_F(HistoryTest, NothingRunsWhenAShardIsLetGoOf) {
  At("i-2", 8, 505, Kind::kDispatched, 5);
  At("i-2", 8, 506, Kind::kLetGo);
  EXPECT_THAT(First(), HasSubstr("let go of while increment 5 runs"));
  history.insert(history.end() - 1, history[history.size() - 2])->kind = Kind::kCut;
  EXPECT_EQ(First(), "");
  EXPECT_THAT(First(Faults::kNone), HasSubstr("a call is cut off"));
}

TEST_F(HistoryTest, WhatIsAcknowledgedIsCarriedOrReportedLost) {
  HistoryEvent& opened = Find(Kind::kOpened, "i-2");
  opened.counted = {};
  EXPECT_THAT(First(), HasSubstr("opened without the acknowledged increment 1"));
  opened.origin = service::Origin::kNew;
  EXPECT_THAT(First(), HasSubstr("opened without the acknowledged increment 1"));
  opened.origin = service::Origin::kLost;
  EXPECT_EQ(First(), "");
  EXPECT_THAT(First(Faults::kNone), HasSubstr("a resource is lost"));
  opened.counted = {4};
  EXPECT_THAT(First(), HasSubstr("opened with increment 4, which never ran"));
}

TEST_F(HistoryTest, WithoutFaultsEveryCallIsAcknowledged) {
  history.pop_back();
  EXPECT_EQ(First(), "");
  EXPECT_THAT(Violations(history, Faults::kNone), ElementsAre("increment 2 was never acknowledged"));
}

TEST_F(HistoryTest, TheStoreFencesAndHasAllThatIsAcknowledged) {
  for (HistoryEvent& event : history) event.resource = "stored-1";
  resource = "stored-1";
  // Lost or not, it is in the store.
  Find(Kind::kOpened, "i-2").origin = service::Origin::kLost;
  EXPECT_EQ(First(), "");
  Find(Kind::kOpened, "i-2").counted = {};
  EXPECT_THAT(First(), HasSubstr("opened without the acknowledged increment 1"));
  Find(Kind::kOpened, "i-2").counted = {1};
  At("i-2", 8, 504, Kind::kStored).counted = {1, 2};
  At("i-1", 7, 504, Kind::kFenced);
  EXPECT_EQ(First(), "");
  history.back().kind = Kind::kStored;
  history.back().counted = {1, 2};
  EXPECT_THAT(First(), HasSubstr("the store takes an old token"));
  history.back().kind = Kind::kFenced;
  history.back().generation = 8;
  EXPECT_THAT(First(), HasSubstr("the store refuses a good token"));
  history.pop_back();
  history.back().counted = {2};
  EXPECT_THAT(First(), HasSubstr("stored without the acknowledged increment 1"));
}

}  // namespace
}  // namespace lever::scale
