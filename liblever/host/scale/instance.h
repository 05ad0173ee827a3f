// One instance of a service, as its host keeps it: started by a driver, or a program that attached
// itself.
//
// Life: starting -> (standby) -> ready -> (stalled) -> draining -> stopped. Threads: the control loop.
//
// Invariants, checked by CheckPhase()
//  1. Starting: it is in no route table. A started one has a deadline.
//  2. Standby, ready and stalled: it has an attach session or an address. Only ready ones are in route
//     tables.
//  3. Draining: it is in no route table, and a started one has a deadline after which it is killed.
//  4. Stopped: nothing of it runs, it has neither session nor deadline.
#ifndef LIBLEVER_HOST_SCALE_INSTANCE_H_
#define LIBLEVER_HOST_SCALE_INSTANCE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/scale/control.h"
#include "liblever/host/scale/health_call.h"
#include "liblever/policy/silence.h"

namespace lever::scale {

class ServiceController;

// What a program that attached itself may take to drain.
inline constexpr int64_t kDrainTimeoutDefaultNs = 30 * kNanosPerSecond;

struct Instance {
  Instance(uint64_t key, std::string id, ServiceController* controller, int64_t now_ns);

  const uint64_t key;
  const std::string id;
  ServiceController* const controller;
  const int64_t created_ns;

  uint64_t version = 0;
  bool attached = false;   // not started by this host
  bool started = false;    // the driver has it
  bool has_resources = false;
  bool exited = false;      // its process was seen to end
  bool said_ready = false;  // it takes calls as soon as it can be reached
  InstancePhase phase = InstancePhase::kStarting;

  int64_t pid = 0;
  std::string runtime;
  std::string address;   // of its own; empty: it is reached by introductions
  std::string key_hash;  // of an address with TLS: of the key that it shows there
  bool is_private = false;  // of an attached one
  std::string confined;  // what runs it, and how it is limited and sandboxed
  uint64_t ram_bytes = 0;  // reserved of the host's memory
  uint32_t concurrency_max = 0;
  uint32_t load_max = 0;
  int64_t drain_timeout_ns = kDrainTimeoutDefaultNs;
  std::string health;    // the method that it has to answer; empty: none
  bool healthy = false;  // it has
  std::string config_json = "null";
  std::string secrets_json;

  std::shared_ptr<InstanceLoad> load = std::make_shared<InstanceLoad>();
  uint64_t calls_total = 0;
  uint64_t ended_total = 0;
  uint64_t errors_total = 0;
  int64_t ready_ns = 0;  // when it had started, to take calls or as a standby
  int64_t last_active_ns = 0;

  std::shared_ptr<fleet::AttachPeer> peer;
  std::unique_ptr<HealthCall> health_call;  // while it is asked
  policy::Silence silence;  // of its attach session
  // Why it is being ended, once somebody has decided that.
  Status ended_because;
  // It went without being asked to: its session, its introduction socket or its process ended first.
  bool lost = false;

  // Start deadline, drain deadline or kill deadline, whichever the phase has. Setting it again replaces
  // it.
  void SetDeadline(Loop* loop, int64_t at_ns, std::function<void()> action);
  void ClearDeadline();

  // Calls and streams in flight on it, as far as this host knows.
  uint32_t InFlight() const;
  void CheckPhase() const;

 private:
  // Lets its action set the deadline anew.
  struct Deadline final : Timer {
    void OnTimer() override { std::exchange(action, nullptr)(); }
    std::function<void()> action;
    Loop* loop = nullptr;
  };
  Deadline deadline_;
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_INSTANCE_H_
