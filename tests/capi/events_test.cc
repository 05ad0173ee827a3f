// How events are handed out: sizes of structs, capacities, what stays valid, what is retained.
#include <atomic>
#include <csignal>
#include <cstring>
#include <thread>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

class EventsTest : public testing::Test {
 protected:
  Events events_;
  Client client_{&events_, ""};
};

TEST_F(EventsTest, ASmallerEventIsCutAndALargerOneZeroed) {
  const size_t sizes[] = {sizeof(int32_t), offsetof(lever_event, slices), sizeof(lever_event),
                          sizeof(lever_event) + 24};
  for (const size_t size : sizes) {
    const uint64_t calls[] = {client_.Call("/any/thing"), client_.Call("/any/thing")};
    std::vector<unsigned char> memory(3 * size, 0xee);
    size_t count = 0;
    while (count == 0) {
      ASSERT_EQ(lever_queue_next(events_.get(), reinterpret_cast<lever_event*>(memory.data()), size,
                                 2, -1, &count),
                LEVER_OK);
    }
    ASSERT_EQ(count, 2u);
    for (size_t i = 0; i < count; ++i) {
      lever_event event{};
      std::memcpy(&event, memory.data() + i * size, std::min(size, sizeof(event)));
      EXPECT_EQ(event.type, LEVER_EVENT_CALL_DONE);
      EXPECT_EQ(event.id, size > offsetof(lever_event, id) ? calls[i] : 0);
      EXPECT_EQ(event.slice_count, size >= sizeof(lever_event) ? 1u : 0u);
      for (size_t at = sizeof(lever_event); at < size; ++at) {
        EXPECT_EQ(memory[i * size + at], 0) << at;
      }
    }
    for (size_t at = 2 * size; at < memory.size(); ++at) EXPECT_EQ(memory[at], 0xee);
  }
}

TEST_F(EventsTest, ArgumentsThatAreNoneAreRefused) {
  lever_event event;
  size_t count = 7;
  lever_queue* queue = events_.get();
  EXPECT_EQ(lever_queue_next(queue, nullptr, sizeof(event), 1, 0, &count), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(count, 0u) << "it is set always";
  EXPECT_EQ(lever_queue_next(queue, &event, 0, 1, 0, &count), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_queue_next(queue, &event, sizeof(event), 0, 0, &count), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_queue_next(queue, &event, sizeof(event), 1, 0, nullptr), LEVER_INVALID_ARGUMENT);
}

TEST_F(EventsTest, NoMoreThanTheCapacityIsHandedOutAndNothingIsLost) {
  std::vector<uint64_t> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(client_.Call("/any/thing"));
  while (events_.seen().size() < calls.size()) ASSERT_LE(events_.Fetch(-1, 3), 3u);
  for (size_t i = 0; i < calls.size(); ++i) EXPECT_EQ(events_.seen()[i].id, calls[i]);
}

TEST_F(EventsTest, APayloadIsValidUntilTheNextFetchAndWhatIsRetainedBeyondIt) {
  const std::string text(3000, 'x');
  const std::string payload = "\x91" + Packed(text);
  client_.Call("/any/thing", {.payload = payload});
  lever_event event;
  size_t count = 0;
  while (count == 0) {
    ASSERT_EQ(lever_queue_next(events_.get(), &event, sizeof(event), 1, -1, &count), LEVER_OK);
  }
  // Requests, and other functions than lever_queue_next(), leave it.
  client_.Call("/any/other", {.payload = "\x91\x01"});
  EXPECT_EQ(Join(event.slices, event.slice_count), payload);
  lever_retained retained{};
  ASSERT_EQ(lever_event_retain(events_.get(), &event, &retained), LEVER_OK);
  const lever_event stale = event;
  events_.Await(LEVER_EVENT_CALL_DONE);
  EXPECT_EQ(lever_event_retain(events_.get(), &stale, &retained), LEVER_INVALID_ARGUMENT)
      << "the event is gone, and the library knows";
  EXPECT_EQ(Join(retained.slices, retained.slice_count), payload);
  std::thread([&retained] { lever_retained_release(&retained); }).join();
  EXPECT_EQ(retained.opaque, nullptr);
  lever_retained_release(&retained);
  lever_retained_release(nullptr);
}

TEST_F(EventsTest, AWaitEndsWhenItsTimeIsOver) {
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(events_.Fetch(50'000'000), 0u);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(50));
}

TEST_F(EventsTest, ASignalHandlerInterruptsTheWait) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  struct sigaction before;
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  const pthread_t waiter = pthread_self();
  std::atomic<bool> returned{false};
  std::thread interrupter([&] {
    // Until it has hit the wait itself.
    while (!returned) {
      pthread_kill(waiter, SIGUSR1);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  EXPECT_EQ(events_.Fetch(-1), 0u);
  returned = true;
  interrupter.join();
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(EventsTest, OptionsOfALaterVersionAreRefusedUnlessTheyAreZero) {
  struct Larger {
    lever_queue_options options;
    uint64_t later;
  } larger{};
  larger.options.size = sizeof(larger);
  lever_queue* queue = nullptr;
  ASSERT_EQ(lever_queue_create(&larger.options, &queue, nullptr), LEVER_OK);
  EXPECT_EQ(lever_queue_destroy(queue), LEVER_OK);
  larger.later = 1;
  lever_error* error = nullptr;
  EXPECT_EQ(lever_queue_create(&larger.options, &queue, &error), LEVER_INVALID_ARGUMENT);
  EXPECT_NE(std::string(lever_error_message(error)).find("lever_queue_options"), std::string::npos);
  lever_error_destroy(error);
  // Those of an earlier one leave the rest at its default.
  larger.options.size = sizeof(size_t);
  larger.options.flush_explicitly = 1;
  ASSERT_EQ(lever_queue_create(&larger.options, &queue, nullptr), LEVER_OK);
  EXPECT_EQ(lever_queue_destroy(queue), LEVER_OK);
  larger.options.size = 0;
  EXPECT_EQ(lever_queue_create(&larger.options, &queue, nullptr), LEVER_INVALID_ARGUMENT);
  ASSERT_EQ(lever_queue_create(nullptr, &queue, nullptr), LEVER_OK);
  EXPECT_EQ(lever_queue_destroy(queue), LEVER_OK);
}

TEST(LogTest, LinesGoToTheSinkFromItsLevelOn) {
  struct Line {
    lever_log_level level;
    std::string text;
  };
  const auto sink = [](void* context, lever_log_level level, const char* line, size_t size) {
    static_cast<std::vector<Line>*>(context)->push_back({level, std::string(line, size)});
  };
  // A service whose drain has to cut a call off says so, as a warning.
  const auto cut_off = [] {
    Events events;
    lever_service_options options = Service::Options();
    options.name = "slow";
    options.drain_timeout_ns = 1;
    Service service(&events, options);
    service.Start();
    Client client(&events, service.listening());
    const uint64_t call = client.Call("/slow/echo");
    const uint64_t incoming = events.Await(LEVER_EVENT_INCOMING_CALL).id;
    ASSERT_EQ(lever_incoming_begin(events.get(), incoming), LEVER_OK);
    ASSERT_EQ(lever_service_drain(service.get()), LEVER_OK);
    const Event done = events.Await(LEVER_EVENT_CALL_DONE, call);
    EXPECT_EQ(done.status, LEVER_UNAVAILABLE);
    EXPECT_EQ(done.executed, LEVER_EXECUTED_UNKNOWN);
  };
  std::vector<Line> lines;
  lever_set_log_sink(sink, &lines, LEVER_LOG_WARNING);
  cut_off();
  lever_set_log_sink(sink, &lines, LEVER_LOG_ERROR);
  const size_t logged = lines.size();
  ASSERT_GE(logged, 1u);
  EXPECT_EQ(lines[0].level, LEVER_LOG_WARNING);
  EXPECT_NE(lines[0].text.find("echo"), std::string::npos) << lines[0].text;
  cut_off();
  EXPECT_EQ(lines.size(), logged);
  lever_set_log_sink(nullptr, nullptr, LEVER_LOG_DEBUG);
  cut_off();
  EXPECT_EQ(lines.size(), logged);
}

TEST(StatusTest, NamesAndTextsAreThoseOfTheList) {
  EXPECT_STREQ(lever_status_name(LEVER_NOT_FOUND), "NOT_FOUND");
  EXPECT_STREQ(lever_status_text(LEVER_WOULD_BLOCK), "would block");
  EXPECT_STREQ(lever_status_name(static_cast<lever_status>(1000)), "UNKNOWN");
  EXPECT_STREQ(lever_version(), "0.1.0");
}

}  // namespace
}  // namespace lever_test
