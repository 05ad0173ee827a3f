// What the control plane needs from outside to start an instance: a plan of what to run, and somewhere
// for what it prints.
//
// Threads: called on the control loop; answers come back there, never from inside the call.
#ifndef LIBLEVER_HOST_SCALE_LAUNCH_H_
#define LIBLEVER_HOST_SCALE_LAUNCH_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/status.h"
#include "liblever/host/fleet/driver.h"
#include "liblever/host/scale/control.h"

namespace lever::scale {

struct LaunchPlan {
  std::vector<std::string> argv;
  std::string directory;
  std::vector<std::string> variables;
  uint32_t uid = fleet::kSameUser;
  uint32_t gid = fleet::kSameUser;
  // As fleet::InstanceSpec has them.
  std::vector<std::string> readable;
  std::string runtime;
};

// Turns a version into something that a driver can start: has its bundle unpacked, finds its runtime.
class LaunchPlanner {
 public:
  virtual ~LaunchPlanner() = default;
  virtual void Plan(const ServiceSpec& spec,
                    std::function<void(StatusOr<LaunchPlan>)> done) = 0;
  // It is deployed, and may have to be started at any time.
  virtual void Expect(const ServiceSpec&) {}
};

// Whose output it is.
struct OutputSource {
  uint64_t instance_key = 0;
  std::string environment;
  std::string service;
  std::string instance;
  uint64_t version = 0;
};

class InstanceOutput {
 public:
  virtual ~InstanceOutput() = default;
  virtual void Begin(const OutputSource& source) = 0;
  virtual void Append(uint64_t instance_key, fleet::OutputStream stream,
                      std::string_view bytes) = 0;
  // A line of the host's own about the instance.
  virtual void Note(uint64_t instance_key, std::string_view line) = 0;
  // The last lines that it wrote to stderr, for the error that a caller gets; "" without.
  virtual std::string LastWords(uint64_t instance_key) = 0;
  virtual void End(uint64_t instance_key) = 0;
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_LAUNCH_H_
