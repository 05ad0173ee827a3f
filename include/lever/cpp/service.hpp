// Services: typed methods over the C ABI. Part of lever.hpp.
#ifndef LEVER_CPP_SERVICE_HPP_
#define LEVER_CPP_SERVICE_HPP_

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
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
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "lever/cpp/error.hpp"
#include "lever/cpp/queue.hpp"
#include "lever/cpp/stream.hpp"
#include "lever/cpp/value.hpp"
#include "lever/lever.h"

namespace lever {

// Names are lower-case; values of names that end in "-bin" are bytes.
using Metadata = std::vector<std::pair<std::string, std::string>>;

struct ServiceOptions {
  std::string name = {};         // empty in an instance that a host has started: the host knows
  std::string environment = {};  // empty: $LEVER_ENV, else dev.lever
  std::string host = {};         // empty: $LEVER_HOST, else 127.0.0.1:8080
  // A plain address of its own, "127.0.0.1:0"; empty: only connections that the host introduces.
  std::string listen = {};
  uint32_t concurrency_max = 0;               // 0: only the transport's limits
  std::chrono::nanoseconds drain_timeout{0};  // 0: what the host says, else 30 s
  // Unary methods that run at a time: the thread in run(), and more that it starts. With one, methods
  // need no locks against each other.
  size_t method_threads = 1;
  // Streaming methods that run at a time, each on a thread; more are refused, surely not run.
  size_t stream_threads_max = 256;
};

// What is known of an incoming call. A method that wants it takes `const lever::CallContext&`
// first. For the thread that runs the method.
struct CallContext {
  std::string caller;                // "lever://env/service"; empty: from outside
  int64_t deadline_ns = INT64_MAX;   // on CLOCK_BOOTTIME; INT64_MAX without
  Metadata metadata;

  // How long the caller still waits, at least nothing; nothing at all where it has set no deadline.
  std::optional<std::chrono::nanoseconds> remaining() const {
    if (deadline_ns == INT64_MAX) return std::nullopt;
    int64_t now_ns = 0;
    if (queue == nullptr || lever_queue_now(queue->get(), &now_ns) != LEVER_OK) return std::nullopt;
    return std::chrono::nanoseconds(std::max<int64_t>(deadline_ns - now_ns, 0));
  }
  // Whether the caller is gone or the deadline has passed: what the method answers reaches nobody. To be
  // asked now and then by methods that take long.
  bool cancelled() const {
    if (stream != nullptr) return stream->Broken();
    return queue != nullptr && queue->HasCallerGone(id);
  }

  // Of the library.
  detail::Queue* queue = nullptr;
  uint64_t id = 0;
  detail::StreamState* stream = nullptr;
};

// A stream that came in, for the method that serves it. When the method returns, the stream ends
// with success; when it throws, with the method's error. Reads and writes throw Error when the
// caller is gone.
class IncomingStream final : public detail::StreamHandle {
 public:
  IncomingStream(std::shared_ptr<detail::StreamState> state, const CallContext* context)
      : StreamHandle(std::move(state)), context_(context) {}
  const CallContext& context() const { return *context_; }

 private:
  const CallContext* context_;
};

namespace detail {

// The parameters and the result of whatever can be called.
template <typename F>
struct Signature : Signature<decltype(&std::remove_cvref_t<F>::operator())> {};
template <typename R, typename... Args>
struct Signature<R (*)(Args...)> {
  using Result = R;
  using Parameters = std::tuple<Args...>;
};
template <typename C, typename R, typename... Args>
struct Signature<R (C::*)(Args...)> : Signature<R (*)(Args...)> {};
template <typename C, typename R, typename... Args>
struct Signature<R (C::*)(Args...) const> : Signature<R (*)(Args...)> {};
template <typename R, typename... Args>
struct Signature<R (*)(Args...) noexcept> : Signature<R (*)(Args...)> {};
template <typename C, typename R, typename... Args>
struct Signature<R (C::*)(Args...) noexcept> : Signature<R (*)(Args...)> {};
template <typename C, typename R, typename... Args>
struct Signature<R (C::*)(Args...) const noexcept> : Signature<R (*)(Args...)> {};

// What comes first and is no argument of the caller's.
template <typename T>
inline constexpr bool kIsLeading = std::same_as<std::remove_cvref_t<T>, CallContext> ||
                                   std::same_as<std::remove_cvref_t<T>, IncomingStream>;

template <typename Tuple>
struct SplitParameters {
  static constexpr bool kLeading = false;
  using Arguments = std::tuple<>;
};
template <typename First, typename... Rest>
struct SplitParameters<std::tuple<First, Rest...>> {
  static constexpr bool kLeading = kIsLeading<First>;
  using Arguments = std::conditional_t<kLeading, std::tuple<std::decay_t<Rest>...>,
                                       std::tuple<std::decay_t<First>, std::decay_t<Rest>...>>;
};

// The arguments of a request, by position; nil for those that the caller left out. Throws
// msgpack::type_error, or Error if there are too many.
template <typename... Args>
std::tuple<Args...> ConvertArguments(const Payload& payload, const Unpacked& unpacked,
                                     std::type_identity<std::tuple<Args...>>) {
  const msgpack::object& root = unpacked.root();
  const msgpack::object* given = &root;
  size_t count = 1;
  if (!payload.is_raw()) {
    if (root.type != msgpack::type::ARRAY) throw msgpack::type_error();
    given = root.via.array.ptr;
    count = root.via.array.size;
  }
  if (count > sizeof...(Args)) {
    throw Error(LEVER_INVALID_ARGUMENT, std::to_string(sizeof...(Args)) + " arguments wanted, " +
                                            std::to_string(count) + " given");
  }
  static const msgpack::object nil;
  size_t next = 0;
  [[maybe_unused]] const auto take = [&]() -> const msgpack::object& {
    return next < count ? given[next++] : nil;
  };
  // Braces: in this order.
  return std::tuple<Args...>{Convert<Args>(take())...};
}

// An incoming call or stream on its way from the queue to the thread that runs its method.
struct Incoming {
  uint64_t id = 0;
  Payload arguments;
  CallContext context;
  std::shared_ptr<StreamState> stream;  // null: a unary call
};

class ServiceCore;

class Method : public EventTarget {
 public:
  Method(ServiceCore* service, std::string name) : service_(service), name_(std::move(name)) {}
  void OnEvent(const lever_event& event) override;
  // On the thread that is to run user code.
  virtual void Run(Incoming& incoming) = 0;
  // Before lever_incoming_begin(): answers that it was surely not run.
  void Refuse(const Incoming& incoming, lever_status status, const std::string& message) const;
  const std::string& name() const { return name_; }

 protected:
  // To be called directly before user code. False: refused by the library.
  bool Begin(const Incoming& incoming) const;
  void Reply(uint64_t id, const Payload& result) const;
  // Before lever_incoming_begin(), so as surely not run: the arguments do not fit.
  void RefuseArguments(const Incoming& incoming, const char* why) const {
    Refuse(incoming, LEVER_INVALID_ARGUMENT, "arguments of " + name_ + ": " + why);
  }

  ServiceCore* const service_;
  const std::string name_;
};

// While a method runs that can ask for its caller. Without a queue nothing.
class RunningScope {
 public:
  RunningScope(Queue* queue, uint64_t id) : queue_(queue), id_(id) {
    if (queue_ != nullptr) queue_->BeginRunning(id_);
  }
  RunningScope(const RunningScope&) = delete;
  RunningScope& operator=(const RunningScope&) = delete;
  ~RunningScope() {
    if (queue_ != nullptr) queue_->EndRunning(id_);
  }

 private:
  Queue* const queue_;
  const uint64_t id_;
};

template <typename F>
class TypedMethod final : public Method {
 public:
  TypedMethod(ServiceCore* service, std::string name, F function)
      : Method(service, std::move(name)), function_(std::move(function)) {}

  void Run(Incoming& incoming) override {
    const Unpacked unpacked(incoming.arguments);
    std::optional<Arguments> arguments;
    try {
      arguments.emplace(ConvertArguments(incoming.arguments, unpacked,
                                         std::type_identity<Arguments>{}));
    } catch (const std::bad_cast&) {
      return RefuseArguments(incoming, "of another type than wanted");
    } catch (const std::exception& error) {
      return RefuseArguments(incoming, error.what());
    }
    if (!Begin(incoming)) return;
    if (incoming.stream) {
      RunStream(incoming, *arguments);
    } else {
      const RunningScope scope(kLeading ? incoming.context.queue : nullptr, incoming.id);
      Reply(incoming.id, RunUnary(incoming, *arguments));
    }
  }

 private:
  using Parameters = typename Signature<F>::Parameters;
  using Result = typename Signature<F>::Result;
  using Arguments = typename SplitParameters<Parameters>::Arguments;
  static constexpr bool kLeading = SplitParameters<Parameters>::kLeading;

  template <typename Leading>
  Result Call(Leading& leading, Arguments& arguments) {
    return std::apply(
        [&](auto&... each) -> Result {
          if constexpr (kLeading) {
            return function_(leading, std::move(each)...);
          } else {
            return function_(std::move(each)...);
          }
        },
        arguments);
  }

  Payload RunUnary(Incoming& incoming, Arguments& arguments) {
    try {
      if constexpr (kTakesStream) {
        return {};
      } else if constexpr (std::is_void_v<Result>) {
        Call(incoming.context, arguments);
        return PackValue(msgpack::type::nil_t());
      } else {
        return PackValue(Call(incoming.context, arguments));
      }
    } catch (...) {
      return CurrentExceptionAsError();
    }
  }

  void RunStream(Incoming& incoming, Arguments& arguments) {
    if constexpr (kTakesStream) {
      incoming.stream->ReadAhead();
      IncomingStream stream(incoming.stream, &incoming.context);
      try {
        Call(stream, arguments);
        incoming.stream->CloseSend();
      } catch (...) {
        incoming.stream->Fail(CurrentExceptionAsError());
      }
      incoming.stream->Abandon();
    }
  }

  template <typename Tuple>
  struct FirstIsStream : std::false_type {};
  template <typename... Rest>
  struct FirstIsStream<std::tuple<IncomingStream&, Rest...>> : std::true_type {};
  static constexpr bool kTakesStream = FirstIsStream<Parameters>::value;

  F function_;
};

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

// What a service's events change; under the queue's mutex.
class ServiceCore final : public EventTarget {
 public:
  explicit ServiceCore(std::shared_ptr<Queue> queue) : queue(std::move(queue)) {}

  void OnEvent(const lever_event& event) override {
    if (event.type == LEVER_EVENT_CLOSED) {
      closed = true;
    } else if (event.type == LEVER_EVENT_SERVICE_STATE) {
      state = static_cast<lever_service_state>(event.service_state);
      if (state == LEVER_SERVICE_DETACHED) {
        detached_status = static_cast<lever_status>(event.status);
        detached_message = event.message ? event.message : "";
        ++detached_times;
      }
    }
  }

  // No more calls come. Under the queue's mutex.
  bool over() const { return closed || state == LEVER_SERVICE_DRAINED; }

  const std::shared_ptr<Queue> queue;
  std::deque<std::pair<Method*, Incoming>> inbox;
  lever_service_state state = LEVER_SERVICE_STARTING;
  lever_status detached_status = LEVER_OK;
  std::string detached_message;
  uint64_t detached_times = 0;
  bool closed = false;
};

inline void Method::OnEvent(const lever_event& event) {
  Incoming incoming;
  incoming.id = event.id;
  incoming.arguments = MakePayload(event.kind, event.slices, event.slice_count);
  incoming.context.caller = event.caller ? event.caller : "";
  incoming.context.deadline_ns = event.deadline_ns;
  incoming.context.queue = service_->queue.get();
  incoming.context.id = event.id;
  for (size_t i = 0; i < event.metadata_count; ++i) {
    const lever_metadata& field = event.metadata[i];
    incoming.context.metadata.emplace_back(std::string(field.name, field.name_size),
                                           std::string(field.value, field.value_size));
  }
  if (event.type == LEVER_EVENT_INCOMING_STREAM) {
    incoming.stream = std::make_shared<StreamState>(service_->queue, event.id);
    incoming.context.stream = incoming.stream.get();
    service_->queue->Register(event.id, incoming.stream);
  }
  service_->inbox.emplace_back(this, std::move(incoming));
}

inline void Method::Refuse(const Incoming& incoming, lever_status status,
                           const std::string& message) const {
  if (incoming.stream) service_->queue->Forget(incoming.id);
  lever_incoming_fail(service_->queue->get(), incoming.id, status, message.data(), message.size());
}

inline bool Method::Begin(const Incoming& incoming) const {
  if (lever_incoming_begin(service_->queue->get(), incoming.id) == LEVER_OK) return true;
  if (incoming.stream) service_->queue->Forget(incoming.id);
  return false;
}

inline void Method::Reply(uint64_t id, const Payload& result) const {
  lever_queue* const queue = service_->queue->get();
  const lever_slice slice = SliceOf(result.bytes);
  const lever_status status = lever_incoming_reply(queue, id, result.kind, &slice, 1, nullptr, 0);
  if (status != LEVER_INVALID_ARGUMENT) return;
  constexpr std::string_view kMessage = "the method's result is no valid value";
  lever_incoming_fail(queue, id, LEVER_INTERNAL, kMessage.data(), kMessage.size());
}

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
