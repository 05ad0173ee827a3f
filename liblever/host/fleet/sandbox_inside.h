// The last step of a sandboxed instance's start: lever-spawner's own program, run by bwrap inside the
// sandbox. It tells the spawner that it is there, gives up what Landlock can take, and becomes the
// service's program.
//
// Single-threaded.
//
//  1. The spawner reads the sender of the first report from the kernel (SCM_CREDENTIALS), translated
//     to its own pid namespace: so it knows the program's process, whose number in here means nothing
//     outside.
//  2. What fails is reported as in spawner_child.h; exec closes kReportFd, which says that the program
//     runs.
//  3. The program sees descriptors 0 to 4 and no other.
//
// Landlock (landlock(7)) repeats for files what the mounts say already, for the case that one of both
// has a hole: everything may be read and executed; written are /tmp, /dev/shm and devices only. Where
// the kernel has ABI 6, it also cuts off abstract unix sockets of others, which a service with
// `network` could reach.
#ifndef LIBLEVER_HOST_FLEET_SANDBOX_INSIDE_H_
#define LIBLEVER_HOST_FLEET_SANDBOX_INSIDE_H_

namespace lever::fleet {

// argv[1] of the program, and what bwrap passes on, beside kAttachFd and kIntroductionFd.
inline constexpr const char* kInsideWord = "inside";
inline constexpr int kReportFd = 5;
inline constexpr int kSeccompFd = 6;
inline constexpr int kSelfFd = 7;

// The version of Landlock's ABI that the kernel has; 0: none.
int LandlockAbi();

// `argv`: the service's program and its arguments, null-terminated.
[[noreturn]] void RunInside(char** argv);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SANDBOX_INSIDE_H_
