// Resources: objects of a program, each owned by one instance of its service at a time. Part of
// lever.hpp.
//
//   class Counter {
//    public:
//     explicit Counter(const lever::Opening& opening) : count_(opening.state_or<int64_t>(0)) {}
//     int64_t add(int64_t n) { return count_ += n; }
//     int64_t close(lever::CloseReason) { return count_; }   // what the next owner opens it with
//    private:
//     int64_t count_;
//   };
//   service.resource<Counter>({.serial = true}).method("add", &Counter::add);
//
// The calls of "/<service>/<name>/add" go to the one object of that name. It is made before its first
// call and goes when it has had none for a while, when its shard moves to another instance, and when
// this one drains. close() may be left out, and may return nothing. What a constructor throws is told to
// those who called; what close() throws makes the resource lost.
//
// With a member
//     void resume(lever::IncomingStream& stream, const std::string& token, uint64_t received);
// streams go on where a resource moves to. It runs there in place of the method that stream.method()
// names, with the token that came last with a message of the method's (empty without), and with how
// many of its messages the caller has. Where the resource leaves, reads throw lever::Moved and
// stream.moving() is true. The method returns then, or lets Moved through; what it has not read is read
// by resume(). One that has met neither, and one that has called stream.end(), has ended its stream by
// returning; what else it throws is its own error.
//
// Threads. The methods of one resource run on all of the service's threads at once, unless it is serial
// (one unary method at a time; streams beside it) or the service has one thread. The constructor comes
// before every method, close() after them; only those that were cut off may still run.
#ifndef LEVER_CPP_RESOURCE_HPP_
#define LEVER_CPP_RESOURCE_HPP_

#include <chrono>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "lever/cpp/method.hpp"

namespace lever {

struct ResourceOptions {
  bool serial = false;           // one unary method at a time
  uint32_t concurrency_max = 0;  // so many; 0: any number
  std::chrono::nanoseconds idle_timeout{0};  // until it is closed; 0: 3 minutes
};

struct Opening {
  std::string name;
  uint64_t generation = 0;  // the fencing token, see CallContext
  Origin origin = Origin::kNew;
  detail::Payload carried;

  // What it carries. Throws std::bad_cast if it is of another type, or if there is nothing.
  template <typename T>
  T state() const {
    if (origin != Origin::kCarried) throw msgpack::type_error();
    const detail::Unpacked unpacked(carried);
    return detail::Convert<T>(unpacked.root());
  }
  // The same; `otherwise` if it is not carried.
  template <typename T>
  T state_or(T otherwise) const {
    return origin == Origin::kCarried ? state<T>() : std::move(otherwise);
  }
};

namespace detail {

// The resource whose method this thread runs.
inline thread_local void* current_resource = nullptr;

class CurrentResourceScope {
 public:
  explicit CurrentResourceScope(void* resource)
      : before_(std::exchange(current_resource, resource)) {}
  CurrentResourceScope(const CurrentResourceScope&) = delete;
  CurrentResourceScope& operator=(const CurrentResourceScope&) = delete;
  ~CurrentResourceScope() { current_resource = before_; }

 private:
  void* const before_;
};

// A member function as a function of its parameters alone, on the current resource.
template <typename R, typename M, typename Parameters>
struct OnCurrent;
template <typename R, typename M, typename... Args>
struct OnCurrent<R, M, std::tuple<Args...>> {
  M member;
  typename Signature<M>::Result operator()(Args... args) const {
    return (static_cast<R*>(current_resource)->*member)(std::forward<Args>(args)...);
  }
};

}  // namespace detail

namespace detail {

// Whether a resource's type has a resume() as it is called.
template <typename R>
inline constexpr bool kResumes =
    requires(R& resource, IncomingStream& stream, const std::string& token, uint64_t received) {
      resource.resume(stream, token, received);
    };

// Whether it has one that takes a stream.
template <typename R>
inline constexpr bool kMeansToResume = [] {
  if constexpr (requires { &R::resume; }) {
    return std::is_same_v<typename FirstOf<typename Signature<decltype(&R::resume)>::Parameters>::Type,
                          IncomingStream&>;
  }
  return false;
}();

}  // namespace detail

// The resources of a service that are open here. Methods are added before the service starts.
template <typename R>
class ResourceType final : public detail::Method {
  static_assert(detail::kResumes<R> || !detail::kMeansToResume<R>,
                "resume() takes a lever::IncomingStream&, a const std::string& and a uint64_t");

 public:
  ResourceType(detail::ServiceCore* core, lever_service* service)
      : Method(core, "open"), native_(service) {}

  template <typename M>
  ResourceType& method(std::string name, M member) {
    using Bound = detail::OnCurrent<R, M, typename detail::Signature<M>::Parameters>;
    auto added = std::make_unique<OfResource<Bound>>(this, std::move(name), Bound{member});
    detail::Check(lever_service_add_resource_method(native_, added->name().data(),
                                                    added->name().size(),
                                                    static_cast<detail::EventTarget*>(added.get())));
    methods_.push_back(std::move(added));
    return *this;
  }
  // A streaming method, as Service::stream() has it.
  template <typename M>
  ResourceType& stream(std::string name, M member) {
    return method(std::move(name), member);
  }

  // Opens or closes one, on the thread that runs methods.
  void Run(detail::Incoming& incoming) override {
    if (incoming.close_reason) {
      Close(incoming.resource, *incoming.close_reason);
    } else {
      Open(incoming);
    }
  }

 private:
  template <typename F>
  class OfResource final : public detail::TypedMethod<F> {
   public:
    OfResource(ResourceType* type, std::string name, F function)
        : detail::TypedMethod<F>(type->service_, std::move(name), std::move(function)),
          type_(type) {}
    void Run(detail::Incoming& incoming) override {
      const std::shared_ptr<R> resource = type_->Find(incoming.resource);
      if (resource == nullptr) {
        return this->Refuse(incoming, LEVER_UNAVAILABLE, "the resource was closed");
      }
      const detail::CurrentResourceScope scope(resource.get());
      if constexpr (detail::kResumes<R>) {
        if (incoming.resumed) return Resume(incoming, *resource);
      }
      detail::TypedMethod<F>::Run(incoming);
    }

   protected:
    bool resumable() const override { return detail::kResumes<R>; }

   private:
    void Resume(detail::Incoming& incoming, R& resource) {
      if (!this->Begin(incoming)) return;
      this->RunStream(incoming, true, [&](IncomingStream& stream) {
        resource.resume(stream, std::as_const(incoming.resumed->token), incoming.resumed->received);
      });
    }

    ResourceType* const type_;
  };

  std::shared_ptr<R> Find(uint64_t id) {
    const std::lock_guard lock(mutex_);
    const auto found = open_.find(id);
    return found == open_.end() ? nullptr : found->second;
  }

  void Open(detail::Incoming& incoming) {
    Opening opening;
    opening.name = std::move(incoming.resource_name);
    opening.generation = incoming.context.generation;
    opening.origin = incoming.origin;
    opening.carried = std::move(incoming.arguments);
    std::string why;
    try {
      auto resource = std::make_shared<R>(std::as_const(opening));
      const std::lock_guard lock(mutex_);
      open_.emplace(incoming.resource, std::move(resource));
    } catch (const std::exception& error) {
      why = error.what();
      if (why.empty()) why = "no reason was given";
    } catch (...) {
      why = "something that is no std::exception was thrown";
    }
    if (!why.empty()) why = "the resource could not be opened: " + why;
    lever_resource_opened(native_, incoming.resource, why.empty() ? LEVER_OK : LEVER_INTERNAL,
                          why.data(), why.size());
  }

  void Close(uint64_t id, CloseReason reason) {
    std::shared_ptr<R> resource;
    {
      const std::lock_guard lock(mutex_);
      const auto found = open_.find(id);
      if (found != open_.end()) {
        resource = std::move(found->second);
        open_.erase(found);
      }
    }
    lever_status status = LEVER_OK;
    detail::Payload carried;
    try {
      if (resource != nullptr) carried = CloseNow(*resource, reason);
    } catch (...) {
      status = LEVER_INTERNAL;
    }
    resource.reset();
    const lever_slice slice = detail::SliceOf(carried.bytes);
    const bool nothing = carried.bytes.empty();
    lever_resource_closed(native_, id, status, nothing ? LEVER_KIND_NONE : carried.kind,
                          nothing ? nullptr : &slice, nothing ? 0 : 1);
  }

  static detail::Payload CloseNow(R& resource, CloseReason reason) {
    if constexpr (requires { resource.close(reason); }) {
      if constexpr (std::is_void_v<decltype(resource.close(reason))>) {
        resource.close(reason);
        return {};
      } else {
        return detail::PackValue(resource.close(reason));
      }
    } else {
      return {};
    }
  }

  lever_service* const native_;
  std::vector<std::unique_ptr<detail::Method>> methods_;
  std::mutex mutex_;
  std::map<uint64_t, std::shared_ptr<R>> open_;
};

}  // namespace lever

#endif  // LEVER_CPP_RESOURCE_HPP_
