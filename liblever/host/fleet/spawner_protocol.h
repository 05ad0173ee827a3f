// What the host and lever-spawner say to each other over their SOCK_SEQPACKET socketpair.
//
// Values and pure functions; safe from any thread. Both ends run on one machine and come from one
// build, so numbers are in the machine's own byte order; the version in every message catches a
// spawner of another build that was found by path.
//
// A message is one packet of at most kSpawnerMessageMax bytes:
//   u32 version   kSpawnerVersion
//   u32 op        SpawnerOp
//   u64 id        the instance; 0 in kHello and kWelcome
//   body          numbers as they are; a string is u32 length, bytes; a list is u32 count, items
// Descriptors travel beside it (SCM_RIGHTS), at most kSpawnerFdsMax.
//
//   host -> spawner
//     kHello    once, first. HelloMessage
//     kStart    StartMessage. Descriptors: stdout, stderr[, attach, introduction]; of a pooled
//               runtime, which gets the other two when it is taken over, the first two
//     kSignal   u32 signal: to the instance's process group
//     kKill     SIGKILL to everything that belongs to the instance
//   spawner -> host
//     kWelcome  WelcomeMessage
//     kStarted  i64 pid. Descriptor: its pidfd, if the kernel has them
//     kFailed   u32 stage, i32 errno: exec did not happen; kGone follows
//     kExited   ExitedMessage; kGone follows
//     kTaken    the pooled runtime of this id is another id's from here on, whose kStarted follows
//     kGone     nothing of the instance is left that the spawner could find
//
//  1. Each kStart is answered by kFailed, or by kStarted and later kExited; then by one kGone. For
//     a pooled runtime kTaken may come after kStarted, and is the last then.
//  2. kSignal and kKill for an id that is not known are passed over.
//  3. A decoder accepts exactly what the encoder makes: a length beyond the packet, a count beyond
//     its limit and bytes left over are all refused.
#ifndef LIBLEVER_HOST_FLEET_SPAWNER_PROTOCOL_H_
#define LIBLEVER_HOST_FLEET_SPAWNER_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/host/fleet/driver.h"

namespace lever::fleet {

inline constexpr uint32_t kSpawnerVersion = 3;
// argv, environment and paths of one instance. Linux's default socket buffer (208 KiB) takes two.
inline constexpr size_t kSpawnerMessageMax = 64 * 1024;
inline constexpr size_t kSpawnerStringsMax = 1024;  // of argv, and of the environment
inline constexpr size_t kSpawnerFdsMax = 4;
// Where the spawner finds its socket, and the instance its two.
inline constexpr int kSpawnerSocketFd = 3;
inline constexpr int kAttachFd = 3;
inline constexpr int kIntroductionFd = 4;
// The variable that marks every process of an instance which keeps its environment.
inline constexpr std::string_view kInstanceMarker = "LEVER_INSTANCE_ID";

enum class SpawnerOp : uint32_t {
  kHello = 1,
  kStart = 2,
  kSignal = 3,
  kKill = 4,
  kWelcome = 64,
  kStarted = 65,
  kFailed = 66,
  kExited = 67,
  kGone = 68,
  kTaken = 69,
};

// What a child was doing when it failed, for the message.
enum class SpawnStage : uint32_t {
  kMessage = 0,
  kDescriptors = 1,
  kCgroup = 2,
  kClone = 3,
  kSession = 4,
  kLimits = 5,
  kUser = 6,
  kPrivileges = 7,
  kDirectory = 8,
  kExec = 9,
  kSandbox = 10,
  kInside = 11,  // no failure: the program's process is there, inside its sandbox
};
std::string_view SpawnStageName(SpawnStage stage);

struct HelloMessage {
  uint32_t use_cgroups = 1;
  // The directory of a cgroup whose children the spawner may make; empty: the spawner's own.
  std::string cgroup_root;
  // 1: a sandbox is tried, as instances get it: by this user (kSameUser: the spawner's own), who can
  // reach this directory.
  uint32_t try_sandbox = 0;
  uint32_t probe_uid = kSameUser;
  std::string probe_directory;
  // An empty directory for the folders of pooled runtimes (spawner_pool.h); empty: no pool.
  std::string pool_directory;
};

struct WelcomeMessage {
  int64_t pid = 0;
  LimitKinds limits;
  uint32_t sandbox = 0;       // 1: the probe worked
  uint32_t landlock_abi = 0;  // 0: the kernel has none
  uint32_t tracked = 0;       // 1: what belongs to an instance is told by cgroups, 0: by /proc
  std::string sandbox_error;  // why the probe did not work
  uint32_t pool = 0;          // 1: there can be pooled runtimes
  std::string pool_error;     // why not, if they were asked for
};

struct StartMessage {
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t switch_user = 0;  // 1: uid and gid are taken on
  uint32_t nofile = 0;
  int32_t oom_score_adj = 0;
  uint64_t ram_limit_bytes = 0;
  uint32_t cpu_millis = 0;     // 0: no limit, as of the others
  uint32_t processes_max = 0;
  uint32_t sandbox = 0;  // 1: inside bwrap
  uint32_t network = 0;  // 1: with the machine's network
  // Files and folders beside the system's and `directory` that a sandboxed instance reads.
  std::vector<std::string> readable;
  // Not empty: a runtime for the pool, whose sandbox shows an empty folder here, where `take` lets
  // the instance's `directory` appear. It waits at kAttachFd.
  std::string pool_trees;
  // A pooled runtime that shall run it: it is told `directory`, the last of `argv`, and
  // `variables`. Where that cannot be, the instance is started as any other.
  uint64_t take = 0;
  std::string marker;  // the value of LEVER_INSTANCE_ID
  std::string directory;
  std::vector<std::string> argv;
  std::vector<std::string> variables;
};

struct ExitedMessage {
  int32_t code = 0;
  int32_t signal = 0;
  uint32_t ram_limit = 0;
  uint32_t process_limit = 0;
  int64_t user_cpu_ns = 0;
  int64_t system_cpu_ns = 0;
  uint64_t rss_max_bytes = 0;
};

struct FailedMessage {
  SpawnStage stage = SpawnStage::kMessage;
  int32_t error = 0;  // errno
};

struct SpawnerHeader {
  SpawnerOp op = SpawnerOp::kHello;
  uint64_t id = 0;
};

std::string Encode(const HelloMessage& message);
std::string Encode(const WelcomeMessage& message);
std::string Encode(uint64_t id, const StartMessage& message);
std::string Encode(uint64_t id, const ExitedMessage& message);
std::string Encode(uint64_t id, const FailedMessage& message);
// kKill, kGone
std::string EncodeBare(SpawnerOp op, uint64_t id);
// kSignal (a signal), kStarted (a pid)
std::string EncodeNumber(SpawnerOp op, uint64_t id, int64_t number);

// Nullopt: too short, or another version.
std::optional<SpawnerHeader> DecodeHeader(std::string_view packet);
bool Decode(std::string_view packet, HelloMessage* message);
bool Decode(std::string_view packet, WelcomeMessage* message);
bool Decode(std::string_view packet, StartMessage* message);
bool Decode(std::string_view packet, ExitedMessage* message);
bool Decode(std::string_view packet, FailedMessage* message);
bool DecodeBare(std::string_view packet);
bool DecodeNumber(std::string_view packet, int64_t* number);

struct ReceivedPacket {
  size_t size = 0;  // 0: the end of the socket
  std::vector<UniqueFd> fds;
  bool truncated = false;  // bytes or descriptors were lost: do not use it
};
// Receives one packet with up to kSpawnerFdsMax descriptors, close-on-exec. Never waits. 0 or an
// errno. (SendWithFds() of base/fd.h is the way to send: how many descriptors a packet has depends
// on its op, which base's ReceiveWithFds() cannot know.)
int ReceivePacket(int socket, char* buffer, size_t capacity, ReceivedPacket* packet);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SPAWNER_PROTOCOL_H_
