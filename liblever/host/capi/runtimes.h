// The interpreters that a host runs jsEntry and pyEntry with: found and tried once, when it starts.
//
// Values and functions; any thread. FindRuntimes() waits for the interpreters to say their version, and
// is called before the host's loops run.
#ifndef LIBLEVER_HOST_CAPI_RUNTIMES_H_
#define LIBLEVER_HOST_CAPI_RUNTIMES_H_

#include <string>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/base/status.h"
#include "liblever/host/capi/data_dir.h"

namespace lever::host {

// An interpreter that does not say its version within this time is not used.
inline constexpr int64_t kRuntimeAnswerNs = 10 * kNanosPerSecond;
// The oldest that the bindings run on.
inline constexpr int kNodeMajorMin = 20;
inline constexpr int kPythonMajorMin = 3;

struct Runtime {
  std::string name;      // "node", "python"
  std::string path;      // absolute; of the interpreter, not of a script that chooses one
  std::string version;   // "20.20.2"; empty: not usable
  std::string launcher;  // what is run with it, and gets the entry's path; absolute
  std::string error;     // why it is not usable
};

struct Runtimes {
  Runtime node;
  Runtime python;
};

// A path that was given and does not work is FAILED_PRECONDITION; one that was only looked for on PATH
// is noted in Runtime::error, and told to whoever deploys something that needs it. With users of their
// own, services must be able to reach interpreter and package.
StatusOr<Runtimes> FindRuntimes(const std::string& node_path, const std::string& python_path,
                                const std::string& runtime_dir, ServiceUsers users);

// The first "name" on $PATH that may be executed; "" without.
std::string FindOnPath(const std::string& name);

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_RUNTIMES_H_
