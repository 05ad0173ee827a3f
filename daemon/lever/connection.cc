#include "daemon/lever/connection.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "daemon/lever/probe.h"

namespace lever::cli {
namespace {

constexpr size_t kEventsPerTurn = 64;

lever_slice SliceOf(const std::string& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

lever_call_options OptionsOf(const Request& request, const lever_slice* slice, EventSink* sink) {
  lever_call_options options = {};
  options.size = sizeof(options);
  options.address = request.address.data();
  options.address_size = request.address.size();
  options.kind = request.payload.kind;
  options.flags = request.flags;
  options.slices = slice;
  options.slice_count = request.payload.kind == LEVER_KIND_NONE ? 0 : 1;
  options.timeout_ns = request.timeout_ns;
  options.user_data = sink;
  return options;
}

sigset_t EndingSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

// A unary call.
class PendingCall final : public EventSink {
 public:
  void OnEvents(const lever_event* events, size_t count) override {
    for (size_t i = 0; i < count; ++i) {
      if (events[i].type != LEVER_EVENT_CALL_DONE) continue;
      outcome = OutcomeOf(events[i]);
      done = true;
    }
  }

  bool done = false;
  Outcome outcome;
};

}  // namespace

Status TakeError(lever_status status, lever_error* error) {
  if (status == LEVER_OK) return Status::Ok();
  std::string message = error == nullptr ? lever_status_text(status) : lever_error_message(error);
  lever_error_destroy(error);
  return Status(status, std::move(message));
}

Payload PayloadOf(const lever_event& event) {
  Payload payload;
  payload.kind = event.kind;
  for (size_t i = 0; i < event.slice_count; ++i) {
    payload.bytes.append(reinterpret_cast<const char*>(event.slices[i].data), event.slices[i].size);
  }
  return payload;
}

Outcome OutcomeOf(const lever_event& event) {
  Outcome outcome;
  if (event.status != LEVER_OK) {
    outcome.status = Status(static_cast<lever_status>(event.status),
                            event.message == nullptr ? "" : event.message)
                         .WithExecuted(static_cast<lever_executed>(event.executed));
  }
  outcome.payload = PayloadOf(event);
  return outcome;
}

Status ParseReply(const Payload& payload, google::protobuf::Message* reply) {
  if (reply->ParseFromString(payload.bytes)) return Status::Ok();
  return Internal("the host's answer cannot be read; is it of another version?");
}

StatusOr<std::unique_ptr<Connection>> Connection::Open(const Globals& globals, int cancel_fd) {
  std::unique_ptr<Connection> connection(new Connection());
  LEVER_RETURN_IF_ERROR(connection->Init(globals, cancel_fd));
  return connection;
}

Status Connection::WatchSignals() {
  const sigset_t signals = EndingSignals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  signals_ = UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return ErrnoStatus(errno, "signalfd");
  cancel_fd_ = signals_.get();
  return Status::Ok();
}

Status Connection::Init(const Globals& globals, int cancel_fd) {
  host_ = globals.host;
  if (const Status probed = ProbeHost(host_); !probed.ok()) {
    return WithAdvice({probed, {}}).status;
  }
  cancel_fd_ = cancel_fd;
  if (cancel_fd == kOwnSignals) LEVER_RETURN_IF_ERROR(WatchSignals());
  lever_error* error = nullptr;
  const lever_status created = lever_queue_create(nullptr, &queue_, &error);
  LEVER_RETURN_IF_ERROR(TakeError(created, error));
  lever_client_options options = {};
  options.size = sizeof(options);
  options.host = globals.host.data();
  options.host_size = globals.host.size();
  options.environment = globals.environment.data();
  options.environment_size = globals.environment.size();
  // For one call, a direct connection is not worth making.
  options.only_through_host = 1;
  error = nullptr;
  const lever_status status = lever_client_create(queue_, &options, &client_, &error);
  return TakeError(status, error);
}

Connection::~Connection() {
  if (client_ != nullptr) {
    (void)lever_client_close(client_);
    std::array<lever_event, kEventsPerTurn> events;
    size_t count = 0;
    while (lever_client_destroy(client_) == LEVER_BUSY) {
      if (lever_queue_next(queue_, events.data(), sizeof(lever_event), events.size(), -1, &count) !=
          LEVER_OK) {
        break;
      }
    }
  }
  if (queue_ != nullptr) (void)lever_queue_destroy(queue_);
}

bool Connection::TakeCancel() {
  if (!signals_.valid()) {
    cancel_fd_ = -1;
    return true;
  }
  signalfd_siginfo info;
  if (::read(signals_.get(), &info, sizeof(info)) <= 0) return false;
  // The next one is not held back any more.
  const sigset_t signals = EndingSignals();
  ::sigprocmask(SIG_UNBLOCK, &signals, nullptr);
  return true;
}

Status Connection::HandOutEvents() {
  std::array<lever_event, kEventsPerTurn> events;
  size_t count = 0;
  const lever_status status =
      lever_queue_next(queue_, events.data(), sizeof(lever_event), events.size(), 0, &count);
  if (status != LEVER_OK) return Status(status, lever_status_text(status));
  // The command has one call or stream at a time, so that all events with a sink are of one sink.
  size_t begin = 0;
  while (begin < count) {
    size_t end = begin + 1;
    while (end < count && events[end].user_data == events[begin].user_data) ++end;
    auto* const sink = static_cast<EventSink*>(events[begin].user_data);
    if (sink != nullptr) sink->OnEvents(&events[begin], end - begin);
    begin = end;
  }
  return Status::Ok();
}

StatusOr<Connection::Ready> Connection::RunTurn(const Watch& watch) {
  std::array<pollfd, 4> watched{
      pollfd{lever_queue_fd(queue_), POLLIN, 0}, pollfd{cancel_fd_, POLLIN, 0},
      pollfd{watch.input_fd, POLLIN, 0}, pollfd{watch.output_fd, POLLOUT, 0}};
  const int count = ::poll(watched.data(), watched.size(), watch.timeout_ms);
  if (count < 0) {
    if (errno != EINTR) return ErrnoStatus(errno, "poll");
    return Ready();
  }
  Ready ready;
  ready.quiet = count == 0;
  ready.interrupted = watched[1].revents != 0 && TakeCancel();
  ready.input = watched[2].revents != 0;
  ready.output = watched[3].revents != 0;
  if (watched[0].revents != 0) LEVER_RETURN_IF_ERROR(HandOutEvents());
  return ready;
}

Outcome Connection::WithAdvice(Outcome outcome) const {
  const std::string& message = outcome.status.message();
  if (outcome.status.code() == LEVER_UNAVAILABLE &&
      message.find("cannot connect to " + host_) != std::string::npos) {
    outcome.status =
        Status(LEVER_UNAVAILABLE,
               message + "; is leverd running there? --host or LEVER_HOST names another")
            .WithExecuted(outcome.status.executed());
  }
  return outcome;
}

Outcome Connection::Call(const Request& request) {
  PendingCall pending;
  const lever_slice slice = SliceOf(request.payload.bytes);
  const lever_call_options options = OptionsOf(request, &slice, &pending);
  lever_call call = 0;
  lever_error* error = nullptr;
  const lever_status started = lever_call_start(client_, &options, &call, &error);
  if (started != LEVER_OK) return {TakeError(started, error), {}};
  while (!pending.done) {
    const StatusOr<Ready> ready = RunTurn({});
    // Nothing can be waited for any more: the process ends with this.
    if (!ready.ok()) return {ready.status(), {}};
    if (ready->interrupted && !pending.done) (void)lever_call_cancel(queue_, call);
  }
  return WithAdvice(std::move(pending.outcome));
}

Status Connection::CallHost(std::string_view path, const google::protobuf::Message& request,
                            google::protobuf::Message* reply, int64_t timeout_ns) {
  Request call;
  call.timeout_ns = timeout_ns;
  call.address = path;
  call.payload = {LEVER_KIND_RAW, request.SerializeAsString()};
  call.flags = LEVER_CALL_GRPC;
  const Outcome outcome = Call(call);
  LEVER_RETURN_IF_ERROR(outcome.status);
  return ParseReply(outcome.payload, reply);
}

Status Connection::OpenStream(const Request& request, uint64_t read_messages, EventSink* sink,
                              lever_stream* id) {
  const lever_slice slice = SliceOf(request.payload.bytes);
  lever_call_options options = OptionsOf(request, &slice, sink);
  options.read_messages = read_messages;
  lever_error* error = nullptr;
  const lever_status status = lever_stream_open(client_, &options, id, &error);
  return TakeError(status, error);
}

}  // namespace lever::cli
