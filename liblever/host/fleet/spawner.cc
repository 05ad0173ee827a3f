#include "liblever/host/fleet/spawner.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <optional>
#include <span>
#include <utility>

#include "liblever/host/fleet/sandbox_inside.h"

namespace lever::fleet {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
// While the host does not take messages, or descriptors in flight are used up, it is asked again.
constexpr int kResendMs = 10;
// Packets of the host taken in one turn.
constexpr int kPacketsPerTurn = 16;

int64_t NowNs() { return Clock::System().NowNs(); }

// Everything that a signal could do to this process is held back, but for what its own mistakes
// raise; children get their own mask back. Returns a descriptor that tells of SIGCHLD.
UniqueFd HoldSignals() {
  sigset_t held;
  sigfillset(&held);
  for (int mistake : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&held, mistake);
  }
  sigprocmask(SIG_SETMASK, &held, nullptr);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  return UniqueFd(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
}

// The process at the other end of the socketpair: a copy of its socket in a forked child must not
// keep us here when it has gone.
UniqueFd OpenPeer(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0) return {};
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0)));
  if (pidfd.valid()) fcntl(pidfd.get(), F_SETFD, FD_CLOEXEC);
  return pidfd;
}

}  // namespace

Spawner::Spawner(UniqueFd socket) : socket_(std::move(socket)), buffer_(kSpawnerMessageMax) {}

Spawner::~Spawner() = default;

bool Spawner::Prepare() {
  signals_ = HoldSignals();
  null_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  host_ = OpenPeer(socket_.get());
  // Each instance takes a few descriptors here, and inherits the limit.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  return signals_.valid() && null_.valid() && SetNonBlocking(socket_.get()).ok() &&
         prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;
}

int Spawner::Run() {
  if (!Prepare()) {
    std::perror("lever-spawner");
    return kExitFailed;
  }
  while (!ended_) Turn();
  EndEverything();
  return kExitOk;
}

void Spawner::Turn() {
  std::vector<pollfd> polled;
  polled.reserve(3 + instances_.size());
  polled.push_back({signals_.get(), POLLIN, 0});
  const short writing = outbox_.empty() ? 0 : POLLOUT;
  polled.push_back({socket_.get(), static_cast<short>(POLLIN | writing), 0});
  polled.push_back({host_.get(), POLLIN, 0});  // -1 is passed over
  for (const auto& [id, instance] : instances_) {
    if (instance.error_pipe.valid()) polled.push_back({instance.error_pipe.get(), POLLIN, 0});
  }
  if (poll(polled.data(), polled.size(), TimeoutMs()) < 0 && errno != EINTR) ended_ = true;
  if (polled[2].revents != 0) ended_ = true;
  for (auto& [id, instance] : instances_) {
    if (instance.phase == Phase::kExecuting) Settle(id, &instance);
  }
  if (polled[0].revents != 0) Reap();
  if (polled[1].revents != 0) Receive();
  if (NowNs() >= sample_ns_) Sample();
  if (NowNs() >= sweep_ns_) Sweep();
  Flush();
}

int Spawner::TimeoutMs() const {
  int64_t until_ns = std::min(sweep_ns_, sample_ns_);
  int timeout_ms = -1;
  if (until_ns != kNever) {
    int64_t left_ns = std::max<int64_t>(until_ns - NowNs(), 0);
    timeout_ms = static_cast<int>((left_ns + kNanosPerMilli - 1) / kNanosPerMilli);
  }
  if (!outbox_.empty() && (timeout_ms < 0 || timeout_ms > kResendMs)) timeout_ms = kResendMs;
  return timeout_ms;
}

// ---- The socket ----

void Spawner::Receive() {
  for (int i = 0; i < kPacketsPerTurn && !ended_; ++i) {
    ReceivedPacket packet;
    int error = ReceivePacket(socket_.get(), buffer_.data(), buffer_.size(), &packet);
    if (error == EAGAIN) return;
    if (error != 0 || packet.size == 0 || packet.truncated) {
      ended_ = true;
      return;
    }
    OnPacket(std::string_view(buffer_.data(), packet.size), std::move(packet.fds));
  }
}

void Spawner::OnPacket(std::string_view packet, std::vector<UniqueFd> fds) {
  std::optional<SpawnerHeader> header = DecodeHeader(packet);
  if (!header || (header->op == SpawnerOp::kHello) == welcomed_) {
    std::fprintf(stderr, "lever-spawner: the host is of another build\n");
    ended_ = true;
    return;
  }
  switch (header->op) {
    case SpawnerOp::kHello:
      OnHello(packet);
      break;
    case SpawnerOp::kStart:
      OnStart(header->id, packet, std::move(fds));
      break;
    case SpawnerOp::kSignal:
      OnSignal(header->id, packet);
      break;
    case SpawnerOp::kKill:
      OnKill(header->id);
      break;
    default:
      break;
  }
}

void Spawner::OnHello(std::string_view packet) {
  HelloMessage hello;
  if (!Decode(packet, &hello)) {
    ended_ = true;
    return;
  }
  welcomed_ = true;
  if (hello.use_cgroups != 0) cgroups_.Open(hello.cgroup_root);
  if (hello.try_sandbox != 0) sandbox_.Open(hello);
  WelcomeMessage welcome;
  if (!hello.pool_directory.empty()) welcome.pool_error = OpenPool(hello);
  welcome.pool = pool_.works() ? 1 : 0;
  welcome.pid = getpid();
  welcome.limits = cgroups_.kinds();
  welcome.tracked = cgroups_.tracks() ? 1 : 0;
  welcome.sandbox = sandbox_.works() ? 1 : 0;
  welcome.sandbox_error = sandbox_.error();
  welcome.landlock_abi = static_cast<uint32_t>(LandlockAbi());
  Send(Encode(welcome));
}

std::string Spawner::OpenPool(const HelloMessage& hello) {
  if (!sandbox_.works()) return "there is no sandbox";
  if (!cgroups_.tracks()) return "there are no cgroups";
  pool_.Open(hello.pool_directory);
  return pool_.error();
}

void Spawner::OnStart(uint64_t id, std::string_view packet, std::vector<UniqueFd> fds) {
  StartMessage message;
  if (!Decode(packet, &message) || message.argv.empty() || instances_.contains(id) ||
      (fds.size() != 2 && fds.size() != kSpawnerFdsMax)) {
    Refuse(id, SpawnStage::kMessage, EINVAL);
    return;
  }
  if (message.take != 0 && TakeOver(id, message, fds)) return;
  SpawnStage stage = SpawnStage::kClone;
  Instance instance;
  int error = Launch(message, fds, &instance, &stage);
  if (error != 0) {
    instance.group.Remove();
    if (!instance.pool_folder.empty()) PoolFolders::Remove(instance.pool_folder);
    Refuse(id, stage, error);
    return;
  }
  Instance& kept = instances_.emplace(id, std::move(instance)).first->second;
  if (NeedsSampling(kept) && sample_ns_ == kNever) sample_ns_ = NowNs() + kSampleIntervalNs;
}

void Spawner::Refuse(uint64_t id, SpawnStage stage, int error) {
  Send(Encode(id, FailedMessage{stage, error}));
  Send(EncodeBare(SpawnerOp::kGone, id));
}

void Spawner::OnSignal(uint64_t id, std::string_view packet) {
  int64_t signal = 0;
  auto found = instances_.find(id);
  if (found == instances_.end() || !DecodeNumber(packet, &signal)) return;
  const Instance& instance = found->second;
  if (instance.reaped) return;
  if (instance.program != 0) {
    // Its number is nobody else's while its pidfd can still be signalled.
    if (syscall(SYS_pidfd_send_signal, instance.program_pidfd.get(), 0, nullptr, 0) == 0) {
      kill(-instance.program, static_cast<int>(signal));
    }
    return;
  }
  // Before the child has made its session there is no group of its number.
  if (kill(-instance.pid, static_cast<int>(signal)) != 0) {
    kill(instance.pid, static_cast<int>(signal));
  }
}

void Spawner::OnKill(uint64_t id) {
  auto found = instances_.find(id);
  if (found == instances_.end()) return;
  found->second.kill = true;
  Sweep();
}

void Spawner::Send(std::string packet, UniqueFd fd) {
  outbox_.push_back({std::move(packet), std::move(fd)});
}

void Spawner::Flush() {
  while (!outbox_.empty()) {
    const Outgoing& next = outbox_.front();
    const int fd = next.fd.get();
    Status status = SendWithFds(
        socket_.get(),
        std::span(reinterpret_cast<const uint8_t*>(next.packet.data()), next.packet.size()),
        fd >= 0 ? std::span(&fd, 1) : std::span<const int>());
    if (status.code() == LEVER_WOULD_BLOCK || status.code() == LEVER_RESOURCE_EXHAUSTED) return;
    if (!status.ok()) {
      ended_ = true;
      return;
    }
    outbox_.pop_front();
  }
}

}  // namespace lever::fleet
