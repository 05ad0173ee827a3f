// An instance answers its health method before it takes calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/route/stream_core.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/server.h"
#include "tests/host/scale/control_fixture.h"

namespace lever::scale {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// An instance at an address: holds the calls of its method until the test answers them.
class FakeInstance final : public rpc::CallDispatcher, public rpc::CallHandler {
 public:
  void OnCall(rpc::Call& call) override {
    url = call.headers().Find(route::kUrlHeader).value_or("");
    open = &call;
    call.set_handler(this);
    call.Read(1);
  }
  void OnMessage(rpc::Call& call, SliceList message) override {
    arguments =
        Flatten(route::OpenMessage(std::move(message), route::Framing::kEnvelope)->payload).view();
  }
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override { open = nullptr; }

  void Answer(route::Kind kind, std::string_view value) {
    SliceList payload;
    payload.push_back(Slice::Copy(value));
    open->Write(route::WriteEnvelope(kind, std::move(payload)));
    open->Finish(Status::Ok());
  }

  std::string url;
  std::string arguments;
  rpc::Call* open = nullptr;
};

class HealthTest : public ControlTest {
 protected:
  HealthTest() {
    Do([&] {
      server = rpc::Server::Make(loop.get(), &instance);
      const Status listens =
          server->Listen(rpc::Endpoint::Parse("unix:" + directory_path + "/instance").value());
      ASSERT_TRUE(listens.ok()) << listens.ToString();
    });
  }
  ~HealthTest() override {
    Do([&] { server.reset(); });
    Settle();
  }

  static ServiceSpec Spec(uint64_t version = 1) {
    ServiceSpec spec = ControlTest::Spec(version);
    spec.health = "isWell";
    return spec;
  }
  void SaysReady(uint64_t key) {
    Do([&] {
      fleet::Started started{.pid = 7, .handle = "", .address = server->bound().ToString()};
      started.endpoint = fleet::EndpointKind::kAddress;
      driver.events->OnStarted(key, started);
      driver.events->OnReady(key);
    });
    ASSERT_TRUE(Until([&] { return instance.open != nullptr && !instance.arguments.empty(); }));
  }

  FakeInstance instance;
  std::unique_ptr<rpc::Server> server;
};

TEST_F(HealthTest, ItTakesCallsOnceItHasAnswered) {
  Deploy(Spec());
  Demand();
  SaysReady(Last());
  EXPECT_EQ(instance.url, "/hello/isWell");
  EXPECT_EQ(instance.arguments, "\x90");
  EXPECT_THAT(Listed(), IsEmpty());
  Do([&] { instance.Answer(route::Kind::kValue, "\xc2"); });
  ASSERT_TRUE(Until([&] { return !Listed().empty(); }));
  EXPECT_THAT(Listed(), ElementsAre(Last()));
}

TEST_F(HealthTest, OneThatAnswersWithAnErrorHasFailedToStart) {
  Deploy(Spec(1));
  Demand();
  SaysReady(Last());
  output.last_words = "the database is not there";
  Do([&] {
    instance.Answer(route::Kind::kErrorValue,
                    "\xa4"
                    "oops");
  });
  ASSERT_TRUE(Until([&] { return driver.killed.contains(Last()); }));
  Exited(Last(), 137);
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_THAT(failures[0].message(),
              HasSubstr("its health method isWell failed: it ended with an error: \"oops\""));
  EXPECT_THAT(failures[0].message(), HasSubstr("the database is not there"));
}

TEST_F(HealthTest, ANewVersionThatDoesNotAnswerInTimeLeavesTheOldOne) {
  Deploy(ControlTest::Spec(1));
  const uint64_t old = Up();
  Deploy(Spec(2));
  const uint64_t next = Last();
  SaysReady(next);
  Live(Spec().start_timeout_ns, {old});
  EXPECT_TRUE(driver.killed.contains(next));
  Exited(next, 137);
  ASSERT_TRUE(deployed.has_value());
  EXPECT_THAT(deployed->message(),
              HasSubstr("its health method isWell did not answer within 30000 ms"));
  EXPECT_THAT(Listed(), ElementsAre(old));
}

TEST_F(HealthTest, OneThatEndsWhileItIsAskedIsGone) {
  Deploy(Spec());
  Demand();
  SaysReady(Last());
  Exited(Last(), 1);
  EXPECT_EQ(failures.size(), 1u);
  EXPECT_TRUE(Until([&] { return instance.open == nullptr; })) << "the call is given up";
}

}  // namespace
}  // namespace lever::scale
