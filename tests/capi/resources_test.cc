// Resources of services, as programs see them. The services are in_process: everything is theirs.
#include <atomic>
#include <thread>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

class ResourcesTest : public testing::Test {
 protected:
  explicit ResourcesTest(uint32_t concurrency_max = 0) : service_(&events_, InProcess("shop")) {
    lever_resource_options options{};
    options.size = sizeof(options);
    options.concurrency_max = concurrency_max;
    EXPECT_EQ(lever_service_set_resource(service_.get(), &options, nullptr), LEVER_OK);
    EXPECT_EQ(Add("add"), LEVER_OK);
    EXPECT_EQ(Add("watchChan"), LEVER_OK);
    service_.Start();
    client_.emplace(&events_, InProcessClient());
  }

  lever_status Add(const char* name) {
    return lever_service_add_resource_method(service_.get(), name, LEVER_NUL_TERMINATED,
                                             const_cast<char*>(name));
  }
  lever_status Opened(uint64_t resource, lever_status status = LEVER_OK,
                      const char* message = nullptr) {
    return lever_resource_opened(service_.get(), resource, status, message, LEVER_NUL_TERMINATED);
  }
  lever_status Closed(uint64_t resource, lever_status status = LEVER_OK,
                      int32_t kind = LEVER_KIND_NONE, std::string_view state = {}) {
    const lever_slice slice = SliceOf(state);
    return lever_resource_closed(service_.get(), resource, status, kind, &slice,
                                 state.empty() ? 0 : 1);
  }
  lever_status Reply(uint64_t incoming) {
    const lever_slice slice = SliceOf(kNoArguments);
    return lever_incoming_reply(events_.get(), incoming, LEVER_KIND_VALUE, &slice, 1, nullptr, 0);
  }
  // Calls the cart, has it opened, and begins the call: the caller's id, and the incoming one.
  std::pair<uint64_t, Event> OpenCart() {
    const uint64_t call = client_->Call("/shop/cart/add");
    const Event open = events_.Await(LEVER_EVENT_RESOURCE_OPEN);
    EXPECT_EQ(Opened(open.resource), LEVER_OK);
    Event incoming = events_.Await(LEVER_EVENT_INCOMING_CALL);
    EXPECT_EQ(incoming.resource, open.resource);
    EXPECT_EQ(lever_incoming_begin(events_.get(), incoming.id), LEVER_OK);
    return {call, incoming};
  }

  Events events_;
  Service service_;
  std::optional<Client> client_;
};

TEST_F(ResourcesTest, IsOpenedBeforeItsFirstCallAndTellsItsNameAndToken) {
  const uint64_t call = client_->Call("/shop/na%C3%AFve%20cart/add");
  const Event open = events_.Await(LEVER_EVENT_RESOURCE_OPEN);
  EXPECT_EQ(open.object, service_.get());
  EXPECT_EQ(open.resource_name, "na\xc3\xafve cart");
  EXPECT_EQ(open.origin, LEVER_RESOURCE_NEW);
  EXPECT_EQ(open.kind, LEVER_KIND_NONE);
  EXPECT_NE(open.resource, 0u);
  EXPECT_GT(open.generation, 0u);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_INCOMING_CALL), 0u);
  EXPECT_EQ(Opened(open.resource), LEVER_OK);
  const Event incoming = events_.Await(LEVER_EVENT_INCOMING_CALL);
  EXPECT_EQ(incoming.resource, open.resource);
  EXPECT_EQ(incoming.generation, open.generation);
  EXPECT_STREQ(static_cast<const char*>(incoming.method), "add");
  EXPECT_EQ(lever_incoming_begin(events_.get(), incoming.id), LEVER_OK);
  EXPECT_EQ(Reply(incoming.id), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
  // Calls of the service itself are of no resource.
  client_->Call("/shop/echo");
  const Event plain = events_.Await(LEVER_EVENT_INCOMING_CALL);
  EXPECT_EQ(plain.resource, 0u);
  EXPECT_EQ(plain.generation, 0u);
}

TEST_F(ResourcesTest, AStreamOfAResourceRuns) {
  CallOptions credit;
  credit.read_messages = 10;
  credit.read_bytes = 1000;
  const uint64_t stream = client_->Open("/shop/cart/watchChan", credit);
  const Event open = events_.Await(LEVER_EVENT_RESOURCE_OPEN);
  EXPECT_EQ(Opened(open.resource), LEVER_OK);
  const Event incoming = events_.Await(LEVER_EVENT_INCOMING_STREAM);
  EXPECT_EQ(incoming.resource, open.resource);
  EXPECT_EQ(lever_incoming_begin(events_.get(), incoming.id), LEVER_OK);
  const lever_slice slice = SliceOf("\x05");
  EXPECT_EQ(lever_stream_write(events_.get(), incoming.id, LEVER_KIND_VALUE, &slice, 1), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_MESSAGE, stream).payload, "\x05");
  EXPECT_EQ(lever_stream_close_send(events_.get(), incoming.id), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, stream).status, LEVER_OK);
}

TEST_F(ResourcesTest, OneThatCannotBeOpenedIsSaidUnexecutedAndTriedAgain) {
  const uint64_t call = client_->Call("/shop/cart/add");
  const Event open = events_.Await(LEVER_EVENT_RESOURCE_OPEN);
  EXPECT_EQ(Opened(open.resource, LEVER_NOT_FOUND, "no such cart"), LEVER_OK);
  const Event done = events_.Await(LEVER_EVENT_CALL_DONE, call);
  EXPECT_EQ(done.status, LEVER_NOT_FOUND);
  EXPECT_EQ(done.message, "no such cart");
  EXPECT_EQ(done.executed, LEVER_EXECUTED_NO);
  EXPECT_EQ(Opened(open.resource), LEVER_INVALID_ARGUMENT) << "that is over";
  EXPECT_EQ(Closed(open.resource), LEVER_INVALID_ARGUMENT);
  client_->Call("/shop/cart/add");
  EXPECT_NE(events_.Await(LEVER_EVENT_RESOURCE_OPEN).resource, open.resource);
}

TEST_F(ResourcesTest, AnswersAtWrongTimesAreRefused) {
  EXPECT_EQ(Opened(0), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Opened(77), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Closed(77), LEVER_INVALID_ARGUMENT);
  client_->Call("/shop/cart/add");
  const Event open = events_.Await(LEVER_EVENT_RESOURCE_OPEN);
  EXPECT_EQ(Closed(open.resource), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Opened(open.resource, static_cast<lever_status>(99)), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Opened(open.resource), LEVER_OK);
  EXPECT_EQ(Opened(open.resource), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Closed(open.resource), LEVER_INVALID_ARGUMENT) << "it is not being closed";
  EXPECT_EQ(lever_resource_opened(nullptr, 1, LEVER_OK, nullptr, 0), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_resource_closed(nullptr, 1, LEVER_OK, 0, nullptr, 0), LEVER_INVALID_ARGUMENT);
}

TEST_F(ResourcesTest, IsSetUpOnceAndBeforeTheStart) {
  lever_error* error = nullptr;
  EXPECT_EQ(lever_service_set_resource(service_.get(), nullptr, &error), LEVER_FAILED_PRECONDITION);
  lever_error_destroy(error);
  EXPECT_EQ(Add("later"), LEVER_FAILED_PRECONDITION);
  lever_service_options options = InProcess("shop");
  options.name = "other";
  Service other(&events_, options);
  EXPECT_EQ(lever_service_add_resource_method(other.get(), "add", 3, nullptr),
            LEVER_FAILED_PRECONDITION);
  lever_resource_options wrong{};
  wrong.size = sizeof(wrong);
  wrong.idle_timeout_ns = -1;
  EXPECT_EQ(lever_service_set_resource(other.get(), &wrong, nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_service_set_resource(other.get(), nullptr, nullptr), LEVER_OK);
  EXPECT_EQ(lever_service_set_resource(other.get(), nullptr, nullptr), LEVER_FAILED_PRECONDITION);
  // The methods of resources have names of their own.
  EXPECT_EQ(lever_service_add_resource_method(other.get(), "echo", 4, nullptr), LEVER_OK);
  EXPECT_EQ(lever_service_add_resource_method(other.get(), "echo", 4, nullptr), LEVER_ALREADY_EXISTS);
  EXPECT_EQ(lever_service_add_resource_method(other.get(), "9lives", 6, nullptr),
            LEVER_INVALID_ARGUMENT);
}

TEST_F(ResourcesTest, ADrainClosesWhatIsOpenAsStopping) {
  const auto [call, incoming] = OpenCart();
  EXPECT_EQ(lever_service_drain(service_.get()), LEVER_OK);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_RESOURCE_CLOSE), 0u) << "a call runs";
  EXPECT_EQ(Reply(incoming.id), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
  const Event close = events_.Await(LEVER_EVENT_RESOURCE_CLOSE);
  EXPECT_EQ(close.resource, incoming.resource);
  EXPECT_EQ(close.close_reason, LEVER_CLOSE_STOPPING);
  EXPECT_EQ(close.object, service_.get());
  // A broken answer is none.
  EXPECT_EQ(Closed(close.resource, LEVER_OK, LEVER_KIND_VALUE, "\xc1"), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Closed(close.resource, LEVER_OK, LEVER_KIND_ERROR_VALUE, "\x05"), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Closed(close.resource, LEVER_OK, LEVER_KIND_VALUE, "\x05"), LEVER_OK);
  EXPECT_EQ(Closed(close.resource), LEVER_INVALID_ARGUMENT);
  events_.Await([](const Event& event) { return event.service_state == LEVER_SERVICE_DRAINED; });
}

TEST_F(ResourcesTest, AServiceThatIsClosedHasNothingToSayOfItsResources) {
  const auto [call, incoming] = OpenCart();
  const uint64_t waiting = client_->Call("/shop/hat/add");
  const Event open = events_.Await(LEVER_EVENT_RESOURCE_OPEN);
  service_.Close();
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).executed, LEVER_EXECUTED_UNKNOWN);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, waiting).executed, LEVER_EXECUTED_NO);
  EXPECT_EQ(Opened(open.resource), LEVER_CANCELLED);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_RESOURCE_CLOSE), 0u);
}

TEST_F(ResourcesTest, BeginsAndAnswersOnOtherThreads) {
  constexpr int kCalls = 200;
  std::atomic<int> begun{0};
  std::vector<std::thread> threads;
  std::vector<uint64_t> calls;
  for (int i = 0; i < kCalls; ++i) {
    calls.push_back(client_->Call("/shop/cart" + std::to_string(i % 10) + "/add"));
  }
  const auto until = std::chrono::steady_clock::now() + kLimit;
  for (int handled = 0; handled < kCalls && std::chrono::steady_clock::now() < until;) {
    lever_event events[16];
    size_t count = 0;
    ASSERT_EQ(lever_queue_next(events_.get(), events, sizeof(lever_event), 16, 10'000'000, &count),
              LEVER_OK);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t id = events[i].id;
      const uint64_t resource = events[i].resource;
      if (events[i].type == LEVER_EVENT_RESOURCE_OPEN) {
        threads.emplace_back([this, resource] { EXPECT_EQ(Opened(resource), LEVER_OK); });
      } else if (events[i].type == LEVER_EVENT_INCOMING_CALL) {
        threads.emplace_back([this, id, &begun] {
          EXPECT_EQ(lever_incoming_begin(events_.get(), id), LEVER_OK);
          ++begun;
          EXPECT_EQ(Reply(id), LEVER_OK);
        });
      } else if (events[i].type == LEVER_EVENT_CALL_DONE) {
        EXPECT_EQ(events[i].status, LEVER_OK);
        ++handled;
      }
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(begun.load(), kCalls);
}

// While a thread drives, what others begin is checked against the grants that they can see.
TEST_F(ResourcesTest, AfterADrainNothingBeginsOnAnotherThreadEither) {
  const uint64_t call = client_->Call("/shop/cart/add");
  EXPECT_EQ(Opened(events_.Await(LEVER_EVENT_RESOURCE_OPEN).resource), LEVER_OK);
  const Event incoming = events_.Await(LEVER_EVENT_INCOMING_CALL);
  // The release comes with the drain, long before new requests are refused.
  EXPECT_EQ(lever_service_drain(service_.get()), LEVER_OK);
  std::atomic<bool> stop{false};
  std::thread driver([&] {
    while (!stop.load()) events_.Fetch(1'000'000'000);
  });
  EXPECT_EQ(lever_incoming_begin(events_.get(), incoming.id), LEVER_REFUSED);
  stop.store(true);
  lever_queue_wake(events_.get());
  driver.join();
  const Event done = events_.Await(LEVER_EVENT_CALL_DONE, call);
  EXPECT_EQ(done.executed, LEVER_EXECUTED_NO);
  const Event close = events_.Await(LEVER_EVENT_RESOURCE_CLOSE);
  EXPECT_EQ(close.close_reason, LEVER_CLOSE_STOPPING);
  EXPECT_EQ(Closed(close.resource), LEVER_OK);
  events_.Await([](const Event& event) { return event.service_state == LEVER_SERVICE_DRAINED; });
}

class SerialTest : public ResourcesTest {
 protected:
  SerialTest() : ResourcesTest(1) {}
};

TEST_F(SerialTest, CallsComeOneAfterTheOther) {
  const auto [first, running] = OpenCart();
  const uint64_t second = client_->Call("/shop/cart/add");
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_INCOMING_CALL), 0u);
  EXPECT_EQ(Reply(running.id), LEVER_OK);
  const Event next = events_.Await(LEVER_EVENT_INCOMING_CALL);
  EXPECT_EQ(next.resource, running.resource);
  EXPECT_EQ(lever_incoming_begin(events_.get(), next.id), LEVER_OK);
  EXPECT_EQ(Reply(next.id), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, first).status, LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, second).status, LEVER_OK);
}

TEST_F(ResourcesTest, WhatIsIdleIsClosedAndOpenedAgainForTheNextCall) {
  const auto [call, incoming] = OpenCart();
  EXPECT_EQ(Reply(incoming.id), LEVER_OK);
  events_.Await(LEVER_EVENT_CALL_DONE, call);
  constexpr int64_t kSecond = 1'000'000'000;
  ASSERT_EQ(lever_queue_hold_time(events_.get()), LEVER_OK);
  ASSERT_EQ(lever_queue_advance_time(events_.get(), 170 * kSecond), LEVER_OK);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_RESOURCE_CLOSE), 0u);
  ASSERT_EQ(lever_queue_advance_time(events_.get(), 10 * kSecond), LEVER_OK);
  const Event close = events_.Await(LEVER_EVENT_RESOURCE_CLOSE);
  EXPECT_EQ(close.resource, incoming.resource);
  EXPECT_EQ(close.close_reason, LEVER_CLOSE_IDLE);
  const uint64_t next = client_->Call("/shop/cart/add");
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_RESOURCE_OPEN), 0u) << "it is being closed";
  EXPECT_EQ(Closed(close.resource, LEVER_OK, LEVER_KIND_RAW, "dropped"), LEVER_OK);
  const Event open = events_.Await(LEVER_EVENT_RESOURCE_OPEN);
  EXPECT_NE(open.resource, close.resource);
  EXPECT_EQ(open.origin, LEVER_RESOURCE_NEW);
  EXPECT_EQ(open.payload, "");
  EXPECT_EQ(Opened(open.resource), LEVER_OK);
  const Event again = events_.Await(LEVER_EVENT_INCOMING_CALL);
  EXPECT_EQ(lever_incoming_begin(events_.get(), again.id), LEVER_OK);
  EXPECT_EQ(Reply(again.id), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, next).status, LEVER_OK);
}

}  // namespace
}  // namespace lever_test
