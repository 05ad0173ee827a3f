// How much memory the processes on this machine may have.
//
// Functions; safe from any thread.
#ifndef LIBLEVER_HOST_FLEET_MACHINE_MEMORY_H_
#define LIBLEVER_HOST_FLEET_MACHINE_MEMORY_H_

#include <cstdint>
#include <string_view>

namespace lever::fleet {

// The machine's, or what the cgroup of this process (or one above it) is limited to, if that is less.
// In bytes; 0: /proc does not tell.
uint64_t MachineMemoryBytes();

// MemTotal of the text of /proc/meminfo, in bytes; 0: it is not there.
uint64_t MemoryTotalBytes(std::string_view meminfo);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_MACHINE_MEMORY_H_
