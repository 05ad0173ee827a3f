// Requests from threads that do not drive: each is carried out once, in its order, and is refused
// for the same reasons as on the thread that drives.
#include <atomic>
#include <thread>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

// Client and service on one queue that a thread drives all the time, so that the test's own
// requests are posted mostly. Events are handed to a function of the test's on that thread.
class DrivenTest : public testing::Test {
 protected:
  using OnEvent = std::function<void(const Event&)>;

  void Drive(OnEvent on_event) {
    service_.Start();
    client_.emplace(&events_, service_.listening());
    driver_ = std::thread([this, on_event = std::move(on_event)] {
      lever_event batch[16];
      while (!stop_) {
        size_t count = 0;
        ASSERT_EQ(lever_queue_next(queue(), batch, sizeof(batch[0]), 16, -1, &count), LEVER_OK);
        for (size_t i = 0; i < count; ++i) on_event(CopyOf(batch[i]));
      }
    });
  }
  ~DrivenTest() override {
    stop_ = true;
    lever_queue_wake(queue());
    if (driver_.joinable()) driver_.join();
  }
  lever_queue* queue() const { return events_.get(); }
  lever_status Write(uint64_t stream, std::string_view payload) {
    const lever_slice slice = SliceOf(payload);
    return lever_stream_write(queue(), stream, LEVER_KIND_RAW, &slice, 1);
  }
  template <typename Holds>
  static void AwaitThat(Holds holds) {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    while (!holds()) {
      ASSERT_LT(std::chrono::steady_clock::now(), until);
      std::this_thread::yield();
    }
  }

  Events events_;
  Service service_{&events_};
  std::optional<Client> client_;
  std::atomic<bool> stop_{false};
  std::thread driver_;
};

TEST_F(DrivenTest, EveryCallOfEveryThreadCompletesOnce) {
  constexpr int kThreads = 4;
  constexpr int kCalls = 500;
  std::atomic<int> done{0};
  std::vector<std::atomic<int>> times(kThreads * kCalls);
  Drive([&](const Event& event) {
    if (event.type == LEVER_EVENT_INCOMING_CALL) {
      ASSERT_EQ(lever_incoming_begin(queue(), event.id), LEVER_OK);
      const lever_slice slice = SliceOf("\xc0");
      ASSERT_EQ(lever_incoming_reply(queue(), event.id, LEVER_KIND_VALUE, &slice, 1, nullptr, 0),
                LEVER_OK);
    } else if (event.type == LEVER_EVENT_CALL_DONE) {
      EXPECT_EQ(event.status, LEVER_OK) << event.message;
      ++times[reinterpret_cast<uintptr_t>(event.user_data)];
      ++done;
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        client_->Call("/test/echo",
                      {.user_data = reinterpret_cast<void*>(uintptr_t(t * kCalls + i))});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  AwaitThat([&] { return done == kThreads * kCalls; });
  for (const std::atomic<int>& count : times) EXPECT_EQ(count, 1);
}

TEST_F(DrivenTest, RequestsAreRefusedAsOnTheDriversThread) {
  Drive([](const Event&) {});
  // Repeated, since now and then the queue is found free.
  for (int i = 0; i < 200; ++i) {
    uint64_t id = 0;
    EXPECT_EQ(client_->TryCall("/test/echo", {.payload = "\xc1"}, &id), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(client_->TryCall("/test/echo", {.payload = "\x05"}, &id), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(client_->TryCall("no address", {}, &id), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(client_->TryCall("/x", {.kind = LEVER_KIND_RAW, .flags = LEVER_CALL_GRPC}, &id),
              LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(lever_call_cancel(queue(), 12345), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(lever_incoming_begin(queue(), 12345), LEVER_INVALID_ARGUMENT);
  }
}

TEST_F(DrivenTest, MessagesFromAnotherThreadKeepTheirOrderAndAreSlowedByTheReader) {
  constexpr int kMessages = 3000;
  std::atomic<uint64_t> writable{0};
  std::atomic<int> received{0};
  std::atomic<bool> ended{false};
  Drive([&](const Event& event) {
    switch (event.type) {
      case LEVER_EVENT_INCOMING_STREAM:
        ASSERT_EQ(lever_incoming_begin(queue(), event.id), LEVER_OK);
        ASSERT_EQ(lever_stream_read(queue(), event.id, 4, 0), LEVER_OK);
        break;
      case LEVER_EVENT_STREAM_MESSAGE:
        EXPECT_EQ(event.payload.substr(0, 8), std::to_string(10'000'000 + received));
        ++received;
        ASSERT_EQ(lever_stream_read(queue(), event.id, 1, 0), LEVER_OK);
        break;
      case LEVER_EVENT_STREAM_HALF_CLOSED:
        ASSERT_EQ(lever_stream_close_send(queue(), event.id), LEVER_OK);
        break;
      case LEVER_EVENT_WRITABLE:
        ++writable;
        break;
      case LEVER_EVENT_STREAM_END:
        ended = true;
        break;
      default:
        break;
    }
  });
  const uint64_t stream = client_->Open("/test/echoChan");
  int refused = 0;
  for (int i = 0; i < kMessages;) {
    const uint64_t before = writable;
    const lever_status status =
        Write(stream, std::to_string(10'000'000 + i) + std::string(8000, 'a'));
    if (status == LEVER_OK) {
      ++i;
      continue;
    }
    ASSERT_EQ(status, LEVER_WOULD_BLOCK);
    ++refused;
    AwaitThat([&] { return writable > before; });
  }
  ASSERT_EQ(lever_stream_close_send(queue(), stream), LEVER_OK);
  AwaitThat([&] { return ended.load(); });
  EXPECT_EQ(received, kMessages);
  EXPECT_GT(refused, 0);
}

// A thread whose request was posted finds the queue free at the next one: the posted one goes
// first.
TEST(OrderTest, RequestsOfOneThreadKeepTheirOrderWhoeverCarriesThemOut) {
  Events events;
  Client echo(&events, "");
  constexpr int kMessages = 30'000;
  const uint64_t stream = echo.Open("/any/chan", {.read_messages = kMessages});
  std::atomic<bool> stop{false};
  int received = 0;
  bool in_order = true;
  // Takes and lets go of the queue as often as it can.
  std::thread driver([&] {
    lever_event batch[64];
    while (!stop) {
      size_t count = 0;
      ASSERT_EQ(lever_queue_next(events.get(), batch, sizeof(batch[0]), 64, 0, &count), LEVER_OK);
      for (size_t i = 0; i < count; ++i) {
        if (batch[i].type != LEVER_EVENT_STREAM_MESSAGE) continue;
        in_order &= Join(batch[i].slices, batch[i].slice_count) == std::to_string(received++);
        if (received == kMessages) stop = true;
      }
    }
  });
  for (int i = 0; i < kMessages;) {
    const std::string text = std::to_string(i);
    const lever_slice slice = SliceOf(text);
    const lever_status status = lever_stream_write(events.get(), stream, LEVER_KIND_RAW, &slice, 1);
    ASSERT_TRUE(status == LEVER_OK || status == LEVER_WOULD_BLOCK);
    if (status == LEVER_OK) ++i;
  }
  driver.join();
  EXPECT_TRUE(in_order);
  ASSERT_EQ(lever_stream_cancel(events.get(), stream, LEVER_CANCELLED, nullptr, 0), LEVER_OK);
  events.Await(LEVER_EVENT_STREAM_END, stream);
}

// Requests are begun and answered by threads that do not drive, while callers cancel them and their
// deadlines pass: whoever was told OK may answer, whoever was told REFUSED may not.
TEST_F(DrivenTest, RequestsAreBegunAndAnsweredByOtherThreadsWhileTheirCallersLeave) {
  std::mutex mutex;
  std::deque<Event> incoming;
  std::atomic<int> done{0};
  std::atomic<int> wrong{0};
  std::atomic<int> begun{0};
  Drive([&](const Event& event) {
    if (event.type == LEVER_EVENT_INCOMING_CALL || event.type == LEVER_EVENT_INCOMING_STREAM) {
      const std::lock_guard lock(mutex);
      incoming.push_back(event);
    } else if (event.type == LEVER_EVENT_CALL_DONE ||
               (event.type == LEVER_EVENT_STREAM_END && event.user_data != nullptr)) {
      ++done;
    }
  });
  std::atomic<bool> over{false};
  const auto serve = [&] {
    while (!over) {
      Event event;
      {
        const std::lock_guard lock(mutex);
        if (!incoming.empty()) {
          event = std::move(incoming.front());
          incoming.pop_front();
        }
      }
      if (event.id == 0) {
        std::this_thread::yield();
        continue;
      }
      const lever_status status = lever_incoming_begin(queue(), event.id);
      const lever_slice slice = SliceOf("\xc0");
      if (status == LEVER_OK && event.type == LEVER_EVENT_INCOMING_CALL) {
        ++begun;
        if (lever_incoming_reply(queue(), event.id, LEVER_KIND_VALUE, &slice, 1, nullptr, 0) !=
            LEVER_OK) {
          ++wrong;
        }
        if (lever_incoming_begin(queue(), event.id) != LEVER_INVALID_ARGUMENT) ++wrong;
      } else if (status == LEVER_OK) {
        ++begun;
        lever_stream_close_send(queue(), event.id);  // it may have ended
      } else if (status == LEVER_REFUSED) {
        if (lever_incoming_begin(queue(), event.id) != LEVER_INVALID_ARGUMENT) ++wrong;
      } else if (event.type == LEVER_EVENT_INCOMING_CALL || status != LEVER_INVALID_ARGUMENT) {
        // Only a stream's id is over without our doing: its end was fetched.
        ++wrong;
      }
    }
  };
  std::thread first(serve);
  std::thread second(serve);
  constexpr int kRequests = 1500;
  int mark = 0;
  for (int i = 0; i < kRequests; ++i) {
    const int64_t timeout_ns = i % 3 == 0 ? 50'000 * (i % 7) + 1 : 0;
    const uint64_t call = client_->Call("/test/echo", {.timeout_ns = timeout_ns});
    const uint64_t stream =
        client_->Open("/test/echoChan", {.timeout_ns = timeout_ns, .user_data = &mark});
    if (i % 5 == 0) {
      lever_call_cancel(queue(), call);
      lever_stream_cancel(queue(), stream, LEVER_CANCELLED, nullptr, 0);
    }
    if (i % 50 == 0) AwaitThat([&] { return done > 2 * i - 200; });
  }
  AwaitThat([&] { return done == 2 * kRequests; });
  over = true;
  first.join();
  second.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(begun, 0);
}

TEST_F(DrivenTest, AClientThatIsClosedWhileOthersCallCompletesAllThatItTook) {
  for (int round = 0; round < 20; ++round) {
    lever_queue_options options{};
    options.in_flight_max = 500;
    Events events(options);
    auto client = std::make_unique<Client>(&events, "");
    std::atomic<int> accepted{0};
    std::thread caller([&] {
      uint64_t id = 0;
      for (;;) {
        const lever_status status = client->TryCall("/any/thing", {}, &id);
        if (status == LEVER_CANCELLED) return;
        // It is faster than whoever fetches the events.
        if (status == LEVER_RESOURCE_EXHAUSTED) continue;
        ASSERT_EQ(status, LEVER_OK);
        ++accepted;
      }
    });
    // Some of its requests find the queue taken.
    while (events.Count(LEVER_EVENT_CALL_DONE) < 50) events.Fetch(1'000'000);
    ASSERT_EQ(lever_client_close(client->get()), LEVER_OK);
    while (events.Count(LEVER_EVENT_CLOSED) == 0) events.Fetch(1'000'000);
    caller.join();
    EXPECT_EQ(events.seen().back().type, LEVER_EVENT_CLOSED);
    EXPECT_EQ(events.Count(LEVER_EVENT_CALL_DONE), static_cast<size_t>(accepted.load()));
    EXPECT_EQ(lever_client_destroy(client->Release()), LEVER_OK);
  }
}

}  // namespace
}  // namespace lever_test
