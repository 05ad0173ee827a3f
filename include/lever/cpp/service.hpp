// Services: typed methods over the C ABI. Part of lever.hpp.
#ifndef LEVER_CPP_SERVICE_HPP_
#define LEVER_CPP_SERVICE_HPP_

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "lever/cpp/error.hpp"
#include "lever/cpp/method.hpp"
#include "lever/cpp/queue.hpp"
#include "lever/cpp/resource.hpp"
#include "lever/lever.h"

namespace lever {

struct ServiceOptions {
  std::string name = {};         // empty in an instance that a host has started: the host knows
  std::string environment = {};  // empty: $LEVER_ENV, else dev.lever
  std::string host = {};         // empty: $LEVER_HOST, else 127.0.0.1:8080
  // An address of its own, "127.0.0.1:0", where anybody calls; with "tls:" before it, those whom the host has
  // given a token. Empty: only connections that the host introduces.
  std::string listen = {};
  uint32_t concurrency_max = 0;               // 0: only the transport's limits
  std::chrono::nanoseconds drain_timeout{0};  // 0: what the host says, else 30 s
  // Unary methods that run at a time: the thread in run(), and more that it starts. With one, methods
  // need no locks against each other.
  size_t method_threads = 1;
  // Streaming methods that run at a time, each on a thread; more are refused, surely not run.
  size_t stream_threads_max = 256;
  // Calls from outside of its environment are refused, as lever.json says it of those that a host starts (there
  // it is ignored). Not together with a plain `listen`.
  bool is_private = false;
};

namespace detail {

// Threads for streams: made when they are needed, kept for the next stream, at most `max`.
class StreamThreads {
 public:
  explicit StreamThreads(size_t max) : max_(max) {}
  ~StreamThreads() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  // False: all are busy.
  bool TryRun(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    if (tasks_.size() >= idle_ + (max_ - threads_.size())) return false;
    tasks_.push_back(std::move(task));
    if (tasks_.size() > idle_) {
      threads_.emplace_back([this] { Work(); });
    } else {
      changed_.notify_one();
    }
    return true;
  }

 private:
  void Work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (tasks_.empty()) {
        if (ending_) return;
        ++idle_;
        changed_.wait(lock);
        --idle_;
      }
      std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
  }

  const size_t max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool ending_ = false;
};

// Takes SIGINT and SIGTERM on a thread of its own, and drains a service.
class DrainOnSignals {
 public:
  explicit DrainOnSignals(lever_service* service) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signals_ = signalfd(-1, &set, SFD_CLOEXEC);
    ending_ = eventfd(0, EFD_CLOEXEC);
    if (signals_ < 0 || ending_ < 0 || pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) {
      Close();
      throw std::system_error(errno, std::generic_category(), "signals");
    }
    thread_ = std::thread([this, service] { Watch(service); });
  }
  DrainOnSignals(const DrainOnSignals&) = delete;
  DrainOnSignals& operator=(const DrainOnSignals&) = delete;
  ~DrainOnSignals() {
    eventfd_write(ending_, 1);
    thread_.join();
    Close();
  }

 private:
  void Watch(lever_service* service) {
    pollfd polled[] = {{signals_, POLLIN, 0}, {ending_, POLLIN, 0}};
    for (bool asked = false;;) {
      if (poll(polled, 2, -1) < 0) continue;  // EINTR
      if (polled[1].revents != 0) return;
      signalfd_siginfo info;
      if (read(signals_, &info, sizeof(info)) != sizeof(info)) continue;
      if (asked) std::_Exit(128 + static_cast<int>(info.ssi_signo));
      asked = true;
      lever_service_drain(service);
    }
  }
  void Close() {
    if (signals_ >= 0) close(signals_);
    if (ending_ >= 0) close(ending_);
  }

  int signals_ = -1;
  int ending_ = -1;
  std::thread thread_;
};

}  // namespace detail

class Service {
 public:
  explicit Service(const ServiceOptions& options = {})
      : Service(std::make_shared<detail::Queue>(), options, [](lever_service_options&) {}) {}
  // For lever/testing.hpp: on a queue that others use too; `change` has the last word.
  template <typename Change>
  Service(std::shared_ptr<detail::Queue> queue, const ServiceOptions& options, Change change)
      : core_(std::move(queue)),
        method_threads_(options.method_threads),
        streams_(options.stream_threads_max) {
    lever_service_options native{};
    native.size = sizeof(native);
    const auto set = [](const std::string& text, const char*& data, size_t& size) {
      if (text.empty()) return;
      data = text.data();
      size = text.size();
    };
    set(options.name, native.name, native.name_size);
    set(options.environment, native.environment, native.environment_size);
    set(options.host, native.host, native.host_size);
    set(options.listen, native.listen, native.listen_size);
    native.is_private = options.is_private ? 1 : 0;
    native.concurrency_max = options.concurrency_max;
    native.drain_timeout_ns = options.drain_timeout.count();
    native.user_data = static_cast<detail::EventTarget*>(&core_);
    change(native);
    started_by_host_ = options.name.empty();
    lever_error* error = nullptr;
    const lever_status status =
        lever_service_create(core_.queue->get(), &native, &service_, &error);
    detail::Check(status, error);
  }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  // Ends whatever is still under way with CANCELLED.
  ~Service() {
    if (lever_service_close(service_) == LEVER_OK) {
      std::unique_lock lock(core_.queue->mutex());
      try {
        core_.queue->Await(lock, [this] { return core_.closed; });
      } catch (const Error&) {  // forked meanwhile: nothing comes any more
      }
    }
    signals_.reset();
    lever_service_destroy(service_);
  }

  // A unary method: its parameters are the caller's arguments, its result is the answer. It may
  // take a `const lever::CallContext&` first. Runs on the thread in run(), or on one of its others.
  template <typename F>
  void method(std::string name, F function) {
    using Parameters = typename detail::Signature<F>::Parameters;
    static_assert(!TakesStream<Parameters>::value, "streaming methods are added by stream()");
    Add<F>(std::move(name), std::move(function));
  }
  // A streaming method: takes a `lever::IncomingStream&` first. Its name ends in Chan or _chan, or
  // is chan. Runs on a thread of its own.
  template <typename F>
  void stream(std::string name, F function) {
    using Parameters = typename detail::Signature<F>::Parameters;
    static_assert(TakesStream<Parameters>::value,
                  "a streaming method takes a lever::IncomingStream& first");
    Add<F>(std::move(name), std::move(function));
  }

  // The service has resources, each an object of type R; see lever/cpp/resource.hpp. Once, and before
  // start().
  template <typename R>
  ResourceType<R>& resource(const ResourceOptions& options = {}) {
    lever_resource_options native{};
    native.size = sizeof(native);
    native.concurrency_max = options.serial ? 1 : options.concurrency_max;
    native.idle_timeout_ns = options.idle_timeout.count();
    native.resumes = detail::kResumes<R> ? 1 : 0;
    lever_error* error = nullptr;
    const lever_status status = lever_service_set_resource(service_, &native, &error);
    detail::Check(status, error);
    auto type = std::make_unique<ResourceType<R>>(&core_, service_);
    ResourceType<R>& result = *type;
    core_.resource_type = type.get();
    methods_.push_back(std::move(type));
    return result;
  }

  // Attaches and begins to take calls; run() does it, unless it was done.
  void start() {
    if (started_) return;
    lever_error* error = nullptr;
    const lever_status status = lever_service_start(service_, &error);
    detail::Check(status, error);
    started_ = true;
  }
  // Runs the methods until the service is drained: by its host, or by drain(). Returns what main()
  // returns: 0 after a drain, 1 if the host of an instance that it started is gone.
  int run() {
    start();
    std::vector<std::jthread> helpers;
    for (size_t i = 1; i < method_threads_; ++i) helpers.emplace_back([this] { RunHelper(); });
    return RunMethods();
  }
  // Out of every route table, finishes what runs; run() returns then. Any thread.
  void drain() { detail::Check(lever_service_drain(service_)); }

  // From now on SIGINT and SIGTERM drain, and a second one ends the process at once. For programs
  // that attach themselves; to be called before other threads are started. Throws
  // std::system_error.
  void drain_on_signals() {
    if (!signals_) signals_ = std::make_unique<detail::DrainOnSignals>(service_);
  }

  // What the host has told of this instance; the texts live as long as the service.
  lever_service_details details() const {
    lever_service_details details{};
    details.size = sizeof(details);
    detail::Check(lever_service_get_details(service_, &details));
    return details;
  }
  lever_service_state state() const {
    const std::lock_guard lock(core_.queue->mutex());
    return core_.state;
  }
  lever_service* get() const { return service_; }
  const std::shared_ptr<detail::Queue>& queue() const { return core_.queue; }

 private:
  template <typename Tuple>
  struct TakesStream : std::false_type {};
  template <typename... Rest>
  struct TakesStream<std::tuple<IncomingStream&, Rest...>> : std::true_type {};

  template <typename F>
  void Add(std::string name, F function) {
    auto added = std::make_unique<detail::TypedMethod<F>>(&core_, std::move(name),
                                                          std::move(function));
    detail::Check(lever_service_add_method(service_, added->name().data(), added->name().size(),
                                           static_cast<detail::EventTarget*>(added.get())));
    methods_.push_back(std::move(added));
  }

  // Takes the calls that come, until `ended` (under the queue's mutex) says that no more will.
  template <typename Predicate>
  void RunUntil(std::unique_lock<std::mutex>& lock, Predicate ended) {
    for (;;) {
      core_.queue->Await(lock, [&] { return !core_.inbox.empty() || ended(); },
                         detail::Queue::Role::kRunner);
      if (core_.inbox.empty()) return;
      auto [method, incoming] = std::move(core_.inbox.front());
      core_.inbox.pop_front();
      lock.unlock();
      Dispatch(method, incoming);
      lock.lock();
    }
  }

  int RunMethods() {
    uint64_t told = 0;
    bool host_is_gone = false;
    std::unique_lock lock(core_.queue->mutex());
    for (;;) {
      RunUntil(lock, [&] { return core_.over() || core_.detached_times != told; });
      if (core_.over()) return host_is_gone ? 1 : 0;
      told = core_.detached_times;
      std::fprintf(stderr, "lever: detached from the host: %s\n", core_.detached_message.c_str());
      if (!started_by_host_) continue;
      host_is_gone = true;
      lever_service_drain(service_);
    }
  }

  // A thread beside the one in run().
  void RunHelper() {
    std::unique_lock lock(core_.queue->mutex());
    try {
      RunUntil(lock, [this] { return core_.over(); });
    } catch (const Error&) {  // forked meanwhile: nothing comes any more
    }
  }

  void Dispatch(detail::Method* method, detail::Incoming& incoming) {
    if (!incoming.stream) {
      const detail::CurrentCallScope scope(core_.queue.get(), incoming.id);
      return method->Run(incoming);
    }
    const auto run = [queue = core_.queue.get(), method, incoming]() mutable {
      const detail::CurrentCallScope scope(queue, incoming.id);
      method->Run(incoming);
    };
    if (!streams_.TryRun(run)) {
      method->Refuse(incoming, LEVER_RESOURCE_EXHAUSTED, "all threads for streams are busy");
    }
  }

  detail::ServiceCore core_;
  const size_t method_threads_;
  std::vector<std::unique_ptr<detail::Method>> methods_;
  bool started_ = false;
  bool started_by_host_ = false;
  lever_service* service_ = nullptr;
  std::unique_ptr<detail::DrainOnSignals> signals_;
  detail::StreamThreads streams_;  // last: joined first, while all that methods use is there
};

}  // namespace lever

#endif  // LEVER_CPP_SERVICE_HPP_
