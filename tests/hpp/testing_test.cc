// lever/testing.hpp, as a program's own tests would use it.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <lever/testing.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class TestingTest : public testing::Test {
 protected:
  TestingTest() {
    lever::Service& hello = lever_.service("hello", R"({"greeting":"Hi"})", {.method_threads = 2},
                                           R"({"token":"hunter2"})");
    hello.method("sayHello", [](const std::string& name) { return "Hello, " + name + "!"; });
    hello.method("config", [&hello] { return std::string(hello.details().config_json); });
    hello.method("secrets", [&hello] { return std::string(hello.details().secrets_json); });
    hello.method("remaining", [](const lever::CallContext& context) -> std::optional<int64_t> {
      const auto left = context.remaining();
      if (!left) return std::nullopt;
      return std::chrono::duration_cast<milliseconds>(*left).count();
    });
    hello.method("waitUntilCancelled", [this](const lever::CallContext& context) {
      waiting_ = true;
      while (!context.cancelled()) std::this_thread::sleep_for(milliseconds(1));
      cancelled_ = true;
    });
    hello.stream("waitChan", [this](lever::IncomingStream& stream) {
      stream.write("waiting");
      while (!stream.context().cancelled()) std::this_thread::sleep_for(milliseconds(1));
      cancelled_ = true;
    });
    hello.method("failRaw", [](const lever::Raw& raw) -> int { throw lever::MethodError(raw); });
    lever::Service& outer = lever_.service("outer");
    inner_.emplace(outer);
    outer.method("greet", [this](const std::string& name) {
      return inner_->invoke<std::string>("/hello/sayHello", name);
    });
    lever_.start();
  }

  static bool Becomes(const std::atomic<bool>& flag) {
    for (int i = 0; i < 10'000 && !flag; ++i) std::this_thread::sleep_for(milliseconds(1));
    return flag;
  }

  lever::testing::Lever lever_;
  std::optional<lever::Client> inner_;
  std::atomic<bool> waiting_{false};
  std::atomic<bool> cancelled_{false};
};

TEST_F(TestingTest, ServicesAreCalledByNameAndCallEachOther) {
  EXPECT_EQ(lever_.client().invoke<std::string>("/hello/sayHello", "Ann"), "Hello, Ann!");
  EXPECT_EQ(lever_.client().invoke<std::string>("/outer/greet", "Ben"), "Hello, Ben!");
  EXPECT_EQ(lever_.client().invoke<std::string>("/hello/config"), R"({"greeting":"Hi"})");
  EXPECT_EQ(lever_.client().invoke<std::string>("/hello/secrets"), R"({"token":"hunter2"})");
}

TEST_F(TestingTest, OtherServicesAreNotFound) {
  try {
    lever_.client().invoke("/nobody/sayHello");
    FAIL() << "there is no such service";
  } catch (const lever::Error& error) {
    EXPECT_EQ(error.code(), LEVER_NOT_FOUND);
    EXPECT_EQ(error.executed(), LEVER_EXECUTED_NO);
  }
}

TEST_F(TestingTest, ATimeoutPassesWhenTimeIsMovedAndTheMethodSeesIt) {
  lever_.hold_time();
  std::atomic<bool> ended{false};
  std::thread caller([&] {
    try {
      lever_.client().invoke<void>({.timeout = seconds(3600)}, "/hello/waitUntilCancelled");
    } catch (const lever::Error& error) {
      ended = error.code() == LEVER_DEADLINE_EXCEEDED;
    }
  });
  EXPECT_TRUE(Becomes(waiting_));
  lever_.advance(seconds(3599));
  std::this_thread::sleep_for(milliseconds(5));
  EXPECT_FALSE(ended);
  EXPECT_FALSE(cancelled_);
  lever_.advance(seconds(1));
  EXPECT_TRUE(Becomes(ended));
  EXPECT_TRUE(Becomes(cancelled_));
  caller.join();
}

TEST_F(TestingTest, AMethodKnowsHowLongItsCallerWaits) {
  lever_.hold_time();
  lever::CallOptions options{.timeout = seconds(5)};
  EXPECT_EQ(lever_.client().invoke<int64_t>(options, "/hello/remaining"), 5000);
  options.timeout = seconds(-1);
  EXPECT_EQ(lever_.client().invoke<std::optional<int64_t>>(options, "/hello/remaining"),
            std::nullopt);
}

TEST_F(TestingTest, AStreamSeesThatItsCallerIsGone) {
  {
    lever::Stream stream = lever_.client().stream("/hello/waitChan");
    EXPECT_EQ(stream.read<std::string>(), "waiting");
    EXPECT_FALSE(cancelled_);
  }
  EXPECT_TRUE(Becomes(cancelled_));
}

TEST_F(TestingTest, AnErrorMayBeBytes) {
  const std::string bytes("\x00\xff\x10", 3);
  try {
    lever_.client().invoke("/hello/failRaw", lever::Raw{bytes});
    FAIL() << "the method fails";
  } catch (const lever::MethodError& error) {
    ASSERT_TRUE(error.raw().has_value());
    EXPECT_EQ(error.raw()->bytes, bytes);
  }
}

// A method that waits holds up no other one while there are threads.
TEST_F(TestingTest, MethodsRunAtATimeOnTheirThreads) {
  std::thread caller([&] {
    EXPECT_THROW(lever_.client().invoke<void>({.timeout = milliseconds(500)},
                                              "/hello/waitUntilCancelled"),
                 lever::Error);
  });
  EXPECT_TRUE(Becomes(waiting_));
  EXPECT_EQ(lever_.client().invoke<std::string>("/hello/sayHello", "Ann"), "Hello, Ann!");
  EXPECT_FALSE(cancelled_);
  caller.join();
  EXPECT_TRUE(Becomes(cancelled_));
}

TEST(TestingLever, TwoServicesOfOneNameAreRefused) {
  lever::testing::Lever lever;
  lever.service("same");
  lever.service("same");
  EXPECT_THROW(lever.start(), lever::Error);
}

}  // namespace
