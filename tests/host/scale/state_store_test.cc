// What closed resources carry, over a real registry.
#include "liblever/host/scale/state_store.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "liblever/base/log.h"
#include "liblever/host/registry/scan.h"
#include "tests/host/scale/shard_fixture.h"

namespace lever::scale {
namespace {

class StateStoreTest : public ::testing::Test {
 protected:
  StateStoreTest() {
    world.hosts.push_back(std::make_unique<ShardHost>(world.faulty.get(), "h-1", kSecond));
    Put(kHolder, "h-1");
    store_ = Open();
  }
  // By whoever holds the key now, on the first host or another.
  std::unique_ptr<StateStore> Open(uint64_t bytes_max = policy::kServiceCarriedBytesMax,
                                   size_t on = 0) {
    return std::make_unique<StateStore>(
        &world.hosts.at(on)->registry, "dev.lever", "notes",
        registry::Compare::CreateRevision(kHolder, world.Read(kHolder)->create_revision),
        bytes_max);
  }
  ShardHost& host() { return *world.hosts[0]; }
  void Put(const std::string& key, const std::string& value) {
    world.Commit(registry::Transaction().Then(registry::Operation::Put(key, value)));
  }
  fleet::StateAnswerData Read(const std::string& name) {
    std::optional<fleet::StateAnswerData> answer;
    world.On(host(), [&] { store_->Read(name, [&](auto read) { answer = std::move(read); }); });
    world.Settle();
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(fleet::StateAnswerData());
  }
  template <typename Function>
  Status Done(Function function) {
    std::optional<Status> status;
    world.On(host(), [&] { function([&](const Status& answer) { status = answer; }); });
    world.Settle();
    return status.value_or(Internal("not answered"));
  }
  Status Carry(const std::string& name, uint32_t kind, const std::string& payload) {
    return Done([&](auto done) { store_->Carry(name, 7, kind, payload, done); });
  }

  Status Lose(const std::string& name, uint64_t generation = 7) {
    return Done([&](auto done) { store_->Lose(name, generation, done); });
  }
  Status Forget(const std::string& name) {
    return Done([&](auto done) { store_->Forget(name, done); });
  }
  // What the account says; nothing without one.
  std::optional<std::string> Account() {
    const auto entry = world.Read(registry::CarriedKey("dev.lever", "notes"));
    return entry ? std::optional(entry->value) : std::nullopt;
  }
  // What it should say.
  std::string Stored() {
    uint64_t bytes = 0;
    bool read = false;
    world.On(host(), [&] {
      registry::ScanPrefix(&host().registry,
                           registry::KindPrefix(registry::KeyKind::kState, "dev.lever", "notes"),
                           [&](const auto& entries) {
                             for (const auto& e : *entries) bytes += e.key.size() + e.value.size();
                             read = true;
                           });
    });
    world.Settle();
    EXPECT_TRUE(read);
    return "{\"bytes\":" + std::to_string(bytes) + "}";
  }
  void RemoveService() {
    registry::Transaction remove;
    remove.Then(registry::Operation::DeletePrefix(
        registry::KindPrefix(registry::KeyKind::kState, "dev.lever", "notes")));
    remove.Then(registry::Operation::Delete(registry::CarriedKey("dev.lever", "notes")));
    world.Commit(std::move(remove));
  }

  const std::string kHolder = registry::ControllerKey("dev.lever", "notes");
  ShardWorld world{4};
  std::unique_ptr<StateStore> store_;
};

TEST_F(StateStoreTest, KeepsBytesAndValuesAsTheyAre) {
  const std::string bytes("\0 \xff 7 x", 8);
  for (const uint32_t kind : {1u, 2u}) {
    for (const std::string& payload : {bytes, std::string(), std::string((1 << 20) - 64, 'x')}) {
      ASSERT_TRUE(Carry("a/b%\n", kind, payload).ok());
      const fleet::StateAnswerData read = Read("a/b%\n");
      EXPECT_EQ(read.origin, fleet::StateOrigin::kCarried);
      EXPECT_EQ(read.payload_kind, kind);
      EXPECT_TRUE(read.payload == payload);
    }
  }
  EXPECT_EQ(Read("a").origin, fleet::StateOrigin::kNew);
  EXPECT_TRUE(Done([&](auto done) { store_->Forget("a/b%\n", done); }).ok());
  EXPECT_EQ(Read("a/b%\n").origin, fleet::StateOrigin::kNew);
}

TEST_F(StateStoreTest, WhatIsLostIsUntilItIsForgotten) {
  ASSERT_TRUE(Carry("n", 2, "blob").ok());
  EXPECT_TRUE(Done([&](auto done) { store_->Lose("n", 8, done); }).ok());
  EXPECT_EQ(Read("n").origin, fleet::StateOrigin::kLost);
  EXPECT_EQ(Read("n").payload, "");
  EXPECT_TRUE(Done([&](auto done) { store_->Forget("n", done); }).ok());
  EXPECT_EQ(Read("n").origin, fleet::StateOrigin::kNew);
}

TEST_F(StateStoreTest, WhatIsNoneOrTooLargeIsRefusedAndChangesNothing) {
  ASSERT_TRUE(Carry("n", 2, "blob").ok());
  for (const uint32_t kind : {0u, 3u, 4u, 77u}) {
    EXPECT_EQ(Carry("n", kind, "other").code(), LEVER_INVALID_ARGUMENT) << kind;
  }
  EXPECT_FALSE(Carry("n", 2, std::string((1 << 20) + 1, 'x')).ok());
  EXPECT_EQ(Read("n").payload, "blob");
}

TEST_F(StateStoreTest, ARecordThatCannotBeReadIsLost) {
  for (const char* record : {"", "v", "r7", "lost", "l7 "}) {
    Put(registry::StateKey("dev.lever", "notes", "n"), record);
    EXPECT_EQ(Read("n").origin, fleet::StateOrigin::kLost) << record;
  }
}

TEST_F(StateStoreTest, WritesHoldOnlyAsLongAsTheKeyIsOurs) {
  world.Commit(registry::Transaction().Then(registry::Operation::Delete(kHolder)));
  Put(kHolder, "h-1");  // of another life
  EXPECT_EQ(Carry("n", 2, "blob").code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(Done([&](auto done) { store_->Lose("n", 8, done); }).code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(Done([&](auto done) { store_->Forget("n", done); }).code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(Read("n").origin, fleet::StateOrigin::kNew);
}

TEST_F(StateStoreTest, AnAnswerThatIsLostIsSaidToBe) {
  ASSERT_TRUE(Carry("n", 2, "blob").ok());  // the account is known
  std::optional<Status> status;
  world.faulty->HoldAll();
  world.On(host(), [&] {
    store_->Carry("n", 7, 2, "other", [&](const Status& answer) { status = answer; });
  });
  world.SettleHeld();
  world.faulty->LoseAnswersOfNext(1);  // of the write, after the read
  world.faulty->ReleaseHeld();
  world.Settle();
  ASSERT_TRUE(status);
  EXPECT_EQ(status->executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_EQ(Read("n").payload, "other");
  world.faulty->RefuseNext(1);
  EXPECT_EQ(Read("n").status.code(), LEVER_UNAVAILABLE);
}

// ---- What a service may have stored ----

// The key and the record, without the payload, of a resource whose name has one character.
constexpr uint64_t kOverhead = sizeof("state/dev.lever/notes/n") - 1 + sizeof("r7 ") - 1;

class StateAccountTest : public StateStoreTest {
 protected:
  // Room for that many bytes of records, and for tombstones beside them.
  void Bound(uint64_t bytes) { store_ = Open(bytes + bytes / (policy::kTombstonePart - 1)); }
  static std::string Bytes(uint64_t record) { return std::string(record - kOverhead, 'x'); }
};

TEST_F(StateAccountTest, SaysWhatIsStored) {
  EXPECT_EQ(Account(), std::nullopt);
  ASSERT_TRUE(Carry("a", 2, Bytes(100)).ok());
  EXPECT_EQ(Account(), "{\"bytes\":100}");
  ASSERT_TRUE(Carry("b", 1, Bytes(200)).ok());
  EXPECT_EQ(Account(), "{\"bytes\":300}");
  ASSERT_TRUE(Carry("a", 2, Bytes(100)).ok()) << "asked again";
  EXPECT_EQ(Account(), "{\"bytes\":300}");
  ASSERT_TRUE(Carry("a", 2, Bytes(150)).ok());
  EXPECT_EQ(Account(), "{\"bytes\":350}");
  ASSERT_TRUE(Lose("a", 8).ok());
  EXPECT_EQ(Account(), Stored());
  ASSERT_TRUE(Forget("a").ok());
  EXPECT_EQ(Account(), "{\"bytes\":200}");
  ASSERT_TRUE(Forget("a").ok());
  ASSERT_TRUE(Forget("never").ok());
  EXPECT_EQ(Account(), "{\"bytes\":200}");
  ASSERT_TRUE(Forget("b").ok());
  EXPECT_EQ(Account(), "{\"bytes\":0}");
}

TEST_F(StateAccountTest, WhatGoesBeyondItIsLostAndTheReleaseGoesThrough) {
  Bound(10'000);
  ASSERT_TRUE(Carry("a", 2, Bytes(6000)).ok());
  EXPECT_TRUE(Carry("b", 2, Bytes(4001)).ok());
  EXPECT_EQ(Read("b").origin, fleet::StateOrigin::kLost);
  EXPECT_EQ(Read("a").origin, fleet::StateOrigin::kCarried);
  ASSERT_TRUE(Forget("b").ok());
  EXPECT_TRUE(Carry("b", 2, Bytes(4000)).ok());
  EXPECT_EQ(Read("b").origin, fleet::StateOrigin::kCarried);
  EXPECT_EQ(Account(), "{\"bytes\":10000}");
}

TEST_F(StateAccountTest, RoomComesBackWhenWhatWasCarriedIsOpened) {
  Bound(1000);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Carry("a", 2, Bytes(1000)).ok());
    EXPECT_EQ(Read("a").origin, fleet::StateOrigin::kCarried) << i;
    ASSERT_TRUE(Forget("a").ok());
  }
}

// The owner then releases the shard as unclean, which makes all of it lost.
TEST_F(StateAccountTest, WithoutRoomForTombstonesItIsRefused) {
  store_ = Open(64 * 100);  // 100 of them for tombstones
  ASSERT_TRUE(Carry("a", 2, Bytes(6300)).ok());
  for (const char* name : {"b", "c", "d"}) EXPECT_TRUE(Lose(name).ok());
  const Status refused = Carry("e", 2, "");
  EXPECT_EQ(refused.code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(Lose("e").code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(Account(), Stored());
  EXPECT_TRUE(Lose("a", 123456).ok()) << "in the place of a record there is room";
  EXPECT_EQ(Read("a").origin, fleet::StateOrigin::kLost);
  EXPECT_TRUE(Lose("e").ok());
}

TEST_F(StateAccountTest, TheNextHostGoesOnFromIt) {
  Bound(10'000);
  ASSERT_TRUE(Carry("a", 2, Bytes(6000)).ok());
  world.Commit(registry::Transaction().Then(registry::Operation::Delete(kHolder)));
  world.hosts.push_back(std::make_unique<ShardHost>(world.faulty.get(), "h-2", kSecond));
  Put(kHolder, "h-2");
  std::unique_ptr<StateStore> former = std::exchange(store_, Open(10'158, 1));
  EXPECT_TRUE(Carry("b", 2, Bytes(4001)).ok());
  EXPECT_EQ(Read("b").origin, fleet::StateOrigin::kLost);
  EXPECT_TRUE(Forget("a").ok());
  EXPECT_TRUE(Carry("b", 2, Bytes(10000)).ok());
  std::swap(former, store_);
  EXPECT_EQ(Carry("c", 2, "x").code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(Account(), "{\"bytes\":10000}");
}

TEST_F(StateAccountTest, OneThatIsMissingOrDamagedIsSummedAnew) {
  Put(registry::StateKey("dev.lever", "notes", "a"), "r7 " + Bytes(700));
  // Of another service.
  Put(registry::StateKey("dev.lever", "notes2", "a"), "r7 " + Bytes(700));
  for (int i = 0; i < 1500; ++i) {  // more than a page
    Put(registry::StateKey("dev.lever", "notes", "many-" + std::to_string(i)), "l7 ");
  }
  for (const char* damaged : {"", "{}", "x", "{\"bytes\":-1}", "{\"bytes\":\"7\"}"}) {
    store_ = Open();
    ASSERT_TRUE(Carry("b", 2, Bytes(300)).ok());
    EXPECT_EQ(Account(), Stored()) << damaged;
    Put(registry::CarriedKey("dev.lever", "notes"), damaged);
  }
}

TEST_F(StateAccountTest, AServiceThatWasRemovedAndIsThereAgainBeginsWithNothing) {
  Bound(10'000);
  ASSERT_TRUE(Carry("a", 2, Bytes(10000)).ok());
  RemoveService();
  EXPECT_TRUE(Carry("a", 2, Bytes(10000)).ok());
  EXPECT_EQ(Read("a").origin, fleet::StateOrigin::kCarried);
  EXPECT_EQ(Account(), "{\"bytes\":10000}");
}

TEST_F(StateAccountTest, AfterALostAnswerItIsReadAnew) {
  Bound(10'000);
  ASSERT_TRUE(Carry("a", 2, Bytes(1000)).ok());
  std::optional<Status> lost;
  world.faulty->HoldAll();
  world.On(host(), [&] {
    store_->Carry("b", 7, 2, Bytes(5000), [&](const Status& status) { lost = status; });
  });
  world.SettleHeld();
  world.faulty->LoseAnswersOfNext(1);  // of the write, after the read
  world.faulty->ReleaseHeld();
  world.Settle();
  ASSERT_TRUE(lost);
  ASSERT_EQ(lost->executed(), LEVER_EXECUTED_UNKNOWN);
  ASSERT_EQ(Account(), "{\"bytes\":6000}") << "it was carried out";
  EXPECT_TRUE(Carry("c", 2, Bytes(4001)).ok());
  EXPECT_EQ(Read("c").origin, fleet::StateOrigin::kLost);
  EXPECT_EQ(Account(), Stored());
}

TEST_F(StateAccountTest, OneThatCannotBeReadTakesNoOtherWithIt) {
  ASSERT_TRUE(Carry("a", 2, Bytes(100)).ok());
  std::map<std::string, Status> answers;
  world.faulty->HoldAll();
  world.On(host(), [&] {
    for (const std::string name : {"b", "c", "d"}) {
      store_->Carry(name, 7, 2, Bytes(100),
                    [&answers, name](const Status& status) { answers.emplace(name, status); });
    }
  });
  for (int step = 0; step < 2; ++step) {  // the read of the first one, and its write
    world.SettleHeld();
    if (step == 1) world.faulty->RefuseNext(1);
    world.faulty->ReleaseHeld();
    if (step == 0) world.faulty->HoldAll();
  }
  world.Settle();
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_TRUE(answers.at("b").ok());
  EXPECT_EQ(answers.at("c").executed(), LEVER_EXECUTED_NO);
  EXPECT_TRUE(answers.at("d").ok());
  EXPECT_EQ(Account(), "{\"bytes\":300}");
}

TEST_F(StateAccountTest, ABatchThatIsRefusedAsAWholeIsTriedOneByOne) {
  ASSERT_TRUE(Carry("a", 2, Bytes(100)).ok());
  std::vector<Status> answers;
  const auto done = [&](const Status& status) { answers.push_back(status); };
  world.faulty->HoldAll();
  world.On(host(), [&] {
    for (const char* name : {"b", "c", "d"}) store_->Carry(name, 7, 2, Bytes(100), done);
  });
  for (int step = 0; step < 2; ++step) {  // the read of the first one, and its write
    world.SettleHeld();
    world.faulty->ReleaseHeld();
    world.faulty->HoldAll();
  }
  world.SettleHeld();  // the reads of the others, which go together
  EXPECT_EQ(answers.size(), 1u);
  world.faulty->RefuseNext(1);
  world.faulty->ReleaseHeld();
  world.Settle();
  ASSERT_EQ(answers.size(), 3u);
  for (const Status& status : answers) EXPECT_TRUE(status.ok());
  EXPECT_EQ(Account(), "{\"bytes\":400}");
}

// Those that were asked for while one was under way go together, and each is answered.
TEST_F(StateAccountTest, ManyAtOnceAreAllStoredOrLostAndCounted) {
  Bound(310'000);
  std::map<std::string, Status> answers;
  world.On(host(), [&] {
    for (int i = 0; i < 1000; ++i) {
      const std::string name = "n" + std::to_string(i);
      store_->Carry(name, 7, 2, std::string(i, 'x'),
                    [&answers, name](const Status& status) { answers.emplace(name, status); });
      if (i % 3 > 0) continue;
      store_->Forget(name, [&answers, name](const Status& status) {
        answers.emplace(name + " forgotten", status);
      });
    }
  });
  world.Settle();
  EXPECT_EQ(answers.size(), 1334u);
  for (const auto& [name, status] : answers) EXPECT_TRUE(status.ok()) << name;
  EXPECT_EQ(Account(), Stored());
  EXPECT_EQ(Read("n0").origin, fleet::StateOrigin::kNew);
  EXPECT_EQ(Read("n1").origin, fleet::StateOrigin::kCarried);
  EXPECT_EQ(Read("n998").origin, fleet::StateOrigin::kLost);
  EXPECT_TRUE(store_->idle());
}

TEST_F(StateAccountTest, WhatWaitsToBeStoredIsBounded) {
  int stored = 0;
  int refused = 0;
  const auto done = [&](const Status& status) {
    if (status.ok()) ++stored;
    if (status.code() != LEVER_RESOURCE_EXHAUSTED) return;
    EXPECT_EQ(status.executed(), LEVER_EXECUTED_NO);
    ++refused;
  };
  world.On(host(), [&] {
    const std::string payload(size_t{1} << 19, 'x');
    for (int i = 0; i < 140; ++i) store_->Carry("n" + std::to_string(i), 7, 2, payload, done);
  });
  world.Settle();
  EXPECT_EQ(stored, 127);
  EXPECT_EQ(refused, 13);
  stored = refused = 0;
  world.On(host(), [&] {
    for (int i = 0; i < 5000; ++i) store_->Lose("n" + std::to_string(i), 7, done);
  });
  world.Settle();
  EXPECT_EQ(stored, 4096);
  EXPECT_EQ(refused, 5000 - 4096);
  EXPECT_EQ(Account(), Stored());
}

TEST_F(StateAccountTest, WhatWasNotBegunWhenItIsAbandonedIsNeverWritten) {
  int answered = 0;
  world.faulty->HoldAll();
  world.On(host(), [&] {
    for (const char* name : {"a", "b", "c"}) {
      store_->Carry(name, 7, 2, "x", [&](const Status&) { ++answered; });
    }
    store_->Abandon();
    EXPECT_FALSE(store_->idle());
  });
  world.SettleHeld();
  world.faulty->ReleaseHeld();
  world.Settle();
  EXPECT_EQ(answered, 0);
  EXPECT_TRUE(store_->idle());
  EXPECT_EQ(Stored(), "{\"bytes\":0}");
}

TEST_F(StateAccountTest, TheBoundIsOneLineInTheLogUntilThereIsRoomAgain) {
  static std::vector<std::string>* lines = nullptr;
  std::vector<std::string> seen;
  lines = &seen;
  SetLogSink([](void*, LogLevel, std::string_view line) { lines->emplace_back(line); }, nullptr);
  Bound(10'000);
  ASSERT_TRUE(Carry("a", 2, Bytes(9990)).ok());
  for (const char* name : {"b", "c", "d"}) ASSERT_TRUE(Carry(name, 2, Bytes(100)).ok());
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_NE(seen[0].find("lever://dev.lever/notes: its resources carry"), std::string::npos);
  ASSERT_TRUE(Forget("a").ok());
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_NE(seen[1].find("3 of them were lost"), std::string::npos) << seen[1];
  SetLogSink(nullptr, nullptr);
}

// Refusals, lost answers and answers that come late: what the account says is what is stored, and
// nothing goes beyond the bound.
TEST(StateAccount, IsRightOverRandomFaults) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    ShardWorld world(4, {.seed = seed, .refuse_permille = 60, .lose_answer_permille = 60,
                         .hold_permille = 0});
    world.hosts.push_back(std::make_unique<ShardHost>(world.faulty.get(), "h-1", kSecond));
    const std::string holder = registry::ControllerKey("dev.lever", "notes");
    world.Commit(registry::Transaction().Then(registry::Operation::Put(holder, "h-1")));
    constexpr uint64_t kBytesMax = 20'000;
    StateStore store(&world.hosts[0]->registry, "dev.lever", "notes",
                     registry::Compare::CreateRevision(holder, world.Read(holder)->create_revision),
                     kBytesMax);
    std::mt19937_64 random(seed);
    int asked = 0;
    int answered = 0;
    const auto done = [&](const Status&) { ++answered; };
    for (int round = 0; round < 40; ++round) {
      world.On(*world.hosts[0], [&] {
        for (uint64_t left = random() % 20; left > 0; --left, ++asked) {
          const std::string name = "n" + std::to_string(random() % 60);
          switch (random() % 4) {
            case 0: store.Lose(name, round, done); break;
            case 1: store.Forget(name, done); break;
            default: store.Carry(name, round, 2, std::string(random() % 1500, 'x'), done);
          }
        }
      });
      world.Settle();
      ASSERT_EQ(answered, asked) << "seed " << seed;
      const auto account = world.Read(registry::CarriedKey("dev.lever", "notes"));
      uint64_t sum = 0;
      bool read = false;
      registry::RangeRequest all;
      all.prefix = registry::KindPrefix(registry::KeyKind::kState, "dev.lever", "notes");
      world.sqlite->Range(all, [&](const auto& page) {
        for (const auto& entry : page->entries) sum += entry.key.size() + entry.value.size();
        read = true;
      });
      const int64_t limit_ns = Clock::System().NowNs() + 60 * kSecond;
      while (!read && Clock::System().NowNs() < limit_ns) world.TurnOnce();
      ASSERT_TRUE(read);
      const std::string text = "{\"bytes\":" + std::to_string(sum) + "}";
      ASSERT_EQ(account ? account->value : "{\"bytes\":0}", text) << "seed " << seed;
      ASSERT_LE(sum, kBytesMax) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace lever::scale
