// The admin service, health and reflection as a gRPC client sees them.
#include "liblever/host/admin/admin_service.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "liblever/host/admin/deploy_session.h"
#include "liblever/host/admin/logs_session.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/server.h"
#include "tests/host/deploy/deployer_fixture.h"
#include "tests/rpc/call_fixture.h"

namespace lever::admin {
namespace {

using rpc::Bytes;
using rpc::TestCall;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FakeLogs final : public LogSource {
 public:
  struct Follower final : LogFollower {
    explicit Follower(FakeLogs* logs) : logs(logs) {}
    ~Follower() override { --logs->open; }
    std::vector<LogRecord> Take(size_t lines_max) override {
      std::vector<LogRecord> records;
      while (!logs->lines.empty() && records.size() < lines_max) {
        records.push_back(std::move(logs->lines.front()));
        logs->lines.pop_front();
      }
      return records;
    }
    std::optional<Status> end() const override {
      return logs->query.follow ? std::nullopt : std::optional<Status>(Status::Ok());
    }
    FakeLogs* logs;
  };
  StatusOr<std::unique_ptr<LogFollower>> Open(LogQuery asked, Loop* loop,
                                              std::function<void()> on_lines) override {
    if (asked.pattern == "(") return InvalidArgument("not a regular expression");
    query = std::move(asked);
    wake = std::move(on_lines);
    ++open;
    return std::unique_ptr<LogFollower>(std::make_unique<Follower>(this));
  }
  void Add(const std::string& text) {
    LogRecord record;
    record.environment = "dev.lever";
    record.service = "hello";
    record.text = text;
    record.lost = 3;
    lines.push_back(std::move(record));
  }

  std::deque<LogRecord> lines;
  LogQuery query;
  std::function<void()> wake;
  int open = 0;
};

class Admin : public deploy::DeployerTest, private rpc::CallDispatcher {
 protected:
  Admin() {
    OnLoop([&] {
      admin_ = std::make_unique<AdminService>(AdminOptions{.loop = loop_.get(),
                                                           .control = control_.get(),
                                                           .deployer = deployer_,
                                                           .logs = &logs_,
                                                           .details = [] {
                                                             v1::HostDetails details;
                                                             details.set_version("0.1.0");
                                                             return details;
                                                           }});
      for (const auto& [path, handler] : admin_->methods()) handlers_[path] = handler;
      server_ = rpc::Server::Make(loop_.get(), this);
      auto pair = SocketPair(SOCK_STREAM);
      ASSERT_TRUE(server_->Adopt(std::move(pair->second)).ok());
      rpc::ConnectionOptions options;
      options.role = rpc::Role::kClient;
      channel_ = std::move(rpc::Channel::Over(loop_.get(), std::move(pair->first), options)).value();
    });
  }
  ~Admin() override {
    OnLoop([&] {
      channel_.reset();
      server_.reset();
    });
    Quiet();
    admin_.reset();
  }
  void OnLoop(const std::function<void()>& function) {
    ASSERT_TRUE(loop_->TryEnter());
    function();
    loop_->Leave();
  }
  void OnCall(rpc::Call& call) override {
    const auto handler = handlers_.find(std::string(call.path()));
    ASSERT_NE(handler, handlers_.end()) << call.path();
    handler->second(call, {});
  }

  TestCall& Open(const std::string& path) {
    TestCall& handler = calls_.emplace_back();
    OnLoop([&] {
      rpc::CallOptions options;
      options.path = path;
      options.initial_credit_messages = UINT64_MAX;
      handler.call = channel_->StartCall(options, &handler);
    });
    return handler;
  }
  template <typename Message>
  void Send(TestCall& call, const Message& message) {
    OnLoop([&] { call.call->Write(Bytes(message.SerializeAsString())); });
  }
  void CloseSend(TestCall& call) {
    OnLoop([&] { call.call->CloseSend(); });
  }
  template <typename Message>
  TestCall& Ask(const std::string& path, const Message& message) {
    TestCall& call = Open(path);
    Send(call, message);
    CloseSend(call);
    Until([&] { return call.ended(); });
    return call;
  }
  // The message at `index` of the reply; of the last one for -1.
  template <typename Message>
  static Message Reply(const TestCall& call, int index = -1) {
    Message message;
    EXPECT_FALSE(call.messages.empty()) << call.status.ToString();
    if (call.messages.empty()) return message;
    EXPECT_TRUE(message.ParseFromString(
        index < 0 ? call.messages.back() : call.messages.at(static_cast<size_t>(index))));
    return message;
  }

  TestCall& BeginDeploy(const std::string& manifest = kHello, uint64_t packed_bytes = 0) {
    TestCall& call = Open("/lever.v1.Admin/Deploy");
    v1::DeployRequest begin;
    begin.mutable_begin()->set_manifest_json(manifest);
    begin.mutable_begin()->set_packed_bytes(packed_bytes);
    Send(call, begin);
    return call;
  }
  void SendChunk(TestCall& call, const std::string& bytes) {
    v1::DeployRequest chunk;
    chunk.set_chunk(bytes);
    Send(call, chunk);
  }

  FakeLogs logs_;
  std::unique_ptr<AdminService> admin_;
  std::map<std::string, gateway::MethodHandler> handlers_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<rpc::Channel> channel_;
  std::deque<TestCall> calls_;
};

// ---- Deploy ----

TEST_F(Admin, ADeployTellsItsStepsAndTheVersion) {
  control_->ram_bytes = 10ull << 20;
  const std::string bundle = Bundle(R"({"name": "hello", "ram": 60})", "one");
  TestCall& call = BeginDeploy(R"({"name": "hello", "ram": 60})", bundle.size());
  for (size_t at = 0; at < bundle.size(); at += 50) SendChunk(call, bundle.substr(at, 50));
  SendChunk(call, "");  // a sign of life
  CloseSend(call);
  Until([&] { return call.ended(); });
  ASSERT_TRUE(call.status.ok()) << call.status.ToString();
  std::vector<int> steps;
  for (size_t i = 0; i < call.messages.size(); ++i) {
    steps.push_back(Reply<v1::DeployProgress>(call, static_cast<int>(i)).step());
  }
  EXPECT_EQ(steps.front(), v1::DeployProgress::RECEIVED);
  EXPECT_EQ(steps.back(), v1::DeployProgress::DONE);
  EXPECT_THAT(steps, Contains(static_cast<int>(v1::DeployProgress::STORED)));
  const auto done = Reply<v1::DeployProgress>(call);
  EXPECT_EQ(done.service(), "hello");
  EXPECT_EQ(done.version(), 1u);
  EXPECT_EQ(done.received_bytes(), bundle.size());
  EXPECT_EQ(done.notes_size(), 1);
}

TEST_F(Admin, ADeployThatIsNoneIsRefusedAndFreesTheName) {
  struct Row {
    std::string says;
    std::function<void(TestCall&)> rest;
    bool begin = true;
  };
  const std::string bundle = Bundle(kHello, "one");
  const std::vector<Row> rows = {
      {"no messages", [](TestCall&) {}, false},
      {"must be the first", [&](TestCall& call) { SendChunk(call, "x"); }, false},
      {"not a lever.v1.DeployRequest",
       [&](TestCall& call) { OnLoop([&] { call.call->Write(Bytes("\xff\xff")); }); }, false},
      {"only that",
       [&](TestCall& call) {
         v1::DeployRequest again;
         again.mutable_begin()->set_manifest_json(kHello);
         Send(call, again);
       }},
      {"more than 1 MiB", [&](TestCall& call) { SendChunk(call, std::string(DeploySession::kChunkBytesMax + 1, 'x')); }},
      {"not a bundle", [&](TestCall& call) { SendChunk(call, "no bundle"); }},
      {"not a bundle", [](TestCall&) {}},
  };
  for (const Row& row : rows) {
    TestCall& call = row.begin ? BeginDeploy() : Open("/lever.v1.Admin/Deploy");
    row.rest(call);
    CloseSend(call);
    Until([&] { return call.ended(); });
    EXPECT_EQ(call.status.code(), LEVER_INVALID_ARGUMENT) << row.says << ": " << call.status.ToString();
    EXPECT_THAT(call.status.message(), HasSubstr(row.says));
    Quiet();
    EXPECT_EQ(Count("uploads") + Count("bundles"), 0u) << row.says;
  }
  TestCall& cut = BeginDeploy(kHello, bundle.size());
  SendChunk(cut, bundle.substr(0, bundle.size() / 2));
  CloseSend(cut);
  Until([&] { return cut.ended(); });
  EXPECT_THAT(cut.status.message(), HasSubstr("were announced"));
  Quiet();
  EXPECT_TRUE(Deploy("one").ok()) << "the name is free";
}

TEST_F(Admin, ADeployOfAWrongManifestOrEnvironmentIsRefusedBeforeTheBytes) {
  TestCall& manifest = BeginDeploy(R"({"name": "hello", "rom": 1})");
  Until([&] { return manifest.ended(); });
  EXPECT_EQ(manifest.status.code(), LEVER_INVALID_ARGUMENT);
  EXPECT_THAT(manifest.status.message(), HasSubstr("did you mean \"ram\""));
  TestCall& environment = Open("/lever.v1.Admin/Deploy");
  v1::DeployRequest begin;
  begin.mutable_begin()->set_environment("nowhere");
  begin.mutable_begin()->set_manifest_json(kHello);
  Send(environment, begin);
  Until([&] { return environment.ended(); });
  EXPECT_EQ(environment.status.code(), LEVER_NOT_FOUND);
}

TEST_F(Admin, AClientThatGoesInTheMiddleLeavesNothing) {
  TestCall& call = BeginDeploy();
  SendChunk(call, Bundle(kHello, "one").substr(0, 40));
  Until([&] { return Count("uploads") == 1; });
  OnLoop([&] { call.call->Cancel(Cancelled("gone")); });
  Until([&] { return Count("uploads") == 0; });
  Quiet();
  EXPECT_TRUE(Deploy("one").ok());
}

TEST_F(Admin, AServiceIsRemovedOnce) {
  ASSERT_TRUE(Deploy("one").ok());
  v1::RemoveRequest request;
  request.set_service("hello");
  EXPECT_TRUE(Ask("/lever.v1.Admin/Remove", request).status.ok());
  TestCall& again = Ask("/lever.v1.Admin/Remove", request);
  EXPECT_EQ(again.status.code(), LEVER_NOT_FOUND);
  request.set_service("Bad/Name");
  EXPECT_EQ(Ask("/lever.v1.Admin/Remove", request).status.code(), LEVER_INVALID_ARGUMENT);
}

// ---- Lists ----

TEST_F(Admin, ListsAreSortedAndFiltered) {
  for (const char* name : {"zebra", "ant"}) {
    scale::ServiceStatus service;
    service.spec.environment = "dev.lever";
    service.spec.service = name;
    service.spec.version = 4;
    service.deployed = true;
    service.last_error = "it crashed";
    control_->services.push_back(service);
  }
  scale::ServiceStatus elsewhere;
  elsewhere.spec.environment = "live.lever";
  elsewhere.spec.service = "ant";
  elsewhere.spec.version = 9;
  control_->services.push_back(elsewhere);
  const auto all = Reply<v1::ListServicesReply>(Ask("/lever.v1.Admin/ListServices", v1::ListServicesRequest()));
  ASSERT_EQ(all.services_size(), 3);
  EXPECT_EQ(all.services(0).service(), "ant");
  EXPECT_EQ(all.services(0).version(), 4u);
  EXPECT_EQ(all.services(1).service(), "zebra");
  EXPECT_EQ(all.services(2).version(), 0u) << "attached programs only";
  v1::ListServicesRequest live;
  live.set_environment("live.lever");
  EXPECT_EQ(Reply<v1::ListServicesReply>(Ask("/lever.v1.Admin/ListServices", live)).services_size(), 1);

  scale::InstanceStatus instance;
  instance.environment = "dev.lever";
  instance.service = "ant";
  instance.id = "i-1";
  instance.pid = 42;
  instance.phase = scale::InstancePhase::kStalled;
  control_->instances = {instance};
  v1::ListInstancesRequest request;
  request.set_service("ant");
  const auto rows = Reply<v1::ListInstancesReply>(Ask("/lever.v1.Admin/ListInstances", request));
  ASSERT_EQ(rows.instances_size(), 1);
  EXPECT_EQ(rows.instances(0).pid(), 42);
  EXPECT_EQ(rows.instances(0).phase(), "stalled");
  request.set_service("zebra");
  EXPECT_EQ(Reply<v1::ListInstancesReply>(Ask("/lever.v1.Admin/ListInstances", request)).instances_size(), 0);
}

TEST_F(Admin, TheHostTellsAboutItself) {
  EXPECT_EQ(Reply<v1::HostDetails>(Ask("/lever.v1.Admin/GetHost", v1::GetHostRequest())).version(), "0.1.0");
}

TEST_F(Admin, ARequestThatIsNoneSurelyDidNothing) {
  for (const char* path : {"/lever.v1.Admin/Remove", "/lever.v1.Admin/ListServices", "/lever.v1.Admin/GetHost",
                           "/lever.v1.Admin/Logs", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"}) {
    TestCall& broken = Open(path);
    OnLoop([&] { broken.call->Write(Bytes("\xff\xff")); });
    TestCall& empty = Open(path);
    CloseSend(empty);
    Until([&] { return broken.ended() && empty.ended(); });
    EXPECT_EQ(broken.status.code(), LEVER_INVALID_ARGUMENT) << path;
    EXPECT_EQ(empty.status.code(), LEVER_INVALID_ARGUMENT) << path;
  }
}

// ---- Logs ----

TEST_F(Admin, LogsOfThePastEndAndThoseToComeFollow) {
  logs_.Add("one");
  logs_.Add("two");
  v1::LogsRequest request;
  request.set_service("hello");
  TestCall& past = Ask("/lever.v1.Admin/Logs", request);
  EXPECT_TRUE(past.status.ok()) << past.status.ToString();
  EXPECT_EQ(past.messages.size(), 2u);
  EXPECT_EQ(Reply<v1::LogLine>(past).text(), "two");
  EXPECT_EQ(Reply<v1::LogLine>(past).lost(), 3u);
  EXPECT_EQ(logs_.query.environment, "dev.lever");
  EXPECT_EQ(logs_.query.tail, LogsSession::kTailDefault);
  EXPECT_EQ(logs_.open, 0);

  request.set_follow(true);
  request.set_no_tail(true);
  TestCall& follow = Open("/lever.v1.Admin/Logs");
  Send(follow, request);
  CloseSend(follow);
  Until([&] { return follow.log == "H"; });
  EXPECT_EQ(logs_.query.tail, 0u);
  OnLoop([&] {
    logs_.Add("three");
    logs_.wake();
  });
  Until([&] { return follow.messages.size() == 1; });
  EXPECT_FALSE(follow.ended());
  OnLoop([&] { follow.call->Cancel(Cancelled("enough")); });
  Until([&] { return logs_.open == 0; });
}

TEST_F(Admin, ASlowReaderOfLogsHoldsOnlyABuffer) {
  TestCall& slow = calls_.emplace_back();
  OnLoop([&] {
    rpc::CallOptions options;
    options.path = "/lever.v1.Admin/Logs";
    slow.call = channel_->StartCall(options, &slow);  // without credit
    slow.call->Write(Bytes(v1::LogsRequest().SerializeAsString()));
    slow.call->CloseSend();
  });
  constexpr int kLines = 4000;
  for (int i = 0; i < kLines; ++i) logs_.Add(std::string(1000, 'x'));
  Until([&] { return logs_.open == 1; });
  while (*loop_->Turn(0)) {
  }
  // One window, what is queued, and one take.
  EXPECT_GT(logs_.lines.size(), kLines / 2u);
  OnLoop([&] { slow.call->Read(UINT64_MAX); });
  Until([&] { return slow.ended(); });
  EXPECT_TRUE(slow.status.ok()) << slow.status.ToString();
  EXPECT_EQ(slow.messages_count, static_cast<size_t>(kLines));
}

TEST_F(Admin, LogsOfWhatCannotBeAreRefused) {
  v1::LogsRequest request;
  request.set_service("Not A Service");
  EXPECT_EQ(Ask("/lever.v1.Admin/Logs", request).status.code(), LEVER_INVALID_ARGUMENT);
  request.set_service("");
  request.set_environment("..");
  EXPECT_EQ(Ask("/lever.v1.Admin/Logs", request).status.code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(logs_.open, 0);
}

// ---- Health and reflection ----

TEST_F(Admin, HealthKnowsTheServicesAndTellsWatchesOfTheDrain) {
  using grpc::health::v1::HealthCheckRequest;
  using grpc::health::v1::HealthCheckResponse;
  HealthCheckRequest request;
  EXPECT_EQ(Reply<HealthCheckResponse>(Ask("/grpc.health.v1.Health/Check", request)).status(),
            HealthCheckResponse::SERVING);
  TestCall& watch = Open("/grpc.health.v1.Health/Watch");
  Send(watch, request);
  Until([&] { return watch.messages.size() == 1; });
  request.set_service("lever.v1.Admin");
  EXPECT_EQ(Reply<HealthCheckResponse>(Ask("/grpc.health.v1.Health/Check", request)).status(),
            HealthCheckResponse::SERVING);
  request.set_service("nobody.v1.Nothing");
  EXPECT_EQ(Ask("/grpc.health.v1.Health/Check", request).status.code(), LEVER_NOT_FOUND);
  OnLoop([&] { admin_->StopServing(); });
  Until([&] { return watch.messages.size() == 2; });
  EXPECT_EQ(Reply<HealthCheckResponse>(watch).status(), HealthCheckResponse::NOT_SERVING);
  request.set_service("");
  EXPECT_EQ(Reply<HealthCheckResponse>(Ask("/grpc.health.v1.Health/Check", request)).status(),
            HealthCheckResponse::NOT_SERVING);
  OnLoop([&] { admin_->StopServing(); });
  while (*loop_->Turn(0)) {
  }
  EXPECT_EQ(watch.messages.size(), 2u) << "told once";
}

TEST_F(Admin, ReflectionHasTheFilesOfAllServicesThatItLists) {
  using grpc::reflection::v1::ServerReflectionRequest;
  using grpc::reflection::v1::ServerReflectionResponse;
  for (const char* version : {"v1", "v1alpha"}) {
    TestCall& call = Open(std::string("/grpc.reflection.") + version + ".ServerReflection/ServerReflectionInfo");
    ServerReflectionRequest list;
    list.set_list_services("*");
    Send(call, list);
    Until([&] { return call.messages.size() == 1; });
    std::vector<std::string> names;
    const auto listed = Reply<ServerReflectionResponse>(call);
    for (const auto& service : listed.list_services_response().service()) {
      names.push_back(service.name());
    }
    EXPECT_THAT(names, ElementsAre("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                   "grpc.reflection.v1alpha.ServerReflection", "lever.v1.Admin", "lever.v1.Host",
                                   "lever.v1.Lever"));
    size_t answers = 1;
    for (const std::string& name : names) {
      ServerReflectionRequest file;
      file.set_file_containing_symbol(name);
      Send(call, file);
      ++answers;
      Until([&] { return call.messages.size() == answers; });
      const auto answer = Reply<ServerReflectionResponse>(call);
      ASSERT_GE(answer.file_descriptor_response().file_descriptor_proto_size(), 1) << name;
      google::protobuf::FileDescriptorProto proto;
      ASSERT_TRUE(proto.ParseFromString(answer.file_descriptor_response().file_descriptor_proto(0)));
      EXPECT_TRUE(name.starts_with(proto.package())) << name;
    }
    ServerReflectionRequest unknown;
    unknown.set_file_by_filename("nothing.proto");
    Send(call, unknown);
    Until([&] { return call.messages.size() == answers + 1; });
    EXPECT_EQ(Reply<ServerReflectionResponse>(call).error_response().error_code(), 5);
    CloseSend(call);
    Until([&] { return call.ended(); });
    EXPECT_TRUE(call.status.ok());
  }
}

}  // namespace
}  // namespace lever::admin
