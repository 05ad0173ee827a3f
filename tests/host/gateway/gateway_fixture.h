// The gateway of a host on one loop, with real services behind it, and no host round it: the
// directory says what the test says, and the control plane records what it is asked for.
#ifndef TESTS_HOST_GATEWAY_GATEWAY_FIXTURE_H_
#define TESTS_HOST_GATEWAY_GATEWAY_FIXTURE_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "liblever/host/gateway/front.h"
#include "liblever/host/gateway/http_api.h"
#include "liblever/host/gateway/http_limits.h"
#include "liblever/host/gateway/relay.h"
#include "liblever/host/gateway/router.h"
#include "liblever/host/scale/directory.h"
#include "liblever/service/service.h"
#include "liblever/value/json.h"
#include "tests/host/deploy/fake_control.h"
#include "tests/route/fake_host.h"
#include "tests/route/loop_fixture.h"

namespace lever::gateway {

using service::IncomingCall;
using service::IncomingStream;
using service::Kind;

inline SliceList Json(std::string_view json) {
  const auto value = value::JsonToMessagePack(json);
  EXPECT_TRUE(value.ok()) << value.status().ToString();
  SliceList list;
  list.push_back(Slice::Copy(*value));
  return list;
}
inline std::string ToJson(const SliceList& payload) {
  const auto json = value::MessagePackToJson(Concat(payload));
  return json.ok() ? *json : json.status().ToString();
}

// An instance: a real service with these methods.
//   echo      answers with its arguments, in their kind
//   fail      with them as its own error
//   hang      not at all
//   echoChan  writes back what it reads, and ends when the caller does
//   failChan  sends its arguments as its own error
//   hangChan  neither reads nor writes nor ends
class TestInstance final : public service::ServiceHandler, public service::StreamHandler {
 public:
  TestInstance(Loop* loop, uint64_t key) : key_(key), loop_(loop), host(loop) {}

  void Start(service::ServiceOptions options = {}) {
    options.attach_socket = host.Adopt().release();
    options.introduction_socket = host.OpenIntroductions().release();
    auto opened = service::Service::Open(loop_, std::move(options), this);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    service = std::move(*opened);
    for (const std::string& name : names_) {
      ASSERT_TRUE(service->AddMethod(name, const_cast<std::string*>(&name)).ok());
    }
    ASSERT_TRUE(service->Start().ok());
  }
  bool attached() const { return service->state() == service::State::kAttached; }
  uint64_t key() const { return key_; }

  void OnState(service::Service&, service::State, const Status&) override {}
  void OnIncomingCall(service::Service&, IncomingCall& call) override {
    const std::string& name = *static_cast<const std::string*>(call.method());
    if (on_call) return on_call(name, call);
    Serve(name, call);
  }
  void Serve(const std::string& name, IncomingCall& call) {
    if (!call.Begin()) return;
    ++calls;
    metadata = call.metadata();
    caller = call.caller();
    deadline_ns = call.deadline_ns();
    if (name == "hang") {
      hanging.push_back(&call);
      return;
    }
    SliceList payload = call.payload();
    Kind kind = call.kind();
    if (name == "fail") kind = kind == Kind::kRaw ? Kind::kErrorRaw : Kind::kErrorValue;
    ASSERT_TRUE(call.Reply(kind, std::move(payload), nullptr).ok());
  }
  void OnIncomingStream(service::Service&, IncomingStream& stream) override {
    const std::string& name = *static_cast<const std::string*>(stream.method());
    stream.set_handler(this);
    if (on_stream) return on_stream(stream);
    if (!stream.Begin()) return;
    ++streams;
    arguments = ToJson(stream.payload());
    open.push_back(&stream);
    if (name == "echoChan") {
      stream.Read(UINT32_MAX, 0);
    } else if (name == "failChan") {
      SliceList payload = stream.payload();
      ASSERT_TRUE(stream.Fail(Kind::kErrorValue, std::move(payload)).ok());
    }
  }
  void OnCancelled(service::Service&, IncomingCall& call) override {
    ++cancelled;
    std::erase(hanging, &call);
    call.Fail(Cancelled("cancelled"));
  }
  void OnClosed(service::Service&) override { closed = true; }

  void OnMessage(route::MessageStream& stream, Kind kind, SliceList payload) override {
    ++messages;
    message_bytes += TotalSize(payload);
    if (on_message) return on_message(stream, payload);
    ASSERT_TRUE(stream.Write(kind, std::move(payload)).ok());
  }
  void OnHalfClosed(route::MessageStream& stream) override {
    ++half_closed;
    stream.CloseSend();
  }
  void OnWritable(route::MessageStream& stream) override {
    if (on_writable) on_writable(stream);
  }
  void OnEnd(route::MessageStream& stream, service::Outcome outcome) override {
    std::erase(open, &stream);
    ends.push_back(outcome.status);
  }

 private:
  uint64_t key_;
  Loop* loop_;
  std::vector<std::string> names_ = {"echo", "fail", "hang", "echoChan", "failChan", "hangChan"};

 public:
  FakeHost host;
  std::unique_ptr<service::Service> service;
  std::function<void(const std::string&, IncomingCall&)> on_call;
  std::function<void(IncomingStream&)> on_stream;
  std::function<void(route::MessageStream&, const SliceList&)> on_message;
  std::function<void(route::MessageStream&)> on_writable;
  int calls = 0;
  int streams = 0;
  int cancelled = 0;
  int half_closed = 0;
  size_t messages = 0;
  size_t message_bytes = 0;
  bool closed = false;
  std::string arguments;
  std::string caller;
  int64_t deadline_ns = 0;
  rpc::HeaderList metadata;
  std::vector<IncomingCall*> hanging;
  std::vector<route::MessageStream*> open;
  std::vector<Status> ends;
};

class GatewayControl final : public FakeControl {
 public:
  using FakeControl::FakeControl;
  void Demand(scale::ServiceName name, const void* holder, uint32_t held_calls) override {
    demanded[name.ToString()] = held_calls;
    if (held_calls == 0) return;
    demands.push_back(name.ToString());
  }
  void Connect(uint64_t key, Loop* loop, std::function<void(StatusOr<scale::HostWay>)> done) override {
    ++connects;
    if (on_way) {
      loop->Post([done = std::move(done), way = on_way()] { done(scale::HostWay(way)); });
      return;
    }
    if (on_connect) {
      auto socket = std::make_shared<UniqueFd>(on_connect());
      loop->Post([done = std::move(done), socket] { done(scale::HostWay(std::move(*socket))); });
      return;
    }
    const auto found = instances_by_key.find(key);
    if (found == instances_by_key.end()) {
      loop->Post([done = std::move(done)] { done(Unavailable("no such instance")); });
      return;
    }
    auto socket = std::make_shared<UniqueFd>(found->second->host.IntroduceCaller("", true));
    last_socket = socket->get();
    loop->Post([done = std::move(done), socket] { done(scale::HostWay(std::move(*socket))); });
  }

  std::vector<std::string> demands;
  std::map<std::string, uint32_t> demanded;  // what was said last
  int connects = 0;
  std::function<UniqueFd()> on_connect;  // instead of asking the instance
  std::function<route::AddressWay()> on_way;  // the same, of an address
  int last_socket = -1;  // the host's end of the newest connection
  std::map<uint64_t, TestInstance*> instances_by_key;
};

class GatewayTest : public LoopTest {
 protected:
  GatewayTest() : control(loop.get()) {
    Do([&] {
      directory.ApplyEnvironments(std::make_shared<std::vector<std::string>>(
          std::vector<std::string>{"dev.lever", "staging"}));
      Open({});
    });
  }
  ~GatewayTest() override {
    Do([&] { front->Close(Cancelled("the test is over")); });
    for (auto& instance : instances) {
      if (instance->service != nullptr) Do([&] { instance->service->Close(); });
    }
    Settle();
    Do([&] {
      front.reset();
      http.reset();
      router.reset();
      for (auto& instance : instances) {
        EXPECT_TRUE(instance->service == nullptr || instance->closed);
        instance->service.reset();
      }
      channels.clear();
      instances.clear();
    });
    Settle();
  }

  void Open(const HttpOptions& options) {
    front.reset();
    http.reset();
    router = std::make_unique<Router>(loop.get(), &directory, &control, 1);
    http = std::make_unique<HttpApi>(loop.get(), router.get(), &counters, options);
    front = std::make_unique<Front>(loop.get(), router.get(), &counters);
    front->set_http(http.get());
  }

  static constexpr uint32_t kShards = 4;

  std::shared_ptr<scale::ServiceView> MakeView(const std::vector<TestInstance*>& ready) {
    auto view = std::make_shared<scale::ServiceView>();
    view->environment = "dev.lever";
    view->service = "hello";
    view->revision = ++revision;
    view->startable = true;
    view->queue_max = queue_max;
    view->held = held;
    for (const TestInstance* instance : ready) {
      scale::InstanceView row;
      row.key = instance->key();
      row.id = "i-" + std::to_string(instance->key());
      row.environment = "dev.lever";
      row.service = "hello";
      row.introducible = true;
      row.concurrency_max = concurrency_max;
      std::shared_ptr<scale::InstanceLoad>& load = loads[instance->key()];
      if (load == nullptr) load = std::make_shared<scale::InstanceLoad>();
      row.load = load;
      view->instances.push_back(std::move(row));
    }
    return view;
  }
  // A started instance that nobody knows of yet.
  TestInstance& NewInstance(service::ServiceOptions options = {}) {
    instances.push_back(std::make_unique<TestInstance>(loop.get(), instances.size() + 1));
    TestInstance& instance = *instances.back();
    control.instances_by_key[instance.key()] = &instance;
    Do([&] { instance.Start(std::move(options)); });
    EXPECT_TRUE(Until([&] { return instance.attached(); }));
    return instance;
  }
  enum class Private : bool { kNo, kYes };
  // lever://dev.lever/hello has these instances from now on.
  void Publish(const std::vector<TestInstance*>& ready, Private is_private = Private::kNo) {
    std::shared_ptr<scale::ServiceView> view = MakeView(ready);
    view->is_private = is_private == Private::kYes;
    Do([&] { directory.Apply(view); });
  }
  // It has resources. Null: nobody knows whose the shards are; else all are that of `owner`, an index
  // into `ready` or kNobody, under this generation.
  void PublishOwned(const std::vector<TestInstance*>& ready,
                    std::optional<scale::ShardOwners::Owner> owner) {
    std::shared_ptr<scale::ServiceView> view = MakeView(ready);
    view->has_resources = true;
    if (owner) {
      auto shards = std::make_shared<scale::ShardOwners>();
      shards->owners.assign(kShards, *owner);
      view->shards = shards;
    }
    Do([&] { directory.Apply(view); });
  }
  // The usual: one instance that is ready.
  TestInstance& Serve() {
    TestInstance& instance = NewInstance();
    Publish({&instance});
    return instance;
  }

  // So that who does not read is felt soon.
  static void SmallBuffers(int socket) {
    const int bytes = 64 * 1024;
    ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
  }
  // A TCP connection over loopback whose other end the front has.
  UniqueFd Connect() {
    UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listening.get(), any, size), 0);
    SmallBuffers(listening.get());  // what it accepts inherits them
    EXPECT_EQ(::listen(listening.get(), 1), 0);
    EXPECT_EQ(::getsockname(listening.get(), any, &size), 0);
    UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SmallBuffers(socket.get());
    EXPECT_EQ(::connect(socket.get(), any, size), 0);
    EXPECT_TRUE(SetNonBlocking(socket.get()).ok());
    UniqueFd accepted(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    EXPECT_TRUE(accepted.valid());
    Do([&] { front->Take(std::move(accepted)); });
    return socket;
  }
  // A gRPC client; with `caller`, one whom the host knows.
  rpc::Channel& Client(fleet::Caller caller = {}) {
    auto pair = SocketPair(SOCK_STREAM);
    EXPECT_TRUE(pair.ok());
    Do([&] {
      if (caller.identity.empty()) {
        front->Take(std::move(pair->second));
      } else {
        EXPECT_TRUE(front->Adopt(std::move(pair->second), std::move(caller)).ok());
      }
      rpc::ConnectionOptions options;
      options.role = rpc::Role::kClient;
      channels.push_back(
          std::move(rpc::Channel::Over(loop.get(), std::move(pair->first), options)).value());
    });
    return *channels.back();
  }
  struct GrpcAsk {
    std::string_view path = route::kInvokePath;
    std::vector<std::pair<std::string, std::string>> headers = {{"lever-url", "/hello/echo"}};
    int64_t timeout_ns = -1;
    uint64_t credit = UINT64_MAX;
  };
  // Starts a call with exactly these headers.
  TestCall& Begin(rpc::Channel& channel, TestCall& handler, const GrpcAsk& ask,
                  const std::vector<SliceList>& messages, bool close = true) {
    Do([&] {
      rpc::HeaderList headers;
      for (const auto& [name, value] : ask.headers) headers.Add(name, value);
      rpc::CallOptions options;
      options.path = ask.path;
      options.deadline_ns = DeadlineAfter(clock.NowNs(), ask.timeout_ns);
      options.metadata = &headers;
      options.initial_credit_messages = ask.credit;
      handler.call = channel.StartCall(options, &handler);
      for (const SliceList& message : messages) handler.call->Write(message);
      if (close) handler.call->CloseSend();
    });
    return handler;
  }

  GatewayControl control;
  scale::Directory directory;
  RelayCounters counters;
  std::unique_ptr<Router> router;
  std::unique_ptr<HttpApi> http;
  std::unique_ptr<Front> front;
  std::deque<std::unique_ptr<TestInstance>> instances;
  std::deque<std::unique_ptr<rpc::Channel>> channels;
  uint64_t revision = 0;
  // Of what is published.
  uint32_t concurrency_max = 0;
  uint32_t queue_max = scale::kQueueMaxDefault;
  std::shared_ptr<scale::HeldCalls> held = std::make_shared<scale::HeldCalls>();
  std::map<uint64_t, std::shared_ptr<scale::InstanceLoad>> loads;
};

}  // namespace lever::gateway

#endif  // TESTS_HOST_GATEWAY_GATEWAY_FIXTURE_H_
