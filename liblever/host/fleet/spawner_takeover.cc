// Pooled runtimes of lever-spawner: how one is born, and how it becomes an instance.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "liblever/host/fleet/spawner.h"

namespace lever::fleet {
namespace {

// What a pooled runtime is told, one packet: texts, each with a zero byte after it. The folder of
// its bundle, its entry there, how many descriptors it may have, and the variables of its
// environment.
std::string TakeoverPacket(const StartMessage& message) {
  std::string packet;
  const auto append = [&packet](const std::string& text) {
    packet += text;
    packet += '\0';
  };
  append(message.directory);
  append(message.argv.back());
  // It limits itself, before it loads what is not ours: to limit others takes CAP_SYS_RESOURCE.
  append(std::to_string(message.nofile));
  for (const std::string& variable : message.variables) append(variable);
  append(std::string(kInstanceMarker) + "=" + message.marker);
  return packet;
}

}  // namespace

int Spawner::OpenPooled(const StartMessage& message, Instance* instance, UniqueFd* takeover) {
  if (!pool_.works() || message.sandbox == 0) return EPERM;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return errno;
  instance->takeover.reset(ends[0]);
  takeover->reset(ends[1]);
  return pool_.Make(&instance->pool_folder);
}

// True: the pooled runtime is the instance now. False: it is none, or good for nothing, and ends.
bool Spawner::TakeOver(uint64_t id, const StartMessage& message, const std::vector<UniqueFd>& fds) {
  const auto found = instances_.find(message.take);
  if (found == instances_.end()) return false;
  Instance& pooled = found->second;
  if (const int error = TellPooled(message, fds, &pooled); error != 0) {
    std::fprintf(stderr, "lever-spawner: a runtime that was started ahead cannot be used: %s\n",
                 strerror(error));
    pooled.kill = true;
    Sweep();
    return false;
  }
  pooled.takeover.reset();
  Send(EncodeBare(SpawnerOp::kTaken, message.take));
  auto renamed = instances_.extract(found);
  renamed.key() = id;
  Instance& instance = instances_.insert(std::move(renamed)).position->second;
  TellStarted(id, &instance);
  if (NeedsSampling(instance) && sample_ns_ == kNever) {
    sample_ns_ = Clock::System().NowNs() + kSampleIntervalNs;
  }
  return true;
}

// 0, or an errno after which it may be half taken over.
int Spawner::TellPooled(const StartMessage& message, const std::vector<UniqueFd>& fds,
                        Instance* pooled) {
  const bool waits = pooled->takeover.valid() && pooled->phase == Phase::kRunning &&
                     pooled->program != 0 && !pooled->reaped && !pooled->kill;
  if (!waits || fds.size() != kSpawnerFdsMax) return EINVAL;
  // Its number is nobody else's while its pidfd can still be signalled.
  if (syscall(SYS_pidfd_send_signal, pooled->program_pidfd.get(), 0, nullptr, 0) != 0) return errno;
  pooled->limits = {message.ram_limit_bytes, message.processes_max, message.cpu_millis};
  if (const int error = cgroups_.Relimit(pooled->limits, &pooled->group); error != 0) return error;
  if (const int error = PoolFolders::Show(pooled->pool_folder, message.directory); error != 0) {
    return error;
  }
  const std::string packet = TakeoverPacket(message);
  std::vector<int> numbers;
  for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
  const std::span bytes(reinterpret_cast<const uint8_t*>(packet.data()), packet.size());
  return SendWithFds(pooled->takeover.get(), bytes, numbers).ok() ? 0 : EPIPE;
}

}  // namespace lever::fleet
