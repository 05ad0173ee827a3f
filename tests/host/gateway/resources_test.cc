// Calls of a resource through the host: they are stamped with their owner's generation, and sent again
// when it says that it is not the owner (any more), whoever speaks for the caller.
#include <gtest/gtest.h>

#include "tests/host/gateway/http_client.h"

namespace lever::gateway {
namespace {

class ResourceCalls : public HttpTest, private rpc::CallDispatcher {
 protected:
  ResourceCalls() : server_(rpc::Server::Make(loop.get(), this)) {
    control.on_connect = [this] {
      auto pair = SocketPair(SOCK_STREAM);
      EXPECT_TRUE(server_->Adopt(std::move(pair->second)).ok());
      return std::move(pair->first);
    };
    PublishOwned({&NewInstance()}, scale::ShardOwners::Owner{0, 7});
  }
  ~ResourceCalls() override {
    Do([&] { server_.reset(); });
    Settle();
  }

  // The instance, as the host speaks with it: it refuses so many calls, and answers the others.
  void OnCall(rpc::Call& call) override {
    TestCall& handler = came.emplace_back();
    handler.call = &call;
    handler.headers = call.headers();
    call.set_handler(&handler);
    if (refuses-- > 0) {
      rpc::HeaderList trailers;
      trailers.Add("lever-gen", Stamp(8));
      trailers.Add("lever-owner", "i-9");
      call.Finish(Unavailable("another has it").WithExecuted(LEVER_EXECUTED_NO),
                  with_trailers ? &trailers : nullptr);
      return;
    }
    call.Read(1);
    handler.on_message = [](TestCall&, rpc::Call& answered) {
      answered.Write(ValueMessage("\x05"));
      answered.Finish(Status::Ok());
    };
  }
  TestCall& Call(const std::vector<std::pair<std::string, std::string>>& more = {}) {
    GrpcAsk ask{.headers = {{"lever-url", "/hello/echo"}, {"lever-resource", "room"}}};
    ask.headers.insert(ask.headers.end(), more.begin(), more.end());
    TestCall& handler =
        Begin(Client(), calls.emplace_back(), ask, {ValueMessage("\x91\x05")});
    EXPECT_TRUE(UntilEnd(handler));
    return handler;
  }
  // With time going on by milliseconds: but for the first time it is sent again after a while.
  bool UntilEnd(const TestCall& call) {
    for (int i = 0; i < 10'000 && !call.ended(); ++i) Advance(kNanosPerMilli);
    return call.ended();
  }
  std::string Came(size_t index, std::string_view name) const {
    return std::string(came.at(index).headers.Find(name).value_or("(none)"));
  }
  static std::string Stamp(uint64_t generation) {
    return policy::FormatShardGeneration(
        {policy::ShardOf("dev.lever", "hello", "room", kShards), generation});
  }

  std::unique_ptr<rpc::Server> server_;
  std::deque<TestCall> came;
  std::deque<TestCall> calls;
  int refuses = 0;
  bool with_trailers = true;
};

TEST_F(ResourceCalls, AreStampedWithTheirOwnersGeneration) {
  EXPECT_TRUE(Call().status.ok());
  EXPECT_EQ(Came(0, "lever-gen"), Stamp(7));
  EXPECT_EQ(Came(0, "lever-resource"), "room");
  EXPECT_TRUE(Call({{"lever-gen", Stamp(6)}}).status.ok());
  EXPECT_EQ(Came(1, "lever-gen"), Stamp(7)) << "what is older is replaced";
  EXPECT_TRUE(Call({{"lever-gen", Stamp(9)}}).status.ok());
  EXPECT_EQ(Came(2, "lever-gen"), Stamp(9)) << "what is newer is kept";
  EXPECT_TRUE(Call({{"lever-gen", "rubbish"}}).status.ok());
  EXPECT_EQ(Came(3, "lever-gen"), "rubbish") << "the instance refuses it";
}

TEST_F(ResourceCalls, ABadResourceIsRefused) {
  TestCall& handler = calls.emplace_back();
  rpc::Channel& channel = Client();
  Do([&] {
    rpc::HeaderList headers;
    headers.Add("lever-url", "/hello/echo");
    headers.Add("lever-resource", "%zz");
    rpc::CallOptions options;
    options.path = route::kInvokePath;
    options.metadata = &headers;
    handler.call = channel.StartCall(options, &handler);
  });
  ASSERT_TRUE(UntilEnd(handler));
  EXPECT_EQ(handler.status.code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(handler.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(came.size(), 0u);
}

TEST_F(ResourceCalls, ARefusalByWhoIsNotTheOwnerIsSentAgain) {
  refuses = 2;
  EXPECT_TRUE(Call().status.ok());
  ASSERT_EQ(came.size(), 3u);
  EXPECT_EQ(Came(0, "lever-attempt"), "1");
  EXPECT_EQ(Came(2, "lever-attempt"), "3");
}

TEST_F(ResourceCalls, SoManyTimesAndNoMore) {
  refuses = 100;
  TestCall& call = Call();
  EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(came.size(), 4u);
}

// Others' retries do not suffer for a move of many resources.
TEST_F(ResourceCalls, ThatCostsNothingOfTheBudget) {
  for (int i = 0; i < 40; ++i) {
    refuses = 1;
    ASSERT_TRUE(Call().status.ok()) << i;
  }
  // While what is refused for another reason does.
  with_trailers = false;
  int failed = 0;
  for (int i = 0; i < 40; ++i) {
    refuses = 1;
    failed += Call().status.ok() ? 0 : 1;
  }
  EXPECT_GT(failed, 10);
}

TEST_F(ResourceCalls, WhoCountsHisAttemptsIsToldOfTheOwner) {
  refuses = 1;
  TestCall& call = Call({{"lever-attempt", "1"}});
  EXPECT_EQ(call.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(call.status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(came.size(), 1u);
}

TEST_F(ResourceCalls, OverHttpToo) {
  for (const Version version : {Version::kHttp1, Version::kHttp2}) {
    came.clear();
    refuses = 1;
    const Response response = Post(version, "/hello/room/echo", "[5]");
    EXPECT_EQ(response.status, 200) << response.body;
    ASSERT_EQ(came.size(), 2u);
    EXPECT_EQ(Came(0, "lever-gen"), Stamp(7));
    EXPECT_EQ(Came(0, "lever-resource"), "room");
    EXPECT_EQ(Came(1, "lever-attempt"), "2");
  }
  for (int i = 0; i < 40; ++i) {
    refuses = 1;
    ASSERT_EQ(Post(Version::kHttp1, "/hello/room/echo", "[5]").status, 200) << i;
  }
}

}  // namespace
}  // namespace lever::gateway
