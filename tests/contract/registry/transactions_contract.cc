// Transactions: compares, operations, revisions, limits, closing.
#include <gmock/gmock.h>

#include "tests/contract/registry/contract.h"

namespace lever::registry {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Transaction Mark(Compare compare) {
  return Transaction()
      .If(std::move(compare))
      .Then(Operation::Get("k"))
      .Else(Operation::Get("missing"));
}

TEST_P(RegistryContract, EachChangeHasTheNextRevision) {
  const Revision first = PutOk("a", "1");
  EXPECT_EQ(PutOk("b", "1"), first + 1);
  EXPECT_EQ(PutOk("a", "1"), first + 2);
  EXPECT_EQ(Find("a")->create_revision, first);
  EXPECT_EQ(Find("a")->mod_revision, first + 2);
}

TEST_P(RegistryContract, WhatChangesNothingHasNoRevision) {
  const Revision first = PutOk("a", "1");
  const auto result = blocking_->Commit(Transaction()
                                            .Then(Operation::Delete("missing"))
                                            .Then(Operation::DeletePrefix("missing/"))
                                            .Then(Operation::Get("a")));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->revision, first);
  EXPECT_EQ(PutOk("b", "1"), first + 1);
}

TEST_P(RegistryContract, AKeyThatIsMadeAnewHasANewCreateRevision) {
  const Revision first = PutOk("a", "1");
  ASSERT_TRUE(blocking_->Commit(Transaction().Then(Operation::Delete("a"))).ok());
  const Revision again = PutOk("a", "1");
  EXPECT_GT(again, first);
  EXPECT_EQ(Find("a")->create_revision, again);
}

TEST_P(RegistryContract, ComparesHoldWhenTheySay) {
  const Revision created = PutOk("k", "old");
  const Revision changed = PutOk("k", "v");
  const std::pair<Compare, bool> cases[] = {
      {Compare::Exists("k"), true},
      {Compare::Exists("no"), false},
      {Compare::Missing("k"), false},
      {Compare::Missing("no"), true},
      {Compare::Value("k", "v"), true},
      {Compare::Value("k", "old"), false},
      {Compare::Value("no", ""), false},
      {Compare::CreateRevision("k", created), true},
      {Compare::CreateRevision("k", changed), false},
      {Compare::CreateRevision("no", 0), true},
      {Compare::ModRevision("k", changed), true},
      {Compare::ModRevision("k", created), false},
      {Compare::ModRevision("no", 0), true},
      {Compare::ModRevision("k", 0), false},
  };
  for (const auto& [compare, holds] : cases) {
    const auto result = blocking_->Commit(Mark(compare));
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->succeeded, holds)
        << "kind " << static_cast<int>(compare.kind) << " of " << compare.key;
    ASSERT_EQ(result->results.size(), 1u);
    EXPECT_EQ(result->results[0].entry.has_value(), holds);
  }
}

TEST_P(RegistryContract, AllComparesMustHold) {
  PutOk("k", "v");
  const auto result = blocking_->Commit(Transaction()
                                            .If(Compare::Exists("k"))
                                            .If(Compare::Missing("k"))
                                            .Then(Operation::Put("then", "1"))
                                            .Else(Operation::Put("else", "1")));
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->succeeded);
  EXPECT_EQ(Find("then"), std::nullopt);
  EXPECT_NE(Find("else"), std::nullopt);
}

TEST_P(RegistryContract, OperationsSeeTheOnesBeforeThemAndReportInTheirOrder) {
  const LeaseId lease = GrantOk(kLeaseTtlNsMax);
  PutOk("d/1", "v");
  PutOk("d/2", "v", lease);
  PutOk("e", "v");
  const auto result = blocking_->Commit(Transaction()
                                            .Then(Operation::DeletePrefix("d/"))
                                            .Then(Operation::Get("d/1"))
                                            .Then(Operation::Delete("e"))
                                            .Then(Operation::Delete("e"))
                                            .Then(Operation::Put("f", "new"))
                                            .Then(Operation::Get("f")));
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->results.size(), 6u);
  EXPECT_EQ(result->results[0].deleted, 2u);
  EXPECT_EQ(result->results[1].entry, std::nullopt);
  EXPECT_EQ(result->results[2].deleted, 1u);
  EXPECT_EQ(result->results[3].deleted, 0u);
  EXPECT_EQ(result->results[5].entry->value, "new");
  EXPECT_EQ(result->results[5].entry->mod_revision, result->revision);
  EXPECT_THAT(Keys(""), ElementsAre("f"));
}

TEST_P(RegistryContract, OnlyOneOfManyThatMakeTheSameKeySucceeds) {
  std::vector<Answer<TransactionResult>> answers(50);
  for (size_t i = 0; i < answers.size(); ++i) {
    registry_->Commit(Transaction()
                          .If(Compare::Missing("one"))
                          .Then(Operation::Put("one", std::to_string(i)))
                          .Else(Operation::Get("one")),
                      answers[i].Callback());
  }
  int winners = 0;
  std::string winner;
  for (size_t i = 0; i < answers.size(); ++i) {
    const auto result = answers[i].Await(&executor_);
    ASSERT_TRUE(result.ok());
    if (!result->succeeded) continue;
    ++winners;
    winner = std::to_string(i);
  }
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(Find("one")->value, winner);
}

TEST_P(RegistryContract, ACounterThatIsComparedAndSetLosesNothing) {
  PutOk("n", "0");
  // Each asks again when somebody was faster.
  int finished = 0;
  std::function<void()> add = [&] {
    registry_->Get("n", [&](StatusOr<GetResult> got) {
      ASSERT_TRUE(got.ok());
      const Entry& entry = *got->entry;
      registry_->Commit(Transaction()
                            .If(Compare::ModRevision("n", entry.mod_revision))
                            .Then(Operation::Put("n", std::to_string(std::stoi(entry.value) + 1))),
                        [&](StatusOr<TransactionResult> result) {
                          ASSERT_TRUE(result.ok());
                          if (result->succeeded) {
                            ++finished;
                          } else {
                            add();
                          }
                        });
    });
  };
  for (int i = 0; i < 20; ++i) add();
  ASSERT_TRUE(executor_.RunUntil([&] { return finished == 20; }));
  EXPECT_EQ(Find("n")->value, "20");
}

TEST_P(RegistryContract, TransactionsAtTheLimitsAreTakenAndBeyondThemRefused) {
  Transaction most;
  for (size_t i = 0; i < kTransactionOperationsMax; ++i) {
    most.If(Compare::Missing("k" + std::to_string(i)));
    most.Then(Operation::Put("k" + std::to_string(i), "v"));
    most.Else(Operation::Get("k"));
  }
  EXPECT_TRUE(blocking_->Commit(most).ok());
  const auto refused = [&](const Transaction& transaction) {
    const Status status = blocking_->Commit(transaction).status();
    return status.code() == LEVER_INVALID_ARGUMENT && status.executed() == LEVER_EXECUTED_NO;
  };
  EXPECT_TRUE(refused(Transaction(most).If(Compare::Exists("k"))));
  EXPECT_TRUE(refused(Transaction(most).Then(Operation::Get("k"))));
  EXPECT_TRUE(refused(Transaction(most).Else(Operation::Get("k"))));

  const std::string value(kValueBytesMax, 'v');
  EXPECT_TRUE(blocking_->Put("large", value).ok());
  EXPECT_TRUE(refused(Transaction().Then(Operation::Put("large", value + "v"))));
  EXPECT_TRUE(
      refused(Transaction().Then(Operation::Put("1", value)).Then(Operation::Put("2", value))));
  EXPECT_TRUE(refused(Transaction().Then(Operation::Put("", "v"))));
  EXPECT_TRUE(refused(Transaction().Then(Operation::DeletePrefix(""))));
  EXPECT_TRUE(refused(Transaction().Then(Operation::Put(std::string(kKeyBytesMax + 1, 'k'), "v"))));
}

TEST_P(RegistryContract, ATransactionThatPutsAKeyTwiceOrPutsWhatItDeletesIsRefused) {
  const auto code = [&](Transaction transaction) {
    return blocking_->Commit(transaction).status().code();
  };
  EXPECT_EQ(code(Transaction().Then(Operation::Put("k", "1")).Then(Operation::Put("k", "2"))),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(code(Transaction().Then(Operation::Put("k", "1")).Then(Operation::Delete("k"))),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(
      code(Transaction().Then(Operation::DeletePrefix("k/")).Then(Operation::Put("k/9", "1"))),
      LEVER_INVALID_ARGUMENT);
  // Only one of the lists is carried out.
  EXPECT_EQ(code(Transaction().Then(Operation::Put("k", "1")).Else(Operation::Put("k", "2"))),
            LEVER_OK);
}

TEST_P(RegistryContract, ARefusedTransactionLeavesNothing) {
  PutOk("old", "v");
  const auto result = blocking_->Commit(Transaction()
                                            .Then(Operation::Delete("old"))
                                            .Then(Operation::Put("durable", "v"))
                                            .Then(Operation::Put("leased", "v", 4711)));
  EXPECT_EQ(result.status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(result.status().executed(), LEVER_EXECUTED_NO);
  EXPECT_THAT(Keys(""), ElementsAre("old"));
}

TEST_P(RegistryContract, EverythingAskedIsAnsweredOnceThoughItIsClosed) {
  std::vector<Answer<TransactionResult>> answers(200);
  for (size_t i = 0; i < answers.size(); ++i) {
    registry_->Commit(Transaction().Then(Operation::Put("k" + std::to_string(i), "v")),
                      answers[i].Callback());
  }
  WatchLog log;
  registry_->Watch({"", 0}, log.Callback());
  EXPECT_TRUE(blocking_->Close());
  Answer<GetResult> late;
  registry_->Get("k0", late.Callback());
  EXPECT_EQ(late.Await(&executor_).status().code(), LEVER_CANCELLED);
  WatchLog late_log;
  registry_->Watch({"", 0}, late_log.Callback());
  ASSERT_TRUE(late_log.AwaitEnd(&executor_));
  EXPECT_EQ(late_log.ends()[0].code(), LEVER_CANCELLED);
  EXPECT_TRUE(blocking_->Close()) << "closing again is answered too";
  ASSERT_EQ(log.ends().size(), 1u);
  EXPECT_EQ(log.ends()[0].code(), LEVER_CANCELLED);

  Reopen();
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_EQ(answers[i].calls(), 1) << i;
    const bool done = answers[i].result().ok();
    if (!done) {
      EXPECT_EQ(answers[i].result().status().code(), LEVER_CANCELLED);
    }
    EXPECT_EQ(Find("k" + std::to_string(i)).has_value(), done) << i;
  }
}

}  // namespace
}  // namespace lever::registry
