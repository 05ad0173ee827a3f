// Leases: terms, keys that end together, keys that change their lease.
#include <gmock/gmock.h>

#include "liblever/base/clock.h"
#include "tests/contract/registry/contract.h"

namespace lever::registry {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Long for a machine under load, short for an implementation that waits for it.
constexpr int64_t kTtlNs = 2 * kNanosPerSecond;

TEST_P(RegistryContract, TheKeysOfALeaseThatRunsOutGoTogether) {
  const LeaseId lease = GrantOk(kTtlNs);
  PutOk("l/1", "v", lease);
  PutOk("l/2", "v", lease);
  const Revision before = PutOk("durable", "v");
  WatchLog log;
  registry_->Watch({"l/", before + 1}, log.Callback());
  cluster_->PassTime(kTtlNs);
  ASSERT_TRUE(log.AwaitEvents(&executor_, 2));
  EXPECT_EQ(log.batches().size(), 1u);
  for (const WatchEvent& event : log.events()) {
    EXPECT_EQ(event.kind, WatchEvent::Kind::kDelete);
    EXPECT_EQ(event.entry.mod_revision, before + 1);
  }
  EXPECT_THAT(Keys(""), ElementsAre("durable"));
  EXPECT_EQ(blocking_->KeepAlive(lease).status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(blocking_->Put("l/3", "v", lease).status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(blocking_->RevokeLease(lease).status().code(), LEVER_NOT_FOUND);
}

TEST_P(RegistryContract, AKeepAliveGivesTheWholeTermAgain) {
  const LeaseId lease = GrantOk(kTtlNs);
  PutOk("l", "v", lease);
  for (int i = 0; i < 4; ++i) {
    cluster_->PassTime(kTtlNs * 3 / 4);
    const auto kept = blocking_->KeepAlive(lease);
    ASSERT_TRUE(kept.ok()) << kept.status().ToString();
    EXPECT_EQ(kept->id, lease);
    EXPECT_GE(kept->ttl_ns, kTtlNs);
  }
  EXPECT_NE(Find("l"), std::nullopt);
}

TEST_P(RegistryContract, OnlyTheLeaseThatIsNotKeptAliveEnds) {
  const LeaseId kept = GrantOk(kTtlNs);
  const LeaseId left = GrantOk(kTtlNs);
  EXPECT_NE(kept, left);
  PutOk("kept", "v", kept);
  PutOk("left", "v", left);
  WatchLog log;
  registry_->Watch({"left", 0}, log.Callback());
  cluster_->PassTime(kTtlNs * 3 / 4);
  ASSERT_TRUE(blocking_->KeepAlive(kept).ok());
  cluster_->PassTime(kTtlNs / 2);
  ASSERT_TRUE(log.AwaitEvents(&executor_, 1));
  EXPECT_THAT(Keys(""), ElementsAre("kept"));
}

TEST_P(RegistryContract, ARevokedLeaseTakesItsKeysInOneRevision) {
  const LeaseId lease = GrantOk(kLeaseTtlNsMax);
  PutOk("l/1", "v", lease);
  const Revision before = PutOk("l/2", "v", lease);
  const auto revoked = blocking_->RevokeLease(lease);
  ASSERT_TRUE(revoked.ok());
  EXPECT_EQ(*revoked, before + 1);
  EXPECT_THAT(Keys("l/"), IsEmpty());
  EXPECT_EQ(blocking_->RevokeLease(lease).status().code(), LEVER_NOT_FOUND);
}

TEST_P(RegistryContract, ALeaseWithoutKeysEndsWithoutARevision) {
  const Revision before = PutOk("k", "v");
  const auto revoked = blocking_->RevokeLease(GrantOk(kLeaseTtlNsMax));
  ASSERT_TRUE(revoked.ok());
  EXPECT_EQ(*revoked, before);
}

TEST_P(RegistryContract, AKeyBelongsToTheLeaseOfItsLastPut) {
  const LeaseId first = GrantOk(kLeaseTtlNsMax);
  const LeaseId second = GrantOk(kLeaseTtlNsMax);
  const Revision created = PutOk("moved", "v", first);
  PutOk("moved", "v", second);
  PutOk("now durable", "v", first);
  PutOk("now durable", "v");
  PutOk("now leased", "v");
  PutOk("now leased", "v", second);
  ASSERT_TRUE(blocking_->RevokeLease(first).ok());
  EXPECT_THAT(Keys(""), ElementsAre("moved", "now durable", "now leased"));
  EXPECT_EQ(Find("moved")->create_revision, created);
  ASSERT_TRUE(blocking_->RevokeLease(second).ok());
  EXPECT_THAT(Keys(""), ElementsAre("now durable"));
}

TEST_P(RegistryContract, AFencedWriteFailsOnceTheLeaseIsGone) {
  const LeaseId lease = GrantOk(kLeaseTtlNsMax);
  const Revision created = PutOk("controller/dev.lever/hello", "host-1", lease);
  const Transaction fenced = Transaction()
                                 .If(Compare::CreateRevision("controller/dev.lever/hello", created))
                                 .Then(Operation::Put("owner", "v"));
  EXPECT_TRUE(blocking_->Commit(fenced)->succeeded);
  ASSERT_TRUE(blocking_->RevokeLease(lease).ok());
  // Another holder, and even the same one again, is not the one that the write was made for.
  PutOk("controller/dev.lever/hello", "host-1", GrantOk(kLeaseTtlNsMax));
  EXPECT_FALSE(blocking_->Commit(fenced)->succeeded);
}

TEST_P(RegistryContract, TermsBeyondTheLimitsAreRefused) {
  for (const int64_t ttl_ns : {int64_t{-1}, int64_t{0}, kLeaseTtlNsMin - 1, kLeaseTtlNsMax + 1}) {
    EXPECT_EQ(blocking_->GrantLease(ttl_ns).status().code(), LEVER_INVALID_ARGUMENT) << ttl_ns;
  }
  EXPECT_EQ(blocking_->KeepAlive(kNoLease).status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(blocking_->KeepAlive(-7).status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(blocking_->RevokeLease(4711).status().code(), LEVER_NOT_FOUND);
}

}  // namespace
}  // namespace lever::registry
