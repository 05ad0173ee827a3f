// Ends that nobody asked for: of the host, and of the spawner.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "liblever/host/fleet/process_driver.h"
#include "tests/contract/driver/recorder.h"

namespace lever::fleet {
namespace {

constexpr std::chrono::seconds kLimit{30};

bool Alive(int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const size_t name_end = text.rfind(')');
  return name_end != std::string::npos && name_end + 2 < text.size() && text[name_end + 2] != 'Z';
}

std::unique_ptr<Loop> OpenLoop() {
  LoopOptions options;
  options.posters_drive = false;
  return Loop::Open(options).value();
}

ProcessDriverOptions Options(bool use_cgroups) {
  ProcessDriverOptions options;
  options.spawner_path = LEVER_SPAWNER;
  options.use_cgroups = use_cgroups;
  return options;
}

// A service without sockets of the host's: it is to listen, and does not.
InstanceSpec Spec(uint64_t id, std::vector<std::string> arguments) {
  InstanceSpec spec;
  spec.environment = "dev.lever";
  spec.service = "tested";
  spec.instance = "i-" + std::to_string(::getpid()) + "-" + std::to_string(id);
  spec.argv = {LEVER_TEST_PROGRAM};
  for (std::string& argument : arguments) spec.argv.push_back(std::move(argument));
  spec.directory = "/";
  spec.listen = "unix:/is-not-there/socket";
  return spec;
}

bool RunUntil(Loop& loop, const std::function<bool()>& holds) {
  const auto limit = std::chrono::steady_clock::now() + kLimit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    (void)loop.Turn(5 * kNanosPerMilli);
  }
  return true;
}

int64_t DaemonIn(const std::string& out) {
  const size_t at = out.find("daemon ");
  return at == std::string::npos || out.find('\n', at) == std::string::npos
             ? 0
             : std::stoll(out.substr(at + 7));
}

class SpawnerEndTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Cgroups, SpawnerEndTest, testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "With" : "Without");
});

// ---- The host is killed ----

// A host: starts two instances that leave processes behind, tells their pids and lives on.
[[noreturn]] void BeHost(bool use_cgroups, int report, bool fork_more) {
  const std::unique_ptr<Loop> loop = OpenLoop();
  auto driver = ProcessDriver::Open(loop.get(), Options(use_cgroups));
  if (!driver.ok()) ::_exit(1);
  std::vector<int64_t> pids{(*driver)->spawner_pid()};
  if (fork_more) {
    // It has copies of all our descriptors, and outlives us.
    const pid_t copy = ::fork();
    if (copy == 0) {
      for (;;) ::pause();
    }
    pids.insert(pids.begin(), copy);
  }
  Recorder recorder;
  for (uint64_t id : {1, 2}) {
    recorder.Expect(id);
    (*driver)->Start(id, Spec(id, {"daemon", "wait"}), &recorder);
    if (!RunUntil(*loop, [&] { return DaemonIn(recorder.Of(id).out) != 0; })) ::_exit(2);
    pids.push_back(recorder.Of(id).started->pid);
    pids.push_back(DaemonIn(recorder.Of(id).out));
  }
  const auto size = static_cast<ssize_t>(pids.size() * sizeof(pids[0]));
  if (::write(report, pids.data(), static_cast<size_t>(size)) != size) ::_exit(3);
  for (;;) (void)loop->Turn(-1);
}

// Runs a host in a process of its own until it has told its pids, and kills it.
std::vector<int64_t> KillAHost(bool use_cgroups, size_t pids_count, bool fork_more) {
  int report[2];
  EXPECT_EQ(::pipe2(report, O_CLOEXEC), 0);
  const pid_t host = ::fork();
  if (host == 0) BeHost(use_cgroups, report[1], fork_more);
  ::close(report[1]);
  std::vector<int64_t> pids(pids_count);
  const ssize_t size = ::read(report[0], pids.data(), pids.size() * sizeof(pids[0]));
  EXPECT_EQ(size, static_cast<ssize_t>(pids.size() * sizeof(pids[0])));
  ::close(report[0]);
  for (const int64_t pid : pids) EXPECT_TRUE(Alive(pid)) << pid;
  ::kill(host, SIGKILL);
  ::waitpid(host, nullptr, 0);
  return pids;
}

// How long it takes until all of them are gone.
void ExpectGoneSoon(const std::vector<int64_t>& pids) {
  const auto begun = std::chrono::steady_clock::now();
  for (const int64_t pid : pids) {
    while (Alive(pid) && std::chrono::steady_clock::now() < begun + kLimit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_FALSE(Alive(pid)) << pid;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  testing::Test::RecordProperty("seconds", std::to_string(took.count()));
  EXPECT_LT(took.count(), 1.0);
}

TEST_P(SpawnerEndTest, AHostThatIsKilledTakesEverythingWithItWithinASecond) {
  ExpectGoneSoon(KillAHost(GetParam(), 5, false));
}

TEST_P(SpawnerEndTest, AForkedCopyOfTheHostsSocketKeepsNothingAlive) {
  std::vector<int64_t> pids = KillAHost(GetParam(), 6, true);
  const auto copy = static_cast<pid_t>(pids.front());
  pids.erase(pids.begin());
  ExpectGoneSoon(pids);
  EXPECT_TRUE(Alive(copy));
  ::kill(copy, SIGKILL);
}

TEST_P(SpawnerEndTest, AForkedChildThatFreesItsCopyEndsNothing) {
  const std::unique_ptr<Loop> loop = OpenLoop();
  auto driver = ProcessDriver::Open(loop.get(), Options(GetParam()));
  ASSERT_TRUE(driver.ok()) << driver.status().ToString();
  const pid_t child = ::fork();
  if (child == 0) {
    driver->reset();
    ::_exit(0);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  Recorder recorder;
  recorder.Expect(1);
  (*driver)->Start(1, Spec(1, {"exit", "6"}), &recorder);
  ASSERT_TRUE(RunUntil(*loop, [&] { return recorder.Of(1).exited || recorder.Of(1).failed; }));
  ASSERT_TRUE(recorder.Of(1).exited);
  EXPECT_EQ(recorder.Of(1).exited->code, 6);
}

// ---- The spawner is killed ----

TEST_P(SpawnerEndTest, ASpawnerThatIsKilledTakesItsInstancesWithIt) {
  const std::unique_ptr<Loop> loop = OpenLoop();
  auto driver = ProcessDriver::Open(loop.get(), Options(GetParam()));
  ASSERT_TRUE(driver.ok()) << driver.status().ToString();
  Recorder recorder;
  for (uint64_t id : {1, 2}) {
    recorder.Expect(id);
    (*driver)->Start(id, Spec(id, {"ignore-term", "out", "set", "wait"}), &recorder);
    ASSERT_TRUE(RunUntil(*loop, [&] { return !recorder.Of(id).out.empty(); }));
  }
  const int64_t spawner = (*driver)->spawner_pid();
  ::kill(static_cast<pid_t>(spawner), SIGKILL);
  for (uint64_t id : {1, 2}) {
    ASSERT_TRUE(RunUntil(*loop, [&] { return recorder.Of(id).exited.has_value(); }));
    EXPECT_TRUE(recorder.Of(id).exited->unknown);
    EXPECT_FALSE(Alive(recorder.Of(id).started->pid));
    (*driver)->Remove(id);
    ASSERT_TRUE(RunUntil(*loop, [&] { return recorder.Of(id).removed; }));
  }
  EXPECT_FALSE(Alive(spawner));
  // And goes on with a new one.
  recorder.Expect(3);
  (*driver)->Start(3, Spec(3, {"exit", "5"}), &recorder);
  ASSERT_TRUE(RunUntil(*loop, [&] { return recorder.Of(3).exited.has_value(); }));
  EXPECT_EQ(recorder.Of(3).exited->code, 5);
  EXPECT_NE((*driver)->spawner_pid(), spawner);
}

TEST_P(SpawnerEndTest, AStartThatMeetsADeadSpawnerFailsAndTheNextOneSucceeds) {
  const std::unique_ptr<Loop> loop = OpenLoop();
  auto driver = ProcessDriver::Open(loop.get(), Options(GetParam()));
  ASSERT_TRUE(driver.ok()) << driver.status().ToString();
  const auto spawner = static_cast<pid_t>((*driver)->spawner_pid());
  ::kill(spawner, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(spawner), &info, WEXITED | WNOWAIT), 0);
  Recorder recorder;
  recorder.Expect(1);
  (*driver)->Start(1, Spec(1, {"wait"}), &recorder);
  (*driver)->Stop(1, StopKind::kKill);
  ASSERT_TRUE(RunUntil(*loop, [&] { return recorder.Of(1).failed.has_value(); }));
  EXPECT_EQ(recorder.Of(1).failed->code(), LEVER_UNAVAILABLE);
  EXPECT_NE(recorder.Of(1).failed->message().find("lever-spawner"), std::string::npos);
  recorder.Expect(2);
  (*driver)->Start(2, Spec(2, {"exit", "0"}), &recorder);
  EXPECT_TRUE(RunUntil(*loop, [&] { return recorder.Of(2).exited.has_value(); }));
}

TEST_P(SpawnerEndTest, TerminationSignalsDoNotEndTheSpawner) {
  const std::unique_ptr<Loop> loop = OpenLoop();
  auto driver = ProcessDriver::Open(loop.get(), Options(GetParam()));
  ASSERT_TRUE(driver.ok()) << driver.status().ToString();
  const auto spawner = static_cast<pid_t>((*driver)->spawner_pid());
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) ::kill(spawner, signal);
  Recorder recorder;
  recorder.Expect(1);
  (*driver)->Start(1, Spec(1, {"exit", "0"}), &recorder);
  EXPECT_TRUE(RunUntil(*loop, [&] { return recorder.Of(1).exited.has_value(); }));
  EXPECT_EQ((*driver)->spawner_pid(), spawner);
}

TEST(SpawnerLeftOvers, WhatAKilledSpawnerLeftInItsCgroupsEndsWithTheNextOne) {
  const std::unique_ptr<Loop> loop = OpenLoop();
  auto driver = ProcessDriver::Open(loop.get(), Options(true));
  ASSERT_TRUE(driver.ok()) << driver.status().ToString();
  Recorder recorder;
  recorder.Expect(1);
  (*driver)->Start(1, Spec(1, {"daemon", "wait"}), &recorder);
  ASSERT_TRUE(RunUntil(*loop, [&] { return DaemonIn(recorder.Of(1).out) != 0; }));
  const int64_t daemon = DaemonIn(recorder.Of(1).out);
  const bool tracked = (*driver)->Describe().find("no cgroups") == std::string::npos;
  ::kill(static_cast<pid_t>((*driver)->spawner_pid()), SIGKILL);
  ASSERT_TRUE(RunUntil(*loop, [&] { return recorder.Of(1).exited.has_value(); }));
  recorder.Expect(2);
  (*driver)->Start(2, Spec(2, {"exit", "0"}), &recorder);
  ASSERT_TRUE(RunUntil(*loop, [&] { return recorder.Of(2).exited.has_value(); }));
  if (tracked) {
    EXPECT_TRUE(RunUntil(*loop, [&] { return !Alive(daemon); }));
  } else {
    // Without cgroups nobody knows of it any more.
    EXPECT_TRUE(Alive(daemon));
    ::kill(static_cast<pid_t>(daemon), SIGKILL);
  }
}

// ---- What is no spawner ----

TEST(ProcessDriverOpen, SaysWhatIsWrongWithTheSpawner) {
  const std::unique_ptr<Loop> loop = OpenLoop();
  for (const char* path : {"/is/not/there", "/bin/true", "/", "/etc/passwd"}) {
    ProcessDriverOptions options;
    options.spawner_path = path;
    const auto driver = ProcessDriver::Open(loop.get(), options);
    ASSERT_FALSE(driver.ok()) << path;
    EXPECT_EQ(driver.status().code(), LEVER_UNAVAILABLE) << path;
    EXPECT_NE(driver.status().message().find(path), std::string::npos) << driver.status().message();
  }
}

TEST(LeverSpawner, StartedByHandSaysThatItIsNot) {
  FILE* const run = ::popen(LEVER_SPAWNER " 2>&1 3<&-", "r");
  ASSERT_NE(run, nullptr);
  char text[200] = {};
  EXPECT_NE(std::fgets(text, sizeof(text), run), nullptr);
  EXPECT_NE(std::string(text).find("is started by"), std::string::npos) << text;
  const int status = ::pclose(run);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 2);
}

// ---- A host that makes mistakes ----

class LinkRecorder final : public SpawnerLink::Handler {
 public:
  void OnSpawnerPacket(const SpawnerHeader& header, std::string_view packet,
                       std::vector<UniqueFd> fds) override {
    ops.push_back(header.op);
    Decode(packet, &failed);
  }
  void OnSpawnerEnd(const Status& status) override { ended = true; }

  std::vector<SpawnerOp> ops;
  FailedMessage failed;
  bool ended = false;
};

TEST(LeverSpawner, AnswersAStartThatItCannotRead) {
  const std::unique_ptr<Loop> loop = OpenLoop();
  LinkRecorder recorder;
  auto link = SpawnerLink::Open(loop.get(), LEVER_SPAWNER, HelloMessage{}, &recorder);
  ASSERT_TRUE(link.ok());
  // No descriptors, no program.
  (*link)->Send(Encode(9, StartMessage{}));
  ASSERT_TRUE(RunUntil(*loop, [&] { return recorder.ops.size() == 2; }));
  EXPECT_EQ(recorder.ops, (std::vector{SpawnerOp::kFailed, SpawnerOp::kGone}));
  EXPECT_EQ(recorder.failed.stage, SpawnStage::kMessage);
  // Of nobody, and passed over.
  (*link)->Send(EncodeBare(SpawnerOp::kKill, 12));
  (*link)->Send(EncodeNumber(SpawnerOp::kSignal, 12, SIGTERM));
  (*link)->Send(Encode(9, StartMessage{}));
  ASSERT_TRUE(RunUntil(*loop, [&] { return recorder.ops.size() == 4; }));
  EXPECT_FALSE(recorder.ended);
}

TEST(LeverSpawner, EndsWhenTheHostIsOfAnotherBuild) {
  const std::unique_ptr<Loop> loop = OpenLoop();
  LinkRecorder recorder;
  auto link = SpawnerLink::Open(loop.get(), LEVER_SPAWNER, HelloMessage{}, &recorder);
  ASSERT_TRUE(link.ok());
  std::string other = EncodeBare(SpawnerOp::kKill, 1);
  other[0] = static_cast<char>(kSpawnerVersion + 1);
  (*link)->Send(std::move(other));
  EXPECT_TRUE(RunUntil(*loop, [&] { return recorder.ended; }));
}

}  // namespace
}  // namespace lever::fleet
