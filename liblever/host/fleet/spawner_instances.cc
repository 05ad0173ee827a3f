// The instances of lever-spawner: their birth, their ends, and the end of everything.
#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

#include "liblever/host/fleet/spawner.h"
#include "liblever/host/fleet/spawner_child.h"

namespace lever::fleet {
namespace {

// Where programs are looked for if an instance's environment has no PATH.
constexpr const char* kDefaultPath = "/usr/local/bin:/usr/bin:/bin";

// A program in a sandbox that signal N ended has the exit code kSignalCode + N.
constexpr int kSignalCode = 128;

int64_t NowNs() { return Clock::System().NowNs(); }

int64_t ToNs(const timeval& time) {
  return time.tv_sec * kNanosPerSecond + time.tv_usec * kNanosPerMicro;
}

std::vector<const char*> Terminated(const std::vector<std::string>& strings) {
  std::vector<const char*> pointers;
  for (const std::string& text : strings) pointers.push_back(text.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

const char* PathOf(const std::vector<std::string>& variables) {
  constexpr std::string_view kName = "PATH=";
  for (const std::string& variable : variables) {
    if (variable.starts_with(kName)) return variable.c_str() + kName.size();
  }
  return kDefaultPath;
}

// Drops what the descriptor has to say: one message a look is enough.
void DrainSignals(int fd) {
  signalfd_siginfo info;
  while (read(fd, &info, sizeof info) == sizeof info) {
  }
}

// As read(), with the process that has written it.
ssize_t ReceiveReport(int fd, ChildError* report, pid_t* sender) {
  iovec piece{report, sizeof *report};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (size > 0 && header != nullptr && header->cmsg_level == SOL_SOCKET &&
      header->cmsg_type == SCM_CREDENTIALS) {
    ucred credentials{};
    std::memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
    *sender = credentials.pid;
  }
  return size;
}

}  // namespace

int Spawner::Launch(const StartMessage& message, const std::vector<UniqueFd>& fds,
                    Instance* instance, SpawnStage* stage) {
  *stage = SpawnStage::kCgroup;
  // A number of its own: the group of an instance that could not be removed may still be there.
  instance->limits = {message.ram_limit_bytes, message.processes_max, message.cpu_millis};
  const bool pooled = !message.pool_trees.empty();
  int error = cgroups_.Make(++groups_made_, instance->limits,
                            pooled ? GroupScope::kAll : GroupScope::kLimited, &instance->group);
  if (error != 0) return error;
  *stage = SpawnStage::kDescriptors;
  const bool sandboxed = message.sandbox != 0;
  UniqueFd error_writer;
  error = OpenReports(sandboxed, instance, &error_writer);
  if (error != 0) return error;
  UniqueFd seccomp;
  UniqueFd self;
  if (sandboxed) {
    *stage = SpawnStage::kSandbox;
    if (!sandbox_.works()) return EPERM;
    error = sandbox_.OpenFiles(&seccomp, &self);
    if (error != 0) return error;
  }
  UniqueFd takeover;
  if (pooled) {
    error = OpenPooled(message, instance, &takeover);
    if (error != 0) return error;
  }

  std::vector<std::string> variables = message.variables;
  variables.push_back(std::string(kInstanceMarker) + "=" + message.marker);
  const std::vector<std::string> arguments =
      sandboxed ? sandbox_.ArgumentsFor(message, instance->pool_folder) : message.argv;
  const std::vector<const char*> argv = Terminated(arguments);
  const std::vector<const char*> environment = Terminated(variables);
  ChildPlan plan;
  plan.argv = argv.data();
  plan.variables = environment.data();
  plan.path = PathOf(variables);
  plan.directory = pooled ? instance->pool_folder.c_str() : message.directory.c_str();
  plan.null_fd = null_.get();
  plan.stdout_fd = fds[0].get();
  plan.stderr_fd = fds[1].get();
  if (fds.size() == kSpawnerFdsMax) {
    plan.attach_fd = fds[2].get();
    plan.introduction_fd = fds[3].get();
  }
  if (pooled) {
    plan.attach_fd = takeover.get();
    // Its runtime is to have nothing of its own where a socket will be.
    plan.introduction_fd = null_.get();
  }
  plan.error_fd = error_writer.get();
  plan.seccomp_fd = seccomp.get();
  plan.self_fd = self.get();
  plan.sandboxed = sandboxed;
  for (size_t i = 0; i < kControllers; ++i) {
    plan.cgroup_entry_fds[i] = instance->group.v1_tasks_fd(static_cast<Controller>(i));
  }
  plan.parent = getpid();
  plan.uid = message.uid;
  plan.gid = message.gid;
  plan.switch_user = message.switch_user != 0;
  plan.nofile = message.nofile;
  plan.oom_score_adj = message.oom_score_adj;

  *stage = SpawnStage::kClone;
  int pidfd = -1;
  const pid_t pid =
      CloneChild(plan, instance->group.v2_directory_fd(), instance->group.v2_procs_fd(), &pidfd);
  if (pid < 0) return errno;
  instance->pid = pid;
  instance->pidfd.reset(pidfd);
  instance->marker = message.marker;
  instance->sandboxed = sandboxed;
  return 0;
}

// What the child reports through. Of a sandboxed one the kernel adds who wrote it.
int Spawner::OpenReports(bool sandboxed, Instance* instance, UniqueFd* writer) {
  int ends[2];
  const int made = sandboxed ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)
                             : pipe2(ends, O_CLOEXEC);
  if (made != 0) return errno;
  instance->error_pipe.reset(ends[0]);
  writer->reset(ends[1]);
  const int yes = 1;
  if (sandboxed && setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) != 0) return errno;
  return SetNonBlocking(ends[0]).ok() ? 0 : EINVAL;
}

// Looks whether the child has become the program, or has said why not.
void Spawner::Settle(uint64_t id, Instance* instance) {
  ChildError report{};
  ssize_t size;
  for (;;) {
    pid_t sender = 0;
    size = instance->sandboxed ? ReceiveReport(instance->error_pipe.get(), &report, &sender)
                               : read(instance->error_pipe.get(), &report, sizeof report);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size != sizeof report || report.stage != SpawnStage::kInside) break;
    instance->program_pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, sender, 0)));
    if (!instance->program_pidfd.valid()) continue;
    fcntl(instance->program_pidfd.get(), F_SETFD, FD_CLOEXEC);
    instance->program = sender;
  }
  if (size == sizeof report) {
    instance->error_pipe.reset();
    instance->phase = Phase::kFailed;
    instance->kill = true;
    Send(Encode(id, FailedMessage{report.stage, report.error}));
    return;
  }
  TellStarted(id, instance);
}

void Spawner::TellStarted(uint64_t id, Instance* instance) {
  instance->error_pipe.reset();
  instance->phase = Phase::kRunning;
  if (instance->program == 0) {
    // Also where bwrap has failed: what it says is in the instance's output, and its end follows.
    Send(EncodeNumber(SpawnerOp::kStarted, id, instance->pid), std::move(instance->pidfd));
  } else {
    UniqueFd pidfd(fcntl(instance->program_pidfd.get(), F_DUPFD_CLOEXEC, 0));
    Send(EncodeNumber(SpawnerOp::kStarted, id, instance->program), std::move(pidfd));
  }
}

// Takes the ends of all children: first processes of instances, and what was left to us by others.
void Spawner::Reap() {
  DrainSignals(signals_.get());
  int status = 0;
  rusage usage{};
  pid_t pid;
  bool any = false;
  while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
    any = true;
    for (auto& [id, instance] : instances_) {
      if (instance.reaped || instance.pid != pid) continue;
      OnReaped(id, &instance, status, usage);
      break;
    }
  }
  if (any) Sweep();
}

void Spawner::OnReaped(uint64_t id, Instance* instance, int status, const rusage& usage) {
  // Its end of the pipe is closed by now.
  if (instance->phase == Phase::kExecuting) Settle(id, instance);
  // Not so where bwrap was killed on its way: what it has started holds it until that has ended, too.
  if (instance->phase == Phase::kExecuting) TellStarted(id, instance);
  instance->reaped = true;
  instance->kill = true;
  if (instance->phase != Phase::kRunning) return;
  ExitedMessage exited;
  if (WIFSIGNALED(status)) {
    exited.signal = WTERMSIG(status);
  } else {
    exited.code = WEXITSTATUS(status);
  }
  // bwrap returns so what a signal has ended.
  if (instance->sandboxed && exited.code > kSignalCode && exited.code < kSignalCode + NSIG) {
    exited.signal = exited.code - kSignalCode;
    exited.code = 0;
  }
  exited.ram_limit = instance->over_ram || instance->group.OomKilled() ? 1 : 0;
  exited.process_limit = instance->over_processes ? 1 : 0;
  exited.user_cpu_ns = ToNs(usage.ru_utime);
  exited.system_cpu_ns = ToNs(usage.ru_stime);
  exited.rss_max_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  Send(Encode(id, exited));
}

Owners Spawner::OwnersNow() const {
  Owners owners;
  owners.spawner = getpid();
  for (const auto& [id, instance] : instances_) {
    // Once it is reaped its number may be another's.
    if (!instance.reaped) owners.mains.emplace(instance.pid, id);
    owners.markers.emplace(instance.marker, id);
  }
  return owners;
}

std::map<uint64_t, std::vector<ProcessEntry>> Spawner::ProcessesByInstance() const {
  std::map<uint64_t, std::vector<ProcessEntry>> processes;
  for (const OwnedProcess& owned : AttributeProcesses(ReadProcessTable(), OwnersNow())) {
    processes[owned.owner].push_back(owned.process);
  }
  return processes;
}

// Kills what is left of the instances that are to end, and lets go of those of which nothing is.
void Spawner::Sweep() {
  std::map<uint64_t, std::vector<ProcessEntry>> processes;
  bool by_tree = false;
  for (const auto& [id, instance] : instances_) {
    by_tree |= instance.kill && !instance.group.tracks();
  }
  if (by_tree) processes = ProcessesByInstance();
  int64_t pause_ns = kNever;
  for (auto it = instances_.begin(); it != instances_.end();) {
    const uint64_t id = it->first;
    Instance& instance = it->second;
    if (!instance.kill) {
      ++it;
      continue;
    }
    bool empty = instance.reaped;
    if (!instance.reaped) kill(instance.pid, SIGKILL);
    if (instance.group.tracks()) {
      instance.group.Kill();
    } else {
      for (const ProcessEntry& process : processes[id]) KillProcess(process);
      empty &= processes[id].empty();
    }
    if (empty && instance.group.Remove()) {
      if (!instance.pool_folder.empty()) PoolFolders::Remove(instance.pool_folder);
      Send(EncodeBare(SpawnerOp::kGone, id));
      it = instances_.erase(it);
      continue;
    }
    pause_ns = std::min(pause_ns, instance.sweep_pause_ns);
    instance.sweep_pause_ns = std::min(2 * instance.sweep_pause_ns, kSweepLastNs);
    ++it;
  }
  sweep_ns_ = pause_ns == kNever ? kNever : NowNs() + pause_ns;
}

bool Spawner::NeedsSampling(const Instance& instance) const {
  const LimitKinds kinds = cgroups_.kinds();
  if (instance.kill) return false;
  return (instance.limits.ram_bytes != 0 && kinds.ram != LimitKind::kCgroupV2) ||
         (instance.limits.processes != 0 && kinds.processes == LimitKind::kSampling);
}

bool Spawner::SamplesTree() const {
  const LimitKinds kinds = cgroups_.kinds();
  return kinds.ram == LimitKind::kSampling || kinds.processes == LimitKind::kSampling;
}

void Spawner::SampleOne(const std::vector<ProcessEntry>& processes, Instance* instance) const {
  const LimitKinds kinds = cgroups_.kinds();
  const GroupLimits& limits = instance->limits;
  if (limits.ram_bytes != 0 && kinds.ram == LimitKind::kSampling) {
    std::vector<pid_t> pids;
    for (const ProcessEntry& process : processes) pids.push_back(process.pid);
    instance->over_ram = MemoryOfProcesses(pids, limits.ram_bytes) > limits.ram_bytes;
  } else {
    instance->over_ram = instance->group.OomKilled();
  }
  if (limits.processes != 0 && kinds.processes == LimitKind::kSampling) {
    uint64_t threads = 0;
    for (const ProcessEntry& process : processes) threads += process.threads;
    instance->over_processes = threads > limits.processes;
  }
}

// Looks who is over a limit that the kernel does not hold (no cgroup), or holds by ending one
// process of several (memory by v1).
void Spawner::Sample() {
  const int64_t begun_ns = NowNs();
  std::map<uint64_t, std::vector<ProcessEntry>> processes;
  if (SamplesTree()) processes = ProcessesByInstance();
  bool over = false;
  bool any = false;
  for (auto& [id, instance] : instances_) {
    if (!NeedsSampling(instance)) continue;
    any = true;
    SampleOne(processes[id], &instance);
    instance.kill = instance.over_ram || instance.over_processes;
    over |= instance.kill;
  }
  const int64_t now_ns = NowNs();
  const int64_t pause_ns = SamplesTree()
                               ? std::max(kSampleIntervalNs, kSampleShare * (now_ns - begun_ns))
                               : kOomIntervalNs;
  sample_ns_ = any ? now_ns + pause_ns : kNever;
  if (over) Sweep();
}

// Kills every descendant, again and again until there is none: each that forks meanwhile leaves its
// child to us.
void Spawner::EndEverything() {
  const int64_t until_ns = NowNs() + kEndTimeoutNs;
  for (;;) {
    for (auto& [id, instance] : instances_) {
      if (!instance.reaped) kill(instance.pid, SIGKILL);
      instance.group.Kill();
    }
    for (const auto& [owner, processes] : ProcessesByInstance()) {
      for (const ProcessEntry& process : processes) KillProcess(process);
    }
    DrainSignals(signals_.get());
    pid_t pid;
    while ((pid = waitpid(-1, nullptr, WNOHANG)) > 0) {
      for (auto& [id, instance] : instances_) instance.reaped |= instance.pid == pid;
    }
    const bool childless = pid < 0 && errno == ECHILD;
    if (childless || NowNs() >= until_ns) break;
    pollfd polled{signals_.get(), POLLIN, 0};
    poll(&polled, 1, static_cast<int>(kSweepFirstNs / kNanosPerMilli));
  }
  for (auto& [id, instance] : instances_) instance.group.Remove();
}

}  // namespace lever::fleet
