// An instance driver: what starts and ends instances. The process driver runs them as processes of
// this machine; others run containers, or whatever a program that embeds a host likes.
//
// Everything is asynchronous and completed by id: a call only asks, events tell. The interface maps
// one to one onto the table of C functions of lever/host.h: ids are numbers, the rest plain data.
//
// Threads: all calls and all events on the thread that drives the host's control loop.
//
// Invariants (what a driver owes; tests/contract/driver checks them)
//  1. The caller chooses ids: not 0, and none again before its OnRemoved().
//  2. Each Start() completes with exactly one OnStarted() or OnFailed().
//  3. OnOutput(), OnReady() and OnExited() come only after OnStarted(). OnExited() comes at most
//     once, after all output that the driver could still get, and nothing but OnRemoved() follows
//     it.
//  4. Each Remove() of a known id completes with exactly one OnRemoved(), the id's last event. An
//     instance that still starts or runs is killed first and its other events are still due before.
//  5. No event is delivered inside a call of the driver; inside an event every call is allowed.
//  6. Stop() has no completion: what it leads to is OnExited(). An id that is unknown or has ended
//     is passed over silently, because an exit may always be on its way.
//  7. No call blocks. A driver that hangs (never completes) holds up nobody: whoever started has
//     deadlines of its own, and keeps the DriverEvents alive until OnRemoved() or the driver's end.
//  8. The descriptors in a spec are the driver's from Start() on, whatever comes of it. It keeps no
//     copy once the instance has them, so that the host sees the end of each socket.
//  9. Destroying a driver ends all its instances; no event follows.
#ifndef LIBLEVER_HOST_FLEET_DRIVER_H_
#define LIBLEVER_HOST_FLEET_DRIVER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/status.h"

namespace lever::fleet {

// Runs as the user of the host itself.
inline constexpr uint32_t kSameUser = UINT32_MAX;

// What a service says about its sandbox. What its host says is a driver's option.
enum class SandboxWish : uint8_t {
  kHost = 0,   // as the host does by itself
  kBwrap = 1,  // in one, or not at all
  kNone = 2,
};

struct InstanceSpec {
  std::string environment;  // "dev.lever"
  std::string service;
  uint64_t version = 0;
  // The instance's own name, unique on this host while anything of the instance may be left.
  std::string instance;

  // argv[0] is looked up in the variables' PATH unless it holds a slash; a relative path starts in
  // `directory`.
  std::vector<std::string> argv;
  // The unpacked bundle, read-only for the instance.
  std::string directory;
  // The whole environment, "NAME=value" each. The driver adds LEVER_INSTANCE_ID, and LEVER_FDS or
  // LEVER_LISTEN.
  std::vector<std::string> variables;

  uint32_t uid = kSameUser;
  uint32_t gid = kSameUser;
  // What kills the instance (and all that it started) when its memory is above; 0: nothing.
  uint64_t ram_limit_bytes = 0;
  // Thousandths of a core that it gets at most; 0: as much as there is.
  uint32_t cpu_millis = 0;
  // Processes and their threads, all that it started included; 0: no limit.
  uint32_t processes_max = 0;
  // Open descriptors of each process; 0: the driver's own limit.
  uint32_t descriptors_max = 0;

  SandboxWish sandbox = SandboxWish::kHost;
  // Of a sandboxed instance: whether it has the machine's network, and what it reads beside `directory`
  // and the system's own files.
  bool network = false;
  std::vector<std::string> readable;
  // Not empty: a started runtime of this name that the driver keeps (ProcessDriverOptions::pool)
  // may run it, under a user of its own. It gets the last of `argv`.
  std::string runtime;

  // The instance's ends of the two socketpairs that the host made for it: both or neither.
  UniqueFd attach;
  UniqueFd introduction;
  // Where an instance without these shall listen, "127.0.0.1:4711" or "unix:/path"; the driver may
  // use another address, and says which in Started.
  std::string listen;
};

enum class EndpointKind : uint32_t {
  kDescriptor = 0,  // the instance has attach and introduction, and attaches by itself
  kAddress = 1,     // the instance listens on Started::address
};

struct Started {
  int64_t pid = 0;     // 0: no process of this machine
  std::string handle{};  // the driver's own name for it, for people: a container's id
  EndpointKind endpoint = EndpointKind::kDescriptor;
  std::string address{};  // with kAddress
  std::string confined{};  // what runs it and how it is limited, if Driver::Describe() is not all
};

enum class OutputStream : uint32_t { kStdout = 1, kStderr = 2 };

struct Exited {
  int32_t code = 0;        // what it returned, if signal is 0
  int32_t signal = 0;      // what ended it, 0 if it returned
  bool ram_limit = false;  // it was ended because it went over ram_limit_bytes
  bool process_limit = false;  // or over processes_max
  bool unknown = false;    // it is surely gone, but nobody saw how
  // Of a sandboxed instance these are of its first process only, which is the sandbox's.
  int64_t user_cpu_ns = 0;
  int64_t system_cpu_ns = 0;
  uint64_t rss_max_bytes = 0;

  // "exited with code 3", "was killed by signal 9 (SIGKILL): over its RAM limit"
  std::string ToString() const;
};

class DriverEvents {
 public:
  virtual ~DriverEvents() = default;
  virtual void OnStarted(uint64_t id, const Started& started) = 0;
  // It takes calls. Only for instances with an address: the others say so when they attach.
  virtual void OnReady(uint64_t id) = 0;
  // Bytes as they came, not cut at lines; valid during the call.
  virtual void OnOutput(uint64_t id, OutputStream stream, std::string_view bytes) = 0;
  virtual void OnExited(uint64_t id, const Exited& exited) = 0;
  // It could not be started; nothing of it runs.
  virtual void OnFailed(uint64_t id, const Status& status) = 0;
  virtual void OnRemoved(uint64_t id) = 0;
};

enum class StopKind : uint32_t {
  kGraceful = 0,  // asked to end (SIGTERM)
  kKill = 1,      // ended now, with everything that it started
};

// How a driver holds an instance to a limit.
enum class LimitKind : uint32_t { kNone = 0, kCgroupV2 = 1, kCgroupV1 = 2, kSampling = 3 };
std::string_view LimitKindName(LimitKind kind);
struct LimitKinds {
  LimitKind ram = LimitKind::kNone;
  LimitKind processes = LimitKind::kNone;
  LimitKind cpu = LimitKind::kNone;
  bool operator==(const LimitKinds&) const = default;
};
// "RAM limit by cgroup v1, processes by sampling, CPU not limited"
std::string Describe(const LimitKinds& kinds);

class Driver {
 public:
  virtual ~Driver() = default;
  virtual void Start(uint64_t id, InstanceSpec spec, DriverEvents* events) = 0;
  virtual void Stop(uint64_t id, StopKind kind) = 0;
  virtual void Remove(uint64_t id) = 0;
  // For logs and `lever ps`: "process (RAM limit by cgroup v1, ...)".
  virtual std::string Describe() const = 0;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_DRIVER_H_
