// What the tests of the loop share: sources over socketpairs, and little objects that note their
// calls.
#ifndef TESTS_BASE_LOOP_TESTING_H_
#define TESTS_BASE_LOOP_TESTING_H_

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "liblever/base/loop.h"

namespace lever {

inline std::unique_ptr<Loop> OpenLoop(const LoopOptions& options = {}) {
  auto loop = Loop::Open(options);
  if (!loop.ok()) {
    ADD_FAILURE() << loop.status().ToString();
    return nullptr;
  }
  return std::move(loop).value();
}

// Turn(), which the test expects to succeed: whether it did something.
inline bool TurnOf(Loop& loop, int64_t timeout_ns = 0) {
  const StatusOr<bool> did = loop.Turn(timeout_ns);
  EXPECT_TRUE(did.ok()) << did.status().ToString();
  return did.ok() && *did;
}

inline bool Readable(int fd, int timeout_ms = 0) {
  pollfd poll{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&poll, 1, timeout_ms) == 1;
}

// Reads its end of a socketpair: up to `bytes_per_call` at a time, all of it with 0.
class ReadingSource final : public IoSource {
 public:
  explicit ReadingSource(Loop* loop) : loop_(loop) {
    auto pair = SocketPair(SOCK_STREAM);
    EXPECT_TRUE(pair.ok());
    mine_ = std::move(pair->first);
    theirs_ = std::move(pair->second);
    EXPECT_TRUE(loop_->Watch(mine_.get(), EPOLLIN | EPOLLRDHUP, this).ok());
  }
  ~ReadingSource() override { loop_->Unwatch(this); }

  uint32_t OnReady(uint32_t events) override {
    ++calls;
    last_events = events;
    uint32_t left = 0;
    char buffer[64];
    for (;;) {
      const size_t wanted = bytes_per_call == 0 ? sizeof(buffer) : bytes_per_call;
      const ssize_t n = ::read(mine_.get(), buffer, wanted);
      if (n <= 0) break;
      received.append(buffer, static_cast<size_t>(n));
      if (bytes_per_call != 0) {
        left = EPOLLIN;
        break;
      }
    }
    if (on_ready) on_ready();
    return left;
  }

  void Send(const std::string& bytes) {
    EXPECT_EQ(::write(theirs_.get(), bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }
  void ClosePeer() { theirs_.reset(); }

  size_t bytes_per_call = 0;
  std::function<void()> on_ready;
  std::string received;
  int calls = 0;
  uint32_t last_events = 0;

 private:
  Loop* loop_;
  UniqueFd mine_;
  UniqueFd theirs_;
};

class FunctionTurnEnd final : public TurnEnd {
 public:
  explicit FunctionTurnEnd(std::function<void()> function) : function_(std::move(function)) {}
  void OnTurnEnd() override { function_(); }

 private:
  std::function<void()> function_;
};

}  // namespace lever

#endif  // TESTS_BASE_LOOP_TESTING_H_
