// What hosts say on the watch stream and the introduction socket, broken in ten thousand ways.
#include "liblever/route/watch_messages.h"

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lever/v1/host.pb.h"
#include "liblever/base/random.h"
#include "liblever/policy/shard.h"
#include "tests/value/mutation.h"

namespace lever::route {
namespace {

const std::string kTags = "\x08\x0a\x10\x12\x18\x1a\x20\x22\x28\x2a\x0d\x09\x0b\xff\x7f\x80\x01";

v1::ToWatcher RoutesMessage() {
  v1::ToWatcher message;
  auto* routes = message.mutable_routes();
  routes->set_environment("dev.lever");
  routes->set_service("hello");
  routes->set_revision(7);
  for (const char* id : {"a", "b"}) {
    auto* instance = routes->add_instances();
    instance->set_id(id);
    instance->set_version(3);
    instance->set_local(true);
    instance->set_in_flight(5);
    instance->set_latency_ns(1'000'000);
    instance->set_load_max(10);
    instance->set_concurrency_max(20);
  }
  for (const uint32_t owner : {1, 0, 2, 1}) {
    routes->mutable_shards()->add_owner(owner);
    routes->mutable_shards()->add_generation(uint64_t{1} << (10 * owner));
  }
  routes->set_canary_version(4);
  routes->set_canary_share(1000);
  return message;
}

// Whether the message is one field, of fewer than 128 bytes: of two arms of a oneof protobuf merges
// what is alike, and we take the last.
bool OneField(const std::string& bytes) {
  return bytes.size() > 2 && (static_cast<unsigned char>(bytes[0]) & 7) == 2 &&
         static_cast<unsigned char>(bytes[1]) == bytes.size() - 2;
}

TEST(WatchMessages, ARouteTableIsReadWholly) {
  const auto parsed = ParseToWatcher(RoutesMessage().SerializeAsString());
  ASSERT_TRUE(parsed.ok());
  const auto* routes = std::get_if<Routes>(&*parsed);
  ASSERT_NE(routes, nullptr);
  EXPECT_EQ(routes->environment, "dev.lever");
  EXPECT_EQ(routes->revision, 7u);
  ASSERT_EQ(routes->instances.size(), 2u);
  EXPECT_EQ(routes->instances[1].id, "b");
  EXPECT_TRUE(routes->instances[1].local);
  EXPECT_EQ(routes->instances[1].in_flight, 5u);
  EXPECT_EQ(routes->instances[1].latency_ns, 1'000'000u);
  EXPECT_EQ(routes->instances[1].load_max, 10u);
  EXPECT_EQ(routes->instances[1].concurrency_max, 20u);
  ASSERT_EQ(routes->shards.size(), 4u);
  EXPECT_EQ(routes->shards[0].owner, 1u);
  EXPECT_EQ(routes->shards[1].owner, 0u);
  EXPECT_EQ(routes->shards[1].generation, 1u);
  EXPECT_EQ(routes->shards[2].owner, 2u);
  EXPECT_EQ(routes->shards[2].generation, uint64_t{1} << 20);
  EXPECT_EQ(routes->canary_version, 4u);
  EXPECT_EQ(routes->canary_share, 1000u);
}

// Calls go through the host then.
TEST(WatchMessages, OwnersThatAreNotUnderstoodAreNone) {
  const auto read = [](size_t owners, size_t generations) {
    v1::ToWatcher message;
    auto* shards = message.mutable_routes()->mutable_shards();
    for (size_t i = 0; i < owners; ++i) shards->add_owner(1);
    for (size_t i = 0; i < generations; ++i) shards->add_generation(i + 1);
    const auto parsed = ParseToWatcher(message.SerializeAsString());
    EXPECT_TRUE(parsed.ok());
    return parsed.ok() ? std::get<Routes>(*parsed).shards.size() : SIZE_MAX;
  };
  EXPECT_EQ(read(1, 1), 1u);
  EXPECT_EQ(read(65'536, 65'536), 65'536u);
  for (const auto& [owners, generations] :
       std::vector<std::pair<size_t, size_t>>{
           {0, 0}, {3, 3}, {4, 0}, {0, 4}, {4, 3}, {3, 4}, {8, 4}, {255, 255}, {65'535, 65'535},
           {65'537, 65'537}, {131'072, 131'072}}) {
    EXPECT_EQ(read(owners, generations), 0u) << owners << " " << generations;
  }
}

TEST(WatchMessages, TenThousandMutationsAreReadAsProtobufReadsThemOrRefused) {
  std::vector<std::string> seeds = {RoutesMessage().SerializeAsString()};
  v1::ToWatcher welcome, introduced;
  welcome.mutable_welcome()->set_protocol(1);
  welcome.mutable_welcome()->set_host("h");
  welcome.mutable_welcome()->set_introduction_path("/run/x");
  welcome.mutable_welcome()->set_nonce("0123456789abcdef");
  introduced.mutable_introduced()->set_id(300);
  introduced.mutable_introduced()->set_status(14);
  introduced.mutable_introduced()->set_message("gone");
  seeds.push_back(welcome.SerializeAsString());
  seeds.push_back(introduced.SerializeAsString());
  introduced.mutable_introduced()->set_status(0);
  introduced.mutable_introduced()->set_address("tls:10.0.0.7:9000");
  introduced.mutable_introduced()->set_key_hash(std::string(32, 'k'));
  introduced.mutable_introduced()->set_token("a.b.c");
  seeds.push_back(introduced.SerializeAsString());
  const google::protobuf::LogSilencer silent;  // of text that is not UTF-8
  Random random(TestSeed());
  int compared = 0, refused = 0;
  for (int round = 0; round < 10'000; ++round) {
    const std::string bytes = Mutated(seeds, kTags, &random);
    const auto parsed = ParseToWatcher(bytes);
    if (!parsed.ok()) {
      ++refused;
      ASSERT_EQ(parsed.status().code(), LEVER_INVALID_ARGUMENT);
    }
    v1::ToWatcher oracle;
    // It refuses text that is not UTF-8, which we do not look at.
    if (!OneField(bytes) || !oracle.ParseFromString(bytes) || !parsed.ok()) continue;
    ++compared;
    if (oracle.has_routes()) {
      const auto* ours = std::get_if<Routes>(&*parsed);
      ASSERT_NE(ours, nullptr);
      ASSERT_EQ(ours->service, oracle.routes().service());
      ASSERT_EQ(ours->revision, oracle.routes().revision());
      std::vector<std::string> ids, theirs;
      for (const auto& instance : ours->instances) ids.push_back(instance.id + (instance.local ? "!" : ""));
      for (const auto& instance : oracle.routes().instances()) {
        if (!instance.id().empty()) theirs.push_back(instance.id() + (instance.local() ? "!" : ""));
      }
      ASSERT_EQ(ids, theirs);
      ASSERT_TRUE(ours->shards.empty() || policy::IsShardCount(ours->shards.size()));
      // Of two lists protobuf makes one, and we take the last.
      if (bytes.size() == seeds[0].size() &&
          static_cast<size_t>(oracle.routes().shards().owner_size()) == ours->shards.size() &&
          static_cast<size_t>(oracle.routes().shards().generation_size()) == ours->shards.size()) {
        for (size_t i = 0; i < ours->shards.size(); ++i) {
          const int at = static_cast<int>(i);
          ASSERT_EQ(ours->shards[i].owner, oracle.routes().shards().owner(at));
          ASSERT_EQ(ours->shards[i].generation, oracle.routes().shards().generation(at));
        }
      }
    } else if (oracle.has_welcome()) {
      const auto* ours = std::get_if<WatcherWelcome>(&*parsed);
      ASSERT_NE(ours, nullptr);
      ASSERT_EQ(ours->protocol, oracle.welcome().protocol());
      ASSERT_EQ(ours->nonce, oracle.welcome().nonce());
    } else if (oracle.has_introduced()) {
      const auto* ours = std::get_if<Introduced>(&*parsed);
      ASSERT_NE(ours, nullptr);
      ASSERT_EQ(ours->id, oracle.introduced().id());
      ASSERT_EQ(ours->status.ok(), oracle.introduced().status() == 0);
      ASSERT_EQ(ours->way.address, oracle.introduced().address());
      ASSERT_EQ(ours->way.key_hash, oracle.introduced().key_hash());
      ASSERT_EQ(ours->way.token, oracle.introduced().token());
    }
  }
  EXPECT_GT(compared, 200);
  EXPECT_GT(refused, 500);
}

TEST(WatchMessages, TenThousandMutatedIntroductionsAreReadOrRefusedByTheirId) {
  v1::Introduction incoming, outgoing;
  incoming.mutable_incoming()->set_id(300);
  incoming.mutable_incoming()->set_caller("lever://dev.lever/shop");
  incoming.mutable_incoming()->set_host(true);
  outgoing.mutable_outgoing()->set_id(5);
  outgoing.mutable_outgoing()->set_instance("i-1");
  const std::vector<std::string> seeds = {incoming.SerializeAsString(), outgoing.SerializeAsString()};
  const google::protobuf::LogSilencer silent;  // of text that is not UTF-8
  Random random(TestSeed());
  int read = 0;
  for (int round = 0; round < 10'000; ++round) {
    const std::string bytes = Mutated(seeds, kTags, &random);
    const auto parsed = ParseIntroduction(bytes);
    IntroductionIdOf(bytes);
    v1::Introduction oracle;
    if (!parsed.ok() || !OneField(bytes) || !oracle.ParseFromString(bytes)) continue;
    ++read;
    ASSERT_NE(parsed->id, 0u);
    if (oracle.has_incoming()) {
      ASSERT_EQ(parsed->direction, Introduction::Direction::kIncoming);
      ASSERT_EQ(parsed->id, oracle.incoming().id());
      ASSERT_EQ(parsed->caller, oracle.incoming().caller());
      ASSERT_EQ(parsed->host, oracle.incoming().host());
    } else {
      ASSERT_EQ(parsed->direction, Introduction::Direction::kOutgoing);
      ASSERT_EQ(parsed->id, oracle.outgoing().id());
    }
    // Followed by zeros, as in the buffer of a packet that lost its descriptor. Of two ids in one
    // packet it takes the first, which is read before the packet's end is reached.
    ASSERT_NE(IntroductionIdOf(bytes + std::string(64, '\0')), 0u);
    if (bytes == seeds[0] || bytes == seeds[1]) {
      ASSERT_EQ(IntroductionIdOf(bytes + std::string(64, '\0')), parsed->id);
    }
  }
  EXPECT_GT(read, 200);
}

TEST(WatchMessages, WhatIsWrittenProtobufReads) {
  v1::FromWatcher hello, subscribe, unsubscribe, introduce;
  ASSERT_TRUE(hello.ParseFromString(WriteWatcherHello(42, "node 20")));
  EXPECT_EQ(hello.hello().pid(), 42u);
  EXPECT_EQ(hello.hello().protocol_max(), 1u);
  EXPECT_EQ(hello.hello().runtime(), "node 20");
  ASSERT_TRUE(subscribe.ParseFromString(WriteSubscribe("dev.lever", "hello")));
  EXPECT_EQ(subscribe.subscribe().service(), "hello");
  ASSERT_TRUE(unsubscribe.ParseFromString(WriteUnsubscribe("dev.lever", "hello")));
  EXPECT_EQ(unsubscribe.unsubscribe().environment(), "dev.lever");
  ASSERT_TRUE(introduce.ParseFromString(WriteIntroduce(9, "i-1", IntroduceBy::kSocket)));
  EXPECT_EQ(introduce.introduce().id(), 9u);
  EXPECT_FALSE(introduce.introduce().by_address());
  ASSERT_TRUE(introduce.ParseFromString(WriteIntroduce(9, "i-1", IntroduceBy::kAddress)));
  EXPECT_TRUE(introduce.introduce().by_address());
  v1::Introduction nonce, failed;
  ASSERT_TRUE(nonce.ParseFromString(WriteNonce(std::string("\0\xff", 2))));
  EXPECT_EQ(nonce.nonce(), std::string("\0\xff", 2));
  ASSERT_TRUE(failed.ParseFromString(WriteFailed(9)));
  EXPECT_EQ(failed.failed(), 9u);
}

TEST(WatchMessages, ATableOfTooManyInstancesIsCutShort) {
  v1::ToWatcher message;
  for (size_t i = 0; i < kInstancesPerServiceMax + 10; ++i) {
    message.mutable_routes()->add_instances()->set_id(std::to_string(i));
  }
  const auto parsed = ParseToWatcher(message.SerializeAsString());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(std::get<Routes>(*parsed).instances.size(), kInstancesPerServiceMax);
}

}  // namespace
}  // namespace lever::route
