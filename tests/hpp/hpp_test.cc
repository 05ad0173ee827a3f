// lever.hpp over real sockets: a service that listens at an address of its own, and clients of it.
// There is no host: the service takes calls all the same.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <lever/lever.hpp>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace {

using std::chrono::seconds;

// Nothing listens there.
constexpr const char* kNoHost = "127.0.0.1:1";

struct Point {
  int x = 0;
  int y = 0;
  MSGPACK_DEFINE_MAP(x, y);
};

class HppTest : public testing::Test {
 protected:
  HppTest() : service_({.name = "counter",
                        .host = kNoHost,
                        .listen = "127.0.0.1:0",
                        .stream_threads_max = 4}) {
    service_.method("add", [this](int64_t n) { return count_ += n; });
    service_.method("reset", [this] { count_ = 0; });
    service_.method("mirror", [](const Point& point) { return Point{point.y, point.x}; });
    service_.method("join", [](const std::string& a, std::optional<std::string> b) {
      return a + b.value_or("-");
    });
    service_.method("any", [](const lever::Value& value) { return value; });
    service_.method("reverse", [](const lever::Raw& raw) {
      return lever::Raw{std::string(raw.bytes.rbegin(), raw.bytes.rend())};
    });
    service_.method("fail", [](const std::string& why) { throw std::runtime_error(why); });
    service_.method("failWith", [](int code) -> int {
      throw lever::MethodError(std::map<std::string, int>{{"code", code}});
    });
    service_.method("tag", [](const lever::CallContext& context) {
      for (const auto& [name, value] : context.metadata) {
        if (name == "x-tag") return value;
      }
      return std::string();
    });
    service_.stream("echoChan", [](lever::IncomingStream& stream) {
      for (const lever::Value& message : stream.messages()) stream.write(message);
    });
    service_.stream("tickChan", [](lever::IncomingStream& stream, int64_t n) {
      for (int64_t i = 0; i < n; ++i) stream.write(i);
    });
    service_.stream("failChan", [](lever::IncomingStream& stream) {
      stream.write(1);
      throw lever::MethodError(std::string("no more"));
    });
    service_.stream("untilGoneChan", [this](lever::IncomingStream& stream) {
      try {
        while (stream.write(std::string(1000, 'x'))) {
        }
      } catch (const lever::Error& error) {
        gone_ = error.code();
        throw;
      }
    });
  }
  ~HppTest() override {
    client_.reset();
    service_.drain();
    runner_.join();
    EXPECT_EQ(result_, 0);
  }

  // After a test has added what methods it needs.
  lever::Client& Start() {
    service_.start();
    runner_ = std::thread([this] { result_ = service_.run(); });
    client_.emplace(lever::ClientOptions{.host = service_.details().listening});
    return *client_;
  }

  lever::Service service_;
  int64_t count_ = 0;  // of the runner
  std::atomic<lever_status> gone_{LEVER_OK};
  std::thread runner_;
  int result_ = -1;
  std::optional<lever::Client> client_;
};

TEST(HppEchoTest, AClientInEchoModeAnswersWithTheArguments) {
  lever::Client client(lever::ClientOptions{.echo = true});
  const auto echoed = client.invoke<std::tuple<int, std::string>>("/any/thing", 5, "five");
  EXPECT_EQ(echoed, std::make_tuple(5, std::string("five")));
}

// msgpack-cxx by itself sends those that are whole as integers.
TEST_F(HppTest, FloatsStayFloats) {
  lever::Client& client = Start();
  for (const double number : {1.0, -0.0, -3.0, 1e300}) {
    EXPECT_EQ(lever::Value(number).packed()[0], '\xcb') << number;
    EXPECT_EQ(client.invoke("/counter/any", number), lever::Value(number)) << number;
    EXPECT_EQ(lever::Value(std::vector<double>{number}).packed()[1], '\xcb') << number;
  }
  EXPECT_EQ(lever::Value(2.0f).packed(), std::string("\xca\x40\0\0\0", 5));
  EXPECT_EQ(lever::Value(-0.0).json(), "-0.0");
}

TEST_F(HppTest, ArgumentsAndResultsAreTyped) {
  lever::Client& client = Start();
  EXPECT_EQ(client.invoke<int64_t>("/counter/add", 5), 5);
  EXPECT_EQ(client.invoke<int64_t>("/counter/add", 6), 11);
  client.invoke<void>("/counter/reset");
  EXPECT_EQ(client.invoke<int64_t>("/counter/add", 1), 1);
  const auto mirrored = client.invoke<Point>("/counter/mirror", Point{1, 2});
  EXPECT_EQ(mirrored.x, 2);
  EXPECT_EQ(mirrored.y, 1);
  EXPECT_EQ(client.invoke<std::string>("/counter/join", "a", "b"), "ab");
  EXPECT_EQ(client.invoke<std::string>("/counter/join", "a"), "a-");
  const lever::Value value(std::vector<int>{1, 2, 3});
  EXPECT_EQ(client.invoke("/counter/any", value), value);
  EXPECT_EQ(client.invoke("/counter/any", value).json(), "[1,2,3]");
  EXPECT_EQ(client.invoke<lever::Raw>("/counter/reverse", lever::Raw{"abc"}).bytes, "cba");
}

TEST_F(HppTest, ArgumentsThatDoNotFitAreRefusedUnexecuted) {
  lever::Client& client = Start();
  const auto refused = [](const auto& call) {
    try {
      call();
    } catch (const lever::Error& error) {
      EXPECT_EQ(error.executed(), LEVER_EXECUTED_NO) << error.what();
      return error.code();
    }
    return LEVER_OK;
  };
  EXPECT_EQ(refused([&] { client.invoke<int>("/counter/add", "five"); }), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(refused([&] { client.invoke<int>("/counter/add"); }), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(refused([&] { client.invoke<int>("/counter/add", 1, 2); }), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(refused([&] { client.invoke<int>("/counter/nothing"); }), LEVER_NOT_FOUND);
  EXPECT_EQ(refused([&] { client.invoke<int>("no address"); }), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(refused([&] { client.stream("/counter/tickChan", "five").read(); }),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(count_, 0);
}

TEST_F(HppTest, WhatAMethodThrowsIsItsError) {
  lever::Client& client = Start();
  try {
    client.invoke<void>("/counter/fail", "on purpose");
    FAIL();
  } catch (const lever::MethodError& error) {
    using Error = std::map<std::string, std::string>;
    EXPECT_EQ(error.value().as<Error>(), (Error{{"name", "Error"}, {"message", "on purpose"}}));
    EXPECT_EQ(error.executed(), LEVER_EXECUTED_YES);
  }
  try {
    client.invoke<int>("/counter/failWith", 7);
    FAIL();
  } catch (const lever::MethodError& error) {
    EXPECT_EQ(error.value().json(), "{\"code\":7}");
  }
}

TEST_F(HppTest, MetadataTravels) {
  lever::Client& client = Start();
  const lever::CallOptions options{.timeout = seconds(20), .metadata = {{"x-tag", "blue"}}};
  EXPECT_EQ(client.invoke<std::string>(options, "/counter/tag"), "blue");
}

TEST_F(HppTest, CompressedCallsAreCallsLikeOthers) {
  lever::Client& client = Start();
  const lever::CallOptions options{.compress = true, .metadata = {{"x-tag", "blue"}}};
  EXPECT_EQ(client.invoke<std::string>(options, "/counter/tag"), "blue");
  lever::Stream stream = client.stream(options, "/counter/echoChan");
  const std::string large(100'000, 'z');
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(stream.write(large));
    EXPECT_EQ(stream.read<std::string>(), large);
  }
}

TEST_F(HppTest, ThreadsShareAClient) {
  lever::Client& client = Start();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&client] {
      for (int n = 0; n < 100; ++n) client.invoke<int64_t>("/counter/add", 1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client.invoke<int64_t>("/counter/add", 0), 800);
}

TEST_F(HppTest, AStreamGoesBothWays) {
  lever::Client& client = Start();
  lever::Stream stream = client.stream("/counter/echoChan");
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(stream.write(i));
    EXPECT_EQ(stream.read<int>(), i);
  }
  stream.end();
  EXPECT_EQ(stream.read(), std::nullopt);
}

TEST_F(HppTest, MessagesAreIteratedToTheEnd) {
  lever::Client& client = Start();
  lever::Stream stream = client.stream("/counter/tickChan", 1000);
  int64_t next = 0;
  for (const int64_t i : stream.messages<int64_t>()) EXPECT_EQ(i, next++);
  EXPECT_EQ(next, 1000);
}

TEST_F(HppTest, ASlowReaderSlowsTheWriter) {
  lever::Client& client = Start();
  lever::Stream stream = client.stream("/counter/echoChan");
  constexpr int kMessages = 2000;
  // 8 MB each way: far more than the queues and windows on the way hold.
  std::thread writer([&stream] {
    for (int i = 0; i < kMessages; ++i) {
      stream.write(std::string(4096, static_cast<char>('a' + i % 26)));
    }
    stream.end();
  });
  int read = 0;
  for (const std::string& message : stream.messages<std::string>()) {
    EXPECT_EQ(message[0], 'a' + read++ % 26);
  }
  writer.join();
  EXPECT_EQ(read, kMessages);
}

TEST_F(HppTest, AValueThatIsNoneIsNotSent) {
  lever::Client& client = Start();
  lever::Stream stream = client.stream("/counter/echoChan");
  EXPECT_THROW(stream.write(std::string("\xff")), lever::Error);
  ASSERT_TRUE(stream.write(1));
  EXPECT_EQ(stream.read<int>(), 1);
  stream.end();
  EXPECT_THROW(stream.write(2), lever::Error);
}

TEST_F(HppTest, AStreamEndsWithTheErrorOfItsMethod) {
  lever::Client& client = Start();
  lever::Stream stream = client.stream("/counter/failChan");
  EXPECT_EQ(stream.read<int>(), 1);
  try {
    stream.read();
    FAIL();
  } catch (const lever::MethodError& error) {
    EXPECT_EQ(error.value().as<std::string>(), "no more");
  }
}

TEST_F(HppTest, AMethodWhoseCallerIsGoneIsTold) {
  lever::Client& client = Start();
  {
    lever::Stream stream = client.stream("/counter/untilGoneChan");
    ASSERT_TRUE(stream.read().has_value());
  }
  const auto limit = std::chrono::steady_clock::now() + seconds(20);
  while (gone_ == LEVER_OK && std::chrono::steady_clock::now() < limit) {
    client.invoke<int64_t>("/counter/add", 1);
  }
  EXPECT_EQ(gone_, LEVER_CANCELLED);
}

TEST_F(HppTest, MoreStreamsThanThreadsAreRefusedUnexecuted) {
  lever::Client& client = Start();
  std::vector<lever::Stream> streams;
  for (int i = 0; i < 4; ++i) {
    streams.push_back(client.stream("/counter/echoChan"));
    streams.back().write(i);
    ASSERT_EQ(streams.back().read<int>(), i);
  }
  const lever::CallOptions options{.timeout = seconds(20)};
  try {
    client.stream(options, "/counter/echoChan").read();
    FAIL();
  } catch (const lever::Error& error) {
    EXPECT_EQ(error.code(), LEVER_RESOURCE_EXHAUSTED);
    EXPECT_EQ(error.executed(), LEVER_EXECUTED_NO);
  }
  // A thread that is free again is used again.
  streams.front().end();
  EXPECT_EQ(streams.front().read(), std::nullopt);
  const auto limit = std::chrono::steady_clock::now() + seconds(20);
  std::optional<int> echoed;
  while (!echoed && std::chrono::steady_clock::now() < limit) {
    try {
      lever::Stream again = client.stream(options, "/counter/echoChan");
      again.write(9);
      echoed = again.read<int>();
    } catch (const lever::Error& error) {
      ASSERT_EQ(error.code(), LEVER_RESOURCE_EXHAUSTED);
    }
  }
  EXPECT_EQ(echoed, 9);
}

TEST_F(HppTest, AMethodMayWaitForACallOnItsOwnQueue) {
  std::optional<lever::Client> inner;
  service_.method("nested", [&] {
    return inner->invoke<int>({.timeout = std::chrono::milliseconds(300)}, "/other/thing");
  });
  inner.emplace(service_);
  lever::Client& client = Start();
  // There is no host, so the inner call fails, and its error is the method's.
  EXPECT_THROW(client.invoke<int>("/counter/nested"), lever::MethodError);
  EXPECT_EQ(client.invoke<int64_t>("/counter/add", 1), 1);
  inner.reset();
}

}  // namespace
