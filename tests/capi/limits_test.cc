// Limits: what is beyond one is refused at once, and what was accepted is not touched by it.
#include <atomic>
#include <optional>
#include <thread>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

lever_queue_options InFlightMax(uint32_t max) {
  lever_queue_options options{};
  options.in_flight_max = max;
  return options;
}

TEST(LimitsTest, MoreInFlightThanTheMaximumIsRefusedUntilOneHasEnded) {
  Events events(InFlightMax(3));
  Client client(&events, "");
  const uint64_t first = client.Call("/any/thing");
  const uint64_t stream = client.Open("/any/chan");
  const uint64_t second = client.Call("/any/thing");
  uint64_t id = 0;
  EXPECT_EQ(client.TryCall("/any/thing", {}, &id), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(client.TryOpen("/any/chan", {}, &id), LEVER_RESOURCE_EXHAUSTED);
  // A request that is refused for another reason takes no place.
  EXPECT_EQ(client.TryCall("no address", {}, &id), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(events.Await(LEVER_EVENT_CALL_DONE, first).status, LEVER_OK);
  EXPECT_EQ(events.Await(LEVER_EVENT_CALL_DONE, second).status, LEVER_OK);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(client.TryCall("no address", {}, &id), LEVER_INVALID_ARGUMENT);
  }
  EXPECT_EQ(client.TryCall("/any/thing", {}, &id), LEVER_OK);
  EXPECT_EQ(client.TryCall("/any/thing", {}, &id), LEVER_OK);
  EXPECT_EQ(client.TryCall("/any/thing", {}, &id), LEVER_RESOURCE_EXHAUSTED);
  ASSERT_EQ(lever_stream_cancel(events.get(), stream, LEVER_CANCELLED, nullptr, 0), LEVER_OK);
  EXPECT_EQ(events.Await(LEVER_EVENT_STREAM_END, stream).status, LEVER_CANCELLED);
}

TEST(LimitsTest, AnInstanceRefusesWhatIsBeyondItsMaximumUnexecuted) {
  Events service_events(InFlightMax(2));
  Events events;
  Service service(&service_events);
  service.Start();
  Client client(&events, service.listening());
  std::atomic<bool> stop{false};
  std::thread server([&] {
    while (!stop) service_events.Fetch(1'000'000);
  });
  // Retries would go on for a while: these have a deadline.
  const CallOptions options{.timeout_ns = 2'000'000'000};
  client.Call("/test/echo", options);
  client.Open("/test/echoChan", options);
  const uint64_t third = client.Call("/test/echo", options);
  const uint64_t fourth = client.Open("/test/echoChan", options);
  Event end = events.Await(LEVER_EVENT_CALL_DONE, third);
  EXPECT_EQ(end.status, LEVER_RESOURCE_EXHAUSTED) << end.message;
  EXPECT_EQ(end.executed, LEVER_EXECUTED_NO);
  end = events.Await(LEVER_EVENT_STREAM_END, fourth);
  EXPECT_EQ(end.status, LEVER_RESOURCE_EXHAUSTED) << end.message;
  EXPECT_EQ(end.executed, LEVER_EXECUTED_NO);
  stop = true;
  server.join();
  EXPECT_EQ(service_events.Count(LEVER_EVENT_INCOMING_CALL), 1u);
  EXPECT_EQ(service_events.Count(LEVER_EVENT_INCOMING_STREAM), 1u);
}

// A queue whose driver is held up inside the library, in the sink that is told of a call which a
// drain cuts off, so that requests of the test's thread wait until Open().
class HeldUpTest : public testing::Test {
 protected:
  explicit HeldUpTest(uint32_t mailbox_max = 0)
      : events_(MailboxMax(mailbox_max)), service_(&events_, CutsOff()), echo_(&events_, "") {
    service_.Start();
    client_.emplace(&events_, service_.listening());
  }
  ~HeldUpTest() override { Open(); }
  void HoldUp() {
    lever_set_log_sink(
        [](void* context, lever_log_level, const char*, size_t) {
          auto* self = static_cast<HeldUpTest*>(context);
          self->inside_ = true;
          while (!self->open_) std::this_thread::yield();
        },
        this, LEVER_LOG_WARNING);
    const uint64_t call = client_->Call("/test/echo");
    const uint64_t incoming = events_.Await(LEVER_EVENT_INCOMING_CALL).id;
    ASSERT_EQ(lever_incoming_begin(events_.get(), incoming), LEVER_OK);
    ASSERT_EQ(lever_service_drain(service_.get()), LEVER_OK);
    driver_ = std::thread([this, call] { events_.Await(LEVER_EVENT_CALL_DONE, call); });
    while (!inside_) std::this_thread::yield();
  }
  void Open() {
    open_ = true;
    if (driver_.joinable()) driver_.join();
    lever_set_log_sink(nullptr, nullptr, LEVER_LOG_DEBUG);
  }

  Events events_;
  Service service_;
  Client echo_;
  std::optional<Client> client_;

 private:
  static lever_queue_options MailboxMax(uint32_t max) {
    lever_queue_options options{};
    options.mailbox_max = max;
    return options;
  }
  static lever_service_options CutsOff() {
    lever_service_options options = Service::Options();
    options.drain_timeout_ns = 1;
    return options;
  }

  std::atomic<bool> inside_{false};
  std::atomic<bool> open_{false};
  std::thread driver_;
};

TEST(ServiceOptionsTest, ARuntimeIsOfAtMost128Bytes) {
  Events events;
  lever_service_options options = Service::Options();
  const std::string longer(129, 'x');
  options.runtime = longer.data();
  options.runtime_size = longer.size();
  lever_service* service = nullptr;
  EXPECT_EQ(lever_service_create(events.get(), &options, &service, nullptr),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(service, nullptr);
}

class SmallMailboxTest : public HeldUpTest {
 protected:
  SmallMailboxTest() : HeldUpTest(4) {}
};

TEST_F(SmallMailboxTest, MoreRequestsThanTheMailboxHoldsAreRefused) {
  HoldUp();
  std::vector<uint64_t> accepted;
  uint64_t id = 0;
  lever_status status;
  while ((status = echo_.TryCall("/any/thing", {}, &id)) == LEVER_OK) accepted.push_back(id);
  EXPECT_EQ(status, LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(accepted.size(), 4u);
  // What must not fail does not.
  EXPECT_EQ(lever_call_cancel(events_.get(), accepted.front()), LEVER_OK);
  Open();
  for (const uint64_t done : accepted) events_.Await(LEVER_EVENT_CALL_DONE, done);
  EXPECT_EQ(echo_.TryCall("/any/thing", {}, &id), LEVER_OK);
}

TEST_F(HeldUpTest, WhatOtherThreadsHavePostedForAStreamCountsAsQueued) {
  const uint64_t streams[] = {echo_.Open("/any/chan"), echo_.Open("/any/chan")};
  HoldUp();
  const std::string messages[] = {std::string(16 * 1024, 'a'), ""};
  // 256 KiB; an empty message counts as 64 bytes.
  const int expected[] = {16, 4096};
  for (int i = 0; i < 2; ++i) {
    const lever_slice slice = SliceOf(messages[i]);
    int written = 0;
    lever_status status;
    while ((status = lever_stream_write(events_.get(), streams[i], LEVER_KIND_RAW, &slice, 1)) ==
               LEVER_OK &&
           written < 10'000) {
      ++written;
    }
    EXPECT_EQ(status, LEVER_WOULD_BLOCK);
    EXPECT_EQ(written, expected[i]);
  }
  Open();
  // Nothing is lost of what was accepted; once it is read there is room, which is told once.
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(lever_stream_read(events_.get(), streams[i], 10'000, 0), LEVER_OK);
    for (int n = 0; n < expected[i]; ++n) {
      ASSERT_EQ(events_.Await(LEVER_EVENT_STREAM_MESSAGE, streams[i]).payload, messages[i]);
    }
    events_.Await(LEVER_EVENT_WRITABLE, streams[i]);
  }
  EXPECT_EQ(events_.Count(LEVER_EVENT_WRITABLE), 0u);
}

TEST(LimitsTest, AMessageAboveTheClientsLimitEndsTheCallThatGetsIt) {
  Events events;
  Service service(&events);
  service.Start();
  const std::string host = service.listening();
  lever_client_options options{};
  options.size = sizeof(options);
  options.host = host.c_str();
  options.host_size = LEVER_NUL_TERMINATED;
  options.message_bytes_max = 1000;
  lever_client* client = nullptr;
  ASSERT_EQ(lever_client_create(events.get(), &options, &client, nullptr), LEVER_OK);
  const lever_slice arguments = SliceOf(kNoArguments);
  lever_call_options call_options{};
  call_options.size = sizeof(call_options);
  call_options.address = "/test/echo";
  call_options.address_size = LEVER_NUL_TERMINATED;
  call_options.kind = LEVER_KIND_VALUE;
  call_options.slices = &arguments;
  call_options.slice_count = 1;
  uint64_t call = 0;
  ASSERT_EQ(lever_call_start(client, &call_options, &call, nullptr), LEVER_OK);
  const uint64_t incoming = events.Await(LEVER_EVENT_INCOMING_CALL).id;
  ASSERT_EQ(lever_incoming_begin(events.get(), incoming), LEVER_OK);
  const std::string large = Packed(std::string(2000, 'a'));
  const lever_slice reply = SliceOf(large);
  ASSERT_EQ(lever_incoming_reply(events.get(), incoming, LEVER_KIND_VALUE, &reply, 1, nullptr, 0),
            LEVER_OK);
  const Event done = events.Await(LEVER_EVENT_CALL_DONE, call);
  EXPECT_EQ(done.status, LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(done.executed, LEVER_EXECUTED_UNKNOWN);
  ASSERT_EQ(lever_client_close(client), LEVER_OK);
  events.Await(LEVER_EVENT_CLOSED);
  EXPECT_EQ(lever_client_destroy(client), LEVER_OK);
}

}  // namespace
}  // namespace lever_test
