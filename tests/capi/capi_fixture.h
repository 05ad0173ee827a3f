// A queue with a service that listens at an address of its own and a client of it, on one thread.
//
// There is no host: the service takes calls all the same. Events are copied as they are fetched, so
// that a test may look at them when it likes.
#ifndef TESTS_CAPI_CAPI_FIXTURE_H_
#define TESTS_CAPI_CAPI_FIXTURE_H_

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lever/lever.h"

namespace lever_test {

// Nothing listens there.
inline constexpr const char* kNoHost = "127.0.0.1:1";
// How long a test waits for what must come.
inline constexpr std::chrono::seconds kLimit{30};
// The array of no arguments.
inline const std::string kNoArguments("\x90");

using Metadata = std::map<std::string, std::string>;

struct Event {
  lever_event_type type = LEVER_EVENT_NONE;
  lever_status status = LEVER_OK;
  lever_executed executed = LEVER_EXECUTED_UNKNOWN;
  lever_kind kind = LEVER_KIND_NONE;
  int service_state = 0;
  uint64_t id = 0;
  void* user_data = nullptr;
  void* object = nullptr;
  void* method = nullptr;
  std::string payload;
  std::string message;
  std::string caller;
  Metadata metadata;
  int64_t deadline_ns = 0;
  uint64_t resource = 0;
  uint64_t generation = 0;
  std::string resource_name;
  int origin = 0;
  int close_reason = 0;
  bool resumed = false;
  std::string resume_token;
  uint64_t resume_received = 0;
};

inline std::string Join(const lever_slice* slices, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text.append(reinterpret_cast<const char*>(slices[i].data), slices[i].size);
  }
  return text;
}

inline Event CopyOf(const lever_event& from) {
  Event event;
  event.type = static_cast<lever_event_type>(from.type);
  event.status = static_cast<lever_status>(from.status);
  event.executed = static_cast<lever_executed>(from.executed);
  event.kind = static_cast<lever_kind>(from.kind);
  event.service_state = from.service_state;
  event.id = from.id;
  event.user_data = from.user_data;
  event.object = from.object;
  event.method = from.method;
  event.payload = Join(from.slices, from.slice_count);
  EXPECT_EQ(from.message == nullptr, from.status == LEVER_OK);
  if (from.message != nullptr) event.message = from.message;
  if (from.caller != nullptr) event.caller = from.caller;
  for (size_t i = 0; i < from.metadata_count; ++i) {
    const lever_metadata& field = from.metadata[i];
    event.metadata[std::string(field.name, field.name_size)] =
        std::string(field.value, field.value_size);
  }
  event.deadline_ns = from.deadline_ns;
  event.resource = from.resource;
  event.generation = from.generation;
  if (from.resource_name_size > 0) {
    event.resource_name.assign(from.resource_name, from.resource_name_size);
  }
  event.origin = from.origin;
  event.close_reason = from.close_reason;
  event.resumed = from.resumed == 1;
  event.resume_token.assign(static_cast<const char*>(from.resume_token), from.resume_token_size);
  event.resume_received = from.resume_received;
  return event;
}

inline lever_slice SliceOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A string as a MessagePack value of up to 65,535 bytes.
inline std::string Packed(std::string_view text) {
  std::string value("\xda");
  value.push_back(static_cast<char>(text.size() >> 8));
  value.push_back(static_cast<char>(text.size()));
  value.append(text);
  return value;
}

// A queue whose events are fetched by the test's thread.
class Events {
 public:
  explicit Events(lever_queue_options options = {}) {
    options.size = sizeof(options);
    EXPECT_EQ(lever_queue_create(&options, &queue_, nullptr), LEVER_OK);
  }
  ~Events() { EXPECT_EQ(lever_queue_destroy(queue_), LEVER_OK); }
  lever_queue* get() const { return queue_; }

  // One lever_queue_next(); what comes is put behind what has come.
  size_t Fetch(int64_t timeout_ns, size_t capacity = 16) {
    std::vector<lever_event> events(capacity);
    size_t count = 0;
    EXPECT_EQ(
        lever_queue_next(queue_, events.data(), sizeof(lever_event), capacity, timeout_ns, &count),
        LEVER_OK);
    for (size_t i = 0; i < count; ++i) seen_.push_back(CopyOf(events[i]));
    return count;
  }

  // The first event for which `wanted` holds, which is taken out; fails the test if none comes.
  Event Await(const std::function<bool(const Event&)>& wanted) {
    const auto until = std::chrono::steady_clock::now() + kLimit;
    for (;;) {
      for (auto it = seen_.begin(); it != seen_.end(); ++it) {
        if (!wanted(*it)) continue;
        Event event = std::move(*it);
        seen_.erase(it);
        return event;
      }
      if (std::chrono::steady_clock::now() >= until) break;
      Fetch(50'000'000);
    }
    ADD_FAILURE() << "the event that was waited for did not come";
    return {};
  }
  Event Await(lever_event_type type) {
    return Await([type](const Event& event) { return event.type == type; });
  }
  Event Await(lever_event_type type, uint64_t id) {
    return Await([=](const Event& event) { return event.type == type && event.id == id; });
  }
  // What has been fetched and not been taken out.
  const std::deque<Event>& seen() const { return seen_; }
  size_t Count(lever_event_type type) const {
    size_t count = 0;
    for (const Event& event : seen_) count += event.type == type ? 1 : 0;
    return count;
  }
  // Turns until nothing is left to do at once.
  void Settle() {
    for (int idle = 0; idle < 3; ++idle) {
      while (Fetch(0) > 0) {
      }
    }
  }

 private:
  lever_queue* queue_ = nullptr;
  std::deque<Event> seen_;
};

// A service with the methods that the tests use, or a client, closed and destroyed at its end.
class Service {
 public:
  explicit Service(Events* events) : Service(events, Options()) {}
  Service(Events* events, const lever_service_options& options) : events_(events) {
    EXPECT_EQ(lever_service_create(events->get(), &options, &service_, nullptr), LEVER_OK);
    for (const char* name : {"echo", "other", "echoChan"}) {
      EXPECT_EQ(
          lever_service_add_method(service_, name, LEVER_NUL_TERMINATED, const_cast<char*>(name)),
          LEVER_OK);
    }
  }
  ~Service() {
    if (service_ == nullptr) return;
    Close();
    EXPECT_EQ(lever_service_destroy(service_), LEVER_OK);
  }
  void Start() { EXPECT_EQ(lever_service_start(service_, nullptr), LEVER_OK); }
  void Close() {
    if (lever_service_close(service_) != LEVER_OK) return;
    events_->Await([this](const Event& event) {
      return event.type == LEVER_EVENT_CLOSED && event.object == service_;
    });
  }
  std::string listening() const {
    lever_service_details details{};
    details.size = sizeof(details);
    EXPECT_EQ(lever_service_get_details(service_, &details), LEVER_OK);
    return details.listening;
  }
  static lever_service_options Options() {
    lever_service_options options{};
    options.size = sizeof(options);
    options.name = "test";
    options.name_size = LEVER_NUL_TERMINATED;
    options.host = kNoHost;
    options.host_size = LEVER_NUL_TERMINATED;
    options.listen = "127.0.0.1:0";
    options.listen_size = LEVER_NUL_TERMINATED;
    return options;
  }
  lever_service* get() const { return service_; }
  // The test destroys it by itself.
  lever_service* Release() { return std::exchange(service_, nullptr); }

 private:
  Events* events_;
  lever_service* service_ = nullptr;
};

// A service and a client that meet in their queue.
inline lever_service_options InProcess(const char* name) {
  lever_service_options options{};
  options.size = sizeof(options);
  options.name = name;
  options.name_size = LEVER_NUL_TERMINATED;
  options.in_process = 1;
  return options;
}

inline lever_client_options InProcessClient() {
  lever_client_options options{};
  options.in_process = 1;
  return options;
}

struct CallOptions {
  std::string payload = kNoArguments;
  lever_kind kind = LEVER_KIND_VALUE;
  int64_t timeout_ns = 0;
  uint64_t parent = 0;
  uint32_t flags = 0;
  void* user_data = nullptr;
  std::vector<lever_metadata> metadata = {};
  uint64_t read_messages = 0;
  uint64_t read_bytes = 0;
  // With LEVER_CALL_RESUME.
  std::string resume_token = {};
  uint64_t resume_received = 0;
};

class Client {
 public:
  // `host` empty: echo mode.
  Client(Events* events, std::string_view host, void* user_data = nullptr) : events_(events) {
    lever_client_options options{};
    options.size = sizeof(options);
    options.echo = host.empty() ? 1 : 0;
    if (!host.empty()) {
      options.host = host.data();
      options.host_size = host.size();
    }
    options.user_data = user_data;
    EXPECT_EQ(lever_client_create(events->get(), &options, &client_, nullptr), LEVER_OK);
  }
  Client(Events* events, lever_client_options options) : events_(events) {
    options.size = sizeof(options);
    EXPECT_EQ(lever_client_create(events->get(), &options, &client_, nullptr), LEVER_OK);
  }
  ~Client() {
    if (client_ == nullptr) return;
    Close();
    EXPECT_EQ(lever_client_destroy(client_), LEVER_OK);
  }
  void Close() {
    if (lever_client_close(client_) != LEVER_OK) return;
    events_->Await([this](const Event& event) {
      return event.type == LEVER_EVENT_CLOSED && event.object == client_;
    });
  }
  lever_client* get() const { return client_; }
  lever_client* Release() { return std::exchange(client_, nullptr); }

  lever_status TryCall(std::string_view address, const CallOptions& options, uint64_t* id) {
    return Start(lever_call_start, address, options, id);
  }
  uint64_t Call(std::string_view address, const CallOptions& options = {}) {
    uint64_t id = 0;
    EXPECT_EQ(TryCall(address, options, &id), LEVER_OK);
    return id;
  }
  lever_status TryOpen(std::string_view address, const CallOptions& options, uint64_t* id) {
    return Start(lever_stream_open, address, options, id);
  }
  uint64_t Open(std::string_view address, const CallOptions& options = {}) {
    uint64_t id = 0;
    EXPECT_EQ(TryOpen(address, options, &id), LEVER_OK);
    return id;
  }

 private:
  using Function = lever_status (*)(lever_client*, const lever_call_options*, uint64_t*,
                                    lever_error**);
  lever_status Start(Function function, std::string_view address, const CallOptions& options,
                     uint64_t* id) {
    const lever_slice slice = SliceOf(options.payload);
    lever_call_options native{};
    native.size = sizeof(native);
    native.address = address.data();
    native.address_size = address.size();
    native.kind = options.kind;
    native.flags = options.flags;
    native.slices = &slice;
    native.slice_count = 1;
    native.timeout_ns = options.timeout_ns;
    native.parent = options.parent;
    native.user_data = options.user_data;
    native.metadata = options.metadata.data();
    native.metadata_count = options.metadata.size();
    native.read_messages = options.read_messages;
    native.read_bytes = options.read_bytes;
    native.resume_token = options.resume_token.data();
    native.resume_token_size = options.resume_token.size();
    native.resume_received = options.resume_received;
    return function(client_, &native, id, nullptr);
  }

  Events* events_;
  lever_client* client_ = nullptr;
};

// The service and the client on one queue.
class CapiTest : public testing::Test {
 protected:
  explicit CapiTest(lever_queue_options options = {}) : events_(options), service_(&events_) {
    service_.Start();
    client_.emplace(&events_, service_.listening());
  }

  lever_queue* queue() const { return events_.get(); }
  lever_status Reply(uint64_t incoming, std::string_view payload = kNoArguments,
                     lever_kind kind = LEVER_KIND_VALUE) {
    const lever_slice slice = SliceOf(payload);
    return lever_incoming_reply(queue(), incoming, kind, &slice, 1, nullptr, 0);
  }
  lever_status Write(uint64_t stream, std::string_view payload, lever_kind kind = LEVER_KIND_RAW) {
    const lever_slice slice = SliceOf(payload);
    return lever_stream_write(queue(), stream, kind, &slice, 1);
  }
  // A unary call that has come in, not begun.
  Event AwaitCall() { return events_.Await(LEVER_EVENT_INCOMING_CALL); }
  // Opens a stream and begins it at the other side: ours, and the incoming one.
  std::pair<uint64_t, uint64_t> OpenStream(const CallOptions& options = {}) {
    const uint64_t ours = client_->Open("/test/echoChan", options);
    const uint64_t theirs = events_.Await(LEVER_EVENT_INCOMING_STREAM).id;
    EXPECT_EQ(lever_incoming_begin(queue(), theirs), LEVER_OK);
    return {ours, theirs};
  }

  Events events_;
  Service service_;
  std::optional<Client> client_;
};

}  // namespace lever_test

#endif  // TESTS_CAPI_CAPI_FIXTURE_H_
