// Methods: what is called, on its way from the queue to user code. Part of lever.hpp.
#ifndef LEVER_CPP_METHOD_HPP_
#define LEVER_CPP_METHOD_HPP_

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
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

// What a resource is opened with.
enum class Origin {
  kNew = LEVER_RESOURCE_NEW,
  kCarried = LEVER_RESOURCE_CARRIED,  // with what its owner before has closed it with
  kLost = LEVER_RESOURCE_LOST,        // it may have been open elsewhere, and what it was is gone
};

// Why it is closed. What close() returns is carried for kMoved, kUpgrade and kStopping.
enum class CloseReason {
  kIdle = LEVER_CLOSE_IDLE,
  kMoved = LEVER_CLOSE_MOVED,
  kUpgrade = LEVER_CLOSE_UPGRADE,
  kStopping = LEVER_CLOSE_STOPPING,
  kLost = LEVER_CLOSE_LOST,  // it is another instance's already
};

// Names are lower-case; values of names that end in "-bin" are bytes.
using Metadata = std::vector<std::pair<std::string, std::string>>;

// What is known of an incoming call. A method that wants it takes `const lever::CallContext&`
// first. For the thread that runs the method.
struct CallContext {
  std::string caller;                // "lever://env/service"; empty: from outside
  int64_t deadline_ns = INT64_MAX;   // on CLOCK_BOOTTIME; INT64_MAX without
  Metadata metadata;
  // In a method of a resource: the fencing token. It only rises for one resource, so that a store which
  // refuses what comes with a lower one is written to by the newest owner alone.
  uint64_t generation = 0;

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
// caller is gone, and reads throw Moved when its resource moves.
class IncomingStream final : public detail::StreamHandle {
 public:
  IncomingStream(std::shared_ptr<detail::StreamState> state, const CallContext* context,
                 const std::string* method, const detail::Payload* arguments)
      : StreamHandle(std::move(state)),
        context_(context),
        method_(method),
        arguments_(arguments) {}
  const CallContext& context() const { return *context_; }
  // The name under which the method was called, and what it was called with: auto [a, b] =
  // stream.arguments<int, std::string>(). Throws std::bad_cast where they do not fit, Error where there
  // are more.
  const std::string& method() const { return *method_; }
  template <typename... Args>
  std::tuple<Args...> arguments() const;

  using StreamHandle::write;
  // With a token, of at most 4096 bytes: the last one that has come when the resource moves is what its
  // resume() is given. It says how to go on behind this message. Throws Error for one that is larger.
  template <typename T>
  bool write(const T& message, std::string_view token) {
    if (token.size() > LEVER_RESUME_TOKEN_MAX) {
      throw Error(LEVER_INVALID_ARGUMENT, "a token to resume a stream from has " +
                                              std::to_string(token.size()) + " bytes, more than 4096");
    }
    return state_->Write(detail::PackValue(message), token);
  }
  // Whether the resource moves: for methods that do not read, and are to return then.
  bool moving() const { return state_->Moving(); }
  // No more messages from this side, before the method returns.
  void end() { state_->CloseSend(); }

 private:
  const CallContext* context_;
  const std::string* method_;
  const detail::Payload* arguments_;
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

template <typename Tuple>
struct FirstOf {
  using Type = void;
};
template <typename First, typename... Rest>
struct FirstOf<std::tuple<First, Rest...>> {
  using Type = First;
};

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

}  // namespace detail

template <typename... Args>
std::tuple<Args...> IncomingStream::arguments() const {
  const detail::Unpacked unpacked(*arguments_);
  return detail::ConvertArguments(*arguments_, unpacked,
                                  std::type_identity<std::tuple<Args...>>{});
}

namespace detail {

// An incoming call or stream on its way from the queue to the thread that runs its method; or a resource
// that is to be opened or closed.
struct Incoming {
  uint64_t id = 0;
  Payload arguments;
  CallContext context;
  std::shared_ptr<StreamState> stream;  // null: a unary call
  uint64_t resource = 0;                // 0: of none
  std::string resource_name;            // to be opened
  Origin origin = Origin::kNew;
  std::optional<CloseReason> close_reason;  // to be closed
  std::optional<ResumePoint> resumed;       // a stream that has run elsewhere before
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
  // Whether its streams go on where their resource moves to.
  virtual bool resumable() const { return false; }
  // To be called directly before user code. False: refused by the library.
  bool Begin(const Incoming& incoming) const;
  void Reply(uint64_t id, const Payload& result) const;
  // Runs `body` on a stream that has begun, and ends it as the body does. `resumable`: its resource's type
  // has resume().
  template <typename Body>
  void RunStream(Incoming& incoming, bool resumable, Body body) const {
    StreamState& state = *incoming.stream;
    state.ReadAhead(resumable);
    IncomingStream stream(incoming.stream, &incoming.context, &name_, &incoming.arguments);
    try {
      body(stream);
      if (!state.MoveOn()) state.CloseSend();
    } catch (const Moved&) {
      if (!state.MoveOn()) state.Fail(CurrentExceptionAsError());
    } catch (...) {
      state.Fail(CurrentExceptionAsError());
    }
    state.Abandon();
  }
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
class TypedMethod : public Method {
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
      if constexpr (kTakesStream) {
        this->RunStream(incoming, this->resumable(),
                        [&](IncomingStream& stream) { Call(stream, *arguments); });
      }
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

  static constexpr bool kTakesStream =
      std::same_as<typename FirstOf<Parameters>::Type, IncomingStream&>;

  F function_;
};

// What a service's events change; under the queue's mutex.
class ServiceCore final : public EventTarget {
 public:
  explicit ServiceCore(std::shared_ptr<Queue> queue) : queue(std::move(queue)) {}

  void OnEvent(const lever_event& event) override {
    if (event.type == LEVER_EVENT_RESOURCE_OPEN || event.type == LEVER_EVENT_RESOURCE_CLOSE) {
      OnResource(event);
    } else if (event.type == LEVER_EVENT_CLOSED) {
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

  void OnResource(const lever_event& event) {
    Incoming incoming;
    incoming.resource = event.resource;
    if (event.type == LEVER_EVENT_RESOURCE_CLOSE) {
      incoming.close_reason = static_cast<CloseReason>(event.close_reason);
    } else {
      incoming.context.generation = event.generation;
      incoming.resource_name.assign(event.resource_name, event.resource_name_size);
      incoming.origin = static_cast<Origin>(event.origin);
      incoming.arguments = MakePayload(event.kind, event.slices, event.slice_count);
    }
    inbox.emplace_back(resource_type, std::move(incoming));
  }

  const std::shared_ptr<Queue> queue;
  std::deque<std::pair<Method*, Incoming>> inbox;
  Method* resource_type = nullptr;  // opens and closes, in a service with resources
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
  incoming.context.generation = event.generation;
  incoming.resource = event.resource;
  for (size_t i = 0; i < event.metadata_count; ++i) {
    const lever_metadata& field = event.metadata[i];
    incoming.context.metadata.emplace_back(std::string(field.name, field.name_size),
                                           std::string(field.value, field.value_size));
  }
  if (event.type == LEVER_EVENT_INCOMING_STREAM) {
    incoming.resumed = ResumePointOf(event);
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

}  // namespace lever

#endif  // LEVER_CPP_METHOD_HPP_
