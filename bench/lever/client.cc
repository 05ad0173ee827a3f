// The client that is measured, on the C ABI. bench/common/load.h tells how it is driven.
//
//   lever_client --host ADDRESS --service NAME [--way direct|host] [--flush call] [--clients N] [--cold yes]
//
// `direct` waits until its calls go straight to an instance, over the socketpair that the host introduces;
// `host` never does that: its calls go to ADDRESS, which may be a host, a proxy, or a service that listens.
// With `--flush call` each call is written by itself, without waiting for others of its turn.
// With --cold, nothing is connected before the first command.
// With --clients, N clients share the process and call NAME0, NAME1, ...; for `open COUNT`, which opens so
// many streams on each, waits until they are, and leaves them open.
#include <poll.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/common/load.h"
#include "lever/lever.h"

namespace {

using lever::bench::Command;
using lever::bench::Die;
using lever::bench::Flag;
using lever::bench::kSecondNs;
using lever::bench::NowNs;

constexpr size_t kEventsMax = 256;

void Must(lever_status status, lever_error* error, const char* what) {
  if (status == LEVER_OK) return;
  Die(std::string(what) + ": " + lever_status_name(status) + " " +
      (error == nullptr ? "" : lever_error_message(error)));
}

struct Target {
  lever_client* client = nullptr;
  std::string unary, echo_stream, sink_stream;
};

class Client {
 public:
  Client(int argc, char** argv) : direct_(Flag(argc, argv, "--way", "host") == "direct") {
    lever_error* error = nullptr;
    lever_queue_options queue_options{};
    queue_options.size = sizeof(queue_options);
    // As an event loop does it: what one batch of events starts is written together. Where there is one
    // call at a time there is nothing to wait for.
    queue_options.flush_explicitly = Flag(argc, argv, "--flush") == "call" ? 0 : 1;
    Must(lever_queue_create(&queue_options, &queue_, &error), error, "queue");
    const std::string host = Flag(argc, argv, "--host");
    const std::string service = Flag(argc, argv, "--service");
    const std::string clients = Flag(argc, argv, "--clients");
    const size_t count = clients.empty() ? 1 : std::stoul(clients);
    for (size_t i = 0; i < count; ++i) {
      const std::string name = "/" + service + (clients.empty() ? "" : std::to_string(i));
      Target target{nullptr, name + "/echo", name + "/echoChan", name + "/sinkChan"};
      lever_client_options options{};
      options.size = sizeof(options);
      options.host = host.data();
      options.host_size = host.size();
      options.only_through_host = direct_ ? 0 : 1;
      Must(lever_client_create(queue_, &options, &target.client, &error), error, "client");
      targets_.push_back(target);
    }
  }

  // The instance starts, routes and connections come.
  void Connect() {
    const int64_t give_up_ns = NowNs() + 20 * kSecondNs;
    do {
      if (NowNs() > give_up_ns) Die("no direct connection within 20 s");
      RunCalls(0.02, 1);
    } while (direct_ && direct_calls() == 0);
    if (errors_ > 0) Die("calls fail");
  }

  // Drives the queue, whose connections have timers of their own, until there is a command.
  bool AwaitCommand() {
    pollfd wanted[] = {{STDIN_FILENO, POLLIN, 0}, {lever_queue_fd(queue_), POLLIN, 0}};
    for (;;) {
      ::poll(wanted, 2, -1);
      if (wanted[0].revents != 0) return true;
      Turn(0, [](const lever_event&) {});
    }
  }

  void Unary(const Command& command) {
    const int64_t began_ns = NowNs();
    RunCalls(command.seconds, command.count);
    lever::bench::AnswerCalls(calls_, errors_, NowNs() - began_ns, latencies_);
  }

  // Each message that comes back is replaced by another one.
  void Stream(const Command& command) {
    const lever_stream stream = Open(targets_[0], targets_[0].echo_stream, command.count);
    const uint8_t bytes[lever::bench::kMessageBytes] = {};
    const lever_slice message{bytes, sizeof(bytes)};
    const int64_t began_ns = NowNs();
    const int64_t end_ns = began_ns + static_cast<int64_t>(command.seconds * kSecondNs);
    size_t owed = command.count;  // messages that may be written, and had no room yet
    uint64_t received = 0;
    bool ended = false, failed = false, closed = false;
    const auto write = [&] {
      while (owed > 0 &&
             lever_stream_write(queue_, stream, LEVER_KIND_RAW, &message, 1) == LEVER_OK) {
        --owed;
      }
    };
    write();
    while (!ended) {
      Turn(-1, [&](const lever_event& event) {
        if (event.id != stream) return;
        if (event.type == LEVER_EVENT_STREAM_MESSAGE) {
          ++received;
          ++owed;
        } else if (event.type == LEVER_EVENT_STREAM_END) {
          ended = true;
          failed = !EndedWell(event);
        }
      });
      if (ended || closed) continue;
      lever_stream_read(queue_, stream, owed, 0);
      write();
      if (NowNs() >= end_ns) {
        closed = true;
        lever_stream_close_send(queue_, stream);
        lever_stream_read(queue_, stream, command.count, 0);
      }
      lever_queue_flush(queue_);
    }
    lever::bench::AnswerMessages(received, failed, NowNs() - began_ns);
  }

  // Counted when the service has taken the last one.
  void Bytes(const Command& command) {
    const lever_stream stream = Open(targets_[0], targets_[0].sink_stream, 1);
    const std::vector<uint8_t> bytes(lever::bench::kLargeBytes);
    const lever_slice message{bytes.data(), bytes.size()};
    const int64_t began_ns = NowNs();
    const int64_t end_ns = began_ns + static_cast<int64_t>(command.seconds * kSecondNs);
    uint64_t sent = 0;
    bool ended = false, confirmed = false, closed = false;
    while (!ended) {
      while (!closed &&
             lever_stream_write(queue_, stream, LEVER_KIND_RAW, &message, 1) == LEVER_OK) {
        ++sent;
      }
      if (!closed && NowNs() >= end_ns) {
        closed = true;
        lever_stream_close_send(queue_, stream);
      }
      Turn(-1, [&](const lever_event& event) {
        if (event.id != stream) return;
        confirmed |= event.type == LEVER_EVENT_STREAM_MESSAGE;
        if (event.type == LEVER_EVENT_STREAM_END) {
          ended = true;
          confirmed &= EndedWell(event);
        }
      });
    }
    lever::bench::AnswerMessages(sent, !confirmed, NowNs() - began_ns);
  }

  // A message each way shows that a stream is open.
  void OpenIdle(const Command& command) {
    const uint8_t byte = 0;
    const lever_slice message{&byte, 1};
    size_t waiting = 0;
    uint64_t failed = 0;
    const int64_t began_ns = NowNs();
    for (const Target& target : targets_) {
      for (size_t i = 0; i < command.count; ++i) {
        const lever_stream stream = Open(target, target.echo_stream, 1);
        Must(lever_stream_write(queue_, stream, LEVER_KIND_RAW, &message, 1), nullptr, "write");
        if (++waiting % 100 == 0) lever_queue_flush(queue_);
      }
    }
    const size_t opened = waiting;
    while (waiting > 0) {
      Turn(-1, [&](const lever_event& event) {
        if (event.type == LEVER_EVENT_STREAM_MESSAGE) --waiting;
        if (event.type == LEVER_EVENT_STREAM_END) {
          --waiting;
          if (!EndedWell(event)) ++failed;
        }
      });
    }
    lever::bench::AnswerMessages(opened, failed, NowNs() - began_ns);
  }

 private:
  template <typename Each>
  void Turn(int64_t timeout_ns, Each each) {
    lever_event events[kEventsMax];
    size_t count = 0;
    Must(lever_queue_flush(queue_), nullptr, "flush");
    Must(lever_queue_next(queue_, events, sizeof(events[0]), kEventsMax, timeout_ns, &count), nullptr,
         "next");
    for (size_t i = 0; i < count; ++i) each(events[i]);
  }

  // Until `seconds` have passed and everything that was started has come back.
  void RunCalls(double seconds, size_t outstanding) {
    calls_ = errors_ = 0;
    latencies_.Clear();
    started_ns_.assign(outstanding, 0);
    const int64_t end_ns = NowNs() + static_cast<int64_t>(seconds * kSecondNs);
    for (size_t slot = 0; slot < outstanding; ++slot) Start(slot);
    size_t in_flight = outstanding;
    while (in_flight > 0) {
      int64_t now_ns = 0;
      Turn(-1, [&](const lever_event& event) {
        if (event.type != LEVER_EVENT_CALL_DONE) return;
        if (now_ns == 0) now_ns = NowNs();
        const auto slot = reinterpret_cast<size_t>(event.user_data);
        Done(event, now_ns - started_ns_[slot]);
        if (now_ns < end_ns) {
          Start(slot);
        } else {
          --in_flight;
        }
      });
    }
  }

  void Start(size_t slot) {
    static constexpr uint8_t kPayload[lever::bench::kUnaryBytes] = {};
    const lever_slice payload{kPayload, sizeof(kPayload)};
    lever_call_options options{};
    options.size = sizeof(options);
    options.address = targets_[0].unary.data();
    options.address_size = targets_[0].unary.size();
    options.kind = LEVER_KIND_RAW;
    options.slices = &payload;
    options.slice_count = 1;
    options.user_data = reinterpret_cast<void*>(slot);
    lever_call call = 0;
    lever_error* error = nullptr;
    started_ns_[slot] = NowNs();
    Must(lever_call_start(targets_[0].client, &options, &call, &error), error, "call");
  }

  void Done(const lever_event& event, int64_t took_ns) {
    ++calls_;
    if (event.status != LEVER_OK || event.slice_count == 0) {
      if (errors_++ == 0) {
        std::fprintf(stderr, "%s: %s\n", lever_status_name(static_cast<lever_status>(event.status)),
                     event.message == nullptr ? "" : event.message);
      }
      return;
    }
    latencies_.Add(took_ns);
  }

  static bool EndedWell(const lever_event& event) {
    if (event.status == LEVER_OK) return true;
    std::fprintf(stderr, "%s: %s\n", lever_status_name(static_cast<lever_status>(event.status)),
                 event.message == nullptr ? "" : event.message);
    return false;
  }

  lever_stream Open(const Target& target, const std::string& address, size_t credit) {
    lever_call_options options{};
    options.size = sizeof(options);
    options.address = address.data();
    options.address_size = address.size();
    options.kind = LEVER_KIND_RAW;
    const lever_slice none{nullptr, 0};
    options.slices = &none;
    options.slice_count = 1;
    options.read_messages = credit;
    lever_stream stream = 0;
    lever_error* error = nullptr;
    Must(lever_stream_open(target.client, &options, &stream, &error), error, "stream");
    return stream;
  }

  uint64_t direct_calls() const {
    lever_client_stats stats{};
    stats.size = sizeof(stats);
    Must(lever_client_get_stats(targets_[0].client, &stats), nullptr, "stats");
    return stats.calls_direct;
  }

  const bool direct_;
  lever_queue* queue_ = nullptr;
  std::vector<Target> targets_;
  std::vector<int64_t> started_ns_;
  lever::bench::Latencies latencies_;
  uint64_t calls_ = 0;
  uint64_t errors_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Client client(argc, argv);
  if (Flag(argc, argv, "--cold").empty()) client.Connect();
  lever::bench::Commands commands;
  lever::bench::Commands::Ready();
  Command command;
  while (client.AwaitCommand() && commands.Next(&command)) {
    if (command.verb == "unary") client.Unary(command);
    else if (command.verb == "stream") client.Stream(command);
    else if (command.verb == "bytes") client.Bytes(command);
    else if (command.verb == "open") client.OpenIdle(command);
    else Die("unknown command: " + command.verb);
  }
  return 0;
}
