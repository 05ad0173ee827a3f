// What a driver promises whose instances are processes of this machine.
#include <fcntl.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tests/contract/driver/contract.h"

namespace lever::fleet {

bool Alive(int64_t pid) {
  if (pid <= 0) return false;
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const size_t name_end = text.rfind(')');
  return name_end != std::string::npos && name_end + 2 < text.size() && text[name_end + 2] != 'Z';
}

namespace {

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace

TEST_P(ProcessContract, TellsThePid) {
  Run(1, {"wait"});
  ASSERT_TRUE(AwaitStarted(1));
  EXPECT_TRUE(Alive(Of(1).started->pid));
  ASSERT_EQ(::kill(static_cast<pid_t>(Of(1).started->pid), SIGINT), 0);
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).exited->signal, SIGINT);
  EXPECT_FALSE(Alive(Of(1).started->pid));
}

TEST_P(ProcessContract, InheritsNothingButItsFiveDescriptors) {
  // The host is any program: it may have descriptors that are not close-on-exec.
  const UniqueFd leaks[] = {UniqueFd(::open("/dev/null", O_RDONLY)), UniqueFd(::dup(0)),
                            UniqueFd(::fcntl(0, F_DUPFD, 100))};
  Run(1, {"fds"});
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).out, "fd 0\nfd 1\nfd 2\nfd 3\nfd 4\n");
  for (const UniqueFd& leak : leaks) EXPECT_TRUE(leak.valid());
}

TEST_P(ProcessContract, HasNoVariablesButThoseOfTheSpec) {
  ASSERT_EQ(::setenv("LEVER_TEST_LEAK", "secret", 1), 0);
  InstanceSpec spec = Spec({"env"});
  const std::string instance = spec.instance;
  Start(1, std::move(spec));
  ASSERT_TRUE(AwaitExited(1));
  ::unsetenv("LEVER_TEST_LEAK");
  std::vector<std::string> lines = LinesOf(Of(1).out);
  // What a sandbox says of itself.
  if (std::count(lines.begin(), lines.end(), "env LEVER_SANDBOX=bwrap") == 1) {
    std::erase(lines, "env LEVER_SANDBOX=bwrap");
    std::erase(lines, "env TMPDIR=/tmp");
    std::erase(lines, "env PWD=" + folder_);
  }
  EXPECT_EQ(
      lines,
      (std::vector<std::string>{"env GREETING=hello world", "env LEVER_FDS=3,4",
                                "env LEVER_INSTANCE_ID=" + instance, "env PATH=/usr/bin:/bin"}));
}

TEST_P(ProcessContract, BeginsInItsFolderWithSignalsAsTheyAreByDefault) {
  // As many programs do.
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  sigset_t blocked;
  sigset_t old;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &old);
  Run(1, {"state"});
  ASSERT_TRUE(AwaitExited(1));
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  std::signal(SIGPIPE, before);
  const std::vector<std::string> lines = LinesOf(Of(1).out);
  for (const std::string& wanted :
       {std::string("leads its group: 1"), "directory: " + folder_,
        std::string("signals blocked: 0, ignored: 0"), std::string("stdin: at its end")}) {
    EXPECT_TRUE(std::count(lines.begin(), lines.end(), wanted)) << wanted << "\nin\n" << Of(1).out;
  }
}

TEST_P(ProcessContract, LooksForTheProgramInItsFolderAndOnItsPath) {
  const std::string script = folder_ + "/serve";
  std::ofstream(script) << "#!/bin/sh\necho \"served from $PWD\"\n";
  std::filesystem::permissions(script, std::filesystem::perms(0755));
  InstanceSpec spec = Spec({});
  spec.argv = {"./serve"};
  Start(1, std::move(spec));
  InstanceSpec on_path = Spec({});
  on_path.argv = {"sh", "-c", "echo found"};
  Start(2, std::move(on_path));
  ASSERT_TRUE(AwaitExited(1));
  ASSERT_TRUE(AwaitExited(2));
  EXPECT_EQ(Of(1).out, "served from " + folder_ + "\n");
  EXPECT_EQ(Of(2).out, "found\n");
}

TEST_P(ProcessContract, AnEndlessPrinterHoldsUpNobody) {
  Run(1, {"flood"});
  ASSERT_TRUE(RunUntil([&] { return Of(1).out.size() > 100'000; }));
  Run(2, {"out", "quick", "exit", "0"});
  ASSERT_TRUE(AwaitExited(2));
  EXPECT_EQ(Of(2).out, "quick\n");
  Stop(1, StopKind::kKill);
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).exited->signal, SIGKILL);
}

}  // namespace lever::fleet
