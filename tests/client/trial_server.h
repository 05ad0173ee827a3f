// Servers of calls that are not idempotent, for trials with faults: each connection has its own, so that
// each can drain by itself, and each call that begins to run is counted.
#ifndef TESTS_CLIENT_TRIAL_SERVER_H_
#define TESTS_CLIENT_TRIAL_SERVER_H_

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/rpc/endpoint.h"
#include "liblever/rpc/server.h"
#include "tests/client/fault_proxy.h"

namespace lever {

// How the handler of a trial answers; all answer with the message that came.
enum class Answer : uint8_t {
  kAtOnce,   // when the message is there
  kAtEnd,    // headers first, the rest when the request has ended
  kLater,    // when nothing else can happen any more
  kAnswers,  // how many there are
};

class TrialServers final : private rpc::CallDispatcher {
 public:
  // Listens for connections of which bytes are passed on by Pump().
  explicit TrialServers(Loop* loop, const std::string& name) : loop_(loop) {
    endpoint = "unix-abstract:" + name + "-" + std::to_string(::getpid());
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto address = *rpc::NumericAddress(*rpc::Endpoint::Parse(endpoint));
    EXPECT_EQ(::bind(listener_.get(), address.get(), address.size), 0);
    EXPECT_EQ(::listen(listener_.get(), 64), 0);
  }
  ~TrialServers() override { EndTrial(); }

  // A trial: the first connections have these faults, all others none.
  void BeginTrial(std::vector<Fault> faults, Answer answer) {
    faults_ = std::move(faults);
    answer_ = answer;
    runs = 0;
  }
  // The trial's call comes only now, on a connection that has been used.
  void Rearm(std::vector<Fault> faults) {
    faults_ = std::move(faults);
    connections_.front().proxy->Arm(faults_.empty() ? Fault() : faults_.front());
    runs = 0;
  }
  void EndTrial() {
    for (auto& connection : connections_) connection.proxy->Close();
    connections_.clear();
    EXPECT_TRUE(later_.empty());
  }
  // Moves what there is to move. False: nothing.
  bool Pump() {
    bool moved = Accept();
    for (auto& connection : connections_) moved = connection.proxy->Pump() || moved;
    return moved;
  }
  // Lets calls go on that wait until nothing else can happen. False: there are none.
  bool AnswerLater() {
    if (later_.empty()) return false;
    Do([this] {
      while (!later_.empty()) later_.front()->Reply();
    });
    return true;
  }
  // Serves one end of a connection whose other end is returned; it is the trial's next connection.
  UniqueFd Connect() {
    auto pair = SocketPair(SOCK_STREAM);
    EXPECT_TRUE(pair.ok());
    Serve(std::move(pair->first));
    return std::move(pair->second);
  }

  size_t connections() const { return connections_.size(); }
  const FaultProxy& proxy() const { return *connections_.front().proxy; }

  std::string endpoint;
  int runs = 0;  // of the trial's call

 private:
  class Handler final : public rpc::CallHandler {
   public:
    Handler(TrialServers* servers, rpc::Call* call) : servers_(servers), call_(call) {}
    void OnMessage(rpc::Call& call, SliceList message) override {
      if (!message_.empty()) return;
      ++servers_->runs;
      message_ = std::move(message);
      if (servers_->answer_ == Answer::kAtEnd) call.SendHeaders();
      if (servers_->answer_ == Answer::kLater) servers_->later_.push_back(this);
      if (servers_->answer_ == Answer::kAtOnce) Reply();
    }
    void OnPeerEnd(rpc::Call&) override {
      if (servers_->answer_ == Answer::kAtEnd) Reply();
    }
    void OnEnd(rpc::Call&, const rpc::CallEnd&) override {
      servers_->later_.remove(this);
      delete this;
    }
    void Reply() {
      servers_->later_.remove(this);
      call_->Write(message_);
      call_->Finish(Status::Ok());
    }

   private:
    TrialServers* servers_;
    rpc::Call* call_;
    SliceList message_;
  };
  struct Connection {
    std::unique_ptr<rpc::Server> server;
    std::unique_ptr<FaultProxy> proxy;
  };

  void OnCall(rpc::Call& call) override {
    if (call.path() == "/lever.v1.Host/Watch") return call.Finish(Unimplemented("no watches"));
    call.set_handler(new Handler(this, &call));
    call.Read(UINT64_MAX);
  }
  bool Accept() {
    UniqueFd accepted(
        ::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!accepted.valid()) return false;
    Serve(std::move(accepted));
    return true;
  }
  void Serve(UniqueFd client) {
    const Fault fault =
        connections_.size() < faults_.size() ? faults_[connections_.size()] : Fault();
    auto pair = SocketPair(SOCK_STREAM);
    ASSERT_TRUE(pair.ok());
    Connection& connection = connections_.emplace_back();
    connection.server = rpc::Server::Make(loop_, this);
    rpc::Server* const server = connection.server.get();
    Do([&] { ASSERT_TRUE(server->Adopt(std::move(pair->first)).ok()); });
    connection.proxy =
        std::make_unique<FaultProxy>(std::move(client), std::move(pair->second), fault, [=, this] {
          Do([=] { server->Drain([] {}); });
        });
  }
  // Also from inside of the loop.
  void Do(const std::function<void()>& function) {
    const bool entered = loop_->TryEnter();
    function();
    if (entered) loop_->Leave();
  }

  Loop* const loop_;
  UniqueFd listener_;
  std::vector<Fault> faults_;
  Answer answer_ = Answer::kAtOnce;
  std::list<Handler*> later_;
  std::list<Connection> connections_;
};

// What trials came to, for the test's output and to see that the faults fell everywhere.
struct Tally {
  int done = 0;
  int not_run = 0;
  int unknown = 0;
  int ran_unknown = 0;
  int again = 0;  // on more than one connection
};

// Whether an outcome is named right for a call that is not idempotent and ran `runs` times.
inline void CheckOutcome(const Status& status, int runs, Tally* tally) {
  ASSERT_LE(runs, 1) << status.ToString();
  if (status.ok()) {
    ++tally->done;
    ASSERT_EQ(runs, 1);
    return;
  }
  ASSERT_EQ(status.code(), LEVER_UNAVAILABLE) << status.ToString();
  if (status.executed() == LEVER_EXECUTED_NO) {
    ++tally->not_run;
    ASSERT_EQ(runs, 0) << status.ToString();
    return;
  }
  ASSERT_EQ(status.executed(), LEVER_EXECUTED_UNKNOWN);
  ++tally->unknown;
  tally->ran_unknown += runs;
}

inline void Print(const char* what, const Tally& tally) {
  std::printf("%s: %d done, %d surely not run, %d unknown of which %d ran; %d went on elsewhere\n",
              what, tally.done, tally.not_run, tally.unknown, tally.ran_unknown, tally.again);
}

}  // namespace lever

#endif  // TESTS_CLIENT_TRIAL_SERVER_H_
