// A client and a server of gRPC calls on one loop, over a socketpair, with handlers that record
// what they are told and run what a test hangs into them.
#ifndef TESTS_RPC_CALL_FIXTURE_H_
#define TESTS_RPC_CALL_FIXTURE_H_

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/server.h"

namespace lever::rpc {

constexpr int64_t kCallTestLimitNs = 60 * kNanosPerSecond;

inline SliceList Bytes(std::string_view text) {
  SliceList list;
  if (!text.empty()) list.push_back(Slice::Copy(text));
  return list;
}

// A text of which each part is different, so that bytes that change places are seen.
inline std::string Pattern(size_t size, uint32_t seed = 1) {
  std::string text(size, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (char& byte : text) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<char>(state >> 24);
  }
  return text;
}

// Either side's handler: records, and calls a hook after each recording.
class TestCall : public CallHandler {
 public:
  using Hook = std::function<void(TestCall&, Call&)>;

  void OnHeaders(Call& call) override {
    log += "H";
    headers = call.headers();
    Run(on_headers, call);
  }
  void OnMessage(Call& call, SliceList message) override {
    log += "M";
    ++messages_count;
    bytes += TotalSize(message);
    if (keep) messages.push_back(Concat(message));
    Run(on_message, call);
  }
  void OnPeerEnd(Call& call) override {
    log += "P";
    Run(on_peer_end, call);
  }
  void OnWritable(Call& call) override {
    log += "W";
    Run(on_writable, call);
  }
  void OnEnd(Call& ended, const CallEnd& end) override {
    log += "E";
    ++ends;
    status = end.status;
    replied = end.replied;
    never_written = end.never_written;
    has_trailers = end.trailers != nullptr;
    if (has_trailers) trailers = *end.trailers;
    call = nullptr;
    Run(on_end, ended);
  }

  bool ended() const { return ends > 0; }
  std::string Text() const { return status.ToString(); }

  Call* call = nullptr;
  bool keep = true;
  std::string log;
  std::vector<std::string> messages;
  size_t messages_count = 0;
  size_t bytes = 0;
  int ends = 0;
  Status status;
  bool replied = false;
  bool never_written = false;
  bool has_trailers = false;
  HeaderList headers;
  HeaderList trailers;
  Hook on_headers, on_message, on_peer_end, on_writable, on_end;

 private:
  void Run(const Hook& hook, Call& call) {
    if (hook) hook(*this, call);
  }
};

// Gives each call that comes in a handler of its own.
class TestDispatcher : public CallDispatcher {
 public:
  void OnCall(Call& call) override {
    TestCall& handler = calls.emplace_back();
    handler.call = &call;
    handler.headers = call.headers();
    call.set_handler(&handler);
    if (on_call) on_call(handler, call);
  }

  std::deque<TestCall> calls;
  TestCall::Hook on_call;
};

// What servers do in tests.
inline void EchoUnary(TestCall& handler, Call& call) {
  call.Read(1);
  handler.on_message = [](TestCall& handler, Call& call) {
    call.Write(Bytes(handler.messages.back()));
    call.Finish(Status::Ok());
  };
}
inline void EchoAll(TestCall& handler, Call& call) {
  call.Read(UINT64_MAX);
  handler.on_message = [](TestCall& handler, Call& call) {
    call.Write(Bytes(handler.messages.back()));
  };
  handler.on_peer_end = [](TestCall& handler, Call& call) { call.Finish(Status::Ok()); };
}

class CallTest : public ::testing::Test {
 protected:
  void SetUp() override { OpenLoop({}); }
  void TearDown() override {
    Do([&] {
      channel.reset();
      server.reset();
    });
    Settle();
  }

  void OpenLoop(const LoopOptions& options) {
    auto opened = Loop::Open(options);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    loop = std::move(opened).value();
    Do([&] { server = Server::Make(loop.get(), &dispatcher); });
  }

  // Runs `function` as something that holds the loop's word.
  void Do(const std::function<void()>& function) {
    ASSERT_TRUE(loop->TryEnter());
    function();
    loop->Leave();
  }

  // A channel over a socketpair whose other end the server has.
  void Connect(const ConnectionOptions& options = {}, std::shared_ptr<void> tag = nullptr) {
    auto pair = SocketPair(SOCK_STREAM);
    ASSERT_TRUE(pair.ok());
    Do([&] {
      const Status adopted = server->Adopt(std::move(pair->second), std::move(tag));
      ASSERT_TRUE(adopted.ok()) << adopted.ToString();
      auto over = Channel::Over(loop.get(), std::move(pair->first), options);
      ASSERT_TRUE(over.ok()) << over.status().ToString();
      channel = std::move(over).value();
    });
    ASSERT_TRUE(Until([&] { return channel->state() == Channel::State::kReady; }));
  }

  // Turns the loop until `condition` holds; false if it takes too long.
  bool Until(const std::function<bool()>& condition) {
    const int64_t limit = DeadlineAfter(Clock::System().NowNs(), kCallTestLimitNs);
    while (!condition()) {
      if (Clock::System().NowNs() > limit) return false;
      if (!loop->Turn(kNanosPerMilli).ok()) return false;
    }
    return true;
  }
  bool UntilEnd(const TestCall& call) {
    return Until([&] { return call.ended(); });
  }
  // Turns the loop until there is nothing to do any more.
  void Settle() {
    for (int idle = 0; idle < 3;) {
      auto did = loop->Turn(0);
      ASSERT_TRUE(did.ok());
      idle = *did ? 0 : idle + 1;
    }
  }

  struct Options {
    std::string_view path = "/test.Service/Method";
    int64_t timeout_ns = -1;
    const HeaderList* metadata = nullptr;
    uint64_t credit = UINT64_MAX;
    size_t message_bytes_max = kMessageBytesMax;
  };

  TestCall& Start(const Options& options, const TestCall::Hook& begin = nullptr) {
    TestCall& handler = calls.emplace_back();
    Do([&] {
      handler.call = channel->StartCall(
          {.path = options.path,
           .authority = "",
           .deadline_ns = DeadlineAfter(loop->clock().NowNs(), options.timeout_ns),
           .metadata = options.metadata,
           .message_bytes_max = options.message_bytes_max,
           .initial_credit_messages = options.credit},
          &handler);
      if (begin) begin(handler, *handler.call);
    });
    return handler;
  }
  TestCall& Unary(std::string_view message, const Options& options) {
    return Start(options, [&](TestCall&, Call& call) {
      call.Write(Bytes(message));
      call.CloseSend();
    });
  }
  TestCall& Unary(std::string_view message) { return Unary(message, Options()); }

  ManualClock clock;  // for fixtures whose SetUp() opens the loop with it
  std::unique_ptr<Loop> loop;
  TestDispatcher dispatcher;
  std::unique_ptr<Server> server;
  std::unique_ptr<Channel> channel;
  std::deque<TestCall> calls;
};

// The same with time that stands still unless the test moves it.
class CallClockTest : public CallTest {
 protected:
  void SetUp() override { OpenLoop({.clock = &clock}); }
};

}  // namespace lever::rpc

#endif  // TESTS_RPC_CALL_FIXTURE_H_
