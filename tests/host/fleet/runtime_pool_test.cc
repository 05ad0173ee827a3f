#include "liblever/host/fleet/runtime_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lever::fleet {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const RuntimePool::Kind kNode{"node", false};
const RuntimePool::Kind kNodeOnline{"node", true};

// Starts what is due.
void Fill(RuntimePool& pool, uint64_t& id, int64_t now_ns) {
  for (const RuntimePool::Kind& kind : pool.Due(now_ns)) pool.Add(kind, ++id);
}

TEST(RuntimePool, HasMembersOfWhatIsExpectedOnly) {
  RuntimePool pool(2);
  EXPECT_THAT(pool.Due(100), IsEmpty());
  EXPECT_EQ(pool.NextNs(), kNever);
  pool.Expect(kNode, 100);
  EXPECT_THAT(pool.Due(100), ElementsAre(kNode, kNode));
  uint64_t id = 0;
  Fill(pool, id, 100);
  EXPECT_THAT(pool.Due(kNanosPerSecond), IsEmpty());
  EXPECT_EQ(pool.NextNs(), kNever);
  EXPECT_FALSE(pool.Take(kNodeOnline, 100));
}

TEST(RuntimePool, OfSizeZeroHasNone) {
  RuntimePool pool(0);
  pool.Expect(kNode, 100);
  EXPECT_THAT(pool.Due(kNanosPerSecond), IsEmpty());
  EXPECT_FALSE(pool.Take(kNode, 100));
}

TEST(RuntimePool, GivesTheLongestWaitingAndEachOnce) {
  RuntimePool pool(2);
  uint64_t id = 0;
  pool.Expect(kNode, 0);
  Fill(pool, id, 0);
  EXPECT_EQ(pool.Take(kNode, 1), 1);
  EXPECT_EQ(pool.Take(kNode, 2), 2);
  EXPECT_FALSE(pool.Take(kNode, 3));
}

TEST(RuntimePool, IsFilledAgainWhenStartsAreOver) {
  RuntimePool pool(1);
  uint64_t id = 0;
  pool.Expect(kNode, 0);
  Fill(pool, id, 0);
  const int64_t taken_ns = 10 * kNanosPerSecond;
  pool.Take(kNode, taken_ns);
  EXPECT_EQ(pool.NextNs(), taken_ns + RuntimePool::kCalmNs);
  EXPECT_THAT(pool.Due(taken_ns + RuntimePool::kCalmNs - 1), IsEmpty());
  // Another start meanwhile, for which there is none.
  pool.Take(kNode, taken_ns + RuntimePool::kCalmNs / 2);
  EXPECT_THAT(pool.Due(taken_ns + RuntimePool::kCalmNs), IsEmpty());
  EXPECT_THAT(pool.Due(taken_ns + RuntimePool::kCalmNs * 3 / 2), SizeIs(1));
}

TEST(RuntimePool, IsFilledAgainAlsoWhereStartsNeverEnd) {
  RuntimePool pool(1);
  uint64_t id = 0;
  pool.Expect(kNode, 0);
  Fill(pool, id, 0);
  const int64_t taken_ns = 10 * kNanosPerSecond;
  int64_t now_ns = taken_ns;
  for (; pool.Due(now_ns).empty(); now_ns += 10 * kNanosPerMilli) pool.Take(kNode, now_ns);
  EXPECT_LE(now_ns, taken_ns + RuntimePool::kMissingNs + 10 * kNanosPerMilli);
}

TEST(RuntimePool, WaitsLongerEachTimeThatAMemberEndsByItself) {
  RuntimePool pool(1);
  uint64_t id = 0;
  pool.Expect(kNode, 0);
  int64_t now_ns = 0;
  int64_t expected_ns = RuntimePool::kFailedFirstNs;
  for (int i = 0; i < 10; ++i) {
    Fill(pool, id, now_ns);
    pool.OnEnded(id, now_ns);
    EXPECT_EQ(pool.NextNs(), now_ns + expected_ns);
    // A service that is started meanwhile changes nothing.
    EXPECT_FALSE(pool.Take(kNode, now_ns));
    EXPECT_EQ(pool.NextNs(), now_ns + expected_ns);
    now_ns = pool.NextNs();
    expected_ns = std::min(2 * expected_ns, RuntimePool::kFailedLastNs);
  }
  // One that was taken shows that they work.
  Fill(pool, id, now_ns);
  EXPECT_TRUE(pool.Take(kNode, now_ns));
  now_ns += RuntimePool::kCalmNs;
  Fill(pool, id, now_ns);
  pool.OnEnded(id, now_ns);
  EXPECT_EQ(pool.NextNs(), now_ns + RuntimePool::kFailedFirstNs);
}

TEST(RuntimePool, ForgetsWhatWasTaken) {
  RuntimePool pool(1);
  uint64_t id = 0;
  pool.Expect(kNode, 0);
  Fill(pool, id, 0);
  pool.Take(kNode, 0);
  const int64_t next_ns = pool.NextNs();
  pool.OnEnded(id, 0);  // an end of the instance, or of a member that could not be taken over
  EXPECT_EQ(pool.NextNs(), next_ns);
}

}  // namespace
}  // namespace lever::fleet
