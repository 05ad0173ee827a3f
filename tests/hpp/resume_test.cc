// Streams of resources that go on where the resource moves to, in C++. Without a host the next owner is
// another service of the same name, where callers take their streams up; tests/e2e/test_resume.py moves
// them between real instances.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <lever/lever.hpp>
#include <lever/testing.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Resumed {
  std::string method;
  std::string token;
  uint64_t received = 0;
  bool operator==(const Resumed&) const = default;
};
std::vector<Resumed>* resumed = nullptr;

class Talk {
 public:
  explicit Talk(const lever::Opening&) {}

  // Answers each number with the sum so far, which is its token.
  void echoChan(lever::IncomingStream& stream, int64_t step) { GoOn(stream, step, 0); }

  // Does not read. How it ends is its argument.
  void lookChan(lever::IncomingStream& stream, const std::string& how) {
    stream.write("hello");
    if (how == "unaware") {
      std::this_thread::sleep_for(milliseconds(100));
      stream.write("done");
      return;
    }
    while (!stream.moving()) std::this_thread::sleep_for(milliseconds(1));
    if (stream.context().cancelled()) throw std::runtime_error("it is cancelled");
    stream.write("good-bye", "bye");
    if (how == "error") throw std::runtime_error("its own");
    if (how == "ended") stream.end();
    if (how == "moved") throw lever::Moved();
  }

  // Reads one message, and leaves the others.
  void oneChan(lever::IncomingStream& stream) {
    stream.write(stream.read());
    while (!stream.moving()) std::this_thread::sleep_for(milliseconds(1));
    for (int i = 0; i < 2; ++i) {
      try {
        stream.read();
        throw std::runtime_error("it has read what was to stay");
      } catch (const lever::Moved&) {
      }
    }
  }

  // Does not return until it is cut off.
  void stayChan(lever::IncomingStream& stream) {
    stream.write("hello", "here");
    while (!stream.context().cancelled()) std::this_thread::sleep_for(milliseconds(1));
  }

  void tokenChan(lever::IncomingStream& stream) {
    EXPECT_THROW(stream.write("never", std::string(4097, 'x')), lever::Error);
    stream.write("ok", std::string(4096, 'x'));
    stream.write("ok", "");
  }

  void resume(lever::IncomingStream& stream, const std::string& token, uint64_t received) {
    resumed->push_back({stream.method(), token, received});
    if (stream.method() != "echoChan") {
      stream.write("resumed");
      return;
    }
    EXPECT_THROW(stream.arguments<std::string>(), std::bad_cast);
    const auto [step] = stream.arguments<int64_t>();
    GoOn(stream, step, std::stoll(token));
  }

 private:
  static void GoOn(lever::IncomingStream& stream, int64_t step, int64_t sum) {
    for (const int64_t number : stream.messages<int64_t>()) {
      sum += step * number;
      stream.write(sum, std::to_string(sum));
    }
  }
};
static_assert(lever::detail::kResumes<Talk>);

struct Otherwise {
  void resume() {}
};
static_assert(!lever::detail::kResumes<Otherwise> && !lever::detail::kMeansToResume<Otherwise>);

class ResumeTest : public testing::Test {
 protected:
  ResumeTest() {
    resumed = &resumed_;
    Start();
  }

  void Start() {
    lever::ServiceOptions options;
    options.drain_timeout = seconds(2);
    service_ = &lever_.service("talks", "null", options);
    service_->resource<Talk>()
        .stream("echoChan", &Talk::echoChan)
        .stream("lookChan", &Talk::lookChan)
        .stream("oneChan", &Talk::oneChan)
        .stream("stayChan", &Talk::stayChan)
        .stream("tokenChan", &Talk::tokenChan);
    service_->stream("plainChan", [](lever::IncomingStream& stream) { stream.write("ok", "x"); });
    lever_.start();
  }

  // Ends the service, and starts another.
  void Move() {
    service_->drain();
    while (service_->state() != LEVER_SERVICE_DRAINED) std::this_thread::sleep_for(milliseconds(1));
    lever_service_close(service_->get());
    Start();
  }

  template <typename... Args>
  lever::Stream Open(const std::string& method, std::optional<lever::ResumePoint> resume,
                     const Args&... args) {
    return lever_.client().stream({.resume = std::move(resume)}, "/talks/a/" + method, args...);
  }

  // From where a stream that has ended for the move could go on.
  static lever::ResumePoint Broken(lever::Stream& stream) {
    try {
      stream.read();
    } catch (const lever::Error& error) {
      EXPECT_NE(error.executed(), LEVER_EXECUTED_NO);
      if (error.resume()) return *error.resume();
      ADD_FAILURE() << "it cannot be resumed: " << error.what();
      return {};
    }
    ADD_FAILURE() << "the stream goes on";
    return {};
  }

  std::vector<Resumed> resumed_;
  lever::Service* service_ = nullptr;
  lever::testing::Lever lever_;
};

TEST_F(ResumeTest, AStreamGoesOnInResume) {
  lever::Stream stream = Open("echoChan", {}, 2);
  stream.write(1);
  stream.write(2);
  EXPECT_EQ(stream.read<int64_t>(), 2);
  EXPECT_EQ(stream.read<int64_t>(), 6);
  Move();
  lever::Stream next = Open("echoChan", Broken(stream), 2);
  next.write(5);
  EXPECT_EQ(next.read<int64_t>(), 16);
  next.end();
  EXPECT_EQ(next.read(), std::nullopt);
  EXPECT_EQ(resumed_, (std::vector<Resumed>{{"echoChan", "6", 2}}));
}

TEST_F(ResumeTest, AMethodThatIsToldAndReturnsHasItsStreamGoOn) {
  for (const std::string how : {"returns", "moved"}) {
    resumed_.clear();
    lever::Stream stream = Open("lookChan", {}, how);
    EXPECT_EQ(stream.read<std::string>(), "hello");
    Move();
    EXPECT_EQ(stream.read<std::string>(), "good-bye");
    lever::Stream next = Open("lookChan", Broken(stream), how);
    EXPECT_EQ(next.read<std::string>(), "resumed");
    EXPECT_EQ(resumed_, (std::vector<Resumed>{{"lookChan", "bye", 2}}));
  }
}

TEST_F(ResumeTest, AMethodsOwnEndIsItsOwn) {
  for (const auto& [how, last] : std::vector<std::pair<std::string, std::string>>{
           {"error", "good-bye"}, {"ended", "good-bye"}, {"unaware", "done"}}) {
    lever::Stream stream = Open("lookChan", {}, how);
    EXPECT_EQ(stream.read<std::string>(), "hello");
    Move();
    EXPECT_EQ(stream.read<std::string>(), last);
    if (how == "error") {
      EXPECT_THROW(stream.read(), lever::MethodError);
    } else {
      EXPECT_EQ(stream.read(), std::nullopt) << how;
    }
  }
  EXPECT_TRUE(resumed_.empty());
}

TEST_F(ResumeTest, WhatIsUnreadStaysUnread) {
  lever::Stream stream = Open("oneChan", {});
  for (int i = 1; i <= 5; ++i) stream.write(i);
  EXPECT_EQ(stream.read<int64_t>(), 1);
  Move();
  const lever::ResumePoint point = Broken(stream);
  EXPECT_EQ(point.token, "");
  EXPECT_EQ(point.received, 1U);
}

TEST_F(ResumeTest, AMethodThatDoesNotReturnIsCutOff) {
  lever::Stream stream = Open("stayChan", {});
  EXPECT_EQ(stream.read<std::string>(), "hello");
  Move();
  const lever::ResumePoint point = Broken(stream);
  EXPECT_EQ(point.token, "here");
  EXPECT_EQ(point.received, 1U);
}

TEST_F(ResumeTest, TokensHaveABoundAndSayNothingOutsideOfResources) {
  lever::Stream tokens = Open("tokenChan", {});
  EXPECT_EQ(tokens.read<std::string>(), "ok");
  EXPECT_EQ(tokens.read<std::string>(), "ok");
  EXPECT_EQ(tokens.read(), std::nullopt);
  lever::Stream plain = lever_.client().stream("/talks/plainChan");
  EXPECT_EQ(plain.read<std::string>(), "ok");
  EXPECT_EQ(plain.read(), std::nullopt);
  EXPECT_THROW(Open("tokenChan", lever::ResumePoint{std::string(4097, 'x'), 0}), lever::Error);
  lever::CallOptions options;
  options.resume.emplace();
  EXPECT_THROW(lever_.client().stream(options, "/talks/plainChan"), lever::Error);
}

}  // namespace
