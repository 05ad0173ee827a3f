#include "liblever/host/capi/external_driver.h"

#include <utility>
#include <vector>

namespace lever::host {
namespace {

Status NoSuch(uint64_t id, const char* what) {
  return NotFound("instance " + std::to_string(id) + " " + what);
}

std::vector<const char*> Terminated(const std::vector<std::string>& strings) {
  std::vector<const char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) pointers.push_back(text.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

// What host.h promises beside what the spec has.
std::vector<std::string> Environment(const fleet::InstanceSpec& spec) {
  std::vector<std::string> variables = spec.variables;
  variables.push_back("LEVER_INSTANCE_ID=" + spec.instance);
  variables.push_back("LEVER_FDS=3,4");
  return variables;
}

}  // namespace

ExternalDriver::ExternalDriver(Loop* loop, lever_host* host, const lever_driver& driver)
    : loop_(loop), host_(host), driver_(driver) {}

ExternalDriver::~ExternalDriver() {
  shared_->ended = true;
  std::map<uint64_t, Entry> left;
  {
    const std::lock_guard lock(mutex_);
    left = std::exchange(entries_, {});
  }
  for (const auto& [id, entry] : left) {
    if (entry.phase < Phase::kEnding) driver_.stop(driver_.context, host_, id, 1);
  }
}

void ExternalDriver::Start(uint64_t id, fleet::InstanceSpec spec, fleet::DriverEvents* events) {
  {
    const std::lock_guard lock(mutex_);
    entries_[id] = Entry{events, Phase::kStarting, false};
  }
  const std::vector<const char*> argv = Terminated(spec.argv);
  const std::vector<std::string> variables = Environment(spec);
  const std::vector<const char*> environment = Terminated(variables);
  lever_instance_spec out{};
  out.size = sizeof(out);
  out.environment = spec.environment.c_str();
  out.service = spec.service.c_str();
  out.instance = spec.instance.c_str();
  out.version = spec.version;
  out.directory = spec.directory.c_str();
  out.argv = argv.data();
  out.environ_ = environment.data();
  out.ram_limit_bytes = spec.ram_limit_bytes;
  out.uid = spec.uid == fleet::kSameUser ? 0 : spec.uid;
  out.gid = spec.gid == fleet::kSameUser ? 0 : spec.gid;
  out.attach_fd = spec.attach.release();
  out.introduction_fd = spec.introduction.release();
  const lever_status status = driver_.start(driver_.context, host_, id, &out);
  if (status != LEVER_OK) {
    (void)ReportFailed(id, Status(status, "the program's driver refused to start it"));
  }
}

void ExternalDriver::Stop(uint64_t id, fleet::StopKind kind) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end() || found->second.phase >= Phase::kEnding) return;
  }
  driver_.stop(driver_.context, host_, id, kind == fleet::StopKind::kKill ? 1 : 0);
}

void ExternalDriver::Remove(uint64_t id) {
  Phase phase;
  fleet::DriverEvents* events = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end() || found->second.remove) return;
    phase = found->second.phase;
    events = found->second.events;
    if (phase == Phase::kEnded) {
      entries_.erase(found);
    } else {
      found->second.remove = true;
    }
  }
  if (phase == Phase::kEnded) {
    PostRemoved(id, events);
  } else if (phase != Phase::kEnding) {
    driver_.stop(driver_.context, host_, id, 1);
  }
}

void ExternalDriver::Post(std::function<void()> event) {
  loop_->Post([shared = shared_, event = std::move(event)] {
    if (!shared->ended) event();
  });
}

void ExternalDriver::PostRemoved(uint64_t id, fleet::DriverEvents* events) {
  Post([id, events] { events->OnRemoved(id); });
}

fleet::DriverEvents* ExternalDriver::Advance(uint64_t id, Phase from, Phase to) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.phase != from) return nullptr;
  found->second.phase = to;
  fleet::DriverEvents* events = found->second.events;
  return events;
}

Status ExternalDriver::ReportStarted(uint64_t id, int64_t pid, const char* address) {
  fleet::DriverEvents* events = Advance(id, Phase::kStarting, Phase::kRunning);
  if (events == nullptr) return NoSuch(id, "is not being started");
  fleet::Started started;
  started.pid = pid;
  if (address != nullptr) {
    started.endpoint = fleet::EndpointKind::kAddress;
    started.address = address;
  }
  Post([id, events, started = std::move(started)] {
    events->OnStarted(id, started);
    if (started.endpoint == fleet::EndpointKind::kAddress) events->OnReady(id);
  });
  return Status::Ok();
}

Status ExternalDriver::ReportFailed(uint64_t id, Status status) {
  fleet::DriverEvents* events = Advance(id, Phase::kStarting, Phase::kEnding);
  if (events == nullptr) return NoSuch(id, "is not being started");
  Post([this, id, events, status = std::move(status)] {
    events->OnFailed(id, status);
    EndTold(id);
  });
  return Status::Ok();
}

Status ExternalDriver::ReportOutput(uint64_t id, fleet::OutputStream stream, std::string bytes) {
  fleet::DriverEvents* events = Advance(id, Phase::kRunning, Phase::kRunning);
  if (events == nullptr) return NoSuch(id, "does not run");
  if (bytes.empty()) return Status::Ok();
  const size_t size = bytes.size();
  const size_t before = shared_->output_bytes.fetch_add(size, std::memory_order_relaxed);
  if (before > 0 && before + size > kOutputBytesMax) {
    shared_->output_bytes.fetch_sub(size, std::memory_order_relaxed);
    return ResourceExhausted("the host has not taken the output before it");
  }
  Post([shared = shared_, id, events, stream, bytes = std::move(bytes)] {
    shared->output_bytes.fetch_sub(bytes.size(), std::memory_order_relaxed);
    events->OnOutput(id, stream, bytes);
  });
  return Status::Ok();
}

Status ExternalDriver::ReportExited(uint64_t id, int exit_code, int signal) {
  fleet::DriverEvents* events = Advance(id, Phase::kRunning, Phase::kEnding);
  if (events == nullptr) return NoSuch(id, "does not run");
  fleet::Exited exited;
  exited.code = exit_code;
  exited.signal = signal;
  Post([this, id, events, exited] {
    events->OnExited(id, exited);
    EndTold(id);
  });
  return Status::Ok();
}

void ExternalDriver::EndTold(uint64_t id) {
  fleet::DriverEvents* events = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return;
    found->second.phase = Phase::kEnded;
    if (!found->second.remove) return;
    events = found->second.events;
    entries_.erase(found);
  }
  PostRemoved(id, events);
}

}  // namespace lever::host
