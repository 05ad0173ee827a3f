// A queue whose time is held, and moved by hand.
#include <poll.h>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

class TimeTest : public testing::Test {
 protected:
  TimeTest() {
    service_.emplace(&events_, InProcess("test"));
    service_->Start();
    client_.emplace(&events_, InProcessClient());
  }
  int64_t Now() {
    int64_t now_ns = 0;
    EXPECT_EQ(lever_queue_now(events_.get(), &now_ns), LEVER_OK);
    return now_ns;
  }
  bool Readable(int timeout_ms) {
    pollfd polled{lever_queue_fd(events_.get()), POLLIN, 0};
    return ::poll(&polled, 1, timeout_ms) == 1;
  }

  Events events_;
  std::optional<Service> service_;
  std::optional<Client> client_;
};

TEST_F(TimeTest, HeldTimeMovesByHandAlone) {
  ASSERT_EQ(lever_queue_hold_time(events_.get()), LEVER_OK);
  const int64_t held_ns = Now();
  events_.Fetch(2'000'000);
  EXPECT_EQ(Now(), held_ns);
  ASSERT_EQ(lever_queue_advance_time(events_.get(), 90 * kSecond), LEVER_OK);
  EXPECT_EQ(Now(), held_ns + 90 * kSecond);
  ASSERT_EQ(lever_queue_advance_time(events_.get(), INT64_MAX), LEVER_OK);
  EXPECT_LT(Now(), INT64_MAX);
}

TEST_F(TimeTest, ATimeoutPassesWhenTimeIsMoved) {
  ASSERT_EQ(lever_queue_hold_time(events_.get()), LEVER_OK);
  const uint64_t call = client_->Call("/test/echo", {.timeout_ns = 60 * kSecond});
  const Event incoming = events_.Await(LEVER_EVENT_INCOMING_CALL);
  EXPECT_LE(incoming.deadline_ns, Now() + 60 * kSecond);
  EXPECT_GT(incoming.deadline_ns, Now() + 59 * kSecond);
  ASSERT_EQ(lever_incoming_begin(events_.get(), incoming.id), LEVER_OK);
  ASSERT_EQ(lever_queue_advance_time(events_.get(), 59 * kSecond), LEVER_OK);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_CALL_DONE), 0u);
  ASSERT_EQ(lever_queue_advance_time(events_.get(), kSecond), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_DEADLINE_EXCEEDED);
  events_.Await(LEVER_EVENT_INCOMING_CANCELLED, incoming.id);
  EXPECT_EQ(lever_incoming_fail(events_.get(), incoming.id, LEVER_CANCELLED, "", 0), LEVER_OK);
}

TEST_F(TimeTest, MovingItMakesTheDescriptorReadable) {
  ASSERT_EQ(lever_queue_hold_time(events_.get()), LEVER_OK);
  client_->Call("/test/echo", {.timeout_ns = kSecond});
  const Event incoming = events_.Await(LEVER_EVENT_INCOMING_CALL);
  ASSERT_EQ(lever_incoming_begin(events_.get(), incoming.id), LEVER_OK);
  events_.Settle();
  EXPECT_FALSE(Readable(20));
  ASSERT_EQ(lever_queue_advance_time(events_.get(), kSecond), LEVER_OK);
  EXPECT_TRUE(Readable(0));
  events_.Await(LEVER_EVENT_CALL_DONE);
  EXPECT_EQ(lever_incoming_fail(events_.get(), incoming.id, LEVER_CANCELLED, "", 0), LEVER_OK);
}

// Whatever the library puts off «to the next turn» is due now, and must not wait for time to move.
TEST_F(TimeTest, WhatIsDueAtOnceHappensWhileTimeStandsStill) {
  ASSERT_EQ(lever_queue_hold_time(events_.get()), LEVER_OK);
  const int64_t held_ns = Now();
  client_.reset();
  service_.reset();
  EXPECT_EQ(Now(), held_ns);
}

TEST_F(TimeTest, TimeGoesOnFromWhereItStands) {
  ASSERT_EQ(lever_queue_hold_time(events_.get()), LEVER_OK);
  ASSERT_EQ(lever_queue_advance_time(events_.get(), 1000 * kSecond), LEVER_OK);
  const int64_t held_ns = Now();
  ASSERT_EQ(lever_queue_resume_time(events_.get()), LEVER_OK);
  EXPECT_GE(Now(), held_ns);
  EXPECT_LT(Now(), held_ns + 100 * kSecond);
  const uint64_t call = client_->Call("/test/echo", {.timeout_ns = 50'000'000});
  const Event incoming = events_.Await(LEVER_EVENT_INCOMING_CALL);
  ASSERT_EQ(lever_incoming_begin(events_.get(), incoming.id), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(lever_incoming_fail(events_.get(), incoming.id, LEVER_CANCELLED, "", 0), LEVER_OK);
}

TEST_F(TimeTest, TheTimeoutOfNextIsRealTime) {
  ASSERT_EQ(lever_queue_hold_time(events_.get()), LEVER_OK);
  events_.Settle();
  const auto begun = std::chrono::steady_clock::now();
  events_.Fetch(30'000'000);
  const auto took = std::chrono::steady_clock::now() - begun;
  EXPECT_GE(took, std::chrono::milliseconds(25));
  EXPECT_LT(took, std::chrono::seconds(10));
}

TEST_F(TimeTest, RefusesWhatIsNoMoveOfHeldTime) {
  EXPECT_EQ(lever_queue_advance_time(events_.get(), kSecond), LEVER_FAILED_PRECONDITION);
  ASSERT_EQ(lever_queue_hold_time(events_.get()), LEVER_OK);
  EXPECT_EQ(lever_queue_advance_time(events_.get(), -1), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_queue_now(events_.get(), nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_queue_hold_time(nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_queue_resume_time(events_.get()), LEVER_OK);
  EXPECT_EQ(lever_queue_resume_time(events_.get()), LEVER_OK);
}

}  // namespace
}  // namespace lever_test
