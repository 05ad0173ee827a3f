// The host's memory on the control loop: who gets of it, who gives way, who waits for it.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "liblever/host/scale/control_loop.h"

namespace lever::scale {
namespace {

static_assert(policy::kFirstInstancesPart == 8, "the message says so");
constexpr uint64_t kMebibyte = 1 << 20;

std::string Mebibytes(uint64_t bytes) { return std::to_string(bytes / kMebibyte) + " MiB"; }

Status NoMemory(const ServiceSpec& spec, const policy::HostMemory& memory,
                policy::MemoryClaim claim) {
  std::string message = "the host has no memory for another instance of " +
                        spec.name().ToString() + ", which takes " + Mebibytes(spec.ram_bytes) +
                        " (ram): " + Mebibytes(memory.reserved_bytes()) + " of " +
                        Mebibytes(memory.budget_bytes()) + " are taken";
  if (claim == policy::MemoryClaim::kFurther) {
    message += ", and the last eighth is for services that have no instance";
  }
  return ResourceExhausted(std::move(message)).WithExecuted(LEVER_EXECUTED_NO);
}

Status MakingRoom(const ServiceSpec& spec) {
  return Unavailable("memory for another instance of " + spec.name().ToString() +
                     " is being made free");
}

}  // namespace

Status ControlLoop::ReserveMemory(ServiceController* controller, const ServiceSpec& spec,
                                  StartFor what) {
  using policy::MemoryClaim;
  if (what == StartFor::kTakeBack) {
    TakeMemory(spec.ram_bytes, MemoryClaim::kForced);
    return Status::Ok();
  }
  const MemoryClaim claim = controller->HasInstance() || what == StartFor::kStandby
                                ? MemoryClaim::kFurther
                                : MemoryClaim::kFirst;
  const auto own = std::find_if(memory_asks_.begin(), memory_asks_.end(), [&](const MemoryAsk& ask) {
    return ask.environment == spec.environment && ask.service == spec.service;
  });
  if (own != memory_asks_.end()) {
    if (own->comes) return MakingRoom(spec);
    if (own->what == what) return NoMemory(spec, memory_, claim);
    memory_asks_.erase(own);
  }
  // What comes free for others is theirs.
  uint64_t wanted = spec.ram_bytes;
  for (const MemoryAsk& ask : memory_asks_) wanted += ask.comes ? ask.bytes : 0;
  const uint64_t missing = memory_.Missing(wanted, claim);
  if (missing == 0) {
    TakeMemory(spec.ram_bytes, claim);
    return Status::Ok();
  }

  const bool comes = MakeRoom(*controller, missing, what);
  memory_asks_.push_back({spec.environment, spec.service, spec.ram_bytes, what, comes});
  if (!memory_timer_.armed()) loop().Arm(&memory_timer_, loop().now_ns() + kMemoryLookNs);
  return comes ? MakingRoom(spec) : NoMemory(spec, memory_, claim);
}

bool ControlLoop::MakeRoom(const ServiceController& taker, uint64_t bytes, StartFor what) {
  uint64_t leaving = 0;
  for (const auto& [key, instance] : instances_) {
    const bool ends = instance->phase >= InstancePhase::kDraining || !instance->ended_because.ok();
    if (ends) leaving += instance->ram_bytes;
  }
  if (leaving >= bytes) return true;
  if (what == StartFor::kLater || what == StartFor::kStandby) return false;
  std::vector<policy::IdleInstance> idle;
  for (const auto& [name, controller] : controllers_) {
    if (controller.get() != &taker) controller->AddIdle(&idle);
  }
  const std::vector<uint64_t> chosen =
      policy::ChooseWhoGivesWay(std::move(idle), bytes - leaving, loop().now_ns());
  for (const uint64_t key : chosen) {
    Instance* instance = FindInstance(key);
    instance->controller->GiveWay(instance, "it was idle, and " + taker.name().ToString() +
                                                " needs its memory");
  }
  return !chosen.empty();
}

void ControlLoop::TakeMemory(uint64_t bytes, policy::MemoryClaim claim) {
  memory_.Reserve(bytes, claim);
  ram_reserved_bytes_.store(memory_.reserved_bytes(), std::memory_order_relaxed);
}

void ControlLoop::ReleaseMemory(const Instance& instance) {
  memory_.Release(instance.ram_bytes);
  ram_reserved_bytes_.store(memory_.reserved_bytes(), std::memory_order_relaxed);
  if (!memory_asks_.empty()) loop().Arm(&memory_timer_, loop().now_ns());
}

void ControlLoop::OfferMemory() {
  // Who gets nothing asks again, in the same order.
  std::vector<MemoryAsk> asks = std::exchange(memory_asks_, {});
  std::stable_partition(asks.begin(), asks.end(), [](const MemoryAsk& ask) {
    return ask.what != StartFor::kStandby;
  });
  for (const MemoryAsk& ask : asks) {
    if (ServiceController* controller = FindController({ask.environment, ask.service})) {
      controller->OnMemory();
    }
  }
}

}  // namespace lever::scale
