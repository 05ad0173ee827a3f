// What a watcher is told over the life of a service: each table newer than the one before.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "lever/v1/host.pb.h"
#include "liblever/host/gateway/watch_session.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/server.h"
#include "tests/host/scale/control_fixture.h"
#include "tests/rpc/call_fixture.h"

namespace lever::scale {
namespace {

class Watch : public ControlTest, private rpc::CallDispatcher {
 protected:
  Watch() {
    Do([&] {
      server = rpc::Server::Make(loop.get(), this);
      auto pair = SocketPair(SOCK_STREAM);
      ASSERT_TRUE(server->Adopt(std::move(pair->second)).ok());
      rpc::ConnectionOptions options;
      options.role = rpc::Role::kClient;
      channel = std::move(rpc::Channel::Over(loop.get(), std::move(pair->first), options)).value();
      rpc::CallOptions call;
      call.path = "/lever.v1.Host/Watch";
      call.initial_credit_messages = UINT64_MAX;
      watch.call = channel->StartCall(call, &watch);
      v1::FromWatcher hello, subscribe;
      hello.mutable_hello()->set_protocol_min(1);
      hello.mutable_hello()->set_protocol_max(1);
      watch.call->Write(rpc::Bytes(hello.SerializeAsString()));
    });
    EXPECT_TRUE(Until([&] { return watch.messages.size() == 1; }));
  }
  ~Watch() override {
    Do([&] {
      channel.reset();
      server.reset();
    });
    Settle();
  }
  void OnCall(rpc::Call& call) override {
    gateway::WatchSession::Accept({loop.get(), &directory, control.get(), "host"}, {}, call);
  }
  void Subscribe() {
    Do([&] {
      v1::FromWatcher message;
      message.mutable_subscribe()->set_environment("dev.lever");
      message.mutable_subscribe()->set_service("hello");
      watch.call->Write(rpc::Bytes(message.SerializeAsString()));
    });
    Settle();
  }
  std::vector<v1::Routes> Tables() const {
    std::vector<v1::Routes> tables;
    for (const std::string& bytes : watch.messages) {
      v1::ToWatcher message;
      EXPECT_TRUE(message.ParseFromString(bytes));
      if (message.has_routes()) tables.push_back(message.routes());
    }
    return tables;
  }

  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<rpc::Channel> channel;
  rpc::TestCall watch;
};

// Seen: the revisions of a service that had been removed and came again began anew, so that its callers
// kept to what they knew, and went through the host from then on.
TEST_F(Watch, ARemovedServiceThatComesAgainIsNewsToWhoWatchesIt) {
  Subscribe();
  std::vector<std::string> ids;
  for (int life = 0; life < 3; ++life) {
    Deploy(Spec());
    const uint64_t key = Up();
    Live(policy::kStableUptimeNs, {key});
    Exited(key);
    const uint64_t again = Up();
    Do([&] { control->Remove(Hello(), [](Status) {}); });
    Settle();
    Exited(again);
    EXPECT_EQ(directory.Find(Hello()), nullptr);
  }
  const auto tables = Tables();
  ASSERT_GT(tables.size(), 12u);
  size_t with_instances = 0;
  for (size_t i = 1; i < tables.size(); ++i) {
    EXPECT_GT(tables[i].revision(), tables[i - 1].revision()) << i;
    with_instances += tables[i].instances_size() > 0;
  }
  EXPECT_GE(with_instances, 6u);
  EXPECT_EQ(tables.back().instances_size(), 0);
}

TEST_F(Watch, AProgramThatAttachesAgainIsNewsToWhoWatchesIt) {
  Subscribe();
  for (int life = 0; life < 3; ++life) {
    uint64_t key = 0;
    fleet::AttachHello hello;
    hello.environment = "dev.lever";
    hello.service = "hello";
    hello.listen = "127.0.0.1:5000";
    Do([&] {
      control->Attach(std::move(hello), std::make_shared<FakePeer>(), loop.get(),
                      [&](StatusOr<fleet::AttachWelcome> welcome) {
                        ASSERT_TRUE(welcome.ok());
                        key = welcome->instance_key;
                      });
    });
    Settle();
    Do([&] { control->AttachReady(key); });
    Settle();
    EXPECT_EQ(Tables().back().instances_size(), 1) << life;
    Do([&] { control->AttachEnded(key, Unavailable("it went")); });
    Settle();
    EXPECT_EQ(Tables().back().instances_size(), 0) << life;
  }
  const auto tables = Tables();
  for (size_t i = 1; i < tables.size(); ++i) {
    EXPECT_GT(tables[i].revision(), tables[i - 1].revision()) << i;
  }
}

TEST_F(Watch, AStalledInstanceIsOutOfTheTableUntilItIsHeard) {
  Deploy(Spec());
  const uint64_t key = Up();
  Subscribe();
  EXPECT_EQ(Tables().back().instances_size(), 1);
  AdvanceInSteps(policy::kStalledAfterNs + kNanosPerSecond, kNanosPerSecond);
  EXPECT_EQ(Tables().back().instances_size(), 0);
  Load(key, 0, 0);
  EXPECT_EQ(Tables().back().instances_size(), 1);
}

// An owner is told by its place among the instances that the watcher is shown.
TEST_F(Watch, TheOwnersOfAServiceWithResourcesAreTold) {
  Subscribe();
  auto view = std::make_shared<ServiceView>();
  view->environment = "dev.lever";
  view->service = "hello";
  view->revision = 1;
  view->has_resources = true;
  for (const char* id : {"hidden", "a", "b"}) {
    InstanceView& instance = view->instances.emplace_back();
    instance.key = view->instances.size();
    instance.id = id;
    instance.introducible = instance.id != "hidden";
    instance.load = std::make_shared<InstanceLoad>();
  }
  const auto apply = [&](std::shared_ptr<const ShardOwners> shards) {
    auto next = std::make_shared<ServiceView>(*view);
    next->revision = ++view->revision;
    next->shards = std::move(shards);
    Do([&] { directory.Apply(next); });
    Settle();
    return Tables().back();
  };
  EXPECT_FALSE(apply(nullptr).has_shards()) << "nobody knows";
  auto shards = std::make_shared<ShardOwners>();
  shards->owners = {{2, 7}, {ShardOwners::kNobody, 8}, {0, 9}, {1, 10}};
  const v1::Routes routes = apply(shards);
  ASSERT_EQ(routes.instances_size(), 2);
  ASSERT_EQ(routes.shards().owner_size(), 4);
  ASSERT_EQ(routes.shards().generation_size(), 4);
  EXPECT_EQ(routes.instances(static_cast<int>(routes.shards().owner(0)) - 1).id(), "b");
  EXPECT_EQ(routes.shards().owner(1), 0u) << "nobody's";
  EXPECT_EQ(routes.shards().owner(2), 0u) << "one that is called through the host alone";
  EXPECT_EQ(routes.instances(static_cast<int>(routes.shards().owner(3)) - 1).id(), "a");
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(routes.shards().generation(i), 7u + static_cast<uint64_t>(i));
  }
  // A private service shows nothing to who may not call it.
  view->is_private = true;
  const v1::Routes hidden = apply(shards);
  EXPECT_EQ(hidden.instances_size(), 0);
  EXPECT_FALSE(hidden.has_shards());
}

}  // namespace
}  // namespace lever::scale
