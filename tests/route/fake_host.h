// A host as instances and clients see it: the attach and watch sessions, introductions, and the calls
// that come through it. It says what the test tells it to, with protobuf's own classes.
#ifndef TESTS_ROUTE_FAKE_HOST_H_
#define TESTS_ROUTE_FAKE_HOST_H_

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lever/v1/host.pb.h"
#include "lever/v1/lever.pb.h"
#include "liblever/base/fd.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/server.h"
#include "tests/rpc/call_fixture.h"

namespace lever {

using rpc::Bytes;
using rpc::TestCall;

template <typename Message>
SliceList Packed(const Message& message) {
  return Bytes(message.SerializeAsString());
}

// A lever.v1.Message with a value, and back.
inline SliceList ValueMessage(std::string_view value) {
  v1::Message message;
  message.set_value(std::string(value));
  return Packed(message);
}
inline v1::Message ParseMessage(const std::string& bytes) {
  v1::Message message;
  EXPECT_TRUE(message.ParseFromString(bytes));
  return message;
}

// One attach or watch stream, from the host's side.
template <typename From, typename To>
struct FakeSession {
  rpc::Call* call = nullptr;  // null once it has ended
  TestCall* handler = nullptr;
  std::deque<From> received;

  void Send(const To& message) { call->Write(Packed(message)); }
  void SendRaw(std::string_view bytes) { call->Write(Bytes(bytes)); }
};

class FakeHost final : public rpc::CallDispatcher {
 public:
  using Attach = FakeSession<v1::FromInstance, v1::ToInstance>;
  using Watch = FakeSession<v1::FromWatcher, v1::ToWatcher>;

  explicit FakeHost(Loop* loop) : loop_(loop), server(rpc::Server::Make(loop, this)) {
    welcome.set_protocol(1);
    welcome.set_environment("dev.lever");
    welcome.set_service("hello");
    welcome.set_version(7);
    welcome.set_instance("i-1");
    watch_welcome.set_protocol(1);
  }

  // The end that a started instance inherits, or a client is given.
  UniqueFd Adopt() {
    auto pair = SocketPair(SOCK_STREAM);
    EXPECT_TRUE(pair.ok() && server->Adopt(std::move(pair->second)).ok());
    return std::move(pair->first);
  }
  // The other end of the introduction socket.
  UniqueFd OpenIntroductions() {
    auto pair = SocketPair(SOCK_SEQPACKET);
    EXPECT_TRUE(pair.ok());
    introductions = std::move(pair->second);
    return std::move(pair->first);
  }

  void OnCall(rpc::Call& call) override {
    TestCall& handler = calls.emplace_back();
    handler.call = &call;
    handler.headers = call.headers();
    call.set_handler(&handler);
    if (call.path() == route::kAttachPath) {
      OnSession(call, handler, attaches, &accept_attach, [this](Attach& session) {
        v1::ToInstance answer;
        if (session.received.back().has_hello()) {
          *answer.mutable_welcome() = welcome;
        } else if (session.received.back().has_ready() && answer_ready) {
          answer.mutable_serving();
        } else {
          return;
        }
        session.Send(answer);
      });
    } else if (call.path() == route::kWatchPath) {
      OnSession(call, handler, watches, &accept_watch, [this](Watch& session) {
        if (!session.received.back().has_hello()) return;
        v1::ToWatcher answer;
        *answer.mutable_welcome() = watch_welcome;
        session.Send(answer);
      });
    } else if (on_call) {
      on_call(handler, call);
    } else {
      call.Finish(Unavailable("this host has no instances").WithExecuted(LEVER_EXECUTED_NO));
    }
  }

  // Sends `packet` with the one descriptor over the introduction socket.
  void SendIntroduction(const v1::Introduction& packet, const UniqueFd& socket) {
    const std::string bytes = packet.SerializeAsString();
    const int fd = socket.get();
    const Status sent = SendWithFds(
        introductions.get(), std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
        std::span(&fd, 1));
    EXPECT_TRUE(sent.ok()) << sent.ToString();
  }
  // A caller's connection to the instance at the other end; gives the caller's end.
  UniqueFd IntroduceCaller(const std::string& caller, bool host = false) {
    auto pair = SocketPair(SOCK_STREAM);
    EXPECT_TRUE(pair.ok());
    v1::Introduction packet;
    packet.mutable_incoming()->set_id(++last_id);
    packet.mutable_incoming()->set_caller(caller);
    packet.mutable_incoming()->set_host(host);
    SendIntroduction(packet, pair->second);
    return std::move(pair->first);
  }
  // What the other end has said on the introduction socket; nothing if it is silent.
  std::vector<v1::Introduction> ReadIntroductions() {
    std::vector<v1::Introduction> packets;
    std::vector<uint8_t> buffer(route::kIntroductionBytesMax);
    while (true) {
      const auto read = ReceiveWithFds(introductions.get(), buffer, 0);
      if (!read.ok()) return packets;
      v1::Introduction packet;
      EXPECT_TRUE(packet.ParseFromArray(buffer.data(), static_cast<int>(read->size)));
      packets.push_back(std::move(packet));
    }
  }
  // What the client asked for on its newest watch, and has not been answered.
  std::vector<v1::Introduce> TakeIntroduceRequests() {
    std::vector<v1::Introduce> requests;
    if (watches.empty()) return requests;
    auto& received = watches.back().received;
    for (auto& message : received) {
      if (message.has_introduce()) requests.push_back(message.introduce());
    }
    std::erase_if(received, [](const auto& message) { return message.has_introduce(); });
    return requests;
  }
  // The whole table of lever://dev.lever/<service>, all of it on this machine; with addresses of their own, or
  // without.
  enum class Listens : bool { kNo, kYes };
  void SendRoutes(const std::string& service, uint64_t revision, const std::vector<std::string>& ids,
                  Listens listens = Listens::kNo) {
    v1::ToWatcher message;
    auto* routes = message.mutable_routes();
    routes->set_environment("dev.lever");
    routes->set_service(service);
    routes->set_revision(revision);
    for (const std::string& id : ids) {
      auto* instance = routes->add_instances();
      instance->set_id(id);
      instance->set_version(1);
      instance->set_local(true);
      instance->set_listens(listens == Listens::kYes);
    }
    watches.back().Send(message);
  }

 private:
  template <typename Session, typename OnMessage>
  void OnSession(rpc::Call& call, TestCall& handler, std::deque<Session>& sessions, bool* accept,
                 OnMessage on_message) {
    Session& session = sessions.emplace_back();
    session.call = &call;
    session.handler = &handler;
    handler.on_message = [&session, accept, on_message](TestCall& recorded, rpc::Call&) {
      EXPECT_TRUE(session.received.emplace_back().ParseFromString(recorded.messages.back()));
      if (*accept) on_message(session);
    };
    handler.on_end = [&session](TestCall&, rpc::Call&) { session.call = nullptr; };
    handler.on_peer_end = [](TestCall&, rpc::Call& ended) { ended.Finish(Status::Ok()); };
    call.Read(UINT64_MAX);
  }

  Loop* loop_;

 public:
  std::unique_ptr<rpc::Server> server;
  UniqueFd introductions;
  uint64_t last_id = 100;
  // What a hello is answered with; not at all if not accepted.
  v1::InstanceWelcome welcome;
  v1::WatcherWelcome watch_welcome;
  bool accept_attach = true;
  bool answer_ready = true;
  bool accept_watch = true;
  std::deque<Attach> attaches;
  std::deque<Watch> watches;
  std::deque<TestCall> calls;
  // What becomes of calls that are no session.
  TestCall::Hook on_call;
};

}  // namespace lever

#endif  // TESTS_ROUTE_FAKE_HOST_H_
