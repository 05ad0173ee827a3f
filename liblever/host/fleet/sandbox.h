// The sandbox of instances, inside lever-spawner: bubblewrap (bwrap), told what an instance sees.
//
// Single-threaded, as the spawner is.
//
//  1. What an instance sees is what is listed, read-only: /usr and the links into it, the files of
//     /etc that programs need to find libraries, names, certificates and the time, its bundle and what
//     its runtime needs. Nothing else of the machine is there, other services and the host's data
//     included. Its own, in memory and gone with it: /tmp and /dev/shm; /proc of its own processes.
//  2. It has user, process, IPC, host name and, unless it asks for the machine's, network namespaces
//     of its own; a session of its own; no capability, and no way to gain one; the calls of
//     sandbox_seccomp.h; what sandbox_inside.h leaves.
//  3. bwrap runs as the instance's own user, and ends with the spawner; what is in the sandbox ends
//     with bwrap. Its exit code is the program's, 128 + N if signal N ended that.
//  4. Open() has tried all of it with the same flags: instances are sandboxed where that worked.
#ifndef LIBLEVER_HOST_FLEET_SANDBOX_H_
#define LIBLEVER_HOST_FLEET_SANDBOX_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/host/fleet/spawner_protocol.h"

namespace lever::fleet {

// What one instance gets.
struct SandboxSpec {
  std::string directory;
  std::string shown;  // what is seen at `directory`; empty: the same
  std::vector<std::string> readable;
  bool network = false;
  uint64_t scratch_bytes = 0;  // of /tmp, and of /dev/shm
  std::vector<std::string> argv;
};

// What is of the system, as this machine has it: looked up once.
struct SystemPaths {
  std::vector<std::pair<std::string, std::string>> links;  // a link in /, and where it leads
  std::vector<std::string> folders;                        // in / and no link
};
SystemPaths FindSystemPaths();

// The arguments of bwrap, itself included.
std::vector<std::string> BwrapArguments(const std::string& bwrap, const SystemPaths& system,
                                        const SandboxSpec& spec);

class Sandbox {
 public:
  // How long the probe may take.
  static constexpr int kProbeMs = 10'000;
  // Of the memory that an instance may have, what each of /tmp and /dev/shm may take, and what they
  // take of one without a limit.
  static constexpr uint64_t kScratchShare = 4;
  static constexpr uint64_t kScratchBytes = 64 << 20;

  // Looks for bwrap and tries it, as `hello` says. Waits for it.
  void Open(const HelloMessage& hello);
  bool works() const { return works_; }
  // Why not.
  const std::string& error() const { return error_; }

  // bwrap's arguments for an instance, or for a pooled runtime whose folder that is.
  std::vector<std::string> ArgumentsFor(const StartMessage& message,
                                        const std::string& pool_folder = "") const;
  // A seccomp program to be read from its beginning, and the program that runs inside. 0 or an errno.
  int OpenFiles(UniqueFd* seccomp, UniqueFd* self) const;

 private:
  std::string Try(const HelloMessage& hello);

  std::string bwrap_;
  SystemPaths system_;
  UniqueFd seccomp_;
  bool works_ = false;
  std::string error_;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SANDBOX_H_
