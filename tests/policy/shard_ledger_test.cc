// The steps of a move one by one; that they keep the promise under faults is what
// shard_simulation_test.cc looks for.
#include "liblever/policy/shard_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "liblever/policy/grant.h"

namespace lever::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kNow = 1000 * kNanosPerSecond;

class ShardLedgerTest : public ::testing::Test {
 protected:
  // What is to be done, in words.
  std::vector<std::string> Actions() {
    std::vector<std::string> words;
    for (const LedgerAction& action : ledger.TakeActions()) {
      const std::string generation = std::to_string(action.generation);
      switch (action.kind) {
        case LedgerAction::Kind::kWrite:
          words.push_back("write " + action.row.owner + " " +
                          std::to_string(action.row.generation) +
                          (action.row.from.empty() ? "" : " from " + action.row.from) +
                          (action.row.unclean ? " unclean" : ""));
          break;
        case LedgerAction::Kind::kName:
          words.push_back("name " + action.instance + " " + generation);
          break;
        case LedgerAction::Kind::kGrant:
          words.push_back("grant " + action.instance + " " + generation);
          break;
        case LedgerAction::Kind::kRelease:
          words.push_back("release " + action.instance + " " + generation + " for " + action.next);
          break;
        case LedgerAction::Kind::kSynced: words.push_back("synced " + action.instance); break;
      }
    }
    return words;
  }
  void Want(const std::string& owner, int64_t now_ns = kNow) { ledger.SetTargets({owner}, now_ns); }
  // `a` owns the shard under generation 1, and is in session.
  void GiveToA() {
    ledger.OnSession("a");
    Want("a");
    ledger.OnWritten(0, true, kNow);
    ASSERT_TRUE(ledger.AnswerRenewal("a", kNow));
    Actions();
  }

  ShardLedger ledger{std::vector<ShardRow>(1), 0, kNow};
};

TEST_F(ShardLedgerTest, AShardOfNobodyIsGrantedWhenItsRowIsDurable) {
  ledger.OnSession("a");
  EXPECT_THAT(Actions(), ElementsAre("synced a"));
  Want("a");
  EXPECT_THAT(Actions(), ElementsAre("write a 1"));
  EXPECT_FALSE(ledger.Settled(0));
  ledger.OnWritten(0, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("name a 1", "grant a 1"));
  EXPECT_TRUE(ledger.Settled(0));
  Want("a");
  EXPECT_THAT(Actions(), IsEmpty());
}

TEST_F(ShardLedgerTest, AMoveWaitsForTheRelease) {
  GiveToA();
  ledger.OnSession("b");
  Actions();
  Want("b");
  EXPECT_THAT(Actions(), ElementsAre("write b 2 from a"));
  ledger.OnWritten(0, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("name b 2", "release a 1 for b"));
  ledger.OnReleased("b", 0, 1, true, kNow);
  ledger.OnReleased("a", 0, 2, true, kNow);
  EXPECT_THAT(Actions(), IsEmpty()) << "neither is what is waited for";
  ledger.OnReleased("a", 0, 1, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("write b 2"));
  ledger.OnWritten(0, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("name b 2", "grant b 2"));
}

TEST_F(ShardLedgerTest, AReleaseThatIsNotCleanIsRemembered) {
  GiveToA();
  Want("b");
  ledger.OnWritten(0, true, kNow);
  Actions();
  ledger.OnReleased("a", 0, 1, false, kNow);
  EXPECT_THAT(Actions(), ElementsAre("write b 2 unclean"));
}

TEST_F(ShardLedgerTest, AnOwnerThatIsGoneIsWaitedForUntilItsGrantHasSurelyEnded) {
  GiveToA();
  ledger.OnSession("b");
  ledger.OnSessionEnd("a");
  Actions();
  Want("b");
  EXPECT_THAT(Actions(), ElementsAre("write b 2 from a"));
  ledger.OnWritten(0, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("name b 2"));
  EXPECT_EQ(ledger.WakeAtNs(), GrantSurelyEndedNs(kNow));
  ledger.OnTime(GrantSurelyEndedNs(kNow) - 1);
  EXPECT_THAT(Actions(), IsEmpty());
  ledger.OnTime(GrantSurelyEndedNs(kNow));
  EXPECT_THAT(Actions(), ElementsAre("write b 2 unclean"));
}

TEST_F(ShardLedgerTest, AProcessThatWasSeenToEndIsNotWaitedFor) {
  GiveToA();
  ledger.OnEnded("a", kNow);
  Want("b");
  EXPECT_THAT(Actions(), ElementsAre("write b 2 unclean"));
}

TEST_F(ShardLedgerTest, WhoIsNamedAndGoesIsReplacedAndTold) {
  GiveToA();
  ledger.OnSession("b");
  ledger.OnSession("c");
  Want("b");
  ledger.OnWritten(0, true, kNow);
  Actions();
  Want("c");
  EXPECT_THAT(Actions(), ElementsAre("write c 3 from a"));
  ledger.OnWritten(0, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("release b 2 for c", "name c 3", "release a 1 for c"));
}

TEST_F(ShardLedgerTest, AnInstanceThatComesBackIsToldWhatIsItsAndNothingElse) {
  GiveToA();
  ledger.OnSessionEnd("a");
  ledger.OnSession("a");
  EXPECT_THAT(Actions(), ElementsAre("name a 1", "grant a 1", "synced a"));
  ledger.OnSessionEnd("a");
  Want("b", GrantSurelyEndedNs(kNow));
  EXPECT_THAT(Actions(), ElementsAre("write b 2 unclean"));
  // While its row is being written off: its grant must not become valid again.
  ledger.OnSession("a");
  EXPECT_THAT(Actions(), ElementsAre("synced a"));
}

TEST_F(ShardLedgerTest, AWriteThatFailsIsTriedAgainLater) {
  ledger.OnSession("a");
  Want("a");
  Actions();
  ledger.OnWritten(0, false, kNow);
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_EQ(ledger.WakeAtNs(), kNow + kLedgerRetryNs);
  ledger.OnTime(kNow + kLedgerRetryNs);
  EXPECT_THAT(Actions(), ElementsAre("write a 2")) << "a generation is never used twice";
}

TEST_F(ShardLedgerTest, ANewControllerTakesRegisteredOwnersForGranted) {
  ShardRow row;
  row.owner = "a";
  row.generation = 4;
  ledger = ShardLedger({row}, 4, kNow);
  Want("b");
  EXPECT_THAT(Actions(), ElementsAre("write b 5 from a"));
  ledger.OnWritten(0, true, kNow);
  EXPECT_EQ(ledger.WakeAtNs(), GrantSurelyEndedNs(kNow));
}

TEST_F(ShardLedgerTest, AnOwnerThatHasLetGoByItselfIsGivenItAnew) {
  GiveToA();
  ledger.OnReleased("a", 0, 9, false, kNow);
  EXPECT_THAT(Actions(), IsEmpty()) << "of another generation";
  ledger.OnReleased("a", 0, 1, false, kNow);
  EXPECT_THAT(Actions(), ElementsAre("write a 2 unclean"));
  ledger.OnReleased("a", 0, 1, false, kNow);
  ledger.OnWritten(0, false, kNow);
  EXPECT_THAT(Actions(), IsEmpty());
  ledger.OnTime(kNow + kLedgerRetryNs);
  EXPECT_THAT(Actions(), ElementsAre("write a 3 unclean"));
  ledger.OnWritten(0, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("name a 3", "grant a 3"));
  EXPECT_TRUE(ledger.Settled(0));
}

TEST_F(ShardLedgerTest, AnOwnerThatHasLetGoByItselfIsNotWaitedForWhereItMoves) {
  GiveToA();
  ledger.OnSession("b");
  ledger.OnReleased("a", 0, 1, true, kNow);
  ledger.OnWritten(0, false, kNow);
  Want("b", kNow);
  Actions();
  ledger.OnTime(kNow + kLedgerRetryNs);
  EXPECT_THAT(Actions(), ElementsAre("write b 3"));
  ledger.OnWritten(0, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("name b 3", "grant b 3"));
}

TEST_F(ShardLedgerTest, AShardIsLeftToNobody) {
  GiveToA();
  Want("");
  EXPECT_THAT(Actions(), ElementsAre("write  1 from a"));
  ledger.OnWritten(0, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("release a 1 for "));
  ledger.OnReleased("a", 0, 1, true, kNow);
  EXPECT_THAT(Actions(), ElementsAre("write  1"));
  ledger.OnWritten(0, true, kNow);
  EXPECT_THAT(Actions(), IsEmpty());
  EXPECT_FALSE(ledger.AnswerRenewal("b", kNow)) << "nobody knows it";
}

}  // namespace
}  // namespace lever::policy
