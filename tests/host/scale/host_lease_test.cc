// The host's lease over a real registry.
#include "liblever/host/scale/host_lease.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace lever::scale
