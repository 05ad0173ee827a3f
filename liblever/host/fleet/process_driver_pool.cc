// The process driver's runtimes that are started ahead of the services which they will run.
#include <algorithm>
#include <string>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/fleet/process_driver.h"

namespace lever::fleet {

void ProcessDriver::ExpectRuntime(const std::string& runtime, bool network) {
  if (welcome_.pool == 0) return;
  pool_.Expect({runtime, network}, loop_->now_ns());
  RefillPool();
}

// 0: the instance is started as any other.
uint64_t ProcessDriver::TakeMember(const InstanceSpec& spec) {
  // A member has limits, and can be given others but not none.
  if (welcome_.pool == 0 || spec.runtime.empty() || !spec.attach.valid() ||
      spec.ram_limit_bytes == 0 || spec.processes_max == 0) {
    return 0;
  }
  const RuntimePool::Kind kind{spec.runtime, spec.network};
  const int64_t now_ns = loop_->now_ns();
  pool_.Expect(kind, now_ns);
  const uint64_t member = pool_.Take(kind, now_ns).value_or(0);
  loop_->Arm(&pool_timer_, pool_.NextNs());
  return member;
}

void ProcessDriver::RefillPool() {
  for (const RuntimePool::Kind& kind : pool_.Due(loop_->now_ns())) StartMember(kind);
  loop_->Arm(&pool_timer_, pool_.NextNs());
}

void ProcessDriver::StartMember(const RuntimePool::Kind& kind) {
  const uint64_t id = kMemberBit | ++members_made_;
  pool_.Add(kind, id);
  const auto& runtimes = options_.pool.runtimes;
  const auto runtime =
      std::find_if(runtimes.begin(), runtimes.end(),
                   [&kind](const PooledRuntime& one) { return one.name == kind.runtime; });
  const StatusOr<uint32_t> uid = runtime == runtimes.end()
                                     ? NotFound("there is no runtime " + kind.runtime)
                                     : options_.pool.take_user();
  if (!uid.ok()) {
    OnMemberEnded(id, uid.status().message());
    return;
  }
  InstanceSpec spec = MemberSpec(*runtime, kind);
  spec.uid = spec.gid = *uid;
  Start(id, std::move(spec), &pool_events_);
  SetUser(id, *uid);
}

InstanceSpec ProcessDriver::MemberSpec(const PooledRuntime& runtime,
                                       const RuntimePool::Kind& kind) const {
  InstanceSpec spec;
  spec.instance = "pool-" + std::to_string(members_made_);
  spec.argv = runtime.argv;
  spec.directory = options_.pool.trees;
  spec.variables = runtime.variables;
  spec.ram_limit_bytes = options_.pool.ram_limit_bytes;
  spec.processes_max = options_.pool.processes_max;
  spec.sandbox = SandboxWish::kBwrap;
  spec.network = kind.network;
  spec.readable = runtime.readable;
  return spec;
}

void ProcessDriver::OnMemberEnded(uint64_t id, const std::string& why) {
  Log(LogLevel::kWarning, "a runtime that was started ahead is gone before it was used: " + why);
  pool_.OnEnded(id, loop_->now_ns());
  loop_->Arm(&pool_timer_, pool_.NextNs());
}

void ProcessDriver::PoolEvents::OnOutput(uint64_t, OutputStream, std::string_view bytes) {
  std::string text(bytes.substr(0, bytes.find_last_not_of("\r\n") + 1));
  Log(LogLevel::kWarning, "a runtime that was started ahead says: " + text);
}

void ProcessDriver::PoolEvents::OnExited(uint64_t id, const Exited& exited) {
  driver_->OnMemberEnded(id, "it " + exited.ToString());
  driver_->Remove(id);
}

void ProcessDriver::PoolEvents::OnFailed(uint64_t id, const Status& status) {
  driver_->OnMemberEnded(id, status.message());
  driver_->Remove(id);
}

}  // namespace lever::fleet
