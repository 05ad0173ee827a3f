// The system calls that a sandboxed instance may make, as a program for the kernel's filter
// (seccomp(2)), inside lever-spawner.
//
// A function; single-threaded, as the spawner is.
//
//  1. Allowed is what the library knows of this machine's calls, but for those that the list in the
//     .cc file names. What is newer than the library does not exist for a service (ENOSYS), so that
//     a kernel's new call is no way out; C libraries fall back on the older one.
//  2. Refused are calls that reach other processes' memory, mounts, namespaces, the kernel's own
//     settings, clocks and modules, raw devices, keys, and interfaces with a history of holes
//     (io_uring, userfaultfd, bpf, perf). Namespaces are seen in clone's flags; clone3 hides its
//     flags from a filter, so that it is ENOSYS, for which C libraries and Go use clone.
//  3. Sockets are of the families unix, inet, inet6 and netlink (which lists interfaces).
//     Terminals need no rule: a sandboxed instance has none.
//  4. Calls of another ABI (32 bit, x32) are refused.
//
// The list follows what Docker's default profile and Flatpak refuse.
#ifndef LIBLEVER_HOST_FLEET_SANDBOX_SECCOMP_H_
#define LIBLEVER_HOST_FLEET_SANDBOX_SECCOMP_H_

#include "liblever/base/fd.h"

namespace lever::fleet {

// The program in a sealed file, as `bwrap --seccomp` reads it. 0 or an errno.
int MakeSeccompProgram(UniqueFd* file);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SANDBOX_SECCOMP_H_
