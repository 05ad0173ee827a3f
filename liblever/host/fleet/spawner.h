// lever-spawner: the small process between a host and the instances that it runs as processes.
//
// A host starts one, with one end of a SOCK_SEQPACKET socketpair, and says over it what to start,
// to signal and to kill (spawner_protocol.h). The spawner is the parent of every instance and the
// subreaper of whatever they fork, so that it sees each end and can find everything that is left.
//
// Why a process of its own: the host may be embedded in any program. Children of that program's
// threads would be its own to reap, would die with a thread or not at all, and a fork of it is
// slow. The spawner outlives every way in which the host can go, SIGKILL among them.
//
// Threads: one, which Run() is. Nothing in it waits but poll().
//
// Invariants
//  1. When the socketpair or the host's process ends, everything that descends from the spawner is
//     killed, then it ends: within a second, but for processes that the kernel cannot end.
//  2. A sandboxed instance's first process is bwrap, and its program runs in there (sandbox.h): that
//     is the process of which kStarted tells and which kSignal reaches.
//  3. When an instance's first process has ended, the rest of the instance is killed. kGone says
//     that none of it is left.
//  4. A process that is not reaped yet keeps its pid, so that no signal meets a stranger.
//  5. The host's silence holds up nothing: messages to it queue here, a few for each instance.
//  6. A pooled runtime is an instance that waits in its sandbox to be told what to run
//     (spawner_pool.h). It is told once, and from then on is the instance that took it over, under
//     that one's id.
//  7. Termination signals do nothing to it: it ends with its host, whose instances may be draining.
#ifndef LIBLEVER_HOST_FLEET_SPAWNER_H_
#define LIBLEVER_HOST_FLEET_SPAWNER_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/base/fd.h"
#include "liblever/host/fleet/sandbox.h"
#include "liblever/host/fleet/spawner_cgroup.h"
#include "liblever/host/fleet/spawner_pool.h"
#include "liblever/host/fleet/spawner_protocol.h"
#include "liblever/host/fleet/spawner_tree.h"

namespace lever::fleet {

class Spawner {
 public:
  // How often memory and processes are looked at where no cgroup limits them, or less often, so that
  // looking takes no more than a twentieth of a core. What a process takes in between is what it may
  // be over its limit by.
  static constexpr int64_t kSampleIntervalNs = 200 * kNanosPerMilli;
  static constexpr int64_t kSampleShare = 20;
  // How often a group of cgroup v1, in which the kernel ends one process, is looked at to end the
  // others.
  static constexpr int64_t kOomIntervalNs = kNanosPerSecond;
  // Between two attempts to kill what is left of an instance: doubling from the first to the last.
  static constexpr int64_t kSweepFirstNs = 4 * kNanosPerMilli;
  static constexpr int64_t kSweepLastNs = 256 * kNanosPerMilli;
  // How long the end of everything may take before what is left is given up.
  static constexpr int64_t kEndTimeoutNs = 5 * kNanosPerSecond;

  explicit Spawner(UniqueFd socket);
  ~Spawner();
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;

  // Serves the host until it has gone, and ends everything. The exit code of the process.
  int Run();

 private:
  enum class Phase : uint8_t {
    kExecuting,  // cloned; whether its program runs is not known yet
    kRunning,    // kStarted was sent
    kFailed,     // kFailed was sent
  };
  struct Instance {
    Phase phase = Phase::kExecuting;
    std::string marker;
    pid_t pid = 0;
    UniqueFd pidfd;       // until kStarted takes it along
    UniqueFd error_pipe;  // while kExecuting; of a sandboxed one a socket
    bool sandboxed = false;
    // Inside a sandbox, whose first process `pid` is: the service's own, which is no child of ours.
    pid_t program = 0;
    UniqueFd program_pidfd;
    // Of a pooled runtime: what its sandbox shows where bundles lie, and, until it is taken over,
    // where it waits.
    std::string pool_folder;
    UniqueFd takeover;
    Cgroup group;
    GroupLimits limits;
    bool reaped = false;      // its first process has ended
    bool kill = false;        // everything of it is to end
    bool over_ram = false;    // it is killed for its memory
    bool over_processes = false;
    int64_t sweep_pause_ns = kSweepFirstNs;
  };
  using Instances = std::map<uint64_t, Instance>;
  struct Outgoing {
    std::string packet;
    UniqueFd fd;
  };

  bool Prepare();
  void Turn();
  int TimeoutMs() const;

  // The socket.
  void Receive();
  void OnPacket(std::string_view packet, std::vector<UniqueFd> fds);
  void OnHello(std::string_view packet);
  // Why there is no pool; empty if there is.
  std::string OpenPool(const HelloMessage& hello);
  void OnStart(uint64_t id, std::string_view packet, std::vector<UniqueFd> fds);
  void OnSignal(uint64_t id, std::string_view packet);
  void OnKill(uint64_t id);
  void Refuse(uint64_t id, SpawnStage stage, int error);
  void Send(std::string packet, UniqueFd fd = UniqueFd());
  void Flush();

  // Instances.
  int Launch(const StartMessage& message, const std::vector<UniqueFd>& fds, Instance* instance,
             SpawnStage* stage);
  int OpenReports(bool sandboxed, Instance* instance, UniqueFd* writer);
  int OpenPooled(const StartMessage& message, Instance* instance, UniqueFd* takeover);
  bool TakeOver(uint64_t id, const StartMessage& message, const std::vector<UniqueFd>& fds);
  int TellPooled(const StartMessage& message, const std::vector<UniqueFd>& fds, Instance* pooled);
  void Settle(uint64_t id, Instance* instance);
  void TellStarted(uint64_t id, Instance* instance);
  void Reap();
  void OnReaped(uint64_t id, Instance* instance, int status, const rusage& usage);
  void Sweep();
  void Sample();
  bool NeedsSampling(const Instance& instance) const;
  bool SamplesTree() const;
  void SampleOne(const std::vector<ProcessEntry>& processes, Instance* instance) const;
  std::map<uint64_t, std::vector<ProcessEntry>> ProcessesByInstance() const;
  Owners OwnersNow() const;
  void EndEverything();

  const UniqueFd socket_;
  UniqueFd signals_;  // SIGCHLD
  UniqueFd host_;     // the host's pidfd, where the kernel has them
  UniqueFd null_;
  std::vector<char> buffer_;
  CgroupRoot cgroups_;
  Sandbox sandbox_;
  PoolFolders pool_;
  uint64_t groups_made_ = 0;
  Instances instances_;
  std::deque<Outgoing> outbox_;
  bool welcomed_ = false;
  bool ended_ = false;
  int64_t sweep_ns_ = kNever;
  int64_t sample_ns_ = kNever;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SPAWNER_H_
