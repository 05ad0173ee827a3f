// Threads: who waits for a call, who drives, and requests from everywhere.
#include <unistd.h>

#include <atomic>
#include <latch>
#include <thread>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

lever_status Wait(lever_queue* queue, uint64_t call, int64_t timeout_ns, std::string* payload) {
  lever_result result{};
  result.size = sizeof(result);
  const lever_status waited = lever_call_wait(queue, call, timeout_ns, &result);
  if (waited != LEVER_OK) {
    EXPECT_EQ(result.opaque, nullptr) << "untouched on failure";
    return waited;
  }
  *payload = Join(result.slices, result.slice_count);
  const auto status = static_cast<lever_status>(result.status);
  EXPECT_EQ(result.message == nullptr, status == LEVER_OK);
  lever_result_release(&result);
  lever_result_release(&result);
  return status;
}

// A service on a thread of its own, which echoes; a client for blocking callers.
class WaitTest : public testing::Test {
 protected:
  WaitTest() {
    std::latch started(1);
    server_ = std::thread([this, &started] { Serve(started); });
    started.wait();
    client_.emplace(&events_, listening_);
  }
  ~WaitTest() override {
    client_.reset();
    stop_ = true;
    lever_queue_wake(server_events_.get());
    server_.join();
  }

  void Serve(std::latch& started) {
    Service service(&server_events_);
    service.Start();
    listening_ = service.listening();
    started.count_down();
    while (!stop_) {
      lever_event batch[16];
      size_t count = 0;
      ASSERT_EQ(lever_queue_next(server_events_.get(), batch, sizeof(batch[0]), 16, -1, &count),
                LEVER_OK);
      for (size_t i = 0; i < count; ++i) Answer(server_events_.get(), batch[i]);
    }
  }
  void Answer(lever_queue* queue, const lever_event& event) {
    if (event.type != LEVER_EVENT_INCOMING_CALL) return;
    // "other" is never answered.
    if (std::string_view(static_cast<const char*>(event.method)) == "other") return;
    ASSERT_EQ(lever_incoming_begin(queue, event.id), LEVER_OK);
    ASSERT_EQ(lever_incoming_reply(queue, event.id, LEVER_KIND_VALUE, event.slices,
                                   event.slice_count, nullptr, 0),
              LEVER_OK);
  }

  Events events_;
  Events server_events_;
  std::optional<Client> client_;
  std::string listening_;
  std::atomic<bool> stop_{false};
  std::thread server_;
};

TEST_F(WaitTest, ACallIsWaitedForAndIsNoEvent) {
  std::string payload;
  const uint64_t call = client_->Call("/test/echo", {.payload = "\x91\x07"});
  EXPECT_EQ(Wait(events_.get(), call, -1, &payload), LEVER_OK);
  EXPECT_EQ(payload, "\x91\x07");
  EXPECT_EQ(Wait(events_.get(), call, -1, &payload), LEVER_INVALID_ARGUMENT) << "it is over";
  const uint64_t failing = client_->Call("/test/nothing");
  EXPECT_EQ(Wait(events_.get(), failing, -1, &payload), LEVER_NOT_FOUND);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_CALL_DONE), 0u);
}

TEST_F(WaitTest, WhenTheTimeIsOverTheCallGoesOn) {
  std::string payload;
  const uint64_t call = client_->Call("/test/other");
  EXPECT_EQ(Wait(events_.get(), call, 20'000'000, &payload), LEVER_DEADLINE_EXCEEDED);
  EXPECT_EQ(Wait(events_.get(), call, 0, &payload), LEVER_DEADLINE_EXCEEDED);
  ASSERT_EQ(lever_call_cancel(events_.get(), call), LEVER_OK);
  EXPECT_EQ(Wait(events_.get(), call, -1, &payload), LEVER_CANCELLED);
}

TEST_F(WaitTest, ACallThatIsDoneAlreadyIsHandedOverAtOnce) {
  const uint64_t first = client_->Call("/test/echo", {.payload = "\x91\x01"});
  const uint64_t second = client_->Call("/test/echo", {.payload = "\x91\x02"});
  std::string payload;
  // The second one comes after the first, which lies in the queue then.
  EXPECT_EQ(Wait(events_.get(), second, -1, &payload), LEVER_OK);
  EXPECT_EQ(Wait(events_.get(), first, -1, &payload), LEVER_OK);
  EXPECT_EQ(payload, "\x91\x01");
}

TEST_F(WaitTest, ManyThreadsShareAQueueAndEachGetsItsOwn) {
  constexpr int kThreads = 8;
  constexpr int kCalls = 200;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        const std::string arguments{'\x92', static_cast<char>(t), static_cast<char>(i % 100)};
        const uint64_t call = client_->Call("/test/echo", {.payload = arguments});
        std::string payload;
        if (Wait(events_.get(), call, -1, &payload) == LEVER_OK && payload == arguments) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, kThreads * kCalls);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_CALL_DONE), 0u);
}

TEST_F(WaitTest, TheLeadIsPassedOnAlsoByOneWhoseTimeIsOver) {
  // The first thread leads and waits for what never comes; the second follows it.
  std::string ignored;
  std::atomic<bool> leads{false};
  std::thread leader([&] {
    const uint64_t never = client_->Call("/test/other");
    leads = true;
    std::string payload;
    EXPECT_EQ(Wait(events_.get(), never, 100'000'000, &payload), LEVER_DEADLINE_EXCEEDED);
  });
  while (!leads) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) {
    std::string payload;
    EXPECT_EQ(Wait(events_.get(), client_->Call("/test/echo"), -1, &payload), LEVER_OK);
  }
  leader.join();
  EXPECT_EQ(Wait(events_.get(), client_->Call("/test/echo"), -1, &ignored), LEVER_OK);
}

TEST_F(WaitTest, TwoThreadsDoNotWaitForOneCall) {
  const uint64_t call = client_->Call("/test/other");
  std::atomic<int> busy{0};
  std::atomic<int> cancelled{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      std::string payload;
      const lever_status status = Wait(events_.get(), call, -1, &payload);
      if (status == LEVER_BUSY) {
        ++busy;
        lever_call_cancel(events_.get(), call);
      } else if (status == LEVER_CANCELLED) {
        ++cancelled;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(busy, 1);
  EXPECT_EQ(cancelled, 1);
}

TEST_F(WaitTest, FetchingEventsGoesBeforeALeaderWhoWaits) {
  std::atomic<bool> waits{false};
  const uint64_t never = client_->Call("/test/other");
  std::thread leader([&] {
    waits = true;
    std::string payload;
    EXPECT_EQ(Wait(events_.get(), never, -1, &payload), LEVER_CANCELLED);
  });
  while (!waits) std::this_thread::yield();
  // The events of these calls nobody waits for: they are fetched while the leader is inside.
  for (int i = 0; i < 50; ++i) {
    const uint64_t call = client_->Call("/test/echo");
    EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
  }
  ASSERT_EQ(lever_call_cancel(events_.get(), never), LEVER_OK);
  leader.join();
}

TEST_F(WaitTest, ASecondThreadInsideNextIsBusy) {
  std::atomic<bool> inside{false};
  std::thread first([&] {
    inside = true;
    lever_event event;
    size_t count = 0;
    lever_status status = LEVER_BUSY;
    // The second may be inside in the moment in which this one comes.
    while (status == LEVER_BUSY) {
      status = lever_queue_next(events_.get(), &event, sizeof(event), 1, -1, &count);
    }
    EXPECT_EQ(status, LEVER_OK);
    EXPECT_EQ(count, 0u) << "it was woken";
  });
  while (!inside) std::this_thread::yield();
  lever_event event;
  size_t count = 7;
  lever_status status = LEVER_OK;
  const auto until = std::chrono::steady_clock::now() + kLimit;
  while (status != LEVER_BUSY && std::chrono::steady_clock::now() < until) {
    status = lever_queue_next(events_.get(), &event, sizeof(event), 1, 0, &count);
  }
  EXPECT_EQ(status, LEVER_BUSY);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(lever_queue_destroy(events_.get()), LEVER_BUSY);
  lever_queue_wake(events_.get());
  first.join();
}

}  // namespace
}  // namespace lever_test
