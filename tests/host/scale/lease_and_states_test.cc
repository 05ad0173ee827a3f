// The host's lease, and what closed resources carry, over a real registry.
#include <gtest/gtest.h>

#include "liblever/host/scale/state_store.h"
#include "liblever/policy/grant.h"
#include "tests/host/scale/shard_fixture.h"

namespace lever::scale {
namespace {

class HostLeaseTest : public ::testing::Test {
 protected:
  HostLeaseTest() {
    world.hosts.push_back(std::make_unique<ShardHost>(world.faulty.get(), "h-1", kSecond));
    lease().OnGranted([this] { granted.push_back(lease().id()); });
  }
  ShardHost& host() { return *world.hosts[0]; }
  HostLease& lease() { return host().lease; }
  void Want() {
    world.On(host(), [this] { lease().Want(); });
  }

  std::vector<registry::LeaseId> granted;
  ShardWorld world{4};
};

TEST_F(HostLeaseTest, IsAskedForAtTheFirstUseAndOnce) {
  world.Live(2 * kSecond);
  EXPECT_EQ(lease().id(), registry::kNoLease);
  EXPECT_FALSE(lease().Valid());
  Want();
  Want();
  world.Settle();
  EXPECT_EQ(granted, std::vector<registry::LeaseId>{lease().id()});
  EXPECT_TRUE(lease().Valid());
  world.Live(60 * kSecond);
  EXPECT_EQ(granted.size(), 1u) << "it is kept alive";
  EXPECT_TRUE(lease().Valid());
}

TEST_F(HostLeaseTest, IsTriedAgainAfterARefusal) {
  world.faulty->RefuseNext(2);
  Want();
  world.Settle();
  EXPECT_EQ(lease().id(), registry::kNoLease);
  world.Advance(kHostLeaseRetryNs);
  EXPECT_EQ(lease().id(), registry::kNoLease);
  world.Advance(kHostLeaseRetryNs);
  EXPECT_TRUE(lease().Valid());
}

// Before the registry can take it for ended.
TEST_F(HostLeaseTest, CountsFromWhenWhatWasAnsweredWasAsked) {
  world.faulty->HoldAll();
  Want();
  world.SettleHeld();
  host().clock.Advance(4 * kSecond);
  world.faulty->ReleaseHeld();
  world.Settle();
  ASSERT_TRUE(lease().Valid());
  const int64_t end_ns = policy::LeaseEndNs(kSecond, kHostLeaseTtlNs);
  host().clock.Advance(end_ns - 1 - host().clock.NowNs());
  EXPECT_TRUE(lease().Valid());
  host().clock.Advance(1);
  EXPECT_FALSE(lease().Valid());
  EXPECT_NE(lease().id(), registry::kNoLease) << "it may be there still";
}

TEST_F(HostLeaseTest, ARefusedKeepAliveChangesNothing) {
  Want();
  world.Settle();
  const registry::LeaseId first = lease().id();
  world.faulty->RefuseNext(3);
  world.Live(6 * kSecond);
  EXPECT_EQ(lease().id(), first);
  EXPECT_TRUE(lease().Valid());
  EXPECT_EQ(granted.size(), 1u);
}

TEST_F(HostLeaseTest, OneThatHasEndedIsReplaced) {
  Want();
  world.Settle();
  const registry::LeaseId first = lease().id();
  world.Revoke(first);
  world.Live(5 * kSecond);
  EXPECT_NE(lease().id(), first);
  EXPECT_TRUE(lease().Valid());
  EXPECT_EQ(granted.size(), 2u);
}

class StateStoreTest : public HostLeaseTest {
 protected:
  StateStoreTest() {
    Put(kHolder, "h-1");
    const auto entry = world.Read(kHolder);
    store_ = std::make_unique<StateStore>(
        &host().registry, "dev.lever", "notes",
        registry::Compare::CreateRevision(kHolder, entry->create_revision));
  }
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

  const std::string kHolder = registry::ControllerKey("dev.lever", "notes");
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
  world.faulty->LoseAnswersOfNext(1);
  EXPECT_EQ(Carry("n", 2, "blob").executed(), LEVER_EXECUTED_UNKNOWN);
  world.faulty->RefuseNext(1);
  EXPECT_EQ(Read("n").status.code(), LEVER_UNAVAILABLE);
}

}  // namespace
}  // namespace lever::scale
