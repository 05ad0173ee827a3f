// The queue's descriptor under the pollers that event loops use: whenever no function of the queue
// is running, it is readable if and only if lever_queue_next() with a timeout of 0 would do
// something.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

bool Readable(lever_queue* queue, int timeout_ms = 0) {
  pollfd polled{lever_queue_fd(queue), POLLIN, 0};
  return poll(&polled, 1, timeout_ms) == 1;
}

lever_queue_options OneEventATurn() {
  lever_queue_options options{};
  options.events_per_turn = 1;
  return options;
}

// Both sides are on one queue, which handles one descriptor a turn.
class PollerTest : public CapiTest {
 protected:
  PollerTest() : CapiTest(OneEventATurn()) {
    // What starting has brought.
    EXPECT_TRUE(FallsQuiet());
  }
  // Fetches until the descriptor has said for a while that there is nothing to do. False: it never did.
  // The service's attempts to reach its host come back every now and then, so that a look at one
  // moment may fall on one of them.
  bool FallsQuiet() {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    do {
      while (Readable(queue())) {
        events_.Fetch(0, 1);
        if (std::chrono::steady_clock::now() >= until) return false;
      }
    } while (Readable(queue(), 20));
    return true;
  }
  // Echoes a call that has come in.
  void Serve() {
    for (const Event& event : std::deque<Event>(events_.seen())) {
      if (event.type != LEVER_EVENT_INCOMING_CALL) continue;
      const Event call = events_.Await(LEVER_EVENT_INCOMING_CALL, event.id);
      ASSERT_EQ(lever_incoming_begin(queue(), call.id), LEVER_OK);
      ASSERT_EQ(Reply(call.id, call.payload), LEVER_OK);
    }
  }
  size_t Done() const { return events_.Count(LEVER_EVENT_CALL_DONE); }
};

// Makes `count` calls at once, and has `wait` wait for the descriptor and fetch what it likes.
template <typename Wait>
void RunCalls(Client& client, int count, const std::function<size_t()>& done, Wait wait) {
  for (int i = 0; i < count; ++i) client.Call("/test/echo", {.payload = "\x91\x01"});
  const auto until = std::chrono::steady_clock::now() + kLimit;
  while (done() < static_cast<size_t>(count)) {
    wait();
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "a wake-up was lost";
  }
}

TEST_F(PollerTest, TheDescriptorIsNonBlockingAndNotInherited) {
  EXPECT_TRUE(fcntl(lever_queue_fd(queue()), F_GETFL) & O_NONBLOCK);
  EXPECT_TRUE(fcntl(lever_queue_fd(queue()), F_GETFD) & FD_CLOEXEC);
}

TEST_F(PollerTest, PollWakesForEachEvent) {
  RunCalls(
      *client_, 100, [this] { return Done(); },
      [this] {
        ASSERT_TRUE(Readable(queue(), 20'000));
        events_.Fetch(0, 1);
        Serve();
      });
}

TEST_F(PollerTest, LevelTriggeredEpollWakesForEachEvent) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = EPOLLIN, .data = {}};
  ASSERT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, lever_queue_fd(queue()), &event), 0);
  RunCalls(
      *client_, 100, [this] { return Done(); },
      [&] {
        ASSERT_EQ(epoll_wait(epoll, &event, 1, 20'000), 1);
        events_.Fetch(0, 1);
        Serve();
      });
  EXPECT_TRUE(FallsQuiet());
  close(epoll);
}

// Whoever is told edges fetches until nothing comes before he waits again.
TEST_F(PollerTest, EdgeTriggeredEpollWakesWhenSomethingNewIsThere) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
  ASSERT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, lever_queue_fd(queue()), &event), 0);
  RunCalls(
      *client_, 100, [this] { return Done(); },
      [&] {
        ASSERT_EQ(epoll_wait(epoll, &event, 1, 20'000), 1);
        // With one descriptor a turn a turn without an event does not mean that nothing is left:
        // the descriptor is readable still, and tells so with a new edge.
        while (events_.Fetch(0, 1) > 0) Serve();
      });
  close(epoll);
}

// A turn without an event, with work left behind an eventfd that is readable already.
TEST(EdgeTest, WorkThatBringsNoEventIsTakenUpToItsEnd) {
  Events events(OneEventATurn());
  Service service(&events);
  service.Start();
  const std::string listening = service.listening();
  const auto port = static_cast<uint16_t>(std::stoi(listening.substr(listening.rfind(':') + 1)));
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
  ASSERT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, lever_queue_fd(events.get()), &event), 0);
  const auto turn = [&](int timeout_ms) {
    if (epoll_wait(epoll, &event, 1, timeout_ms) != 1) return false;
    while (events.Fetch(0, 1) > 0) {
    }
    return true;
  };
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<int> sockets;
  for (int i = 0; i < 8; ++i) {
    sockets.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(sockets.back(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  while (turn(100)) {  // accepted, every one of them
  }
  // All of them become ready at once: a beginning of HTTP/2 brings no event.
  for (const int fd : sockets) ASSERT_EQ(send(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, 0), 24);
  while (turn(100)) {
  }
  // Readable by now only for something new, which has an edge of its own.
  EXPECT_TRUE(!Readable(events.get()) || turn(100)) << "an edge was owed";
  for (const int fd : sockets) close(fd);
  close(epoll);
}

TEST_F(PollerTest, ItIsReadableExactlyWhileThereIsSomethingToDo) {
  EXPECT_TRUE(FallsQuiet());
  const uint64_t call = client_->Call("/test/echo");
  // The request is on its way through this process.
  ASSERT_TRUE(Readable(queue(), 20'000));
  const uint64_t incoming = AwaitCall().id;
  EXPECT_TRUE(FallsQuiet()) << "a call that is not answered is nothing to do";
  ASSERT_EQ(lever_incoming_begin(queue(), incoming), LEVER_OK);
  ASSERT_EQ(Reply(incoming), LEVER_OK);
  ASSERT_TRUE(Readable(queue(), 20'000));
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
  EXPECT_TRUE(FallsQuiet());
}

TEST_F(PollerTest, EventsThatNobodyHasFetchedKeepItReadable) {
  Client echo(&events_, "");
  for (int i = 0; i < 3; ++i) echo.Call("/any/thing");
  for (size_t fetched = 0; fetched < 3;) {
    ASSERT_TRUE(Readable(queue())) << fetched;
    fetched += events_.Fetch(0, 1);
  }
  EXPECT_TRUE(FallsQuiet());
}

TEST_F(PollerTest, AStreamWithoutCreditDoesNotMakeItReadable) {
  const auto [ours, theirs] = OpenStream();
  for (int i = 0; i < 10; ++i) ASSERT_EQ(Write(ours, std::string(10'000, 'a')), LEVER_OK);
  EXPECT_TRUE(FallsQuiet());
  ASSERT_EQ(lever_stream_read(queue(), theirs, 10, 0), LEVER_OK);
  for (int i = 0; i < 10; ++i) events_.Await(LEVER_EVENT_STREAM_MESSAGE, theirs);
  EXPECT_TRUE(FallsQuiet());
}

TEST_F(PollerTest, AWakeMakesItReadableOnce) {
  EXPECT_TRUE(FallsQuiet());
  ASSERT_EQ(lever_queue_wake(queue()), LEVER_OK);
  EXPECT_TRUE(Readable(queue()));
  EXPECT_EQ(events_.Fetch(-1), 0u) << "and a wait that would be for ever returns";
  EXPECT_TRUE(FallsQuiet());
}

// How an event loop flushes, and whether what it has not flushed yet shows.
struct FlushCase {
  int32_t flush;
  bool shows;
};

class FlushTest : public ::testing::TestWithParam<FlushCase> {};

TEST_P(FlushTest, AnEventLoopThatFlushesByItselfSendsNothingBefore) {
  lever_queue_options options{};
  options.flush_explicitly = GetParam().flush;
  Events client_events(options);
  Events service_events;
  Service service(&service_events);
  service.Start();
  Client client(&client_events, service.listening());
  // Connects, so that what follows is only a write.
  const uint64_t first = client.Call("/test/nothing");
  const auto until = std::chrono::steady_clock::now() + kLimit;
  while (client_events.Count(LEVER_EVENT_CALL_DONE) == 0) {
    client_events.Fetch(1'000'000);
    service_events.Fetch(1'000'000);
    ASSERT_LT(std::chrono::steady_clock::now(), until);
  }
  client_events.Await(LEVER_EVENT_CALL_DONE, first);
  while (Readable(service_events.get(), 50)) service_events.Fetch(0);
  client.Call("/test/echo");
  EXPECT_EQ(Readable(client_events.get()), GetParam().shows);
  service_events.Settle();
  EXPECT_EQ(service_events.Count(LEVER_EVENT_INCOMING_CALL), 0u);
  ASSERT_EQ(lever_queue_flush(client_events.get()), LEVER_OK);
  service_events.Await(LEVER_EVENT_INCOMING_CALL);
}

INSTANTIATE_TEST_SUITE_P(Ways, FlushTest,
                         ::testing::Values(FlushCase{LEVER_FLUSH_ANNOUNCED, true},
                                           FlushCase{LEVER_FLUSH_PROMISED, false}));

TEST(FlushPromiseTest, WhatAnotherThreadAsksForShowsAllTheSame) {
  lever_queue_options options{};
  options.flush_explicitly = LEVER_FLUSH_PROMISED;
  Events client_events(options);
  Events service_events;
  Service service(&service_events);
  service.Start();
  Client client(&client_events, service.listening());
  client_events.Settle();
  ASSERT_FALSE(Readable(client_events.get()));
  std::thread([&] { client.Call("/test/echo"); }).join();
  EXPECT_TRUE(Readable(client_events.get())) << "this thread promised nothing";
}

TEST(FlushPromiseTest, AQueueKnowsNoOtherWay) {
  for (const int32_t flush : {-1, 3}) {
    lever_queue_options options{};
    options.size = sizeof(options);
    options.flush_explicitly = flush;
    lever_queue* queue = nullptr;
    EXPECT_EQ(lever_queue_create(&options, &queue, nullptr), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(queue, nullptr);
  }
}

TEST(FlushPromiseTest, WithoutItARequestIsWrittenBeforeTheFunctionReturns) {
  Events client_events;
  Events service_events;
  Service service(&service_events);
  service.Start();
  Client client(&client_events, service.listening());
  const uint64_t first = client.Call("/test/nothing");
  while (client_events.Count(LEVER_EVENT_CALL_DONE) == 0) {
    client_events.Fetch(1'000'000);
    service_events.Fetch(1'000'000);
  }
  client_events.Await(LEVER_EVENT_CALL_DONE, first);
  client.Call("/test/echo");
  service_events.Await(LEVER_EVENT_INCOMING_CALL);
}

}  // namespace
}  // namespace lever_test
