#include "liblever/host/capi/host.h"

#include <unistd.h>

#include <chrono>
#include <future>
#include <optional>
#include <utility>

#include "liblever/base/clock.h"
#include "liblever/base/ids.h"
#include "liblever/base/log.h"
#include "liblever/host/capi/data_dir.h"
#include "liblever/host/capi/external_driver.h"
#include "liblever/host/capi/host_handle.h"
#include "liblever/host/fleet/process_driver.h"
#include "liblever/rpc/counters.h"

namespace lever::host {
namespace {

// Runs `ask(done)` and waits until `done` was called, on whatever thread.
template <typename Result, typename Ask>
Result WaitFor(Ask ask) {
  // Shared: the caller may be gone before the last of `set_value` is.
  const auto promise = std::make_shared<std::promise<Result>>();
  std::future<Result> future = promise->get_future();
  ask([promise](Result result) { promise->set_value(std::move(result)); });
  return future.get();
}

void AddRuntime(const Runtime& runtime, lever::v1::HostDetails* details) {
  lever::v1::Runtime* row = details->add_runtimes();
  row->set_name(runtime.name);
  row->set_path(runtime.path);
  row->set_version(runtime.version);
  row->set_error(runtime.error);
}

void LogNoPool(const std::string& why) {
  Log(LogLevel::kWarning, "no runtimes are started ahead (--runtime-pool): " + why);
}

}  // namespace

StatusOr<std::unique_ptr<Host>> Host::Start(HostOptions options, lever_host* handle) {
  std::unique_ptr<Host> host(new Host(std::move(options), handle));
  const Status status = host->Init();
  if (status.ok()) return host;
  // The same way down as after a life, so that nothing that was started is left.
  host->Close();
  host->Wait(-1);
  return status;
}

Host::Host(HostOptions options, lever_host* handle)
    : options_(std::move(options)),
      handle_(handle),
      id_(Id128::Random().ToHex()),
      users_(::geteuid() == 0 && !options_.allow_root_services ? ServiceUsers::kSeparate
                                                               : ServiceUsers::kSame) {}

Status Host::Init() {
  LEVER_ASSIGN_OR_RETURN(runtimes_, FindRuntimes(options_.node_path, options_.python_path,
                                                 options_.runtime_dir, users_));
  LEVER_RETURN_IF_ERROR(OpenTls());
  LEVER_RETURN_IF_ERROR(OpenLoops());
  LEVER_RETURN_IF_ERROR(OpenStores());
  LEVER_RETURN_IF_ERROR(OpenDriver());
  LEVER_RETURN_IF_ERROR(OpenControl());
  LEVER_RETURN_IF_ERROR(OpenServices());
  control_thread_->Start();
  for (const auto& data : data_loops_) data->thread().Start();
  LEVER_RETURN_IF_ERROR(LoadServices());
  // Last: whoever connects finds all services.
  Status status;
  control_thread_->Run([this, &status] {
    StatusOr<Listeners> opened = Listeners::Open(
        control_thread_->loop(), options_.listen, options_.insecure, tls_,
        [this](UniqueFd socket, const Listeners::Tls& tls) {
          data_loops_[next_data_loop_++ % data_loops_.size()]->Take(std::move(socket), tls);
        });
    if (opened.ok()) {
      listeners_ = std::move(*opened);
    } else {
      status = opened.status();
    }
  });
  const std::lock_guard lock(mutex_);
  addresses_ = listeners_.addresses();
  return status;
}

Status Host::OpenTls() {
  const rpc::TlsServerOptions& files = options_.tls;
  bool wanted = false;
  for (const std::string& address : options_.listen) wanted |= address.starts_with("tls:");
  if (!wanted) {
    if (files == rpc::TlsServerOptions()) return Status::Ok();
    return InvalidArgument("a certificate is of no use without an address that begins with tls:");
  }
  LEVER_ASSIGN_OR_RETURN(tls_, rpc::TlsServerContext::Open(files));
  return Status::Ok();
}

Status Host::OpenLoops() {
  LEVER_ASSIGN_OR_RETURN(control_thread_, LoopThread::Open("lever-control"));
  for (size_t i = 0; i < options_.threads; ++i) {
    LEVER_ASSIGN_OR_RETURN(auto data, DataLoop::Open(i));
    data_loops_.push_back(std::move(data));
  }
  return Status::Ok();
}

Status Host::OpenStores() {
  LEVER_RETURN_IF_ERROR(PrepareDataDir(options_.data_dir, users_));
  registry_executor_ = std::make_unique<registry::LoopExecutor>(control_thread_->loop());
  registry::SqliteRegistryOptions registry;
  registry.directory = options_.data_dir + "/registry";
  registry.executor = registry_executor_.get();
  LEVER_ASSIGN_OR_RETURN(registry_, registry::SqliteRegistry::Open(registry));
  // Only now is it sure that no other host works in this directory.
  LEVER_ASSIGN_OR_RETURN(store_, deploy::BundleStore::Open(options_.data_dir));
  LEVER_ASSIGN_OR_RETURN(secrets_, deploy::SecretBox::Load(options_.data_dir + "/secret.key"));
  pool_ = std::make_unique<WorkerPool>(kPoolThreads);

  std::optional<UserIdRange> range;
  if (users_ == ServiceUsers::kSeparate) {
    LEVER_ASSIGN_OR_RETURN(range, ParseUserIdRange(options_.service_uids));
  }
  user_ids_ = std::make_unique<UserAllocator>(range);
  planner_ = std::make_unique<BundlePlanner>(
      control_thread_->loop(), store_.get(),
      [pool = pool_.get()](std::function<void()> task) { return pool->Post(std::move(task)); },
      &runtimes_, user_ids_.get());
  return Status::Ok();
}

Status Host::OpenDriver() {
  if (options_.driver) {
    if (options_.runtime_pool > 0) LogNoPool("instances are started by the program's own driver");
    auto external =
        std::make_unique<ExternalDriver>(control_thread_->loop(), handle_, *options_.driver);
    handle_->external.store(external.get(), std::memory_order_release);
    driver_ = std::move(external);
  } else {
    LEVER_RETURN_IF_ERROR(OpenProcessDriver());
  }
  driver_description_ = driver_->Describe();
  return Status::Ok();
}

Status Host::OpenProcessDriver() {
  fleet::ProcessDriverOptions process;
  process.spawner_path = options_.spawner_path;
  process.sandbox = options_.sandbox;
  process.sandbox_probe_directory = options_.data_dir + "/trees";
  if (users_ == ServiceUsers::kSeparate) {
    LEVER_ASSIGN_OR_RETURN(const auto range, ParseUserIdRange(options_.service_uids));
    process.sandbox_probe_uid = range.first;
  }
  std::string pool_error;
  if (options_.runtime_pool > 0 && users_ == ServiceUsers::kSeparate) {
    LEVER_ASSIGN_OR_RETURN(process.pool, PoolOptions());
  } else if (options_.runtime_pool > 0) {
    pool_error = "services do not run under users of their own, which needs root";
  }
  LEVER_ASSIGN_OR_RETURN(
      auto opened, fleet::ProcessDriver::Open(control_thread_->loop(), std::move(process)));
  sandbox_error_ = opened->sandbox_error();
  if (pool_error.empty()) pool_error = opened->pool_error();
  planner_->SetExpect([driver = opened.get()](const std::string& runtime, bool network) {
    driver->ExpectRuntime(runtime, network);
  });
  driver_ = std::move(opened);
  if (!sandbox_error_.empty()) {
    Log(LogLevel::kWarning, "services run without a sandbox: " + sandbox_error_);
  }
  if (!pool_error.empty()) LogNoPool(pool_error);
  return Status::Ok();
}

StatusOr<fleet::RuntimePoolOptions> Host::PoolOptions() {
  LEVER_RETURN_IF_ERROR(PreparePoolDir(options_.data_dir));
  fleet::RuntimePoolOptions pool;
  pool.size = options_.runtime_pool;
  pool.directory = options_.data_dir + "/pool";
  pool.trees = options_.data_dir + "/trees";
  for (const Runtime* runtime : {&runtimes_.node, &runtimes_.python}) {
    if (!runtime->version.empty()) {
      pool.runtimes.push_back(AheadOf(*runtime, runtimes_, pool.trees));
    }
  }
  pool.take_user = [users = user_ids_.get()] { return users->Take(); };
  pool.return_user = [users = user_ids_.get()](uint32_t uid) { users->Return(uid); };
  return pool;
}

Status Host::OpenControl() {
  const deploy::Execute execute = [pool = pool_.get()](std::function<void()> task) {
    return pool->Post(std::move(task));
  };
  fleet::LogStoreOptions files;
  files.directory = options_.data_dir + "/logs";
  files.execute = execute;
  LEVER_ASSIGN_OR_RETURN(auto log_files, fleet::LogStore::Open(std::move(files)));
  logs_ = std::make_unique<InstanceLogs>(std::move(log_files), execute);
  scale::ControlOptions control;
  control.loop = control_thread_->loop();
  for (const auto& data : data_loops_) {
    control.data_loops.push_back({data->loop(), &data->directory()});
  }
  control.driver = driver_.get();
  control.planner = planner_.get();
  control.output = logs_.get();
  control.introduction_path = options_.data_dir + "/introduction.sock";
  control.registry = registry_.get();
  control.host_id = id_;
  control.adopt = [this](UniqueFd socket, fleet::Caller caller) {
    data_loops_[caller.instance_key % data_loops_.size()]->Adopt(std::move(socket),
                                                                 std::move(caller));
    return Status::Ok();
  };
  control.random_seed = RandomSeed();
  control.ram_bytes = options_.ram_bytes;
  control.token_lifetime_s = options_.token_lifetime_s;
  LEVER_ASSIGN_OR_RETURN(control_, scale::ControlLoop::Open(std::move(control)));
  return Status::Ok();
}

Status Host::OpenServices() {
  deploy::DeployerOptions deploying;
  deploying.control = control_.get();
  deploying.registry = registry_.get();
  deploying.store = store_.get();
  deploying.secrets = secrets_.get();
  deploying.execute = [pool = pool_.get()](std::function<void()> task) {
    return pool->Post(std::move(task));
  };
  deploying.runnable = [this](const scale::ServiceSpec& spec) {
    LEVER_RETURN_IF_ERROR(ArgvOf(spec, runtimes_).status());
    if (options_.driver) return Status::Ok();
    return fleet::DecideSandbox(options_.sandbox, spec.sandbox, sandbox_error_).status();
  };
  deployer_ = deploy::Deployer::Make(std::move(deploying));
  const gateway::HttpOptions http{options_.cors_origins, options_.http_hosts};
  LEVER_RETURN_IF_ERROR(gateway::CheckHttpOptions(http));
  for (const auto& data : data_loops_) {
    LEVER_RETURN_IF_ERROR(
        data->Serve(control_.get(), id_, RandomSeed(), http, options_.upstreams));
    // They are dealt out in turn.
    data->front().set_connections_max(rpc::kConnectionsMax / data_loops_.size());
    admin::AdminOptions admin;
    admin.loop = data->loop();
    admin.control = control_.get();
    admin.deployer = deployer_;
    admin.logs = logs_.get();
    admin.details = [this] { return Details(); };
    admins_.push_back(std::make_unique<admin::AdminService>(std::move(admin)));
    admins_.back()->AddTo(&data->front());
  }
  return Status::Ok();
}

Status Host::LoadServices() {
  return WaitFor<Status>([this](auto done) {
    control_thread_->loop()->Post(
        [this, done = std::move(done)] { deployer_->LoadAll(std::move(done)); });
  });
}

lever::v1::HostDetails Host::Details() const {
  lever::v1::HostDetails details;
  details.set_id(id_);
  details.set_version(lever_version());
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& address : addresses_) details.add_addresses(address);
  }
  AddRuntime(runtimes_.node, &details);
  AddRuntime(runtimes_.python, &details);
  details.set_driver(driver_description_);
  lever::v1::HostCounters* counters = details.mutable_counters();
  for (const auto& data : data_loops_) {
    counters->set_calls_relayed(counters->calls_relayed() +
                                data->counters().calls.load(std::memory_order_relaxed));
    counters->set_calls_held(counters->calls_held() + data->router().held_total());
  }
  const scale::ControlCounters control = control_->Counters();
  counters->set_introductions(control.introductions);
  counters->set_instances_started(control.instances_started);
  counters->set_ram_bytes(control.ram_bytes);
  counters->set_ram_reserved_bytes(control.ram_reserved_bytes);
  rpc::ForEachCounter(rpc::GlobalCounters(), [counters](std::string_view name, uint64_t value) {
    (*counters->mutable_transport())[std::string(name)] = value;
  });
  return details;
}

void Host::Close() {
  const std::lock_guard lock(mutex_);
  if (closing_) return;
  closing_ = true;
  closer_ = std::thread([this] {
    ShutDown();
    const std::lock_guard ended_lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  });
}

bool Host::Ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

bool Host::Wait(int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  const auto ended = [this] { return ended_; };
  if (timeout_ns < 0) {
    changed_.wait(lock, ended);
    return true;
  }
  return changed_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), ended);
}

// Whatever is missing was never opened: a start that has failed ends here, too.
void Host::ShutDown() {
  if (control_thread_ != nullptr && control_thread_->started()) {
    control_thread_->Run([this] { listeners_.Close(); });
    for (size_t i = 0; i < admins_.size(); ++i) {
      data_loops_[i]->thread().Run([this, i] { admins_[i]->StopServing(); });
    }
    WaitFor<bool>([this](auto done) {
      control_thread_->loop()->Post([this, done = std::move(done)] {
        control_->Shutdown([done] { done(true); });
      });
    });
    for (const auto& data : data_loops_) data->Drain(kFrontsDrainNs);
  }
  StopThreads();
}

void Host::StopThreads() {
  // The registry's completions and the pool's results go to loops: these stop last.
  if (registry_ != nullptr && control_thread_->started()) {
    WaitFor<bool>([this](auto done) { registry_->Close([done] { done(true); }); });
  }
  if (pool_ != nullptr) pool_->Stop();
  for (const auto& data : data_loops_) data->thread().Stop();
  if (control_thread_ != nullptr) control_thread_->Stop();
}

Host::~Host() {
  if (closer_.joinable()) closer_.join();
  // Nobody drives the loops any more: everything on them may be taken down here, calls first.
  for (const auto& data : data_loops_) data->Close();
  admins_.clear();
  deployer_.reset();
  control_.reset();
  driver_.reset();
}

}  // namespace lever::host
