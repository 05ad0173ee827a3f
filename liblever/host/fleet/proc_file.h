// Reading the small files of /proc and of cgroups.
//
// Functions; safe from any thread. These files are made by the kernel and never wait for a disk.
#ifndef LIBLEVER_HOST_FLEET_PROC_FILE_H_
#define LIBLEVER_HOST_FLEET_PROC_FILE_H_

#include <cstddef>
#include <string>

namespace lever::fleet {

inline constexpr size_t kProcFileBytesMax = 1024 * 1024;

// The file's text, cut at `bytes_max`; empty if it cannot be read.
std::string ReadProcFile(const std::string& path, size_t bytes_max = kProcFileBytesMax);

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_PROC_FILE_H_
