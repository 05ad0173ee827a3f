// A service that a fake host has started, callers that it introduces, and what the program is told.
#ifndef TESTS_SERVICE_SERVICE_FIXTURE_H_
#define TESTS_SERVICE_SERVICE_FIXTURE_H_

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "liblever/service/service.h"
#include "tests/route/fake_host.h"
#include "tests/route/loop_fixture.h"

namespace lever::service {

// The program: records, and does what the test hangs in.
class Program final : public ServiceHandler, public StreamHandler {
 public:
  void OnState(Service& service, State state, const Status& status) override {
    states.push_back(state);
    last_status = status;
  }
  void OnIncomingCall(Service& service, IncomingCall& call) override {
    ++calls;
    if (on_call) return on_call(call);
    if (!call.Begin()) return;
    SliceList payload = call.payload();
    ASSERT_TRUE(call.Reply(call.kind(), std::move(payload), nullptr).ok());
  }
  void OnIncomingStream(Service& service, IncomingStream& stream) override {
    ++streams;
    stream.set_handler(this);
    if (on_stream) on_stream(stream);
  }
  void OnCancelled(Service& service, IncomingCall& call) override {
    ++cancelled;
    if (on_cancelled) on_cancelled(call);
  }
  bool HasBegun(IncomingStream& stream) override { return begun_elsewhere; }
  void OnResourceOpen(Service& service, const ResourceOpening& opening) override {
    openings.emplace_back(opening.id, std::string(opening.name));
    if (answers_openings) service.ResourceOpened(opening.id, Status::Ok());
  }
  void OnResourceClose(Service& service, uint64_t resource, CloseReason reason) override {
    closings.emplace_back(resource, reason);
  }
  void OnClosed(Service& service) override { closed = true; }

  void OnMessage(route::MessageStream& stream, Kind kind, SliceList payload) override {
    messages.push_back(Concat(payload));
    if (on_message) on_message(stream);
  }
  void OnHalfClosed(route::MessageStream& stream) override {
    ++half_closed;
    if (on_half_closed) on_half_closed(stream);
  }
  void OnMoving(route::MessageStream& stream) override {
    ++moving;
    if (on_moving) on_moving(stream);
  }
  void OnWritable(route::MessageStream& stream) override { ++writable; }
  void OnEnd(route::MessageStream& stream, Outcome outcome) override { ends.push_back(outcome.status); }

  std::vector<State> states;
  Status last_status;
  int calls = 0;
  int streams = 0;
  int cancelled = 0;
  int half_closed = 0;
  int moving = 0;
  int writable = 0;
  bool closed = false;
  bool answers_openings = true;
  // Whether offered streams were begun on another thread, which SetBegun() tells later.
  bool begun_elsewhere = false;
  std::vector<std::pair<uint64_t, std::string>> openings;
  std::vector<std::pair<uint64_t, CloseReason>> closings;
  std::vector<std::string> messages;
  std::vector<Status> ends;
  std::function<void(IncomingCall&)> on_call;
  std::function<void(IncomingCall&)> on_cancelled;
  std::function<void(IncomingStream&)> on_stream;
  std::function<void(route::MessageStream&)> on_message;
  std::function<void(route::MessageStream&)> on_half_closed;
  std::function<void(route::MessageStream&)> on_moving;
};

class ServiceTest : public LoopTest {
 protected:
  ServiceTest() : host(std::make_unique<FakeHost>(loop.get())) {}
  ~ServiceTest() override {
    if (service != nullptr) Close();
    Do([&] {
      service.reset();
      channels.clear();
      host->server.reset();
    });
    // Calls that were open end in this turn, and tell their handlers.
    Settle();
  }

  // As an instance that the host has started.
  void Start(ServiceOptions options = {}) {
    Do([&] {
      options.attach_socket = host->Adopt().release();
      options.introduction_socket = host->OpenIntroductions().release();
      auto opened = Service::Open(loop.get(), std::move(options), &program);
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      service = std::move(opened).value();
      if (with_resources) AddResources();
      AddMethods();
      ASSERT_TRUE(service->Start().ok());
    });
    ASSERT_TRUE(Until([&] { return service->state() == State::kAttached; }));
    Settle();
  }
  void AddMethods() {
    for (const char* name : {"echo", "other", "echoChan"}) {
      ASSERT_TRUE(service->AddMethod(name, methods).ok());
    }
  }
  void AddResources() {
    ASSERT_TRUE(service->SetResource(resource_options).ok());
    for (const char* name : {"add", "watchChan"}) {
      ASSERT_TRUE(service->AddResourceMethod(name, methods).ok());
    }
  }
  void Close() {
    Do([&] { service->Close(); });
    ASSERT_TRUE(Until([&] { return program.closed; }));
  }

  // A channel of a caller whom the host has introduced.
  rpc::Channel* Introduced(const std::string& caller = "lever://dev.lever/shop", bool is_host = false) {
    return Over(host->IntroduceCaller(caller, is_host));
  }
  rpc::Channel* Over(UniqueFd socket) {
    Do([&] {
      rpc::ConnectionOptions options;
      options.role = rpc::Role::kClient;
      channels.push_back(
          std::move(rpc::Channel::Over(loop.get(), std::move(socket), options)).value());
    });
    return channels.back().get();
  }

  struct Ask {
    std::string_view path = route::kInvokePath;
    std::vector<std::pair<std::string, std::string>> headers = {{"lever-url", "/hello/echo"}};
    int64_t deadline_ns = kNever;
    rpc::Compression compression = rpc::Compression::kIdentity;
  };
  // Starts a call with exactly these headers; `messages` are gRPC messages.
  TestCall& Call(rpc::Channel* channel, const Ask& ask, const std::vector<SliceList>& messages,
                 bool close = true) {
    TestCall& handler = asked.emplace_back();
    Do([&] {
      rpc::HeaderList headers;
      for (const auto& [name, value] : ask.headers) headers.Add(name, value);
      rpc::CallOptions options;
      options.path = ask.path;
      options.deadline_ns = ask.deadline_ns;
      options.metadata = &headers;
      options.initial_credit_messages = UINT64_MAX;
      options.compression = ask.compression;
      handler.call = channel->StartCall(options, &handler);
      for (const SliceList& message : messages) handler.call->Write(message);
      if (close) handler.call->CloseSend();
    });
    return handler;
  }
  TestCall& Call(rpc::Channel* channel, const Ask& ask) {
    return Call(channel, ask, {ValueMessage("\x91\x05")});
  }
  TestCall& Stream(rpc::Channel* channel) {
    return Call(channel, {.path = route::kStreamPath, .headers = {{"lever-url", "/hello/echoChan"}}},
                {ValueMessage("\x90")}, false);
  }

  FakeHost::Attach& attach() { return host->attaches.back(); }
  std::vector<v1::LoadReport> Loads() {
    std::vector<v1::LoadReport> loads;
    for (const auto& message : attach().received) {
      if (message.has_load()) loads.push_back(message.load());
    }
    return loads;
  }

  bool with_resources = false;
  ResourceOptions resource_options;
  void* methods = reinterpret_cast<void*>(0x1234);
  std::unique_ptr<FakeHost> host;
  Program program;
  std::unique_ptr<Service> service;
  std::deque<std::unique_ptr<rpc::Channel>> channels;
  std::deque<TestCall> asked;
};

}  // namespace lever::service

#endif  // TESTS_SERVICE_SERVICE_FIXTURE_H_
