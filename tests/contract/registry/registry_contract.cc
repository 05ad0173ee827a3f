#include "tests/contract/registry/registry_contract.h"

#include <vector>

namespace lever::registry {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RegistryContract);

TEST_P(RegistryContract, AMissingKeyHasNoEntry) {
  const auto got = Get("absent");
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_FALSE(got->entry.has_value());
}

TEST_P(RegistryContract, APutIsReadWithItsRevisions) {
  const auto first = Put("k", "one");
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  const auto second = Put("k", "two");
  ASSERT_TRUE(second.ok());
  EXPECT_GT(second->revision, first->revision);
  const auto got = Get("k");
  ASSERT_TRUE(got.ok() && got->entry);
  EXPECT_EQ(got->entry->value, "two");
  EXPECT_EQ(got->entry->create_revision, first->revision);
  EXPECT_EQ(got->entry->mod_revision, second->revision);
}

TEST_P(RegistryContract, AKeyThatIsMadeAnewHasANewCreateRevision) {
  const auto first = Put("k", "one");
  ASSERT_TRUE(Commit(Transaction().Then(Operation::Delete("k"))).ok());
  const auto again = Put("k", "one");
  ASSERT_TRUE(first.ok() && again.ok());
  const auto got = Get("k");
  ASSERT_TRUE(got.ok() && got->entry);
  EXPECT_EQ(got->entry->create_revision, again->revision);
}

TEST_P(RegistryContract, CompareAndSetLetsOneOfTwoWin) {
  const auto made = Put("k", "0");
  ASSERT_TRUE(made.ok());
  const auto set = [&](const std::string& value) {
    return Commit(Transaction()
                      .If(Compare::ModRevision("k", made->revision))
                      .Then(Operation::Put("k", value))
                      .Else(Operation::Get("k")));
  };
  const auto winner = set("first");
  const auto loser = set("second");
  ASSERT_TRUE(winner.ok() && loser.ok());
  EXPECT_TRUE(winner->succeeded);
  EXPECT_FALSE(loser->succeeded);
  ASSERT_TRUE(loser->results.at(0).entry);
  EXPECT_EQ(loser->results[0].entry->value, "first");
}

TEST_P(RegistryContract, ComparesOfEachKindHoldAndFail) {
  const auto made = Put("k", "v");
  ASSERT_TRUE(made.ok());
  const auto holds = [&](Compare compare) {
    const auto result = Commit(Transaction().If(std::move(compare)));
    return result.ok() && result->succeeded;
  };
  EXPECT_TRUE(holds(Compare::Exists("k")));
  EXPECT_FALSE(holds(Compare::Exists("absent")));
  EXPECT_TRUE(holds(Compare::Missing("absent")));
  EXPECT_FALSE(holds(Compare::Missing("k")));
  EXPECT_TRUE(holds(Compare::Value("k", "v")));
  EXPECT_FALSE(holds(Compare::Value("k", "w")));
  EXPECT_FALSE(holds(Compare::Value("absent", "")));
  EXPECT_TRUE(holds(Compare::CreateRevision("k", made->revision)));
  EXPECT_TRUE(holds(Compare::CreateRevision("absent", 0)));
  EXPECT_FALSE(holds(Compare::ModRevision("k", made->revision + 1)));
}

TEST_P(RegistryContract, ATransactionThatIsRefusedChangesNothing) {
  Transaction transaction;
  transaction.Then(Operation::Put("a", "1"));
  transaction.Then(Operation::Put("", "2"));
  const auto result = Commit(std::move(transaction));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_FALSE(Get("a")->entry.has_value());
}

TEST_P(RegistryContract, LimitsAreThoseOfTheContract) {
  Transaction full;
  for (size_t i = 0; i < kTransactionOperationsMax; ++i) {
    full.Then(Operation::Put("k" + std::to_string(i), "v"));
  }
  Transaction over = full;
  over.Then(Operation::Put("one-more", "v"));
  EXPECT_TRUE(Commit(std::move(full)).ok());
  EXPECT_EQ(Commit(std::move(over)).status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_TRUE(Put("big", std::string(kValueBytesMax, 'x')).ok());
  EXPECT_EQ(Put("bigger", std::string(kValueBytesMax + 1, 'x')).status().code(),
            LEVER_INVALID_ARGUMENT);
  EXPECT_TRUE(Put(std::string(kKeyBytesMax, 'k'), "v").ok());
  EXPECT_EQ(Put(std::string(kKeyBytesMax + 1, 'k'), "v").status().code(), LEVER_INVALID_ARGUMENT);
}

TEST_P(RegistryContract, PagesOfARangeAreOfOneMoment) {
  for (const char* key : {"p/a", "p/b", "p/c", "q/a"}) ASSERT_TRUE(Put(key, "old").ok());
  const auto first = Range({.prefix = "p/", .after = "", .limit = 2});
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(first->entries.size(), 2u);
  EXPECT_TRUE(first->more);
  ASSERT_TRUE(Put("p/c", "new").ok());
  ASSERT_TRUE(Put("p/d", "new").ok());
  const auto second =
      Range({.prefix = "p/", .after = "p/b", .limit = 2, .revision = first->revision});
  ASSERT_TRUE(second.ok()) << second.status().ToString();
  ASSERT_EQ(second->entries.size(), 1u);
  EXPECT_EQ(second->entries[0].key, "p/c");
  EXPECT_EQ(second->entries[0].value, "old");
  EXPECT_FALSE(second->more);
}

TEST_P(RegistryContract, DeletePrefixSaysHowManyWent) {
  for (const char* key : {"p/a", "p/b", "q"}) ASSERT_TRUE(Put(key, "v").ok());
  const auto result = Commit(Transaction().Then(Operation::DeletePrefix("p/")));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->results.at(0).deleted, 2u);
  EXPECT_FALSE(Get("p/a")->entry.has_value());
  EXPECT_TRUE(Get("q")->entry.has_value());
}

TEST_P(RegistryContract, KeysOfALeaseGoTogetherWhenItsTimeIsOver) {
  const auto lease = Grant(2 * kNanosPerSecond);
  ASSERT_TRUE(lease.ok()) << lease.status().ToString();
  ASSERT_TRUE(Put("a", "1", lease->id).ok());
  ASSERT_TRUE(Put("b", "2", lease->id).ok());
  std::vector<WatchEvent> gone;
  std::vector<Revision> batches;
  const Revision now = Get("a")->revision;
  registry().Watch({.prefix = "", .from = now + 1}, [&](StatusOr<WatchBatch> batch) {
    if (!batch.ok()) return;
    batches.push_back(batch->revision);
    gone.insert(gone.end(), batch->events.begin(), batch->events.end());
  });
  subject_->Advance(lease->ttl_ns - kNanosPerMilli);
  EXPECT_TRUE(Get("a")->entry.has_value());
  subject_->Advance(2 * kNanosPerMilli);
  ASSERT_TRUE(subject_->executor().RunUntil([&] { return gone.size() == 2; }));
  EXPECT_EQ(gone[0].entry.mod_revision, gone[1].entry.mod_revision);
  EXPECT_EQ(batches.size(), 1u);
  EXPECT_FALSE(Get("a")->entry.has_value());
  EXPECT_EQ(Put("c", "3", lease->id).status().code(), LEVER_NOT_FOUND);
}

TEST_P(RegistryContract, AKeepAliveProlongsALease) {
  const auto lease = Grant(2 * kNanosPerSecond);
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(Put("a", "1", lease->id).ok());
  for (int i = 0; i < 5; ++i) {
    subject_->Advance(lease->ttl_ns / 2);
    const auto kept =
        Await<Lease>([&](Done<Lease> done) { registry().KeepAlive(lease->id, std::move(done)); });
    ASSERT_TRUE(kept.ok()) << kept.status().ToString();
  }
  EXPECT_TRUE(Get("a")->entry.has_value());
}

TEST_P(RegistryContract, ARevokedLeaseTakesItsKeys) {
  const auto lease = Grant(60 * kNanosPerSecond);
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(Put("a", "1", lease->id).ok());
  const auto revoked = Await<Revision>(
      [&](Done<Revision> done) { registry().RevokeLease(lease->id, std::move(done)); });
  ASSERT_TRUE(revoked.ok());
  EXPECT_FALSE(Get("a")->entry.has_value());
  const auto again =
      Await<Lease>([&](Done<Lease> done) { registry().KeepAlive(lease->id, std::move(done)); });
  EXPECT_EQ(again.status().code(), LEVER_NOT_FOUND);
}

TEST_P(RegistryContract, AWatchFromARevisionMissesNothingAndKeepsOrder) {
  const auto first = Put("w/a", "1");
  ASSERT_TRUE(first.ok());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Put("w/" + std::to_string(i), "v").ok());
  std::vector<std::string> keys;
  Revision last = 0;
  bool ordered = true;
  const WatchId watch = registry().Watch(
      {.prefix = "w/", .from = first->revision}, [&](StatusOr<WatchBatch> batch) {
        if (!batch.ok()) return;
        for (const WatchEvent& event : batch->events) {
          ordered = ordered && event.entry.mod_revision >= last;
          last = event.entry.mod_revision;
          keys.push_back(event.entry.key);
        }
      });
  EXPECT_NE(watch, 0u);
  ASSERT_TRUE(Put("w/last", "v").ok());
  ASSERT_TRUE(Put("other", "v").ok());
  ASSERT_TRUE(subject_->executor().RunUntil([&] { return keys.size() >= 22; }));
  EXPECT_TRUE(ordered);
  EXPECT_EQ(keys.front(), "w/a");
  EXPECT_EQ(keys.back(), "w/last");
  EXPECT_EQ(keys.size(), 22u);
}

TEST_P(RegistryContract, ACancelledWatchIsSilent) {
  int batches = 0;
  const WatchId watch =
      registry().Watch({.prefix = "w/"}, [&](StatusOr<WatchBatch> batch) { ++batches; });
  registry().CancelWatch(watch);
  ASSERT_TRUE(Put("w/a", "1").ok());
  ASSERT_TRUE(Get("w/a").ok());
  EXPECT_EQ(batches, 0);
}

TEST_P(RegistryContract, ACompactedWatchSaysSoOnceAndAResyncGoesOn) {
  ASSERT_TRUE(Put("w/a", "1").ok());
  int errors = 0;
  bool compacted = false;
  registry().Watch({.prefix = "w/"}, [&](StatusOr<WatchBatch> batch) {
    if (batch.ok()) return;
    ++errors;
    compacted = IsCompacted(batch.status());
  });
  ASSERT_TRUE(Get("w/a").ok());
  subject_->Compact();
  ASSERT_TRUE(subject_->executor().RunUntil([&] { return errors > 0; }));
  EXPECT_TRUE(compacted);
  const auto now = Range({.prefix = "w/", .after = ""});
  ASSERT_TRUE(now.ok());
  std::string seen;
  registry().Watch({.prefix = "w/", .from = now->revision + 1}, [&](StatusOr<WatchBatch> batch) {
    if (batch.ok()) seen = batch->events[0].entry.key;
  });
  ASSERT_TRUE(Put("w/b", "2").ok());
  ASSERT_TRUE(subject_->executor().RunUntil([&] { return !seen.empty(); }));
  EXPECT_EQ(seen, "w/b");
  EXPECT_EQ(errors, 1);
}

TEST_P(RegistryContract, EverythingIsAnsweredOnceAtTheClose) {
  int answers = 0;
  for (int i = 0; i < 100; ++i) {
    registry().Commit(Transaction().Then(Operation::Put("k" + std::to_string(i), "v")),
                      [&](StatusOr<TransactionResult> result) { ++answers; });
  }
  bool closed = false;
  registry().Close([&] { closed = true; });
  ASSERT_TRUE(subject_->executor().RunUntil([&] { return closed && answers == 100; }));
  EXPECT_EQ(Put("late", "v").status().code(), LEVER_CANCELLED);
}

}  // namespace lever::registry
