#include "tests/contract/driver/memory_driver.h"

#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <utility>

namespace lever::fleet {
namespace {

Exited ExitCode(int32_t code) {
  Exited exited;
  exited.code = code;
  return exited;
}

Exited EndedBy(int32_t signal) {
  Exited exited;
  exited.signal = signal;
  return exited;
}

// What program.c's "bytes" prints.
std::string Digits(size_t count) {
  std::string digits(count, '0');
  for (size_t i = 0; i < count; ++i) digits[i] = static_cast<char>('0' + i % 10);
  return digits;
}

void SendTo(const UniqueFd& socket, const std::string& text) {
  (void)::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

}  // namespace

struct MemoryDriver::Instance {
  enum class Phase : uint8_t { kStarting, kRunning, kEnded };

  explicit Instance(std::function<void()> step) : timer(std::move(step)) {}

  InstanceSpec spec;
  DriverEvents* events = nullptr;
  Phase phase = Phase::kStarting;
  size_t next_argument = 1;
  bool ignores_term = false;
  std::optional<int32_t> code_at_term;
  std::optional<Exited> ending;  // it ends at its next step
  bool remove = false;
  FunctionTimer timer;
};

MemoryDriver::MemoryDriver(Loop* loop, Mode mode) : loop_(loop), mode_(mode) {}

MemoryDriver::~MemoryDriver() = default;

MemoryDriver::Instance* MemoryDriver::Find(uint64_t id) {
  const auto found = instances_.find(id);
  return found == instances_.end() ? nullptr : found->second.get();
}

void MemoryDriver::Continue(Instance* instance) {
  if (mode_ == Mode::kWorks) loop_->Arm(&instance->timer, loop_->now_ns());
}

void MemoryDriver::Start(uint64_t id, InstanceSpec spec, DriverEvents* events) {
  ++starts_;
  auto instance = std::make_unique<Instance>([this, id] {
    Instance* self = Find(id);
    switch (self->phase) {
      case Instance::Phase::kStarting:
        Begin(id, self);
        break;
      case Instance::Phase::kRunning:
        Step(id, self);
        break;
      case Instance::Phase::kEnded:
        CompleteRemove(id);
        break;
    }
  });
  instance->spec = std::move(spec);
  instance->events = events;
  Continue(instance.get());
  instances_[id] = std::move(instance);
}

void MemoryDriver::Stop(uint64_t id, StopKind kind) {
  if (kind == StopKind::kKill) ++kills_;
  Instance* instance = Find(id);
  if (instance == nullptr || instance->phase == Instance::Phase::kEnded) return;
  if (kind == StopKind::kKill) {
    instance->ending = EndedBy(SIGKILL);
  } else if (!instance->ignores_term && !instance->ending) {
    instance->ending =
        instance->code_at_term ? ExitCode(*instance->code_at_term) : EndedBy(SIGTERM);
  }
  if (instance->ending) Continue(instance);
}

void MemoryDriver::Remove(uint64_t id) {
  ++removes_;
  Instance* instance = Find(id);
  if (instance == nullptr || instance->remove) return;
  instance->remove = true;
  if (instance->phase == Instance::Phase::kEnded) {
    Continue(instance);
  } else {
    instance->ending = EndedBy(SIGKILL);
    Continue(instance);
  }
}

void MemoryDriver::Begin(uint64_t id, Instance* instance) {
  if (::access(instance->spec.argv[0].c_str(), X_OK) != 0) {
    instance->phase = Instance::Phase::kEnded;
    instance->spec.attach.reset();
    instance->spec.introduction.reset();
    const bool removing = instance->remove;
    instance->events->OnFailed(id, NotFound("no program " + instance->spec.argv[0]));
    if (removing) CompleteRemove(id);
    return;
  }
  instance->phase = Instance::Phase::kRunning;
  Started started;
  if (!instance->spec.attach.valid()) {
    started.endpoint = EndpointKind::kAddress;
    started.address = instance->spec.listen;
  }
  Continue(instance);
  instance->events->OnStarted(id, started);
}

void MemoryDriver::Step(uint64_t id, Instance* instance) {
  const std::vector<std::string>& argv = instance->spec.argv;
  if (!instance->ending && instance->next_argument >= argv.size()) instance->ending = ExitCode(0);
  if (instance->ending) {
    End(id, instance);
    return;
  }
  const std::string& command = argv[instance->next_argument++];
  if (command == "wait") return;
  Continue(instance);
  if (command == "ignore-term") {
    instance->ignores_term = true;
    return;
  }
  if (command == "listen") {
    instance->events->OnReady(id);
    return;
  }
  const std::string& argument = argv.at(instance->next_argument++);
  if (command == "out") {
    instance->events->OnOutput(id, OutputStream::kStdout, argument + "\n");
  } else if (command == "err") {
    instance->events->OnOutput(id, OutputStream::kStderr, argument + "\n");
  } else if (command == "bytes") {
    instance->events->OnOutput(id, OutputStream::kStdout, Digits(std::stoul(argument)));
  } else if (command == "exit") {
    instance->ending = ExitCode(std::stoi(argument));
  } else if (command == "signal") {
    instance->ending = EndedBy(std::stoi(argument));
  } else if (command == "exit-at-term") {
    instance->code_at_term = std::stoi(argument);
  } else if (command == "attach") {
    SendTo(instance->spec.attach, argument);
  } else if (command == "introduction") {
    SendTo(instance->spec.introduction, argument);
  } else {
    instance->ending = ExitCode(98);
  }
}

void MemoryDriver::End(uint64_t id, Instance* instance) {
  instance->phase = Instance::Phase::kEnded;
  instance->spec.attach.reset();
  instance->spec.introduction.reset();
  const bool removing = instance->remove;
  instance->events->OnExited(id, *instance->ending);
  if (removing) CompleteRemove(id);
}

void MemoryDriver::CompleteRemove(uint64_t id) {
  const auto found = instances_.find(id);
  DriverEvents* const events = found->second->events;
  instances_.erase(found);
  events->OnRemoved(id);
}

}  // namespace lever::fleet
