// The service that is measured, on the C ABI. Answers with what it was sent.
//
//   serve [--flush call] [--sleep-ms MS]         an instance that a host has started
//   serve --name NAME --host ADDRESS [--listen ADDRESS]
//                                                attaches itself; ends with its standard input
//
// Methods: echo; echoChan, which sends each message back; sinkChan, which takes messages and answers with
// one when the caller has ended.
//
// With --sleep-ms, echo answers that much later, and keeps its calls in flight meanwhile.
//
// With LEVER_BENCH_UNTIL_MAIN set it writes a byte and ends, so that others can measure what comes before
// main().
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/common/load.h"
#include "lever/lever.h"

namespace {

using lever::bench::Die;
using lever::bench::Flag;

constexpr size_t kEventsMax = 256;
// Messages that a stream may have delivered and not yet consumed.
constexpr uint64_t kCreditMessages = 1024;

void Must(lever_status status, lever_error* error, const char* what) {
  if (status == LEVER_OK) return;
  Die(std::string(what) + ": " + lever_status_name(status) + " " +
      (error == nullptr ? "" : lever_error_message(error)));
}

char echo_method, echo_stream_method, sink_stream_method;

class Server {
 public:
  Server(int argc, char** argv) {
    lever_queue_options queue_options{};
    queue_options.size = sizeof(queue_options);
    // What one batch of events answers is written together, or each answer by itself.
    queue_options.flush_explicitly = Flag(argc, argv, "--flush") == "call" ? 0 : 1;
    lever_error* error = nullptr;
    Must(lever_queue_create(&queue_options, &queue_, &error), error, "queue");
    name_ = Flag(argc, argv, "--name");
    host_ = Flag(argc, argv, "--host");
    listen_ = Flag(argc, argv, "--listen");
    sleep_ns_ = std::stoll(Flag(argc, argv, "--sleep-ms", "0")) * 1'000'000;
    lever_service_options options{};
    options.size = sizeof(options);
    Set(name_, &options.name, &options.name_size);
    Set(host_, &options.host, &options.host_size);
    Set(listen_, &options.listen, &options.listen_size);
    Must(lever_service_create(queue_, &options, &service_, &error), error, "service");
    Add("echo", &echo_method);
    Add("echoChan", &echo_stream_method);
    Add("sinkChan", &sink_stream_method);
    Must(lever_service_start(service_, &error), error, "start");
    if (!listen_.empty()) {
      lever_service_details details{};
      details.size = sizeof(details);
      Must(lever_service_get_details(service_, &details), nullptr, "details");
      lever::bench::Commands::Print(std::string("listening ") + details.listening + "\n");
    } else if (!name_.empty()) {
      lever::bench::Commands::Print("listening\n");
    }
    if (!name_.empty()) lever::bench::ExitWithInput();
  }

  // Until the host has drained it.
  int Run() {
    lever_event events[kEventsMax];
    for (;;) {
      size_t count = 0;
      Must(lever_queue_next(queue_, events, sizeof(events[0]), kEventsMax, UntilNextAnswer(),
                            &count),
           nullptr, "next");
      for (size_t i = 0; i < count; ++i) {
        if (events[i].type == LEVER_EVENT_SERVICE_STATE &&
            events[i].service_state == LEVER_SERVICE_DRAINED) {
          return 0;
        }
        OnEvent(events[i]);
      }
      AnswerSleepers();
      Must(lever_queue_flush(queue_), nullptr, "flush");
    }
  }

 private:
  struct Sleeper {
    int64_t due_ns = 0;
    uint64_t id = 0;
    uint32_t kind = 0;
    std::string payload;
  };

  struct Stream {
    bool sink = false;
    std::deque<std::string> waiting;  // for room
    bool ended = false;               // by the caller
  };

  static void Set(const std::string& text, const char** data, size_t* size) {
    if (text.empty()) return;
    *data = text.data();
    *size = text.size();
  }
  void Add(const char* name, void* method) {
    Must(lever_service_add_method(service_, name, LEVER_NUL_TERMINATED, method), nullptr, name);
  }

  void OnEvent(const lever_event& event) {
    switch (event.type) {
      case LEVER_EVENT_INCOMING_CALL:
        if (lever_incoming_begin(queue_, event.id) != LEVER_OK) return;
        if (sleep_ns_ > 0) return Sleep(event);
        Must(lever_incoming_reply(queue_, event.id, event.kind, Payload(event), event.slice_count,
                                  nullptr, 0),
             nullptr, "reply");
        return;
      case LEVER_EVENT_INCOMING_STREAM:
        if (lever_incoming_begin(queue_, event.id) != LEVER_OK) return;
        streams_[event.id].sink = event.method == &sink_stream_method;
        lever_stream_read(queue_, event.id, kCreditMessages, 0);
        return;
      case LEVER_EVENT_STREAM_MESSAGE: OnMessage(event); return;
      case LEVER_EVENT_WRITABLE: OnWritable(event.id); return;
      case LEVER_EVENT_STREAM_HALF_CLOSED: {
        Stream& stream = streams_[event.id];
        stream.ended = true;
        if (stream.sink) stream.waiting.emplace_back("done");
        OnWritable(event.id);
        return;
      }
      case LEVER_EVENT_STREAM_END: streams_.erase(event.id); return;
      default: return;
    }
  }

  // A request's value is the array of its arguments; the answer is the first of them. Raw bytes are
  // both. An array of one element is its marker, one byte, and the element.
  const lever_slice* Payload(const lever_event& event) {
    if (event.kind != LEVER_KIND_VALUE) return event.slices;
    argument_.assign(event.slices, event.slices + event.slice_count);
    ++argument_[0].data;
    --argument_[0].size;
    return argument_.data();
  }

  void Sleep(const lever_event& event) {
    Sleeper& sleeper = sleepers_.emplace_back();
    sleeper.due_ns = lever::bench::NowNs() + sleep_ns_;
    sleeper.id = event.id;
    sleeper.kind = event.kind;
    const lever_slice* payload = Payload(event);
    for (size_t i = 0; i < event.slice_count; ++i) {
      sleeper.payload.append(reinterpret_cast<const char*>(payload[i].data), payload[i].size);
    }
  }

  // All sleep alike: the first one that came is the first one that is due.
  int64_t UntilNextAnswer() const {
    if (sleepers_.empty()) return -1;
    return std::max<int64_t>(0, sleepers_.front().due_ns - lever::bench::NowNs());
  }

  void AnswerSleepers() {
    while (!sleepers_.empty() && sleepers_.front().due_ns <= lever::bench::NowNs()) {
      const Sleeper& sleeper = sleepers_.front();
      const lever_slice slice{reinterpret_cast<const uint8_t*>(sleeper.payload.data()),
                              sleeper.payload.size()};
      // One that was cancelled meanwhile has ended.
      lever_incoming_reply(queue_, sleeper.id, sleeper.kind, &slice, 1, nullptr, 0);
      sleepers_.pop_front();
    }
  }

  void OnMessage(const lever_event& event) {
    Stream& stream = streams_[event.id];
    // Credit goes back with each message: what is on its way is bounded by it.
    lever_stream_read(queue_, event.id, 1, 0);
    if (stream.sink) return;
    if (stream.waiting.empty() && lever_stream_write(queue_, event.id, event.kind, event.slices,
                                                     event.slice_count) == LEVER_OK) {
      return;
    }
    std::string& copy = stream.waiting.emplace_back();
    for (size_t i = 0; i < event.slice_count; ++i) {
      copy.append(reinterpret_cast<const char*>(event.slices[i].data), event.slices[i].size);
    }
  }

  void OnWritable(uint64_t id) {
    Stream& stream = streams_[id];
    while (!stream.waiting.empty()) {
      const std::string& next = stream.waiting.front();
      const lever_slice slice{reinterpret_cast<const uint8_t*>(next.data()), next.size()};
      if (lever_stream_write(queue_, id, LEVER_KIND_RAW, &slice, 1) != LEVER_OK) return;
      stream.waiting.pop_front();
    }
    if (stream.ended) lever_stream_close_send(queue_, id);
  }

  std::string name_, host_, listen_;
  lever_queue* queue_ = nullptr;
  lever_service* service_ = nullptr;
  std::unordered_map<uint64_t, Stream> streams_;
  std::vector<lever_slice> argument_;
  int64_t sleep_ns_ = 0;
  std::deque<Sleeper> sleepers_;
};

}  // namespace

int main(int argc, char** argv) {
  if (std::getenv("LEVER_BENCH_UNTIL_MAIN") != nullptr) {
    (void)!::write(STDOUT_FILENO, "m", 1);
    ::_exit(0);
  }
  Server server(argc, argv);
  return server.Run();
}
