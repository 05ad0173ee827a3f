// Clients: blocking calls and streams. Part of lever.hpp.
#ifndef LEVER_CPP_CLIENT_HPP_
#define LEVER_CPP_CLIENT_HPP_

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lever/cpp/error.hpp"
#include "lever/cpp/queue.hpp"
#include "lever/cpp/service.hpp"
#include "lever/cpp/stream.hpp"
#include "lever/cpp/value.hpp"
#include "lever/lever.h"

namespace lever {

// For a host with "tls:" before its address. PEM files, which are followed; what is empty comes from the
// environment (LEVER_TLS_CA, LEVER_TLS_CERT, LEVER_TLS_KEY) or is the system's.
struct TlsOptions {
  std::string roots_file = {};
  std::string certificate_file = {};
  std::string key_file = {};
  std::string server_name = {};  // that the host's certificate must bear; empty: the address's host
};

struct ClientOptions {
  // "127.0.0.1:8080", "unix:/path", "tls:host:8443"; empty: $LEVER_HOST, else 127.0.0.1:8080.
  std::string host = {};
  std::string environment = {};  // empty: $LEVER_ENV, else dev.lever
  // No network: a call answers with its own arguments, a stream with its own messages.
  bool echo = false;
  // Never straight to instances.
  bool only_through_host = false;
  std::optional<TlsOptions> tls = {};
};

struct CallOptions {
  // Unset: 60 s for a call, none for a stream. Negative: none.
  std::optional<std::chrono::nanoseconds> timeout = {};
  // The method may run twice: an outcome that is not known is sent again.
  bool idempotent = false;
  // What is sent goes compressed (gzip), and is answered likewise: for slow networks.
  bool compress = false;
  Metadata metadata = {};
  // Cancels the call, from any thread: it throws Error with CANCELLED. A stream has cancel().
  std::stop_token stop = {};
  // Takes up again a stream of a resource that has ended: Error::resume() of what it ended with. The
  // arguments are those that it had.
  std::optional<ResumePoint> resume = {};
};

namespace detail {

// A unary call of ours, on the stack of the thread that waits for it.
class PendingCall final : public EventTarget {
 public:
  void OnEvent(const lever_event& event) override {
    done = true;
    status = event.status;
    executed = event.executed;
    payload = MakePayload(event.kind, event.slices, event.slice_count);
    if (event.message) message = event.message;
  }

  bool done = false;
  int32_t status = LEVER_OK;
  int32_t executed = LEVER_EXECUTED_UNKNOWN;
  Payload payload;
  std::string message;
};

class ClientTarget final : public EventTarget {
 public:
  void OnEvent(const lever_event& event) override { closed |= event.type == LEVER_EVENT_CLOSED; }
  bool closed = false;
};

}  // namespace detail

class Client {
 public:
  Client() : Client(ClientOptions{}) {}
  explicit Client(const ClientOptions& options)
      : Client(std::make_shared<detail::Queue>(), nullptr, options, Unchanged) {}
  // Uses the service's attachment. Calls made while one of its methods runs are that call's
  // children: its deadline bounds them, its end cancels them. To be destroyed before the service.
  explicit Client(Service& service, const ClientOptions& options = {})
      : Client(service.queue(), service.get(), options, Unchanged) {}
  // For lever/testing.hpp: on a queue that others use too; `change` has the last word.
  template <typename Change>
  Client(std::shared_ptr<detail::Queue> queue, const ClientOptions& options, Change change)
      : Client(std::move(queue), nullptr, options, change) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    close();
    lever_client_destroy(client_);
  }

  // Ends what is in flight with CANCELLED, and waits until all of it has ended.
  void close() {
    if (lever_client_close(client_) != LEVER_OK) return;
    std::unique_lock lock(queue_->mutex());
    try {
      queue_->Await(lock, [this] { return target_.closed; });
    } catch (const Error&) {  // forked meanwhile: nothing comes any more
    }
  }

  // Calls a method and waits for its result. MSGPACK types for arguments; R may be void.
  template <typename R = Value, typename... Args>
  R invoke(std::string_view address, const Args&... args) {
    return invoke<R>(CallOptions{}, address, args...);
  }
  template <typename R = Value, typename... Args>
  R invoke(const CallOptions& options, std::string_view address, const Args&... args) {
    return detail::ConvertPayload<R>(Call(options, address, detail::PackArguments(args...)));
  }

  // Opens a stream; it is open at once, and trouble shows when it is read or written.
  template <typename... Args>
  Stream stream(std::string_view address, const Args&... args) {
    return stream(CallOptions{}, address, args...);
  }
  template <typename... Args>
  Stream stream(const CallOptions& options, std::string_view address, const Args&... args) {
    return Open(options, address, detail::PackArguments(args...));
  }

  lever_client_stats stats() const {
    lever_client_stats stats{};
    stats.size = sizeof(stats);
    detail::Check(lever_client_get_stats(client_, &stats));
    return stats;
  }
  lever_client* get() const { return client_; }

 private:
  static void Unchanged(lever_client_options&) {}

  template <typename Change>
  Client(std::shared_ptr<detail::Queue> queue, lever_service* service, const ClientOptions& options,
         Change change)
      : queue_(std::move(queue)) {
    lever_client_options native{};
    native.size = sizeof(native);
    if (!options.host.empty()) {
      native.host = options.host.data();
      native.host_size = options.host.size();
    }
    if (!options.environment.empty()) {
      native.environment = options.environment.data();
      native.environment_size = options.environment.size();
    }
    native.service = service;
    native.echo = options.echo ? 1 : 0;
    native.only_through_host = options.only_through_host ? 1 : 0;
    native.user_data = static_cast<detail::EventTarget*>(&target_);
    lever_tls_options tls{};
    if (options.tls) {
      tls.size = sizeof(tls);
      const auto set = [](const std::string& text, const char*& data, size_t& size) {
        if (text.empty()) return;
        data = text.data();
        size = text.size();
      };
      set(options.tls->roots_file, tls.roots_file, tls.roots_file_size);
      set(options.tls->certificate_file, tls.certificate_file, tls.certificate_file_size);
      set(options.tls->key_file, tls.key_file, tls.key_file_size);
      set(options.tls->server_name, tls.server_name, tls.server_name_size);
      native.tls = &tls;
    }
    change(native);
    lever_error* error = nullptr;
    const lever_status status = lever_client_create(queue_->get(), &native, &client_, &error);
    detail::Check(status, error);
  }

  // A request in the C ABI's terms; points into what it was made of.
  struct NativeCall {
    NativeCall(const CallOptions& options, std::string_view address, const detail::Payload& payload,
               const detail::Queue* queue)
        : slice(detail::SliceOf(payload.bytes)) {
      for (const auto& [name, value] : options.metadata) {
        metadata.push_back({name.data(), name.size(), value.data(), value.size()});
      }
      call.size = sizeof(call);
      call.address = address.data();
      call.address_size = address.size();
      call.kind = payload.kind;
      call.flags = (options.idempotent ? uint32_t{LEVER_CALL_IDEMPOTENT} : 0) |
                   (options.compress ? uint32_t{LEVER_CALL_COMPRESS} : 0);
      call.slices = &slice;
      call.slice_count = 1;
      if (options.resume) {
        call.flags |= LEVER_CALL_RESUME;
        call.resume_token = options.resume->token.data();
        call.resume_token_size = options.resume->token.size();
        call.resume_received = options.resume->received;
      }
      if (options.timeout) {
        // 0 is the default's number: a timeout of nothing is the shortest there is.
        call.timeout_ns = options.timeout->count() == 0 ? 1 : options.timeout->count();
      }
      call.metadata = metadata.data();
      call.metadata_count = metadata.size();
      if (detail::current_call.queue == queue) call.parent = detail::current_call.id;
    }
    NativeCall(const NativeCall&) = delete;
    NativeCall& operator=(const NativeCall&) = delete;

    lever_slice slice;
    std::vector<lever_metadata> metadata;
    lever_call_options call{};
  };

  detail::Payload Call(const CallOptions& options, std::string_view address,
                       const detail::Payload& arguments) {
    NativeCall native(options, address, arguments, queue_.get());
    detail::PendingCall pending;
    native.call.user_data = static_cast<detail::EventTarget*>(&pending);
    lever_call id = 0;
    lever_error* error = nullptr;
    const lever_status status = lever_call_start(client_, &native.call, &id, &error);
    detail::Check(status, error);
    const std::stop_callback cancelling(options.stop,
                                        [this, id] { lever_call_cancel(queue_->get(), id); });
    std::unique_lock lock(queue_->mutex());
    queue_->Await(lock, [&pending] { return pending.done; });
    lock.unlock();
    if (pending.status != LEVER_OK) {
      detail::ThrowOutcome(pending.status, pending.executed, pending.message, pending.payload);
    }
    return std::move(pending.payload);
  }

  Stream Open(const CallOptions& options, std::string_view address,
              const detail::Payload& arguments) {
    NativeCall native(options, address, arguments, queue_.get());
    auto state = std::make_shared<detail::StreamState>(queue_, 0);
    state->KeepUntilEnd();
    native.call.user_data = static_cast<detail::EventTarget*>(state.get());
    native.call.read_messages = detail::kReadAheadMessages;
    native.call.read_bytes = detail::kReadAheadBytes;
    lever_stream id = 0;
    lever_error* error = nullptr;
    const lever_status status = lever_stream_open(client_, &native.call, &id, &error);
    if (status != LEVER_OK) state->NotOpened();
    detail::Check(status, error);
    state->set_id(id);
    return Stream(std::move(state));
  }

  const std::shared_ptr<detail::Queue> queue_;
  detail::ClientTarget target_;
  lever_client* client_ = nullptr;
};

}  // namespace lever

#endif  // LEVER_CPP_CLIENT_HPP_
