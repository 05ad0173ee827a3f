#include "liblever/host/fleet/spawner_link.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <span>
#include <utility>

namespace lever::fleet {
namespace {

// Above every number that the spawner gets, so that placing one does not overwrite another.
constexpr int kParkedFd = 16;

// posix_spawn with what this needs, in which each step may fail.
class SpawnCall {
 public:
  SpawnCall() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnCall() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }

  int Run(const char* path, int socket, pid_t* pid) {
    Check(posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDWR, 0));
    if (fcntl(STDERR_FILENO, F_GETFD) >= 0) {
      Check(posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO, STDOUT_FILENO));
    } else {
      Check(posix_spawn_file_actions_adddup2(&actions_, STDIN_FILENO, STDOUT_FILENO));
      Check(posix_spawn_file_actions_adddup2(&actions_, STDIN_FILENO, STDERR_FILENO));
    }
    Check(posix_spawn_file_actions_adddup2(&actions_, socket, kSpawnerSocketFd));
    Check(posix_spawn_file_actions_addclosefrom_np(&actions_, kSpawnerSocketFd + 1));
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    Check(posix_spawnattr_setsigmask(&attributes_, &none));
    Check(posix_spawnattr_setsigdefault(&attributes_, &all));
    Check(posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
    char name[] = "lever-spawner";
    char* const argv[] = {name, nullptr};
    char* const environment[] = {nullptr};
    if (error_ == 0) {
      error_ = posix_spawn(pid, path, &actions_, &attributes_, argv, environment);
    }
    return error_;
  }

 private:
  void Check(int error) {
    if (error_ == 0) error_ = error;
  }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  int error_ = 0;
};

int PollFor(int fd, int64_t timeout_ns) {
  pollfd polled{fd, POLLIN, 0};
  const int64_t timeout_ms =
      (std::max<int64_t>(timeout_ns, 0) + kNanosPerMilli - 1) / kNanosPerMilli;
  return poll(&polled, 1, static_cast<int>(timeout_ms));
}

}  // namespace

StatusOr<std::unique_ptr<SpawnerLink>> SpawnerLink::Open(Loop* loop, const std::string& path,
                                                         const HelloMessage& hello,
                                                         Handler* handler) {
  std::unique_ptr<SpawnerLink> link(new SpawnerLink(loop, handler));
  LEVER_RETURN_IF_ERROR(link->Spawn(path));
  link->buffer_.resize(kSpawnerMessageMax);
  LEVER_RETURN_IF_ERROR(
      loop->Watch(link->socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, link.get()));
  link->Send(Encode(hello));
  return link;
}

Status SpawnerLink::Spawn(const std::string& path) {
  path_ = path;
  LEVER_ASSIGN_OR_RETURN(auto sockets, SocketPair(SOCK_SEQPACKET));
  const UniqueFd theirs(fcntl(sockets.second.get(), F_DUPFD_CLOEXEC, kParkedFd));
  if (!theirs.valid()) return ErrnoStatus(errno, "fcntl(F_DUPFD_CLOEXEC)");
  const int error = SpawnCall().Run(path.c_str(), theirs.get(), &pid_);
  if (error != 0) {
    pid_ = 0;
    return Unavailable("cannot start " + path + ": " + ErrnoStatus(error, "posix_spawn").message());
  }
  socket_ = std::move(sockets.first);
  pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  if (pidfd_.valid()) (void)SetInherit(pidfd_.get(), Inherit::kNo);
  return Status::Ok();
}

SpawnerLink::~SpawnerLink() {
  loop_->Unwatch(this);
  // A forked child of the host frees its copy, and leaves the spawner to the host.
  if (pid_ == 0 || loop_->Forked()) return;
  // Not close() alone: a forked child of this process may have a copy of the socket.
  shutdown(socket_.get(), SHUT_RDWR);
  AwaitEnd();
}

// Waits until the spawner has ended, and takes its exit status.
void SpawnerLink::AwaitEnd() {
  if (pidfd_.valid() && PollFor(pidfd_.get(), kEndTimeoutNs) == 0) {
    syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  }
  // By the pidfd, since a program that reaps all of its children may have been faster, and the
  // number another child's by now.
  siginfo_t info{};
  const idtype_t kind = pidfd_.valid() ? P_PIDFD : P_PID;
  const auto which = static_cast<id_t>(pidfd_.valid() ? pidfd_.get() : pid_);
  while (waitid(kind, which, &info, WEXITED) < 0 && errno == EINTR) {
  }
}

Status SpawnerLink::AwaitWelcome(int64_t timeout_ns) {
  const Clock& clock = Clock::System();
  const int64_t until_ns = clock.NowNs() + timeout_ns;
  while (!welcomed_) {
    const int64_t left_ns = until_ns - clock.NowNs();
    if (left_ns <= 0) return Unavailable(path_ + " does not answer");
    if (PollFor(socket_.get(), left_ns) <= 0) continue;
    ReceivedPacket packet;
    const int error = ReceivePacket(socket_.get(), buffer_.data(), buffer_.size(), &packet);
    if (error == EAGAIN) continue;
    const std::string_view bytes(buffer_.data(), packet.size);
    const std::optional<SpawnerHeader> header = DecodeHeader(bytes);
    welcomed_ =
        error == 0 && header && header->op == SpawnerOp::kWelcome && Decode(bytes, &welcome_);
    if (!welcomed_) {
      return Unavailable(path_ + " is not the lever-spawner of this build, or ended at once");
    }
  }
  return Status::Ok();
}

void SpawnerLink::Send(std::string packet, std::vector<UniqueFd> fds) {
  if (ended_) return;
  outbox_.push_back({std::move(packet), std::move(fds)});
  // An end that is seen here is told by the loop, which has it as an event of the socket.
  if (outbox_.size() == 1) Flush();
}

void SpawnerLink::Flush() {
  while (!outbox_.empty()) {
    const Outgoing& next = outbox_.front();
    std::array<int, kSpawnerFdsMax> numbers{};
    const size_t count = std::min(next.fds.size(), numbers.size());
    for (size_t i = 0; i < count; ++i) numbers[i] = next.fds[i].get();
    const Status status = SendWithFds(
        socket_.get(),
        std::span(reinterpret_cast<const uint8_t*>(next.packet.data()), next.packet.size()),
        std::span<const int>(numbers.data(), count));
    if (status.code() == LEVER_WOULD_BLOCK || status.code() == LEVER_RESOURCE_EXHAUSTED) {
      loop_->Arm(this, DeadlineAfter(loop_->now_ns(), kResendNs));
      return;
    }
    if (!status.ok()) return;
    outbox_.pop_front();
  }
}

void SpawnerLink::OnTimer() {
  if (!ended_) Flush();
}

uint32_t SpawnerLink::OnReady(uint32_t events) {
  if ((events & EPOLLOUT) != 0) Flush();
  for (int i = 0; i < kPacketsPerTurn; ++i) {
    // After its end the link may be gone: nothing of it is touched any more.
    if (!ReceiveOne()) return 0;
  }
  return EPOLLIN;
}

bool SpawnerLink::ReceiveOne() {
  ReceivedPacket packet;
  const int error = ReceivePacket(socket_.get(), buffer_.data(), buffer_.size(), &packet);
  if (error == EAGAIN) return false;
  if (error != 0 || packet.size == 0) {
    End(Unavailable("lever-spawner (pid " + std::to_string(pid_) + ") has ended"));
    return false;
  }
  // The handler's calls may receive nothing, so that the buffer stays as it is.
  const std::string_view bytes(buffer_.data(), packet.size);
  const std::optional<SpawnerHeader> header = DecodeHeader(bytes);
  const bool welcome = header && header->op == SpawnerOp::kWelcome;
  if (packet.truncated || !header || welcome == welcomed_ ||
      (welcome && !Decode(bytes, &welcome_))) {
    End(Unavailable(path_ + " is not the lever-spawner of this build"));
    return false;
  }
  if (welcome) {
    welcomed_ = true;
  } else {
    handler_->OnSpawnerPacket(*header, bytes, std::move(packet.fds));
  }
  return true;
}

void SpawnerLink::End(Status status) {
  ended_ = true;
  loop_->Unwatch(this);
  loop_->Disarm(this);
  outbox_.clear();
  handler_->OnSpawnerEnd(status);
}

}  // namespace lever::fleet
