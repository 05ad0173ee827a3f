#include "liblever/host/fleet/process_driver.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/fleet/output_pipe.h"
#include "liblever/host/fleet/ready_probe.h"
#include "liblever/rpc/endpoint.h"

namespace lever::fleet {
namespace {

constexpr std::string_view kFdsVariable = "LEVER_FDS";
constexpr std::string_view kListenVariable = "LEVER_LISTEN";

// Tells, once, that a process has ended whose parent we are not.
class EndWatch final : private IoSource {
 public:
  EndWatch(Loop* loop, UniqueFd pidfd, std::function<void()> ended)
      : loop_(loop), pidfd_(std::move(pidfd)), ended_(std::move(ended)) {}
  ~EndWatch() override { loop_->Unwatch(this); }
  Status Start() { return loop_->Watch(pidfd_.get(), EPOLLIN, this); }

 private:
  uint32_t OnReady(uint32_t events) override {
    // It may destroy this.
    const std::function<void()> ended = ended_;
    loop_->Unwatch(this);
    ended();
    return 0;
  }

  Loop* const loop_;
  const UniqueFd pidfd_;
  const std::function<void()> ended_;
};

bool Names(std::string_view variable, std::string_view name) {
  return variable.size() > name.size() && variable[name.size()] == '=' &&
         variable.starts_with(name);
}

// What an instance finds its host by.
enum class Meeting : uint8_t { kDescriptors, kAddress, kLater };

std::vector<std::string> VariablesOf(const InstanceSpec& spec, Meeting meeting, bool sandboxed) {
  std::vector<std::string> variables;
  for (const std::string& variable : spec.variables) {
    if (Names(variable, kFdsVariable) || Names(variable, kListenVariable) ||
        Names(variable, kInstanceMarker)) {
      continue;
    }
    variables.push_back(variable);
  }
  if (meeting == Meeting::kDescriptors) {
    variables.push_back(std::string(kFdsVariable) + "=" + std::to_string(kAttachFd) + "," +
                        std::to_string(kIntroductionFd));
  } else if (meeting == Meeting::kAddress) {
    variables.push_back(std::string(kListenVariable) + "=" + spec.listen);
  }
  if (sandboxed) {
    variables.push_back("LEVER_SANDBOX=bwrap");
    variables.push_back("TMPDIR=/tmp");
  }
  return variables;
}

// The reading end does not wait; the writing end does, as programs expect of their stdout.
Status OpenPipe(UniqueFd* reader, UniqueFd* writer) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe2");
  reader->reset(fds[0]);
  writer->reset(fds[1]);
  return SetNonBlocking(reader->get());
}

Exited FromMessage(const ExitedMessage& message) {
  Exited exited;
  exited.code = message.code;
  exited.signal = message.signal;
  exited.ram_limit = message.ram_limit != 0;
  exited.process_limit = message.process_limit != 0;
  exited.user_cpu_ns = message.user_cpu_ns;
  exited.system_cpu_ns = message.system_cpu_ns;
  exited.rss_max_bytes = message.rss_max_bytes;
  return exited;
}

Exited UnknownExit() {
  Exited exited;
  exited.unknown = true;
  return exited;
}

Status FromMessage(const FailedMessage& message, const std::string& program) {
  const std::string what = program + ": " + std::string(SpawnStageName(message.stage));
  return ErrnoStatus(message.error, what);
}

}  // namespace

struct ProcessDriver::Instance {
  enum class Phase : uint8_t {
    kStarting,  // the spawner was told, or an OnFailed() is on its way
    kRunning,   // OnStarted() was delivered
    kEnded,     // OnExited() or OnFailed() was delivered, or is being delivered
  };

  Instance(Loop* loop, uint64_t id, DriverEvents* driver_events)
      : events(driver_events),
        out(loop,
            [this, id](std::string_view bytes) {
              events->OnOutput(id, OutputStream::kStdout, bytes);
            }),
        err(loop, [this, id](std::string_view bytes) {
          events->OnOutput(id, OutputStream::kStderr, bytes);
        }) {}

  DriverEvents* const events;
  Phase phase = Phase::kStarting;
  bool remove = false;
  std::string program;
  std::string address;  // where it listens, if it does
  std::string confined;
  // The user of a member of the pool, also once it is an instance.
  std::optional<uint32_t> pool_uid;
  uint64_t takes = 0;  // the member of the pool that the spawner was told to use
  // Until it is started; then `out` and `err` have them.
  UniqueFd out_reader;
  UniqueFd err_reader;
  OutputPipe out;
  OutputPipe err;
  UniqueFd pidfd;
  // What the spawner said about its end, until kGone.
  std::optional<Exited> exited;
  std::optional<Status> failure;
  std::unique_ptr<ReadyProbe> probe;
  std::unique_ptr<EndWatch> end_watch;
};

// ---- Life ----

ProcessDriver::ProcessDriver(Loop* loop, ProcessDriverOptions options)
    : loop_(loop),
      options_(std::move(options)),
      later_timer_([this] { RunLater(); }),
      pool_(options_.pool.size),
      pool_events_(this),
      pool_timer_([this] { RefillPool(); }) {}

StatusOr<std::unique_ptr<ProcessDriver>> ProcessDriver::Open(Loop* loop,
                                                             ProcessDriverOptions options) {
  std::unique_ptr<ProcessDriver> driver(new ProcessDriver(loop, std::move(options)));
  LEVER_RETURN_IF_ERROR(driver->EnsureSpawner());
  LEVER_RETURN_IF_ERROR(driver->link_->AwaitWelcome(kWelcomeTimeoutNs));
  driver->welcome_ = driver->link_->welcome();
  // That a service's wish can be granted is looked at when it is started.
  LEVER_RETURN_IF_ERROR(
      DecideSandbox(driver->options_.sandbox, SandboxWish::kHost, driver->sandbox_error()).status());
  return driver;
}

ProcessDriver::~ProcessDriver() = default;

Status ProcessDriver::EnsureSpawner() {
  if (link_ != nullptr) return Status::Ok();
  HelloMessage hello;
  hello.use_cgroups = options_.use_cgroups ? 1 : 0;
  hello.cgroup_root = options_.cgroup_root;
  hello.try_sandbox = options_.sandbox == SandboxMode::kNone ? 0 : 1;
  hello.probe_uid = options_.sandbox_probe_uid;
  hello.probe_directory = options_.sandbox_probe_directory;
  if (options_.pool.size > 0) hello.pool_directory = options_.pool.directory;
  LEVER_ASSIGN_OR_RETURN(link_, SpawnerLink::Open(loop_, options_.spawner_path, hello, this));
  return Status::Ok();
}

std::string ProcessDriver::Describe() const { return DescribeWith(SandboxName()); }

std::string ProcessDriver::DescribeWith(const std::string& sandbox) const {
  return "process (" + lever::fleet::Describe(welcome_.limits) +
         (welcome_.tracked != 0 ? "; " : ", no cgroups; ") + sandbox + ")";
}

std::string ProcessDriver::SandboxName() const {
  if (options_.sandbox == SandboxMode::kNone) return "no sandbox";
  if (welcome_.sandbox == 0) return "no sandbox: " + welcome_.sandbox_error;
  return welcome_.landlock_abi != 0 ? "sandbox bwrap with Landlock" : "sandbox bwrap";
}

int64_t ProcessDriver::spawner_pid() const { return link_ == nullptr ? 0 : link_->pid(); }

ProcessDriver::Instance* ProcessDriver::Find(uint64_t id) {
  const auto found = instances_.find(id);
  return found == instances_.end() ? nullptr : found->second.get();
}

// ---- Calls ----

void ProcessDriver::Start(uint64_t id, InstanceSpec spec, DriverEvents* events) {
  auto made = std::make_unique<Instance>(loop_, id, events);
  Instance* instance = made.get();
  instances_[id] = std::move(made);
  const Status status = SendStart(id, spec, instance);
  if (status.ok()) return;
  // It was to be used, and is nobody's.
  if (instance->takes != 0 && link_ != nullptr) {
    link_->Send(EncodeBare(SpawnerOp::kKill, instance->takes));
  }
  instance->phase = Instance::Phase::kEnded;
  Later([this, id, status] { Fail(id, status); });
}

Status ProcessDriver::SendStart(uint64_t id, InstanceSpec& spec, Instance* instance) {
  if (spec.argv.empty()) return InvalidArgument("the service has no program to start");
  if (spec.attach.valid() != spec.introduction.valid()) {
    return InvalidArgument("an instance gets both of its sockets, or neither");
  }
  const bool member = (id & kMemberBit) != 0;
  if (!spec.attach.valid() && !member) {
    LEVER_RETURN_IF_ERROR(rpc::Endpoint::Parse(spec.listen).status());
    instance->address = spec.listen;
  }
  instance->program = spec.argv.front();
  LEVER_ASSIGN_OR_RETURN(const bool sandboxed,
                         DecideSandbox(options_.sandbox, spec.sandbox, sandbox_error()));
  if (sandboxed && !instance->address.empty()) {
    return FailedPrecondition("an instance that listens by itself cannot be sandboxed");
  }
  const bool chosen = options_.sandbox != SandboxMode::kNone && spec.sandbox == SandboxWish::kNone;
  instance->confined = DescribeWith(chosen ? "no sandbox, by lever.json" : SandboxName());
  if (sandboxed) instance->takes = TakeMember(spec);
  LEVER_ASSIGN_OR_RETURN(std::string packet, EncodeStart(id, spec, sandboxed, instance->takes));
  std::vector<UniqueFd> fds(2);
  LEVER_RETURN_IF_ERROR(OpenPipe(&instance->out_reader, &fds[0]));
  LEVER_RETURN_IF_ERROR(OpenPipe(&instance->err_reader, &fds[1]));
  if (spec.attach.valid()) {
    fds.push_back(std::move(spec.attach));
    fds.push_back(std::move(spec.introduction));
  }
  LEVER_RETURN_IF_ERROR(EnsureSpawner());
  link_->Send(std::move(packet), std::move(fds));
  return Status::Ok();
}

StatusOr<std::string> ProcessDriver::EncodeStart(uint64_t id, const InstanceSpec& spec,
                                                 bool sandboxed, uint64_t member) const {
  StartMessage message;
  message.switch_user = spec.uid != kSameUser || spec.gid != kSameUser ? 1 : 0;
  // Who says only one of them means a user with a group of the same number, as service users are.
  message.uid = spec.uid != kSameUser ? spec.uid : ::geteuid();
  message.gid = spec.gid != kSameUser ? spec.gid : message.uid;
  message.nofile = options_.nofile;
  if (spec.descriptors_max != 0) message.nofile = std::min(message.nofile, spec.descriptors_max);
  message.oom_score_adj = options_.oom_score_adj;
  message.ram_limit_bytes = spec.ram_limit_bytes;
  message.cpu_millis = spec.cpu_millis;
  message.processes_max = spec.processes_max;
  message.sandbox = sandboxed ? 1 : 0;
  message.network = spec.network ? 1 : 0;
  message.readable = spec.readable;
  message.marker = spec.instance;
  message.directory = spec.directory;
  message.argv = spec.argv;
  message.take = member;
  Meeting meeting = spec.attach.valid() ? Meeting::kDescriptors : Meeting::kAddress;
  if ((id & kMemberBit) != 0) {
    message.pool_trees = options_.pool.trees;
    meeting = Meeting::kLater;
  }
  message.variables = VariablesOf(spec, meeting, sandboxed);
  std::string packet = Encode(id, message);
  if (packet.size() > kSpawnerMessageMax || message.argv.size() > kSpawnerStringsMax ||
      message.variables.size() > kSpawnerStringsMax ||
      message.readable.size() > kSpawnerStringsMax) {
    return ResourceExhausted("arguments and environment of " + spec.argv.front() +
                             " are too large: " + std::to_string(packet.size()) +
                             " bytes, at most " + std::to_string(kSpawnerMessageMax) + ", and " +
                             std::to_string(kSpawnerStringsMax) + " of each");
  }
  return packet;
}

void ProcessDriver::Stop(uint64_t id, StopKind kind) {
  const Instance* instance = Find(id);
  if (instance == nullptr || instance->phase == Instance::Phase::kEnded || link_ == nullptr) return;
  link_->Send(kind == StopKind::kKill ? EncodeBare(SpawnerOp::kKill, id)
                                      : EncodeNumber(SpawnerOp::kSignal, id, SIGTERM));
}

void ProcessDriver::Remove(uint64_t id) {
  Instance* instance = Find(id);
  if (instance == nullptr || instance->remove) return;
  instance->remove = true;
  if (instance->phase == Instance::Phase::kEnded) {
    Later([this, id] { CompleteRemove(id); });
  } else {
    Stop(id, StopKind::kKill);
  }
}

void ProcessDriver::Later(std::function<void()> event) {
  later_.push_back(std::move(event));
  if (!later_timer_.armed()) loop_->Arm(&later_timer_, loop_->now_ns());
}

void ProcessDriver::RunLater() {
  for (size_t left = later_.size(); left > 0; --left) {
    const std::function<void()> event = std::move(later_.front());
    later_.pop_front();
    event();
  }
  if (!later_.empty()) loop_->Arm(&later_timer_, loop_->now_ns());
}

// ---- What the spawner says ----

void ProcessDriver::OnSpawnerPacket(const SpawnerHeader& header, std::string_view packet,
                                    std::vector<UniqueFd> fds) {
  Instance* instance = Find(header.id);
  if (instance == nullptr) return;
  int64_t pid = 0;
  ExitedMessage exited;
  FailedMessage failed;
  switch (header.op) {
    case SpawnerOp::kStarted:
      if (DecodeNumber(packet, &pid)) OnStarted(header.id, pid, std::move(fds));
      break;
    case SpawnerOp::kTaken:
      OnTaken(header.id);
      break;
    case SpawnerOp::kFailed:
      if (Decode(packet, &failed)) instance->failure = FromMessage(failed, instance->program);
      break;
    case SpawnerOp::kExited:
      if (Decode(packet, &exited)) instance->exited = FromMessage(exited);
      break;
    case SpawnerOp::kGone:
      OnGone(header.id);
      break;
    default:
      break;
  }
}

void ProcessDriver::OnStarted(uint64_t id, int64_t pid, std::vector<UniqueFd> fds) {
  Instance* instance = Find(id);
  if (instance->phase != Instance::Phase::kStarting) return;
  instance->phase = Instance::Phase::kRunning;
  if (!fds.empty()) instance->pidfd = std::move(fds.front());
  Started started;
  started.pid = pid;
  started.confined = instance->confined;
  if (!instance->address.empty()) {
    started.endpoint = EndpointKind::kAddress;
    started.address = instance->address;
    instance->probe =
        std::make_unique<ReadyProbe>(loop_, rpc::Endpoint::Parse(instance->address).value(),
                                     [events = instance->events, id] { events->OnReady(id); });
    instance->probe->Start();
  }
  Status watched = instance->out.Open(std::move(instance->out_reader));
  if (watched.ok()) watched = instance->err.Open(std::move(instance->err_reader));
  if (!watched.ok()) {
    Log(LogLevel::kError,
        "the output of process " + std::to_string(pid) + " cannot be read: " + watched.message());
  }
  instance->events->OnStarted(id, started);
}

// A member of the pool is an instance from here on, which its own id does not name any more.
void ProcessDriver::OnTaken(uint64_t member) {
  const auto found = instances_.find(member);
  if (found == instances_.end()) return;
  const std::unique_ptr<Instance> taken = std::move(found->second);
  instances_.erase(found);
  for (auto& [id, instance] : instances_) {
    if (instance->takes != member) continue;
    instance->pool_uid = std::exchange(taken->pool_uid, std::nullopt);
    instance->confined = DescribeWith(SandboxName() + ", started ahead");
    return;
  }
}

void ProcessDriver::ReturnUser(Instance* instance) {
  if (instance->pool_uid) options_.pool.return_user(*instance->pool_uid);
  instance->pool_uid.reset();
}

void ProcessDriver::SetUser(uint64_t id, uint32_t uid) { Find(id)->pool_uid = uid; }

void ProcessDriver::OnGone(uint64_t id) {
  Instance* instance = Find(id);
  if (instance->phase == Instance::Phase::kEnded) return;
  if (instance->phase == Instance::Phase::kStarting) {
    Fail(id, instance->failure.value_or(Internal("the spawner does not say why")));
  } else {
    Exit(id, instance->exited.value_or(UnknownExit()));
  }
}

void ProcessDriver::OnSpawnerEnd(const Status& status) {
  Log(LogLevel::kError, status.message() + ": its instances end with it");
  const Status reason = status;  // it may be the link's own
  link_.reset();
  std::vector<uint64_t> ids;
  for (const auto& [id, instance] : instances_) {
    if (instance->phase != Instance::Phase::kEnded) ids.push_back(id);
  }
  // What is started in an event from here on has a new spawner.
  for (const uint64_t id : ids) OnOrphaned(id, reason);
}

void ProcessDriver::OnOrphaned(uint64_t id, const Status& status) {
  Instance* instance = Find(id);
  if (instance == nullptr || instance->phase == Instance::Phase::kEnded) return;
  if (instance->phase == Instance::Phase::kStarting) {
    Fail(id, instance->failure.value_or(Unavailable(instance->program + ": " + status.message())));
    return;
  }
  // The kernel kills it with its parent; it is waited for, so that OnExited() says the truth.
  if (!instance->exited && instance->pidfd.valid()) {
    ::syscall(SYS_pidfd_send_signal, instance->pidfd.get(), SIGKILL, nullptr, 0);
    instance->end_watch = std::make_unique<EndWatch>(loop_, std::move(instance->pidfd),
                                                     [this, id] { Exit(id, UnknownExit()); });
    if (instance->end_watch->Start().ok()) return;
  }
  Exit(id, instance->exited.value_or(UnknownExit()));
}

// ---- Ends ----

void ProcessDriver::Exit(uint64_t id, const Exited& exited) {
  Instance* instance = Find(id);
  if (instance == nullptr || instance->phase == Instance::Phase::kEnded) return;
  instance->probe.reset();
  instance->out.Drain();
  instance->err.Drain();
  instance->phase = Instance::Phase::kEnded;
  const bool removing = instance->remove;
  ReturnUser(instance);
  instance->events->OnExited(id, exited);
  if (removing) CompleteRemove(id);
}

void ProcessDriver::Fail(uint64_t id, const Status& status) {
  Instance* instance = Find(id);
  if (instance == nullptr) return;
  // A Remove() that came after the failure was known has queued its own completion.
  const bool removing = instance->phase != Instance::Phase::kEnded && instance->remove;
  instance->phase = Instance::Phase::kEnded;
  ReturnUser(instance);
  instance->events->OnFailed(id, status);
  if (removing) CompleteRemove(id);
}

void ProcessDriver::CompleteRemove(uint64_t id) {
  const auto found = instances_.find(id);
  if (found == instances_.end()) return;
  DriverEvents* const events = found->second->events;
  instances_.erase(found);
  events->OnRemoved(id);
}

}  // namespace lever::fleet
