// An echo server and a client that keeps calling it, each on a thread and a loop of its own: what has to
// go on beside an attack.
#ifndef TESTS_MISBEHAVE_HONEST_H_
#define TESTS_MISBEHAVE_HONEST_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/server.h"

namespace lever::misbehave {

inline constexpr std::string_view kEchoPath = "/test.Echo/Echo";

inline size_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  size_t all = 0;
  size_t resident = 0;
  file >> all >> resident;
  return resident * 4096;
}

// A loop that a thread drives until it is told to end.
class LoopOnThread {
 public:
  LoopOnThread() {
    auto opened = Loop::Open({.posters_drive = false});
    EXPECT_TRUE(opened.ok());
    loop_ = std::move(opened).value();
  }
  void Start() {
    thread_ = std::thread([this] {
      while (!stop_.load()) (void)loop_->Turn(100 * kNanosPerMilli);
    });
  }
  void Stop() {
    stop_.store(true);
    loop_->Wake();
    if (thread_.joinable()) thread_.join();
  }
  Loop* get() { return loop_.get(); }

 private:
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
  std::atomic<bool> stop_{false};
};

// Answers each call with its message.
class EchoServer final : private rpc::CallDispatcher, private rpc::CallHandler {
 public:
  explicit EchoServer(const rpc::ConnectionOptions& options = {}) {
    server_ = rpc::Server::Make(loop_.get(), this, options);
    auto endpoint = rpc::Endpoint::Parse("127.0.0.1:0");
    EXPECT_TRUE(server_->Listen(*endpoint).ok());
    port_ = server_->bound().port;
    loop_.Start();
  }
  ~EchoServer() override {
    loop_.Stop();
    server_->Close(Cancelled("the test is over"));
    (void)loop_.get()->Turn(0);
    server_.reset();
  }
  uint16_t port() const { return port_; }

 private:
  void OnCall(rpc::Call& call) override {
    call.set_handler(this);
    call.Read(1);
  }
  void OnMessage(rpc::Call& call, SliceList message) override {
    call.Write(std::move(message));
    call.Finish(Status::Ok());
  }
  void OnEnd(rpc::Call&, const rpc::CallEnd&) override {}

  LoopOnThread loop_;
  std::unique_ptr<rpc::Server> server_;
  uint16_t port_ = 0;
};

// One call after the other.
class HonestClient final : private rpc::CallHandler {
 public:
  explicit HonestClient(uint16_t port) {
    auto endpoint = rpc::Endpoint::Parse("127.0.0.1:" + std::to_string(port));
    channel_ = rpc::Channel::To(loop_.get(), *endpoint);
    loop_.get()->Post([this] { Next(); });
    loop_.Start();
  }
  ~HonestClient() override {
    loop_.Stop();
    channel_.reset();
    (void)loop_.get()->Turn(0);
  }

  // Its last call has been answered, and no other follows.
  void Pause() {
    paused_.store(true);
    size_t seen;
    do {
      seen = done_.load();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } while (done_.load() != seen);
  }
  void GoOn() {
    paused_.store(false);
    loop_.get()->Post([this] { Next(); });
  }

  // What has been called since the last time.
  struct Report {
    size_t calls = 0;
    size_t errors = 0;
    double p99_ms = 0;
    std::string error;
  };
  // At least after some calls more.
  Report Take() {
    const size_t enough = done_.load() + kCallsLeast;
    const int64_t give_up_ns = Clock::System().NowNs() + 20 * kNanosPerSecond;
    while (done_.load() < enough && Clock::System().NowNs() < give_up_ns) {
      std::this_thread::yield();
    }
    std::atomic<bool> taken{false};
    Report report;
    loop_.get()->Post([&] {
      report.calls = times_.size();
      report.errors = errors_;
      report.error = error_;
      if (!times_.empty()) {
        const auto place = times_.begin() + static_cast<ptrdiff_t>(times_.size() * 99 / 100);
        std::nth_element(times_.begin(), place, times_.end());
        report.p99_ms = static_cast<double>(*place) / kNanosPerMilli;
      }
      times_.clear();
      errors_ = 0;
      taken.store(true);
    });
    while (!taken.load()) std::this_thread::yield();
    EXPECT_GE(report.calls, kCallsLeast) << "the honest client hangs";
    return report;
  }

 private:
  static constexpr size_t kCallsLeast = 50;

  void Next() {
    began_ns_ = Clock::System().NowNs();
    rpc::CallOptions options;
    options.path = kEchoPath;
    options.authority = "x";
    options.deadline_ns = began_ns_ + 20 * kNanosPerSecond;
    options.initial_credit_messages = 1;
    rpc::Call* call = channel_->StartCall(options, this);
    call->Write({Slice::Static("0123456789abcdef0123456789abcdef")});
    call->CloseSend();
  }
  void OnMessage(rpc::Call&, SliceList message) override { answered_ = TotalSize(message) == 32; }
  void OnEnd(rpc::Call&, const rpc::CallEnd& end) override {
    times_.push_back(Clock::System().NowNs() - began_ns_);
    if (!end.status.ok() || !answered_) {
      ++errors_;
      error_ = end.status.ToString();
    }
    answered_ = false;
    done_.fetch_add(1);
    if (end.status.code() == LEVER_CANCELLED) return;
    if (!paused_.load()) loop_.get()->Post([this] { Next(); });
  }

  LoopOnThread loop_;
  std::unique_ptr<rpc::Channel> channel_;
  int64_t began_ns_ = 0;
  bool answered_ = false;
  size_t errors_ = 0;
  std::string error_;
  std::vector<int64_t> times_;
  std::atomic<size_t> done_{0};
  std::atomic<bool> paused_{false};
};

}  // namespace lever::misbehave

#endif  // TESTS_MISBEHAVE_HONEST_H_
