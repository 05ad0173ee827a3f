// A client on a fake host, with instances that the host introduces.
#ifndef TESTS_CLIENT_CLIENT_FIXTURE_H_
#define TESTS_CLIENT_CLIENT_FIXTURE_H_

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "liblever/client/client.h"
#include "liblever/route/host_link.h"
#include "liblever/route/router.h"
#include "tests/route/fake_host.h"
#include "tests/route/loop_fixture.h"

namespace lever::client {

// What one call or stream has come to.
struct Result final : public UnaryHandler, public StreamHandler {
  void OnDone(UnaryCall& call, Outcome outcome) override { End(std::move(outcome)); }
  void OnMessage(route::MessageStream& stream, Kind kind, SliceList payload) override {
    messages.push_back(Concat(payload));
  }
  void OnWritable(route::MessageStream& stream) override { ++writable; }
  void OnEnd(route::MessageStream& stream, Outcome outcome) override { End(std::move(outcome)); }
  void End(Outcome outcome) {
    ++ends;
    status = outcome.status;
    kind = outcome.kind;
    payload = Concat(outcome.payload);
    if (outcome.resume != nullptr) resume = *outcome.resume;
    if (on_end) on_end();
  }
  bool ended() const { return ends > 0; }

  UnaryCall* call = nullptr;
  ClientStream* stream = nullptr;
  int ends = 0;
  int writable = 0;
  Status status;
  Kind kind = Kind::kNone;
  std::string payload;
  std::vector<std::string> messages;
  std::optional<route::ResumePoint> resume;
  std::function<void()> on_end;
};

inline void Succeed(TestCall& handler, rpc::Call& call) {
  call.Read(1);
  handler.on_message = [](TestCall&, rpc::Call& answered) {
    answered.Write(ValueMessage("\x05"));
    answered.Finish(Status::Ok());
  };
}
inline TestCall::Hook FailWith(Status status) {
  return [status](TestCall&, rpc::Call& call) { call.Finish(status); };
}
inline Status SurelyNotRun() { return Unavailable("not here").WithExecuted(LEVER_EXECUTED_NO); }

class ClientTest : public LoopTest, private ClientHandler {
 protected:
  ClientTest() : host(std::make_unique<FakeHost>(loop.get())) {}
  ~ClientTest() override {
    if (client != nullptr) Close();
    Do([&] {
      client.reset();
      link.reset();
      for (const auto& instance : instances) instance->server.reset();
      host->server.reset();
    });
    // Calls that were open end in this turn, and tell their handlers.
    Settle();
  }

  void Open(ClientOptions options = {}) {
    Do([&] {
      if (!options.echo) {
        link = std::move(route::HostLink::Over(loop.get(), host->Adopt(), host->OpenIntroductions(), 7)).value();
        options.link = link;
      }
      auto opened = Client::Open(loop.get(), std::move(options), this);
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      client = std::move(opened).value();
    });
    Settle();
  }
  void Close() {
    Do([&] { client->Close(); });
    ASSERT_TRUE(Until([&] { return closed; }));
  }

  Result& Call(Request request) {
    Result& result = results.emplace_back();
    Do([&] {
      if (request.address.empty()) request.address = "/hello/echo";
      if (request.payload.empty() && request.kind == Kind::kValue) request.payload = Bytes("\x90");
      auto started = client->StartCall(std::move(request), &result);
      ASSERT_TRUE(started.ok()) << started.status().ToString();
      EXPECT_FALSE(result.ended());
      result.call = *started;
    });
    return result;
  }
  Result& Call() { return Call(Request()); }
  Result& Stream(Request request) {
    Result& result = results.emplace_back();
    Do([&] {
      if (request.address.empty()) request.address = "/hello/echoChan";
      if (request.payload.empty()) request.payload = Bytes("\x90");
      auto opened = client->OpenStream(std::move(request), &result);
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      EXPECT_FALSE(result.ended());
      result.stream = *opened;
    });
    return result;
  }
  Result& Stream() { return Stream(Request()); }
  // Waits for its end, with time going on by milliseconds.
  [[nodiscard]] bool Ended(const Result& result) {
    for (int i = 0; i < 100'000 && !result.ended(); ++i) {
      Settle();
      if (!result.ended()) clock.Advance(kNanosPerMilli);
    }
    return result.ended();
  }

  struct Instance final : public rpc::CallDispatcher {
    void OnCall(rpc::Call& call) override {
      TestCall& handler = calls.emplace_back();
      handler.call = &call;
      handler.headers = call.headers();
      call.set_handler(&handler);
      on_call(handler, call);
    }
    std::string id;
    std::unique_ptr<rpc::Server> server;
    TestCall::Hook on_call = Succeed;
    std::deque<TestCall> calls;
  };
  Instance& AddInstance(const std::string& id) {
    auto instance = std::make_unique<Instance>();
    instance->id = id;
    Do([&] { instance->server = rpc::Server::Make(loop.get(), instance.get()); });
    instances.push_back(std::move(instance));
    return *instances.back();
  }
  // Answers what the client has asked for with connections to the instances.
  void AnswerIntroductions() {
    for (const v1::Introduce& asked : host->TakeIntroduceRequests()) {
      for (const auto& instance : instances) {
        if (instance->id != asked.instance()) continue;
        auto pair = SocketPair(SOCK_STREAM);
        Do([&] { ASSERT_TRUE(instance->server->Adopt(std::move(pair->second)).ok()); });
        v1::Introduction packet;
        packet.mutable_outgoing()->set_id(asked.id());
        packet.mutable_outgoing()->set_instance(asked.instance());
        host->SendIntroduction(packet, pair->first);
      }
    }
  }
  // One call through the host makes the client watch; then it is connected to all instances.
  void ConnectDirectly() {
    host->on_call = Succeed;
    Result& first = Call();
    ASSERT_TRUE(Ended(first));
    ASSERT_TRUE(Until([&] { return !host->watches.empty() && host->watches.back().received.size() >= 2; }));
    std::vector<std::string> ids;
    for (const auto& instance : instances) ids.push_back(instance->id);
    Do([&] { host->SendRoutes("hello", ++revision, ids); });
    ASSERT_TRUE(Until([&] {
      AnswerIntroductions();
      return client->stats().direct_connections == ids.size();
    }));
  }
  // Calls of user code that came through the host.
  std::vector<TestCall*> HostCalls() {
    std::vector<TestCall*> calls;
    for (TestCall& call : host->calls) {
      if (call.headers.Find("lever-url").has_value()) calls.push_back(&call);
    }
    return calls;
  }

  std::unique_ptr<FakeHost> host;
  std::shared_ptr<route::HostLink> link;
  std::unique_ptr<Client> client;
  std::deque<Result> results;
  std::vector<std::unique_ptr<Instance>> instances;
  uint64_t revision = 0;
  bool closed = false;

  ClientHandler* this_handler() { return this; }

 private:
  void OnClosed(Client& which) override { closed = true; }
};

}  // namespace lever::client

#endif  // TESTS_CLIENT_CLIENT_FIXTURE_H_
