// Ten thousand calls of methods that are not idempotent, each with a fault at a point of its own: the
// connection is cut after any byte either way, the server dies, the server drains, or drains and is cut.
// A handler runs at most once, each outcome is named right, each call ends once, and no call is lost by a
// server that only drains.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>

#include "liblever/base/random.h"
#include "liblever/rpc/channel.h"
#include "tests/client/client_fixture.h"
#include "tests/client/trial_server.h"
#include "tests/value/mutation.h"

namespace lever::client {
namespace {

constexpr int kTrials = 10'000;
constexpr int64_t kTrialLimitNs = 30 * kNanosPerSecond;
// A trial's faults beyond this many are as good as none: there are no more attempts.
constexpr size_t kFaultsMax = 4;

enum class Caller : uint8_t { kUnary, kStream, kChannel, kCallers };

class OutcomeTrials : public LoopTest, private ClientHandler {
 protected:
  OutcomeTrials() : servers(loop.get(), "lever-trials") {}

  void OnClosed(Client&) override { closed_ = true; }

  // Everything that can happen now happens; time goes on only if nothing can.
  void Step() {
    const bool turned = *loop->Turn(0);
    const bool moved = servers.Pump();
    if (turned || moved) {
      idle_ = 0;
    } else if (++idle_ > 2 && !servers.AnswerLater()) {
      clock.Advance(kNanosPerMilli);
    }
  }
  [[nodiscard]] bool StepUntil(const std::function<bool()>& condition) {
    for (int i = 0; i < 200'000 && !condition(); ++i) Step();
    return condition();
  }

  // One call by the library, which sends again what it may.
  void CallByClient(Caller caller, const std::string& id) {
    Result result;
    std::unique_ptr<Client> client;
    closed_ = false;
    Do([&] {
      ClientOptions options;
      options.link = std::move(route::HostLink::To(loop.get(), servers.endpoint, {}, 7)).value();
      options.only_through_host = true;
      client = std::move(Client::Open(loop.get(), std::move(options), this)).value();
      Request request;
      request.address = caller == Caller::kStream ? "/hello/echoChan" : "/hello/echo";
      request.kind = Kind::kRaw;
      request.payload = Bytes(id);
      request.read_messages = 10;
      request.deadline_ns = clock.NowNs() + kTrialLimitNs;
      if (caller == Caller::kStream) {
        auto opened = client->OpenStream(std::move(request), &result);
        ASSERT_TRUE(opened.ok());
        (*opened)->CloseSend();
      } else {
        ASSERT_TRUE(client->StartCall(std::move(request), &result).ok());
      }
    });
    EXPECT_TRUE(StepUntil([&] { return result.ended(); })) << "no end came";
    Do([&] { client->Close(); });
    EXPECT_TRUE(StepUntil([&] { return closed_; }));
    Do([&] { client.reset(); });
    ends_ = result.ends;
    status_ = result.status;
    if (status_.ok()) {
      EXPECT_EQ(caller == Caller::kStream ? result.messages.at(0) : result.payload, id);
    }
  }
  // One call on a channel, which sends nothing twice.
  void CallByChannel(const std::string& id) {
    TestCall handler;
    std::unique_ptr<rpc::Channel> channel;
    Do([&] {
      channel = rpc::Channel::To(loop.get(), *rpc::Endpoint::Parse(servers.endpoint), {}, 7);
      rpc::CallOptions options;
      options.path = "/test.Service/Method";
      options.deadline_ns = clock.NowNs() + kTrialLimitNs;
      options.initial_credit_messages = UINT64_MAX;
      rpc::Call* call = channel->StartCall(options, &handler);
      call->Write(Bytes(id));
      call->CloseSend();
    });
    EXPECT_TRUE(StepUntil([&] { return handler.ended(); })) << "no end came";
    Do([&] { channel.reset(); });
    ends_ = handler.ends;
    status_ = handler.status;
    if (status_.ok()) {
      EXPECT_EQ(handler.messages.at(0), id);
    }
  }

  void Trial(Caller caller, Answer answer, std::vector<Fault> faults, const std::string& id) {
    servers.BeginTrial(std::move(faults), answer);
    caller == Caller::kChannel ? CallByChannel(id) : CallByClient(caller, id);
    connections_ = servers.connections();
    for (int i = 0; i < 2; ++i) {
      bytes_[i] = connections_ == 0 ? 0 : servers.proxy().moved(i);
    }
    Do([&] { servers.EndTrial(); });
    Settle();
    ASSERT_EQ(ends_, 1);
  }

  TrialServers servers;
  int ends_ = 0;
  Status status_;
  size_t connections_ = 0;
  std::array<uint64_t, 2> bytes_{};  // that the first connection moved
  int idle_ = 0;
  bool closed_ = false;
};

TEST_F(OutcomeTrials, AHandlerRunsAtMostOnceAndEachOutcomeIsNamedRight) {
  Random random(TestSeed());
  constexpr int kCallers = static_cast<int>(Caller::kCallers);
  std::array<uint64_t, 2> whole[kCallers];
  for (int caller = 0; caller < kCallers; ++caller) {
    ASSERT_NO_FATAL_FAILURE(Trial(static_cast<Caller>(caller), Answer::kAtEnd, {}, "whole"));
    ASSERT_TRUE(status_.ok()) << status_.ToString();
    whole[caller] = bytes_;
  }
  Tally tallies[kCallers];
  for (int trial = 0; trial < kTrials; ++trial) {
    const std::string id = "t" + std::to_string(trial);
    const Caller caller = static_cast<Caller>(random.Below(kCallers));
    const Answer answer = static_cast<Answer>(random.Below(static_cast<int>(Answer::kAnswers)));
    const auto& bytes = whole[static_cast<int>(caller)];
    std::vector<Fault> faults = {RandomFault(&random, bytes)};
    // One in four meets more than one.
    while (faults.size() < kFaultsMax && random.Below(4) == 0) {
      faults.push_back(RandomFault(&random, bytes));
    }
    SCOPED_TRACE(id + " caller " + std::to_string(static_cast<int>(caller)) + " answer " +
                 std::to_string(static_cast<int>(answer)) + " fault " +
                 std::to_string(static_cast<int>(faults[0].kind)) + " direction " +
                 std::to_string(faults[0].direction) + " after " +
                 std::to_string(faults[0].after_bytes) + " of " + std::to_string(faults.size()));
    bool only_drains = true;
    for (const Fault& fault : faults) only_drains = only_drains && fault.kind == FaultKind::kDrain;
    ASSERT_NO_FATAL_FAILURE(Trial(caller, answer, std::move(faults), id));
    Tally& tally = tallies[static_cast<int>(caller)];
    ASSERT_NO_FATAL_FAILURE(CheckOutcome(status_, servers.runs, &tally));
    tally.again += connections_ > 1;
    if (only_drains) {
      // A channel does not send again what waited for the connection that began to drain.
      const bool never_written = caller == Caller::kChannel && status_.executed() == LEVER_EXECUTED_NO;
      ASSERT_TRUE(status_.ok() || never_written) << status_.ToString();
    }
  }
  const char* const names[] = {"calls", "streams", "calls on a channel"};
  for (int caller = 0; caller < kCallers; ++caller) {
    const Tally& tally = tallies[caller];
    Print(names[caller], tally);
    // The faults fall on both sides of everything.
    EXPECT_GT(tally.done, kTrials / 20);
    EXPECT_GT(tally.unknown, kTrials / 200);
    EXPECT_GT(tally.ran_unknown, kTrials / 400);
    EXPECT_LT(tally.ran_unknown, tally.unknown);
  }
  EXPECT_GT(tallies[static_cast<int>(Caller::kChannel)].not_run, kTrials / 100);
}

}  // namespace
}  // namespace lever::client
