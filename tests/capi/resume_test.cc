// Streams of resources that move, as programs see them. Two services of one name, one after the other,
// stand for two instances: the first is drained, the second starts.
#include <atomic>
#include <thread>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

class ResumeTest : public testing::Test {
 protected:
  ResumeTest() {
    StartService();
    client_.emplace(&events_, InProcessClient());
  }

  Service& StartService() {
    Service& service = services_.emplace_back(&events_, InProcess("shop"));
    lever_resource_options options{};
    options.size = sizeof(options);
    options.resumes = 1;
    EXPECT_EQ(lever_service_set_resource(service.get(), &options, nullptr), LEVER_OK);
    for (const char* name : {"add", "watchChan"}) {
      EXPECT_EQ(lever_service_add_resource_method(service.get(), name, LEVER_NUL_TERMINATED,
                                                  const_cast<char*>(name)),
                LEVER_OK);
    }
    service.Start();
    return service;
  }
  // The stream that comes in at the newest service, not begun.
  Event AwaitStream() {
    const Event open = events_.Await(LEVER_EVENT_RESOURCE_OPEN);
    EXPECT_EQ(lever_resource_opened(services_.back().get(), open.resource, LEVER_OK, nullptr, 0),
              LEVER_OK);
    return events_.Await(LEVER_EVENT_INCOMING_STREAM);
  }
  static CallOptions Credit(uint64_t messages = 100) {
    CallOptions options;
    options.read_messages = messages;
    return options;
  }
  // A stream of ours and the incoming one, begun, with a window of ten messages.
  std::pair<uint64_t, uint64_t> Open() {
    const uint64_t ours = client_->Open("/shop/cart/watchChan", Credit());
    const Event incoming = AwaitStream();
    EXPECT_FALSE(incoming.resumed);
    Begin(incoming.id);
    return {ours, incoming.id};
  }
  void Begin(uint64_t incoming) {
    EXPECT_EQ(lever_incoming_begin(events_.get(), incoming), LEVER_OK);
    EXPECT_EQ(lever_stream_read(events_.get(), incoming, 10, 0), LEVER_OK);
  }
  lever_status Write(uint64_t stream, std::string_view payload) {
    const lever_slice slice = SliceOf(payload);
    return lever_stream_write(events_.get(), stream, LEVER_KIND_RAW, &slice, 1);
  }
  lever_status WriteResumable(uint64_t stream, std::string_view payload, std::string_view token) {
    const lever_slice slice = SliceOf(payload);
    return lever_stream_write_resumable(events_.get(), stream, LEVER_KIND_RAW, &slice, 1,
                                        token.data(), token.size());
  }
  lever_status Moved(uint64_t stream, uint64_t unread = 0) {
    return lever_stream_moved(events_.get(), stream, unread);
  }
  void Drain() { EXPECT_EQ(lever_service_drain(services_.front().get()), LEVER_OK); }
  // With another service to go on at.
  void Replace() {
    Drain();
    StartService();
  }
  std::string Message(uint64_t stream) {
    return events_.Await(LEVER_EVENT_STREAM_MESSAGE, stream).payload;
  }
  void CloseResource() {
    const Event close = events_.Await(LEVER_EVENT_RESOURCE_CLOSE);
    EXPECT_EQ(close.object, services_.front().get());
    EXPECT_EQ(lever_resource_closed(services_.front().get(), close.resource, LEVER_OK,
                                    LEVER_KIND_NONE, nullptr, 0),
              LEVER_OK);
  }

  Events events_;
  std::deque<Service> services_;
  std::optional<Client> client_;
};

TEST_F(ResumeTest, AStreamGoesOnAtTheNextServiceWithoutLoss) {
  const auto [ours, first] = Open();
  EXPECT_EQ(WriteResumable(first, "x", "token"), LEVER_OK);
  EXPECT_EQ(Message(ours), "x");
  EXPECT_EQ(Write(ours, "1"), LEVER_OK);
  EXPECT_EQ(Write(ours, "2"), LEVER_OK);
  EXPECT_EQ(Message(first), "1");
  EXPECT_EQ(Message(first), "2");
  Replace();
  const Event moving = events_.Await(LEVER_EVENT_STREAM_MOVING);
  EXPECT_EQ(moving.id, first);
  EXPECT_EQ(Write(ours, "3"), LEVER_OK);
  EXPECT_EQ(Write(first, "y"), LEVER_OK);
  EXPECT_EQ(Message(ours), "y");
  EXPECT_EQ(Moved(first, 1), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, first).status, LEVER_OK);
  const Event resumed = AwaitStream();
  EXPECT_TRUE(resumed.resumed);
  EXPECT_EQ(resumed.resume_token, "token");
  EXPECT_EQ(resumed.resume_received, 2u);
  EXPECT_EQ(resumed.payload, kNoArguments);
  Begin(resumed.id);
  EXPECT_EQ(Message(resumed.id), "2");
  EXPECT_EQ(Message(resumed.id), "3");
  EXPECT_EQ(lever_stream_close_send(events_.get(), ours), LEVER_OK);
  events_.Await(LEVER_EVENT_STREAM_HALF_CLOSED, resumed.id);
  EXPECT_EQ(Write(resumed.id, "z"), LEVER_OK);
  EXPECT_EQ(lever_stream_close_send(events_.get(), resumed.id), LEVER_OK);
  EXPECT_EQ(Message(ours), "z");
  const Event end = events_.Await(LEVER_EVENT_STREAM_END, ours);
  EXPECT_EQ(end.status, LEVER_OK);
  EXPECT_TRUE(end.resumed);
  EXPECT_EQ(end.resume_token, "token");
  EXPECT_EQ(end.resume_received, 3u);
  CloseResource();
  events_.Await([](const Event& event) { return event.service_state == LEVER_SERVICE_DRAINED; });
}

TEST_F(ResumeTest, MovedIsSaidOnceAndOnlyWhileItMoves) {
  const auto [ours, incoming] = Open();
  EXPECT_EQ(Moved(incoming), LEVER_FAILED_PRECONDITION) << "it does not move";
  EXPECT_EQ(Moved(ours), LEVER_FAILED_PRECONDITION) << "it is the caller's side";
  EXPECT_EQ(Moved(0), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Moved(incoming + (uint64_t{1} << 32)), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_moved(nullptr, incoming, 0), LEVER_INVALID_ARGUMENT);
  Drain();
  events_.Await(LEVER_EVENT_STREAM_MOVING, incoming);
  EXPECT_EQ(Moved(incoming, UINT64_MAX), LEVER_OK);
  EXPECT_NE(Moved(incoming), LEVER_OK) << "it was said already";
  EXPECT_NE(Write(incoming, "x"), LEVER_OK);
  events_.Await(LEVER_EVENT_STREAM_END, incoming);
  EXPECT_EQ(Moved(incoming), LEVER_INVALID_ARGUMENT);
  // There is no other to go on at.
  const Event end = events_.Await(LEVER_EVENT_STREAM_END, ours);
  EXPECT_NE(end.status, LEVER_OK);
  EXPECT_EQ(end.executed, LEVER_EXECUTED_UNKNOWN) << "it ran before";
  EXPECT_TRUE(end.resumed);
}

TEST_F(ResumeTest, AMethodMayEndItselfInstead) {
  const auto [ours, incoming] = Open();
  Drain();
  events_.Await(LEVER_EVENT_STREAM_MOVING, incoming);
  EXPECT_EQ(lever_stream_close_send(events_.get(), incoming), LEVER_OK);
  EXPECT_EQ(Moved(incoming), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, ours).status, LEVER_OK);
  CloseResource();
}

TEST_F(ResumeTest, TokensAreOfIncomingStreamsAndBounded) {
  const auto [ours, incoming] = Open();
  EXPECT_EQ(WriteResumable(ours, "x", "token"), LEVER_INVALID_ARGUMENT);
  const std::string most(LEVER_RESUME_TOKEN_MAX, 't');
  EXPECT_EQ(WriteResumable(incoming, "x", most + "t"), LEVER_INVALID_ARGUMENT);
  const lever_slice slice = SliceOf("x");
  EXPECT_EQ(lever_stream_write_resumable(events_.get(), incoming, LEVER_KIND_RAW, &slice, 1, nullptr,
                                         LEVER_NUL_TERMINATED),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_write_resumable(events_.get(), incoming, LEVER_KIND_ERROR_RAW, &slice, 1,
                                         "t", 1),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(WriteResumable(incoming, "x", most), LEVER_OK);
  EXPECT_EQ(Message(ours), "x");
  EXPECT_EQ(lever_stream_fail(events_.get(), incoming, LEVER_KIND_ERROR_RAW, &slice, 1), LEVER_OK);
  const Event end = events_.Await(LEVER_EVENT_STREAM_END, ours);
  EXPECT_EQ(end.status, LEVER_METHOD_ERROR);
  EXPECT_EQ(end.resume_token, most);
  EXPECT_EQ(end.resume_received, 1u);
}

TEST_F(ResumeTest, AnEndedStreamIsTakenUpByItsProgram) {
  CallOptions options = Credit();
  options.flags = LEVER_CALL_RESUME;
  options.resume_token = std::string("to\0ken", 6);
  options.resume_received = 41;
  const uint64_t ours = client_->Open("/shop/cart/watchChan", options);
  const Event incoming = AwaitStream();
  EXPECT_TRUE(incoming.resumed);
  EXPECT_EQ(incoming.resume_token, options.resume_token);
  EXPECT_EQ(incoming.resume_received, 41u);
  Begin(incoming.id);
  EXPECT_EQ(Write(incoming.id, "x"), LEVER_OK);
  EXPECT_EQ(Message(ours), "x");
  EXPECT_EQ(lever_stream_cancel(events_.get(), incoming.id, LEVER_ABORTED, "no", 2), LEVER_OK);
  const Event end = events_.Await(LEVER_EVENT_STREAM_END, ours);
  EXPECT_EQ(end.status, LEVER_ABORTED);
  EXPECT_TRUE(end.resumed);
  EXPECT_EQ(end.resume_received, 42u);
}

TEST_F(ResumeTest, OnlyStreamsOfResourcesAreTakenUp) {
  CallOptions options = Credit();
  options.flags = LEVER_CALL_RESUME;
  uint64_t id = 0;
  EXPECT_EQ(client_->TryCall("/shop/cart/add", options, &id), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(client_->TryOpen("/shop/echoChan", options, &id), LEVER_INVALID_ARGUMENT);
  options.resume_token.assign(LEVER_RESUME_TOKEN_MAX + 1, 't');
  EXPECT_EQ(client_->TryOpen("/shop/cart/watchChan", options, &id), LEVER_INVALID_ARGUMENT);
  // Without the flag the point says nothing.
  options.flags = 0;
  client_->Open("/shop/cart/watchChan", options);
  EXPECT_FALSE(AwaitStream().resumed);
}

TEST_F(ResumeTest, StreamsThatCannotBeResumedHaveNoPoint) {
  const uint64_t ours = client_->Open("/shop/echoChan", Credit());
  const uint64_t theirs = events_.Await(LEVER_EVENT_INCOMING_STREAM).id;
  EXPECT_EQ(lever_incoming_begin(events_.get(), theirs), LEVER_OK);
  EXPECT_EQ(WriteResumable(theirs, "x", "token"), LEVER_OK) << "the token goes nowhere";
  EXPECT_EQ(Message(ours), "x");
  EXPECT_EQ(lever_stream_close_send(events_.get(), theirs), LEVER_OK);
  const Event end = events_.Await(LEVER_EVENT_STREAM_END, ours);
  EXPECT_EQ(end.status, LEVER_OK);
  EXPECT_FALSE(end.resumed);
  EXPECT_EQ(end.resume_token, "");
}

TEST_F(ResumeTest, ResumesIsZeroOrOne) {
  lever_service_options options = InProcess("shop");
  options.name = "other";
  Service other(&events_, options);
  lever_resource_options wrong{};
  wrong.size = sizeof(wrong);
  wrong.resumes = 2;
  EXPECT_EQ(lever_service_set_resource(other.get(), &wrong, nullptr), LEVER_INVALID_ARGUMENT);
}

// While another thread drives, as with a binding's worker threads.
TEST_F(ResumeTest, MovesFromOtherThreadsAsWell) {
  constexpr int kStreams = 20;
  std::vector<uint64_t> ours, theirs;
  for (int i = 0; i < kStreams; ++i) {
    const std::string address = "/shop/cart" + std::to_string(i) + "/watchChan";
    ours.push_back(client_->Open(address, Credit()));
    theirs.push_back(AwaitStream().id);
  }
  std::atomic<bool> stop{false};
  std::thread driver([&] {
    while (!stop.load()) events_.Fetch(1'000'000'000);
  });
  std::vector<std::thread> threads;
  for (const uint64_t id : theirs) {
    threads.emplace_back([this, id] {
      Begin(id);
      EXPECT_EQ(WriteResumable(id, "x", "token"), LEVER_OK);
    });
  }
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  Replace();
  for (const uint64_t id : theirs) {
    threads.emplace_back([this, id] {
      const auto until = std::chrono::steady_clock::now() + kLimit;
      lever_status moved = LEVER_FAILED_PRECONDITION;
      while (moved == LEVER_FAILED_PRECONDITION && std::chrono::steady_clock::now() < until) {
        moved = Moved(id);
        std::this_thread::yield();
      }
      EXPECT_EQ(moved, LEVER_OK);
    });
  }
  for (std::thread& thread : threads) thread.join();
  stop.store(true);
  lever_queue_wake(events_.get());
  driver.join();
  for (int i = 0; i < kStreams; ++i) {
    const Event resumed = AwaitStream();
    EXPECT_TRUE(resumed.resumed);
    EXPECT_EQ(resumed.resume_token, "token");
    EXPECT_EQ(resumed.resume_received, 1u);
  }
  for (const uint64_t id : ours) EXPECT_EQ(Message(id), "x");
}

}  // namespace
}  // namespace lever_test
