// Watches: what they deliver, from where, and how they end.
#include <gmock/gmock.h>

#include "tests/contract/registry/contract.h"

namespace lever::registry {
namespace {

using testing::ElementsAre;

std::vector<std::string> Told(const WatchLog& log) {
  std::vector<std::string> told;
  for (const WatchEvent& event : log.events()) {
    told.push_back(event.kind == WatchEvent::Kind::kPut ? event.entry.key + "=" + event.entry.value
                                                        : "-" + event.entry.key);
  }
  return told;
}

TEST_P(RegistryContract, AWatchTellsChangesOfItsPrefixInTheirOrder) {
  const LeaseId lease = GrantOk(kLeaseTtlNsMax);
  WatchLog log;
  registry_->Watch({"w/", 0}, log.Callback());
  PutOk("w/1", "a");
  PutOk("other", "x");
  const Revision second = PutOk("w/2", "b", lease);
  PutOk("w/1", "c");
  const auto deleted = blocking_->Commit(Transaction().Then(Operation::DeletePrefix("w/")));
  ASSERT_TRUE(log.AwaitEvents(&executor_, 5));
  std::vector<std::string> told = Told(log);
  std::sort(told.begin() + 3, told.end());  // one revision has no order of its own
  EXPECT_THAT(told, ElementsAre("w/1=a", "w/2=b", "w/1=c", "-w/1", "-w/2"));
  EXPECT_EQ(log.events()[1].entry, (Entry{"w/2", "b", second, second, lease}));
  EXPECT_EQ(log.events()[4].entry.mod_revision, deleted->revision);
  EXPECT_EQ(log.batches().back().revision, deleted->revision);
}

TEST_P(RegistryContract, AWatchFromAnOlderRevisionTellsWhatHappenedSince) {
  PutOk("w/1", "a");
  const Revision second = PutOk("w/2", "b");
  PutOk("w/3", "c");
  WatchLog log;
  registry_->Watch({"w/", second}, log.Callback());
  PutOk("w/4", "d");
  ASSERT_TRUE(log.AwaitEvents(&executor_, 3));
  EXPECT_THAT(Told(log), ElementsAre("w/2=b", "w/3=c", "w/4=d"));
}

TEST_P(RegistryContract, AWatchFromARevisionToComeWaitsForIt) {
  const Revision now = PutOk("w", "0");
  WatchLog log;
  registry_->Watch({"w", now + 2}, log.Callback());
  PutOk("w", "1");
  PutOk("w", "2");
  PutOk("w", "3");
  ASSERT_TRUE(log.AwaitEvents(&executor_, 2));
  EXPECT_THAT(Told(log), ElementsAre("w=2", "w=3"));
}

TEST_P(RegistryContract, ReadingARangeAndWatchingFromThereLosesAndRepeatsNothing) {
  std::vector<Answer<TransactionResult>> answers(300);
  const auto put = [&](size_t i) {
    registry_->Commit(Transaction().Then(Operation::Put("k" + std::to_string(i), "v")),
                      answers[i].Callback());
  };
  for (size_t i = 0; i < 150; ++i) put(i);
  Answer<RangeResult> range;
  registry_->Range({"k", "", kPageEntriesMax, 0}, range.Callback());
  for (size_t i = 150; i < 300; ++i) put(i);
  const auto seen = range.Await(&executor_);
  ASSERT_TRUE(seen.ok());
  WatchLog log;
  registry_->Watch({"k", seen->revision + 1}, log.Callback());
  ASSERT_TRUE(log.AwaitEvents(&executor_, 300 - seen->entries.size()));
  std::set<std::string> keys;
  for (const Entry& entry : seen->entries) keys.insert(entry.key);
  for (const WatchEvent& event : log.events()) EXPECT_TRUE(keys.insert(event.entry.key).second);
  EXPECT_EQ(keys.size(), 300u);
}

TEST_P(RegistryContract, TheChangesOfOneTransactionComeInOneBatch) {
  WatchLog log;
  registry_->Watch({"w/", 0}, log.Callback());
  for (int round = 0; round < 5; ++round) {
    Transaction transaction;
    for (size_t i = 0; i < kTransactionOperationsMax; ++i) {
      transaction.Then(Operation::Put("w/" + std::to_string(i), std::to_string(round)));
    }
    ASSERT_TRUE(blocking_->Commit(transaction).ok());
  }
  ASSERT_TRUE(log.AwaitEvents(&executor_, 5 * kTransactionOperationsMax));
  Revision last = 0;
  for (const WatchBatch& batch : log.batches()) {
    EXPECT_EQ(batch.events.size() % kTransactionOperationsMax, 0u);
    EXPECT_GT(batch.events.front().entry.mod_revision, last);
    last = batch.events.back().entry.mod_revision;
    EXPECT_GE(batch.revision, last);
  }
}

TEST_P(RegistryContract, AWatchFromAForgottenRevisionIsCompacted) {
  const Revision old = PutOk("w", "1");
  PutOk("w", "2");
  cluster_->InjectCompacted();
  WatchLog log;
  registry_->Watch({"w", old}, log.Callback());
  ASSERT_TRUE(log.AwaitEnd(&executor_));
  EXPECT_TRUE(IsCompacted(log.ends()[0]));
  EXPECT_TRUE(log.events().empty());
}

TEST_P(RegistryContract, AWatchThatWasToldCompactedCanReadAndWatchAnew) {
  PutOk("w", "1");
  WatchLog log;
  registry_->Watch({"w", 0}, log.Callback());
  PutOk("w", "2");
  ASSERT_TRUE(log.AwaitEvents(&executor_, 1));
  cluster_->InjectCompacted();
  ASSERT_TRUE(log.AwaitEnd(&executor_));
  EXPECT_TRUE(IsCompacted(log.ends()[0]));
  const auto range = blocking_->Range({"w", "", 1, 0});
  ASSERT_TRUE(range.ok());
  EXPECT_EQ(range->entries[0].value, "2");
  WatchLog again;
  registry_->Watch({"w", range->revision + 1}, again.Callback());
  PutOk("w", "3");
  ASSERT_TRUE(again.AwaitEvents(&executor_, 1));
  EXPECT_THAT(Told(again), ElementsAre("w=3"));
  EXPECT_EQ(log.ends().size(), 1u);
  EXPECT_EQ(log.events().size(), 1u);
}

TEST_P(RegistryContract, ACancelledWatchIsNotCalledAgain) {
  WatchLog cancelled;
  WatchLog other;
  const WatchId id = registry_->Watch({"w", 0}, cancelled.Callback());
  EXPECT_NE(id, 0u);
  registry_->Watch({"w", 0}, other.Callback());
  PutOk("w", "1");
  ASSERT_TRUE(cancelled.AwaitEvents(&executor_, 1));
  registry_->CancelWatch(id);
  registry_->CancelWatch(id);
  PutOk("w", "2");
  ASSERT_TRUE(other.AwaitEvents(&executor_, 2));
  ASSERT_TRUE(blocking_->Close());
  EXPECT_EQ(cancelled.events().size(), 1u);
  EXPECT_TRUE(cancelled.ends().empty());
}

TEST_P(RegistryContract, AWatchMayBeCancelledInsideItsCallback) {
  WatchId id = 0;
  int calls = 0;
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> still_held = held;
  id = registry_->Watch({"w", 0}, [&, held = std::move(held)](StatusOr<WatchBatch>) {
    ++calls;
    registry_->CancelWatch(id);
  });
  PutOk("w", "1");
  PutOk("w", "2");
  ASSERT_TRUE(executor_.RunUntil([&] { return still_held.expired(); }));
  EXPECT_EQ(calls, 1);
}

TEST_P(RegistryContract, AWatchBeyondTheLimitsEndsAtOnce) {
  WatchLog log;
  registry_->Watch({std::string(kKeyBytesMax + 1, 'k'), 0}, log.Callback());
  ASSERT_TRUE(log.AwaitEnd(&executor_));
  EXPECT_EQ(log.ends()[0].code(), LEVER_INVALID_ARGUMENT);
  WatchLog negative;
  registry_->Watch({"k", -1}, negative.Callback());
  ASSERT_TRUE(negative.AwaitEnd(&executor_));
  EXPECT_EQ(negative.ends()[0].code(), LEVER_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace lever::registry
