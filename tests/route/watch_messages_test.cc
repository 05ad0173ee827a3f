// What hosts say on the watch stream and the introduction socket, broken in ten thousand ways.
#include "liblever/route/watch_messages.h"

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lever/v1/host.pb.h"
#include "liblever/base/random.h"
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
  ASSERT_TRUE(introduce.ParseFromString(WriteIntroduce(9, "i-1")));
  EXPECT_EQ(introduce.introduce().id(), 9u);
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
