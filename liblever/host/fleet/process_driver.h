// The driver that runs instances as processes of this machine.
//
// The processes are children of lever-spawner (spawner.h), which this starts and tells what to do;
// the driver holds the reading ends of their stdout and stderr, and looks whether an instance that
// listens by itself takes connections.
//
// Threads: those of driver.h, so all functions on the thread that drives the loop, or while nobody
// does. Open() and the destructor wait, for kWelcomeTimeoutNs and SpawnerLink::kEndTimeoutNs at
// most; nothing else does.
//
// Invariants, on top of driver.h's
//  1. OnExited() means that nothing is left of the instance that the spawner could find: neither
//     the program, nor what it started, also where that made sessions of its own.
//  2. Output is never dropped and never piles up: beyond OutputPipe::kBytesPerSecond the pipe
//     stays unread, so that a service which prints without end waits in write(). What is held is
//     the pipe's own buffer.
//  3. Ids of the pool's members have kMemberBit, which those of the caller have not. A member that
//     was taken over has the id of the instance, and no other.
//  4. When the spawner ends, however that came, so do its instances: each gets OnFailed() or
//     OnExited(unknown) once its first process is gone. The next Start() begins with a new spawner.
#ifndef LIBLEVER_HOST_FLEET_PROCESS_DRIVER_H_
#define LIBLEVER_HOST_FLEET_PROCESS_DRIVER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/host/fleet/driver.h"
#include "liblever/host/fleet/runtime_pool.h"
#include "liblever/host/fleet/sandbox_rules.h"
#include "liblever/host/fleet/spawner_link.h"
#include "liblever/host/fleet/spawner_protocol.h"

namespace lever::fleet {

// A runtime that can be started ahead of the service which it will run.
struct PooledRuntime {
  std::string name;               // as InstanceSpec::runtime has it
  std::vector<std::string> argv;  // what starts it; it waits at kAttachFd (spawner_takeover.cc)
  std::vector<std::string> variables;
  std::vector<std::string> readable;
};

// Runtimes that are started ahead, each in a sandbox and under a user of its own.
struct RuntimePoolOptions {
  // For each runtime, with and without network, of which services are expected.
  uint32_t size = 0;
  std::string directory;  // there, empty, and of no other use
  std::string trees;      // where the folders of all bundles lie
  std::vector<PooledRuntime> runtimes;
  // What a member may have until it is taken over.
  uint64_t ram_limit_bytes = 256 << 20;
  uint32_t processes_max = 1024;
  // A user that nobody else is, and its end. Needed.
  std::function<StatusOr<uint32_t>()> take_user;
  std::function<void(uint32_t uid)> return_user;
};

struct ProcessDriverOptions {
  // The program lever-spawner; not looked for on PATH.
  std::string spawner_path;
  // Without, instances are told apart by /proc alone, and their memory is sampled.
  bool use_cgroups = true;
  // The directory of a cgroup, of no other use, whose children may be made; empty: the host's own.
  std::string cgroup_root;
  // RLIMIT_NOFILE of an instance, unless the host's own is lower.
  uint32_t nofile = 65'536;
  // Above the host's, so that a machine that is out of memory takes services first.
  int32_t oom_score_adj = 300;
  // Whether instances are sandboxed (sandbox.h). It is tried at start, by a user that has to be able
  // to reach the directory, as those of instances.
  SandboxMode sandbox = SandboxMode::kNone;
  uint32_t sandbox_probe_uid = kSameUser;
  std::string sandbox_probe_directory = "/usr";
  // Where it cannot be, there is none (pool_error()).
  RuntimePoolOptions pool;
};

class ProcessDriver final : public Driver, private SpawnerLink::Handler {
 public:
  // How long Open() waits for the spawner's first word, before which that tries the sandbox.
  static constexpr int64_t kWelcomeTimeoutNs = 15 * kNanosPerSecond;
  static constexpr uint64_t kMemberBit = 1ull << 63;

  // UNAVAILABLE: the spawner cannot be started, or is of another build. FAILED_PRECONDITION: a sandbox
  // is required, and does not work.
  static StatusOr<std::unique_ptr<ProcessDriver>> Open(Loop* loop, ProcessDriverOptions options);
  // Ends the spawner and all instances.
  ~ProcessDriver() override;

  void Start(uint64_t id, InstanceSpec spec, DriverEvents* events) override;
  void Stop(uint64_t id, StopKind kind) override;
  void Remove(uint64_t id) override;
  // "process (RAM limit by cgroup v1, processes by cgroup v1, CPU by cgroup v1; sandbox bwrap)"
  std::string Describe() const override;
  // Why instances cannot be sandboxed; empty if they can, or if that was not tried.
  const std::string& sandbox_error() const { return welcome_.sandbox_error; }

  // Why runtimes cannot be started ahead; empty if they can, or if that was not asked for.
  const std::string& pool_error() const { return welcome_.pool_error; }
  // There are services that such a runtime can take over: from now on some are kept.
  void ExpectRuntime(const std::string& runtime, bool network);

  // The spawner's process, 0 while there is none; for tests and for people.
  int64_t spawner_pid() const;

 private:
  struct Instance;
  // What happens to members of the pool while they are that.
  class PoolEvents final : public DriverEvents {
   public:
    explicit PoolEvents(ProcessDriver* driver) : driver_(driver) {}
    void OnStarted(uint64_t, const Started&) override {}
    void OnReady(uint64_t) override {}
    void OnOutput(uint64_t id, OutputStream stream, std::string_view bytes) override;
    void OnExited(uint64_t id, const Exited& exited) override;
    void OnFailed(uint64_t id, const Status& status) override;
    void OnRemoved(uint64_t) override {}

   private:
    ProcessDriver* const driver_;
  };

  ProcessDriver(Loop* loop, ProcessDriverOptions options);
  Status EnsureSpawner();
  Status SendStart(uint64_t id, InstanceSpec& spec, Instance* instance);
  StatusOr<std::string> EncodeStart(uint64_t id, const InstanceSpec& spec, bool sandboxed,
                                    uint64_t member) const;
  std::string DescribeWith(const std::string& sandbox) const;
  std::string SandboxName() const;

  // SpawnerLink::Handler
  void OnSpawnerPacket(const SpawnerHeader& header, std::string_view packet,
                       std::vector<UniqueFd> fds) override;
  void OnSpawnerEnd(const Status& status) override;

  void OnStarted(uint64_t id, int64_t pid, std::vector<UniqueFd> fds);
  void OnGone(uint64_t id);
  void OnOrphaned(uint64_t id, const Status& status);
  // The three ends of an id.
  void Exit(uint64_t id, const Exited& exited);
  void Fail(uint64_t id, const Status& status);
  void CompleteRemove(uint64_t id);
  Instance* Find(uint64_t id);

  // The pool.
  uint64_t TakeMember(const InstanceSpec& spec);
  void RefillPool();
  void StartMember(const RuntimePool::Kind& kind);
  InstanceSpec MemberSpec(const PooledRuntime& runtime, const RuntimePool::Kind& kind) const;
  void SetUser(uint64_t id, uint32_t uid);
  void OnMemberEnded(uint64_t id, const std::string& why);
  void OnTaken(uint64_t member);
  void ReturnUser(Instance* instance);

  // Events that a call of the driver leads to by itself: delivered in a later turn.
  void Later(std::function<void()> event);
  void RunLater();

  Loop* const loop_;
  const ProcessDriverOptions options_;
  std::unique_ptr<SpawnerLink> link_;
  WelcomeMessage welcome_;
  std::unordered_map<uint64_t, std::unique_ptr<Instance>> instances_;
  std::deque<std::function<void()>> later_;
  FunctionTimer later_timer_;
  RuntimePool pool_;
  PoolEvents pool_events_;
  FunctionTimer pool_timer_;
  uint64_t members_made_ = 0;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_PROCESS_DRIVER_H_
