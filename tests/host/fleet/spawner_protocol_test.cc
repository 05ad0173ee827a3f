#include "liblever/host/fleet/spawner_protocol.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>
#include <span>

#include "liblever/base/random.h"

namespace lever::fleet {
namespace {

StartMessage SampleStart() {
  StartMessage message;
  message.uid = 61'184;
  message.gid = 61'185;
  message.switch_user = 1;
  message.nofile = 1024;
  message.oom_score_adj = -5;
  message.ram_limit_bytes = 1ull << 40;
  message.cpu_millis = 1500;
  message.processes_max = 1024;
  message.sandbox = 1;
  message.network = 1;
  message.readable = {"/opt/node/bin", "/opt/node/lib"};
  message.pool_trees = "/srv/trees";
  message.take = 1ull << 63 | 7;
  message.marker = "i-0123456789ab";
  message.directory = "/srv/tree with spaces";
  message.argv = {"./serve", "", "--flag=\xff\n"};
  message.variables = {"PATH=/bin", "EMPTY="};
  return message;
}

ExitedMessage SampleExited() {
  ExitedMessage message;
  message.code = -1;
  message.signal = 9;
  message.ram_limit = 1;
  message.user_cpu_ns = 123'456'789'012;
  message.system_cpu_ns = 7;
  message.rss_max_bytes = 1ull << 33;
  return message;
}

struct Sample {
  const char* name;
  std::string packet;
  // Whether a decoder of its kind takes the packet.
  std::function<bool(std::string_view)> decodes;
};

template <typename Message>
bool DecodesAs(std::string_view packet) {
  Message message;
  return DecodeHeader(packet).has_value() && Decode(packet, &message);
}

HelloMessage SampleHello() {
  return {1, "/sys/fs/cgroup/lever", 1, 61'184, "/srv/trees", "/srv/pool"};
}

WelcomeMessage SampleWelcome() {
  const LimitKinds limits{LimitKind::kCgroupV2, LimitKind::kCgroupV1, LimitKind::kSampling};
  return {4711, limits, 1, 7, 1, "no bwrap", 1, "no mounts"};
}

std::vector<Sample> Samples() {
  return {
      {"hello", Encode(SampleHello()), DecodesAs<HelloMessage>},
      {"welcome", Encode(SampleWelcome()), DecodesAs<WelcomeMessage>},
      {"start", Encode(42, SampleStart()), DecodesAs<StartMessage>},
      {"exited", Encode(42, SampleExited()), DecodesAs<ExitedMessage>},
      {"failed", Encode(42, FailedMessage{SpawnStage::kExec, ENOENT}), DecodesAs<FailedMessage>},
      {"bare", EncodeBare(SpawnerOp::kGone, 42),
       [](std::string_view packet) { return DecodeHeader(packet) && DecodeBare(packet); }},
      {"number", EncodeNumber(SpawnerOp::kSignal, 42, 15),
       [](std::string_view packet) {
         int64_t number = 0;
         return DecodeHeader(packet) && DecodeNumber(packet, &number);
       }},
  };
}

TEST(SpawnerProtocol, AStartComesBackAsItWas) {
  const StartMessage sent = SampleStart();
  const std::string packet = Encode(42, sent);
  const auto header = DecodeHeader(packet);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->op, SpawnerOp::kStart);
  EXPECT_EQ(header->id, 42u);
  StartMessage got;
  ASSERT_TRUE(Decode(packet, &got));
  EXPECT_EQ(got.uid, sent.uid);
  EXPECT_EQ(got.gid, sent.gid);
  EXPECT_EQ(got.switch_user, sent.switch_user);
  EXPECT_EQ(got.nofile, sent.nofile);
  EXPECT_EQ(got.oom_score_adj, sent.oom_score_adj);
  EXPECT_EQ(got.ram_limit_bytes, sent.ram_limit_bytes);
  EXPECT_EQ(got.cpu_millis, sent.cpu_millis);
  EXPECT_EQ(got.processes_max, sent.processes_max);
  EXPECT_EQ(got.sandbox, sent.sandbox);
  EXPECT_EQ(got.network, sent.network);
  EXPECT_EQ(got.readable, sent.readable);
  EXPECT_EQ(got.pool_trees, sent.pool_trees);
  EXPECT_EQ(got.take, sent.take);
  EXPECT_EQ(got.marker, sent.marker);
  EXPECT_EQ(got.directory, sent.directory);
  EXPECT_EQ(got.argv, sent.argv);
  EXPECT_EQ(got.variables, sent.variables);
}

TEST(SpawnerProtocol, AnExitComesBackAsItWas) {
  const ExitedMessage sent = SampleExited();
  ExitedMessage got;
  ASSERT_TRUE(Decode(Encode(7, sent), &got));
  EXPECT_EQ(got.code, sent.code);
  EXPECT_EQ(got.signal, sent.signal);
  EXPECT_EQ(got.ram_limit, sent.ram_limit);
  EXPECT_EQ(got.user_cpu_ns, sent.user_cpu_ns);
  EXPECT_EQ(got.system_cpu_ns, sent.system_cpu_ns);
  EXPECT_EQ(got.rss_max_bytes, sent.rss_max_bytes);
}

TEST(SpawnerProtocol, TheOthersComeBackAsTheyWere) {
  HelloMessage hello;
  ASSERT_TRUE(Decode(Encode(SampleHello()), &hello));
  EXPECT_EQ(hello.use_cgroups, 1u);
  EXPECT_EQ(hello.cgroup_root, "/sys/fs/cgroup/lever");
  EXPECT_EQ(hello.try_sandbox, 1u);
  EXPECT_EQ(hello.probe_uid, 61'184u);
  EXPECT_EQ(hello.probe_directory, "/srv/trees");
  EXPECT_EQ(hello.pool_directory, "/srv/pool");
  WelcomeMessage welcome;
  ASSERT_TRUE(Decode(Encode(SampleWelcome()), &welcome));
  EXPECT_EQ(welcome.pid, 4711);
  EXPECT_EQ(welcome.limits, SampleWelcome().limits);
  EXPECT_EQ(welcome.sandbox, 1u);
  EXPECT_EQ(welcome.landlock_abi, 7u);
  EXPECT_EQ(welcome.sandbox_error, "no bwrap");
  EXPECT_EQ(welcome.tracked, 1u);
  EXPECT_EQ(welcome.pool, 1u);
  EXPECT_EQ(welcome.pool_error, "no mounts");
  FailedMessage failed;
  ASSERT_TRUE(Decode(Encode(7, FailedMessage{SpawnStage::kUser, EPERM}), &failed));
  EXPECT_EQ(failed.stage, SpawnStage::kUser);
  EXPECT_EQ(failed.error, EPERM);
  int64_t number = 0;
  ASSERT_TRUE(DecodeNumber(EncodeNumber(SpawnerOp::kStarted, 7, -12), &number));
  EXPECT_EQ(number, -12);
}

TEST(SpawnerProtocol, EveryTruncationIsRefused) {
  for (const Sample& sample : Samples()) {
    EXPECT_TRUE(sample.decodes(sample.packet)) << sample.name;
    for (size_t size = 0; size < sample.packet.size(); ++size) {
      EXPECT_FALSE(sample.decodes(std::string_view(sample.packet).substr(0, size)))
          << sample.name << " cut to " << size;
    }
    EXPECT_FALSE(sample.decodes(sample.packet + '\0')) << sample.name << " with a byte more";
  }
}

TEST(SpawnerProtocol, AnotherVersionIsRefused) {
  std::string packet = EncodeBare(SpawnerOp::kKill, 1);
  packet[0] = static_cast<char>(kSpawnerVersion + 1);
  EXPECT_FALSE(DecodeHeader(packet));
}

TEST(SpawnerProtocol, MoreStringsThanTheLimitAreRefused) {
  StartMessage message = SampleStart();
  message.argv.assign(kSpawnerStringsMax, "a");
  EXPECT_TRUE(DecodesAs<StartMessage>(Encode(1, message)));
  message.argv.push_back("one more");
  EXPECT_FALSE(DecodesAs<StartMessage>(Encode(1, message)));
}

TEST(SpawnerProtocol, ChangedBytesNeverReadBeyondThePacket) {
  constexpr uint64_t kSeed = 20'240'601;
  Random random(kSeed);
  for (int round = 0; round < 20'000; ++round) {
    // On the heap and exactly as large as it is, so that a sanitizer sees any step outside.
    std::string packet = Encode(42, SampleStart());
    for (int change = 0; change < 3; ++change) {
      packet[16 + random.Below(static_cast<uint32_t>(packet.size() - 16))] =
          static_cast<char>(random.Next());
    }
    StartMessage message;
    if (!Decode(packet, &message)) continue;
    EXPECT_EQ(Encode(42, message), packet) << "what is taken is what an encoder makes";
  }
}

TEST(SpawnerProtocol, DescriptorsTravelBeside) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair.ok());
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int fds[] = {null.get(), null.get(), null.get(), null.get()};
  const std::string sent = EncodeBare(SpawnerOp::kKill, 5);
  const auto bytes = std::span(reinterpret_cast<const uint8_t*>(sent.data()), sent.size());
  ASSERT_TRUE(SendWithFds(pair->first.get(), bytes, fds).ok());
  char buffer[64];
  ReceivedPacket packet;
  ASSERT_EQ(ReceivePacket(pair->second.get(), buffer, sizeof(buffer), &packet), 0);
  EXPECT_EQ(std::string_view(buffer, packet.size), sent);
  ASSERT_EQ(packet.fds.size(), kSpawnerFdsMax);
  EXPECT_FALSE(packet.truncated);
  for (const UniqueFd& fd : packet.fds) EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(ReceivePacket(pair->second.get(), buffer, sizeof(buffer), &packet), EAGAIN);
}

TEST(SpawnerProtocol, ALossIsSeen) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair.ok());
  const std::string sent = Encode(1, SampleStart());
  const auto bytes = std::span(reinterpret_cast<const uint8_t*>(sent.data()), sent.size());
  ASSERT_TRUE(SendWithFds(pair->first.get(), bytes, {}).ok());
  char small[16];
  ReceivedPacket packet;
  ASSERT_EQ(ReceivePacket(pair->second.get(), small, sizeof(small), &packet), 0);
  EXPECT_TRUE(packet.truncated);

  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::vector<int> five(kSpawnerFdsMax + 1, null.get());
  ASSERT_TRUE(SendWithFds(pair->first.get(), bytes.first(16), five).ok());
  ASSERT_EQ(ReceivePacket(pair->second.get(), small, sizeof(small), &packet), 0);
  EXPECT_TRUE(packet.truncated);

  pair->first.reset();
  ASSERT_EQ(ReceivePacket(pair->second.get(), small, sizeof(small), &packet), 0);
  EXPECT_EQ(packet.size, 0u);
}

}  // namespace
}  // namespace lever::fleet
