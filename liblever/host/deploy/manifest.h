// lever.json: what a service says about itself, read into a Manifest.
//
// Functions and values; safe to use from any thread.
//
// 1. A text either gives a Manifest whose every field is within its range, or INVALID_ARGUMENT with
//    one line for each problem found (kManifestProblemsMax at most, then a count of the rest).
// 2. A field that Lever does not know is a problem, never passed over: a misspelt limit that is
//    silently ignored would be found in production.
// 3. Work and memory are linear in the text, which is at most kManifestBytesMax.
// 4. ParseManifest(m.ToJson()) gives m again.
#ifndef LIBLEVER_HOST_DEPLOY_MANIFEST_H_
#define LIBLEVER_HOST_DEPLOY_MANIFEST_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/base/status.h"

namespace lever::deploy {

// The file's name, at the root of a service's directory.
inline constexpr std::string_view kManifestFile = "lever.json";

inline constexpr size_t kManifestBytesMax = 256 * 1024;
// Nesting of arrays and objects, the outermost counted. A value in `config` is one below.
inline constexpr int kManifestDepthMax = 64;
inline constexpr int kManifestProblemsMax = 20;

inline constexpr int64_t kDescriptionBytesMax = 4096;
// Of `entry` and `build`: arguments, and bytes of one argument.
inline constexpr int64_t kArgumentsMax = 256;
inline constexpr int64_t kArgumentBytesMax = 4096;
// A shard map is kept in pages of 256 shards, one registry value each.
inline constexpr int64_t kShardsMax = 65536;
inline constexpr double kInstanceLoadMax = 1e6;
inline constexpr int64_t kConcurrencyMax = 1000 * 1000;
inline constexpr int64_t kQueueMax = 100 * 1000;
inline constexpr int64_t kInstancesMax = 10 * 1000;
inline constexpr int64_t kRamMibMax = 1024 * 1024;
inline constexpr int64_t kRamLimitMibLeast = 256;  // the default limit: max of 4 x ram and this
inline constexpr int64_t kRamLimitMibMax = 4 * kRamMibMax;
// Thousandths of a core. The kernel's scheduler takes no quota below 1 ms in 100 ms.
inline constexpr int64_t kCpuMillisMin = 10;
inline constexpr int64_t kCpuMillisMax = 1024 * 1000;
// Threads are counted: an idle Node has 11.
inline constexpr int64_t kProcessesMin = 16;
inline constexpr int64_t kProcessesMax = 1000 * 1000;
inline constexpr int64_t kDescriptorsMin = 64;
inline constexpr int64_t kDescriptorsMax = 65'536;
inline constexpr int64_t kIdleTimeoutNsMin = 100 * kNanosPerMilli;
inline constexpr int64_t kIdleTimeoutNsMax = 30LL * 24 * 3600 * kNanosPerSecond;
inline constexpr int64_t kStartTimeoutNsMin = 100 * kNanosPerMilli;
inline constexpr int64_t kStartTimeoutNsMax = 600 * kNanosPerSecond;
inline constexpr int64_t kWatchNsMax = 3600 * kNanosPerSecond;
inline constexpr int64_t kDrainTimeoutNsMax = 3600 * kNanosPerSecond;

struct Manifest {
  std::string name;
  std::string description;

  // What is run: exactly one of the three is not empty. `entry` is an argv, run in the bundle's
  // root; the other two are paths of files below it.
  std::vector<std::string> entry = {"./serve"};
  std::string js_entry;
  std::string py_entry;
  // An argv that the CLI runs in the directory before it packs; empty for none.
  std::vector<std::string> build;

  // Only attached instances of the environment may call.
  bool is_private = false;

  int64_t shards = 256;
  double max_instance_load = 10;
  double stream_load = 0.1;  // what a stream counts for beside a call
  int64_t max_concurrency = 0;  // 0: only the transport's limits
  int64_t max_queue = 10 * 1000;  // calls that wait, on a host
  int64_t min_instances = 0;
  int64_t max_instances = 100;  // standbys included
  int64_t standby = 0;  // instances that are started and get no calls until they are needed
  int64_t ram_mib = 50;
  int64_t ram_limit_mib = kRamLimitMibLeast;
  int64_t cpu_millis = 0;  // 0: as much as there is
  int64_t max_processes = 1024;
  int64_t max_descriptors = kDescriptorsMax;

  std::string sandbox;  // "bwrap", "none"; empty: as the host does by itself
  bool network = false;  // a sandboxed instance has the machine's network

  int64_t idle_timeout_ns = 300 * kNanosPerSecond;
  int64_t start_timeout_ns = 30 * kNanosPerSecond;
  int64_t drain_timeout_ns = 30 * kNanosPerSecond;
  // The method that each new instance has to answer before it takes calls; empty for none.
  std::string health;
  // How long a new version is watched once it serves, and goes back if it is bad; 0: not at all.
  int64_t watch_ns = 30 * kNanosPerSecond;

  // `config` as compact JSON, handed to the service untouched.
  std::string config_json = "null";

  // The canonical form, for storing: every field with its value, keys sorted, one line.
  std::string ToJson() const;
};

StatusOr<Manifest> ParseManifest(std::string_view text);

// "1.5s", "250ms", "5m", "2h" in nanoseconds, in steps of a millisecond; INVALID_ARGUMENT for
// anything else.
StatusOr<int64_t> ParseDuration(std::string_view text);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_MANIFEST_H_
