// Calls that go through the host, to an instance and to a program outside of Lever, each with a fault at a
// point of its own on the way behind the host. The host sends again for the caller what surely did not run:
// the handler runs at most once, each outcome is named right, and nothing is lost by a drain.
#include <gtest/gtest.h>

#include "liblever/host/gateway/upstream.h"
#include "tests/client/trial_server.h"
#include "tests/host/gateway/gateway_fixture.h"
#include "tests/value/mutation.h"

namespace lever::gateway {
namespace {

constexpr int kTrials = 3'000;
constexpr int64_t kTrialLimitNs = 30 * kNanosPerSecond;

class RelayTrials : public GatewayTest {
 protected:
  RelayTrials() : servers(loop.get(), "lever-relay-trials") {
    control.on_connect = [this] { return servers.Connect(); };
    TestInstance& instance = NewInstance();
    Publish({&instance});
    Do([&] {
      upstreams = std::make_unique<Upstreams>(loop.get());
      ASSERT_TRUE(upstreams->Add({"shop.v1.Cart", servers.endpoint}).ok());
      front->set_upstreams(upstreams.get());
    });
  }
  ~RelayTrials() override {
    Do([&] { front->Close(Cancelled("the test is over")); });
    Settle();
    Do([&] {
      front.reset();
      upstreams.reset();
      Open({});
    });
  }

  void Step() {
    const bool turned = *loop->Turn(0);
    const bool moved = servers.Pump();
    if (turned || moved) {
      idle_ = 0;
    } else if (++idle_ > 2 && !servers.AnswerLater()) {
      clock.Advance(kNanosPerMilli);
    }
  }
  // Whether the call's connection is made for it.
  enum class Connected : bool { kNo, kBefore };

  void Trial(rpc::Channel& channel, std::string_view path, std::vector<Fault> faults, Answer answer,
             const std::string& id, Connected connected) {
    if (connected == Connected::kBefore) {
      servers.BeginTrial({}, answer);
      ASSERT_NO_FATAL_FAILURE(Call(channel, path, "before"));
      ASSERT_TRUE(status_.ok()) << status_.ToString();
      servers.Rearm(std::move(faults));
      // What happens at once is known to the host before the call, or not yet.
      for (uint32_t steps = random_.Below(3); steps > 0; --steps) Step();
    } else {
      servers.BeginTrial(std::move(faults), answer);
    }
    ASSERT_NO_FATAL_FAILURE(Call(channel, path, id));
    connections_ = servers.connections();
    for (int i = 0; i < 2; ++i) {
      bytes_[i] = connections_ == 0 ? 0 : servers.proxy().moved(i);
    }
    Do([&] { servers.EndTrial(); });
    Settle();
  }
  void Call(rpc::Channel& channel, std::string_view path, const std::string& id) {
    TestCall handler;
    Do([&] {
      rpc::HeaderList headers;
      headers.Add("lever-url", "/hello/echo");
      rpc::CallOptions options;
      options.path = path;
      options.deadline_ns = clock.NowNs() + kTrialLimitNs;
      options.metadata = &headers;
      options.initial_credit_messages = UINT64_MAX;
      rpc::Call* call = channel.StartCall(options, &handler);
      call->Write(Bytes(id));
      call->CloseSend();
    });
    for (int i = 0; i < 200'000 && !handler.ended(); ++i) Step();
    ASSERT_TRUE(handler.ended()) << "no end came";
    for (int i = 0; i < 3; ++i) Step();
    ASSERT_EQ(handler.ends, 1);
    status_ = handler.status;
    if (status_.ok()) {
      ASSERT_EQ(handler.messages.at(0), id);
    }
  }

  void RunTrials(const char* name, std::string_view path) {
    rpc::Channel& channel = Client();
    std::array<uint64_t, 2> whole[2];
    for (const Connected connected : {Connected::kNo, Connected::kBefore}) {
      ASSERT_NO_FATAL_FAILURE(Trial(channel, path, {}, Answer::kAtEnd, "whole", connected));
      ASSERT_TRUE(status_.ok()) << status_.ToString();
      whole[static_cast<int>(connected)] = bytes_;
      ASSERT_GT(bytes_[0], 20u);
    }
    for (int trial = 0; trial < kTrials; ++trial) {
      const std::string id = "t" + std::to_string(trial);
      const Answer answer = static_cast<Answer>(random_.Below(static_cast<int>(Answer::kAnswers)));
      const Connected connected = static_cast<Connected>(random_.Below(2));
      std::vector<Fault> faults = {RandomFault(&random_, whole[static_cast<int>(connected)])};
      while (faults.size() < Relay::kAttemptsMax && random_.Below(4) == 0) {
        faults.push_back(RandomFault(&random_, whole[0]));
      }
      bool only_drains = true;
      for (const Fault& fault : faults) only_drains = only_drains && fault.kind == FaultKind::kDrain;
      SCOPED_TRACE(id + " answer " + std::to_string(static_cast<int>(answer)) + " fault " +
                   std::to_string(static_cast<int>(faults[0].kind)) + " direction " +
                   std::to_string(faults[0].direction) + " after " +
                   std::to_string(faults[0].after_bytes) + " of " + std::to_string(faults.size()) +
                   (connected == Connected::kBefore ? ", connected before" : ""));
      ASSERT_NO_FATAL_FAILURE(Trial(channel, path, std::move(faults), answer, id, connected));
      ASSERT_NO_FATAL_FAILURE(CheckOutcome(status_, servers.runs, &tally));
      tally.again += connections_ > 1;
      ASSERT_LE(connections_, Relay::kAttemptsMax);
      if (only_drains) {
        ASSERT_TRUE(status_.ok()) << status_.ToString();
      }
    }
    Print(name, tally);
    EXPECT_GT(tally.again, 0);
    EXPECT_GT(tally.done, kTrials / 5);
    EXPECT_GT(tally.unknown, kTrials / 50);
    EXPECT_GT(tally.ran_unknown, kTrials / 100);
    EXPECT_LT(tally.ran_unknown, tally.unknown);
  }

  Random random_{TestSeed()};
  TrialServers servers;
  std::unique_ptr<Upstreams> upstreams;
  Status status_;
  size_t connections_ = 0;
  std::array<uint64_t, 2> bytes_{};
  int idle_ = 0;
  Tally tally;
};

TEST_F(RelayTrials, ACallToAnInstanceRunsAtMostOnceAndItsOutcomeIsNamedRight) {
  RunTrials("to an instance", route::kInvokePath);
}

TEST_F(RelayTrials, ACallToAnUpstreamRunsAtMostOnceAndItsOutcomeIsNamedRight) {
  RunTrials("to an upstream", "/shop.v1.Cart/Add");
  EXPECT_GT(tally.again, kTrials / 50);
}

}  // namespace
}  // namespace lever::gateway
