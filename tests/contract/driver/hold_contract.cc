// What a driver promises that holds an instance to its limits and finds all that it leaves behind.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/contract/driver/contract.h"

namespace lever::fleet {
namespace {

constexpr uint64_t kMib = 1024 * 1024;

// The pid that program.c's "daemon" has printed.
int64_t DaemonIn(const std::string& out) {
  const size_t at = out.find("daemon ");
  return at == std::string::npos ? 0 : std::stoll(out.substr(at + 7));
}

// A port that nobody listens on; it stays free unless somebody asks for it by number.
int FreePort() {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

void Touch(const std::string& path) { std::ofstream(path) << "here"; }

}  // namespace

TEST_P(HoldContract, KillsWhatHasForkedTwiceAndCalledSetsid) {
  Run(1, {"daemon", "out", "left one", "wait"});
  ASSERT_TRUE(AwaitOut(1, "left one"));
  ASSERT_TRUE(RunUntil([&] { return DaemonIn(Of(1).out) != 0; }));
  const int64_t daemon = DaemonIn(Of(1).out);
  ASSERT_TRUE(Alive(daemon));
  Stop(1, StopKind::kKill);
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_FALSE(Alive(Of(1).started->pid));
  EXPECT_FALSE(Alive(daemon)) << "OnExited() says that nothing is left";
}

TEST_P(HoldContract, AnInstanceThatReturnsLeavesNothingBehind) {
  Run(1, {"daemon", "await", folder_ + "/go", "exit", "0"});
  Run(2, {"daemon", "wait"});
  ASSERT_TRUE(RunUntil([&] { return DaemonIn(Of(1).out) != 0 && DaemonIn(Of(2).out) != 0; }));
  Touch(folder_ + "/go");
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).exited->code, 0);
  EXPECT_FALSE(Alive(DaemonIn(Of(1).out)));
  EXPECT_TRUE(Alive(DaemonIn(Of(2).out))) << "another instance's";
}

TEST_P(HoldContract, ItsEndEndsDescendantsToo) {
  Run(1, {"daemon", "wait"});
  ASSERT_TRUE(RunUntil([&] { return DaemonIn(Of(1).out) != 0; }));
  const int64_t daemon = DaemonIn(Of(1).out);
  EndDriver();
  EXPECT_FALSE(Alive(daemon));
  EXPECT_FALSE(Alive(Of(1).started->pid));
}

TEST_P(HoldContract, TheRamLimitEndsThatInstanceOnly) {
  InstanceSpec small = Spec({"out", "begun", "hog", "200", "out", "took it", "wait"});
  small.ram_limit_bytes = 64 * kMib;
  InstanceSpec large = Spec({"hog", "100", "out", "took it", "wait"});
  large.ram_limit_bytes = 256 * kMib;
  Start(1, std::move(large));
  ASSERT_TRUE(AwaitOut(1, "took it"));
  Start(2, std::move(small));
  ASSERT_TRUE(AwaitExited(2));
  EXPECT_EQ(Of(2).exited->signal, SIGKILL);
  EXPECT_TRUE(Of(2).exited->ram_limit);
  EXPECT_NE(Of(2).exited->ToString().find("over its RAM limit"), std::string::npos);
  EXPECT_FALSE(Of(1).exited);
  EXPECT_TRUE(Alive(Of(1).started->pid));
  Stop(1, StopKind::kKill);
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_FALSE(Of(1).exited->ram_limit);
}

TEST_P(HoldContract, TheRamLimitCountsWhatTheInstanceHasStarted) {
  InstanceSpec spec = Spec({"hog-child", "200", "wait"});
  spec.ram_limit_bytes = 64 * kMib;
  Start(1, std::move(spec));
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_TRUE(Of(1).exited->ram_limit);
}

TEST_P(HoldContract, NoInstanceForksBeyondItsLimit) {
  InstanceSpec small = Spec({"fork", "200", "wait"});
  small.processes_max = 40;
  InstanceSpec large = Spec({"fork", "60", "wait"});
  large.processes_max = 100;
  Start(1, std::move(large));
  Start(2, std::move(small));
  ASSERT_TRUE(AwaitOut(1, "forked 60"));
  // By cgroup a fork fails from there on; where it is sampled, the instance is ended.
  ASSERT_TRUE(RunUntil([&] {
    return Of(2).exited || Of(2).out.find("forked 39\n") != std::string::npos;
  })) << Of(2).out;
  if (Of(2).exited) {
    EXPECT_TRUE(Of(2).exited->process_limit);
    EXPECT_THAT(Of(2).exited->ToString(), testing::HasSubstr("over its limit of processes"));
    EXPECT_FALSE(Of(2).exited->ram_limit);
  }
  EXPECT_FALSE(Of(1).exited);
}

TEST_P(HoldContract, DescriptorsAreLimitedForEachProcess) {
  InstanceSpec spec = Spec({"nofile"});
  spec.descriptors_max = 77;
  Start(1, std::move(spec));
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).out, "nofile 77 of 77\n");
}

TEST_P(HoldContract, IsReadyOnceItListensOnItsTcpAddress) {
  const std::string address = "127.0.0.1:" + std::to_string(FreePort());
  Start(1, ListeningSpec(address, {"await", folder_ + "/go", "listen", "wait"}));
  ASSERT_TRUE(AwaitStarted(1));
  EXPECT_EQ(Of(1).started->endpoint, EndpointKind::kAddress);
  EXPECT_EQ(Of(1).started->address, address);
  RunFor(100 * kNanosPerMilli);
  EXPECT_FALSE(Of(1).ready) << "nobody listens yet";
  Touch(folder_ + "/go");
  EXPECT_TRUE(RunUntil([&] { return Of(1).ready; }));
}

TEST_P(HoldContract, IsReadyOnceItListensOnItsUnixAddress) {
  const std::string address = "unix:" + folder_ + "/socket";
  Start(1, ListeningSpec(address, {"listen", "fds", "wait"}));
  ASSERT_TRUE(RunUntil([&] { return Of(1).ready; }));
  EXPECT_EQ(Of(1).started->address, address);
  ASSERT_TRUE(AwaitOut(1, "fd 3\n"));
  EXPECT_EQ(Of(1).out, "fd 0\nfd 1\nfd 2\nfd 3\n") << "3 is its own";
}

TEST_P(HoldContract, OneThatNeverListensEndsAsItLikes) {
  const std::string address = "unix:" + folder_ + "/socket";
  Start(1, ListeningSpec(address, {"exit", "4"}));
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).exited->code, 4);
  EXPECT_FALSE(Of(1).ready);
}

TEST_P(HoldContract, SpecsThatMakeNoSenseFail) {
  InstanceSpec no_program = Spec({});
  no_program.argv.clear();
  Start(1, std::move(no_program));
  InstanceSpec half = Spec({"wait"});
  half.introduction.reset();
  Start(2, std::move(half));
  Start(3, ListeningSpec("nowhere", {"wait"}));
  Start(4, Spec({"out", std::string(100'000, 'x')}));
  InstanceSpec no_folder = Spec({"wait"});
  no_folder.directory = folder_ + "/is-not-there";
  Start(5, std::move(no_folder));
  for (uint64_t id = 1; id <= 5; ++id) {
    ASSERT_TRUE(RunUntil([&] { return Of(id).failed.has_value(); })) << id;
    ASSERT_TRUE(RemoveAndWait(id));
  }
  EXPECT_EQ(Of(1).failed->code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Of(2).failed->code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Of(4).failed->code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_NE(Of(5).failed->message().find("entering its directory"), std::string::npos)
      << Of(5).failed->message();
}

TEST_P(HoldContract, AUserOfItsOwnIsTakenOn) {
  InstanceSpec spec = Spec({"state"});
  spec.uid = 61'200;
  spec.gid = 61'201;
  Start(1, std::move(spec));
  ASSERT_TRUE(RunUntil([&] { return Of(1).exited || Of(1).failed; }));
  if (::geteuid() == 0) {
    ASSERT_TRUE(Of(1).exited);
    EXPECT_NE(Of(1).out.find("uid: 61200, gid: 61201, groups: 0\n"), std::string::npos)
        << Of(1).out;
  } else {
    ASSERT_TRUE(Of(1).failed);
    EXPECT_NE(Of(1).failed->message().find("taking on its user id"), std::string::npos);
  }
}

TEST_P(HoldContract, APrinterWithoutEndWaitsInItsPipe) {
  Run(1, {"flood"});
  ASSERT_TRUE(AwaitStarted(1));
  const int64_t begun_ns = Clock::System().NowNs();
  RunFor(kNanosPerSecond);
  const double seconds = static_cast<double>(Clock::System().NowNs() - begun_ns) / 1e9;
  // A burst of 1 MiB, then 4 MiB a second; twice that is far below what it would print.
  EXPECT_LT(static_cast<double>(Of(1).out.size()), 2.0 * (1 + 4 * seconds) * kMib);
  EXPECT_GT(Of(1).out.size(), kMib);
}

}  // namespace lever::fleet
