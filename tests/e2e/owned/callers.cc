// Callers of resources at a steady rate, while what owns these is moved about: how long each call took,
// how each ended, and whether what was acknowledged is there at the end.
//
//   callers --host ADDRESS --service NAME [--resources 1000] [--rate 2000] [--streams 500]
//           [--way direct|host] [--journal PATH] [--slow SHARE]
//
// The service's resources have `add` (adds its argument, answers the sum), `get`, and `watchChan` (a
// message at the start, and one for each that it is sent). Calls are started when they are due, however
// many are under way, and timed from when they were due: a pause is seen by every call that was due in it
// (Tene: "How NOT to Measure Latency"). A stream that ends is opened again, and counted.
//
// With --journal the adds are `bump` instead, of resources `m0`, `s1`, `m2` and so on, and each that
// succeeds is written there (journal.h): `success`, with who says so, and the count. SHARE of them take 50
// to 300 ms.
//
// Runs until its standard input ends; then waits for what is under way, compares, and prints one line of
// JSON. On the way a `b` on standard input begins a move, and an `e` ends it: the longest call that each
// resource had in between is a pause, as its callers see it. A `c` calls every resource once at that moment,
// with --journal slowly: so that calls run and others wait for them.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bench/common/load.h"
#include "journal.h"
#include "lever/lever.h"

namespace {

using lever::bench::Die;
using lever::bench::Flag;
using lever::bench::kSecondNs;
using lever::bench::NowNs;

constexpr size_t kEventsMax = 256;
constexpr int64_t kLastCallsNs = 70 * kSecondNs;
constexpr int64_t kReopenNs = kSecondNs / 10;
constexpr uint8_t kOne[] = {0x91, 0x01};   // [1]
constexpr uint8_t kNone[] = {0x90};        // []

// The MessagePack integers, not negative, of an answer: one, or a short array of them.
std::vector<uint64_t> Integers(const lever_event& event) {
  std::string bytes;
  for (size_t i = 0; i < event.slice_count; ++i) {
    bytes.append(reinterpret_cast<const char*>(event.slices[i].data), event.slices[i].size);
  }
  std::vector<uint64_t> found;
  for (size_t i = 0; i < bytes.size();) {
    const auto first = static_cast<uint8_t>(bytes[i++]);
    if ((first & 0xf0) == 0x90) continue;  // the array
    // 0xcc to 0xcf, and 0xd0 to 0xd3: 1, 2, 4 and 8 bytes follow.
    const size_t follow = first < 0x80 ? 0 : size_t{1} << (first & 3);
    uint64_t value = first < 0x80 ? first : 0;
    for (size_t end = std::min(i + follow, bytes.size()); i < end; ++i) {
      value = value << 8 | static_cast<uint8_t>(bytes[i]);
    }
    found.push_back(value);
  }
  return found;
}

class Callers {
 public:
  Callers(int argc, char** argv)
      : service_(Flag(argc, argv, "--service")),
        resources_(std::stoul(Flag(argc, argv, "--resources", "1000"))),
        rate_(std::stod(Flag(argc, argv, "--rate", "2000"))),
        streams_(std::stoul(Flag(argc, argv, "--streams", "500"))),
        slow_(std::stod(Flag(argc, argv, "--slow", "0"))),
        acknowledged_(resources_),
        longest_(resources_) {
    const std::string journal = Flag(argc, argv, "--journal", "");
    if (!journal.empty()) journal_.Open(journal);
    lever_queue_options queue_options{};
    queue_options.size = sizeof(queue_options);
    if (lever_queue_create(&queue_options, &queue_, nullptr) != LEVER_OK) Die("no queue");
    const std::string host = Flag(argc, argv, "--host");
    lever_client_options options{};
    options.size = sizeof(options);
    options.host = host.data();
    options.host_size = host.size();
    options.only_through_host = Flag(argc, argv, "--way", "direct") == "host" ? 1 : 0;
    lever_error* error = nullptr;
    if (lever_client_create(queue_, &options, &client_, &error) != LEVER_OK) {
      Die(lever_error_message(error));
    }
  }

  void Run() {
    for (size_t i = 0; i < streams_; ++i) reopen_.push_back({NowNs(), i % resources_});
    const auto period_ns = static_cast<int64_t>(static_cast<double>(kSecondNs) / rate_);
    int64_t due_ns = NowNs();
    while (!InputEnded()) {
      for (const int64_t now_ns = NowNs(); due_ns <= now_ns; due_ns += period_ns) StartAdd(due_ns);
      Reopen();
      Turn(std::max<int64_t>(due_ns - NowNs(), 0));
    }
    Finish();
  }

 private:
  struct Call {
    int64_t due_ns = 0;
    size_t resource = 0;
    bool get = false;
  };
  struct Closed {
    int64_t at_ns = 0;
    size_t resource = 0;
  };

  std::string Name(size_t resource) const {
    const char* const kind = !journal_.is_open() ? "r" : resource % 2 == 0 ? "m" : "s";
    return kind + std::to_string(resource);
  }

  std::string Address(size_t resource, const char* method) const {
    return "/" + service_ + "/" + Name(resource) + "/" + method;
  }

  lever_call_options Options(const std::string& address, const lever_slice* slice) const {
    lever_call_options options{};
    options.size = sizeof(options);
    options.address = address.data();
    options.address_size = address.size();
    options.kind = LEVER_KIND_VALUE;
    options.slices = slice;
    options.slice_count = 1;
    return options;
  }

  void StartAdd(int64_t due_ns) {
    const bool slow = static_cast<double>(random_() % 1000) < slow_ * 1000;
    StartAdd(due_ns, random_() % resources_, slow);
  }

  void StartAdd(int64_t due_ns, size_t resource, bool slow) {
    if (!journal_.is_open()) {
      const lever_slice slice{kOne, sizeof(kOne)};
      return Start(Address(resource, "add"), slice, {due_ns, resource, false});
    }
    const uint32_t ms = slow ? 50 + random_() % 250 : 0;
    // [ms]
    const uint8_t arguments[] = {0x91, 0xcd, static_cast<uint8_t>(ms >> 8),
                                 static_cast<uint8_t>(ms)};
    Start(Address(resource, "bump"), {arguments, sizeof(arguments)}, {due_ns, resource, false});
  }

  void Start(const std::string& address, lever_slice slice, Call call) {
    const lever_call_options options = Options(address, &slice);
    lever_call id = 0;
    const lever_status status = lever_call_start(client_, &options, &id, nullptr);
    if (status != LEVER_OK) {
      ++failed_[std::string(lever_status_name(status)) + " at once"];
      return;
    }
    calls_.emplace(id, call);
  }

  void Reopen() {
    const int64_t now_ns = NowNs();
    std::vector<Closed> later;
    for (const Closed& closed : reopen_) {
      if (closed.at_ns > now_ns) {
        later.push_back(closed);
        continue;
      }
      const lever_slice slice{kNone, sizeof(kNone)};
      const std::string address = Address(closed.resource, "watchChan");
      lever_call_options options = Options(address, &slice);
      options.read_messages = UINT32_MAX;
      lever_stream id = 0;
      if (lever_stream_open(client_, &options, &id, nullptr) != LEVER_OK) Die("no stream");
      open_.emplace(id, closed.resource);
      ++opened_;
    }
    reopen_ = std::move(later);
  }

  void Turn(int64_t timeout_ns) {
    lever_event events[kEventsMax];
    size_t count = 0;
    const lever_status status =
        lever_queue_next(queue_, events, sizeof(lever_event), kEventsMax, timeout_ns, &count);
    if (status != LEVER_OK) Die("queue");
    for (size_t i = 0; i < count; ++i) On(events[i]);
  }

  void On(const lever_event& event) {
    if (event.type == LEVER_EVENT_STREAM_MESSAGE) {
      ++messages_;
    } else if (event.type == LEVER_EVENT_STREAM_END) {
      const auto found = open_.find(event.id);
      ++ended_[lever_status_name(static_cast<lever_status>(event.status))];
      reopen_.push_back({NowNs() + kReopenNs, found->second});
      open_.erase(found);
    } else if (event.type == LEVER_EVENT_CALL_DONE) {
      const auto found = calls_.find(event.id);
      const Call call = found->second;
      calls_.erase(found);
      OnDone(event, call);
    }
  }

  void OnDone(const lever_event& event, const Call& call) {
    if (event.status != LEVER_OK) {
      const bool not_run = event.executed == LEVER_EXECUTED_NO;
      ++failed_[std::string(lever_status_name(static_cast<lever_status>(event.status))) +
                (not_run ? ", not run" : ", outcome unknown")];
      if (failed_total_++ == 0) std::fprintf(stderr, "the first failure: %s\n", event.message);
      return;
    }
    const std::vector<uint64_t> answer = Integers(event);
    const size_t wanted = journal_.is_open() && !call.get ? 3 : 1;
    if (answer.size() != wanted) Die("an answer of another kind");
    if (call.get) {
      if (answer[0] < acknowledged_[call.resource]) ++lost_;
      return;
    }
    if (journal_.is_open()) {
      journal_.Write(lever::e2e::BootNs(), "success", static_cast<int64_t>(answer[2]),
                     Name(call.resource), answer[1], static_cast<int64_t>(answer[0]));
    }
    ++acknowledged_[call.resource];
    const int64_t latency_ns = NowNs() - call.due_ns;
    latencies_.push_back(latency_ns);
    longest_[call.resource] = std::max(longest_[call.resource], latency_ns);
  }

  bool InputEnded() {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, 0) <= 0) return false;
    char byte = 0;
    if (::read(STDIN_FILENO, &byte, 1) <= 0) return true;
    if (byte == 'c') {
      for (size_t i = 0; i < resources_; ++i) StartAdd(NowNs(), i, true);
      return false;
    }
    for (int64_t& longest_ns : longest_) {
      const int64_t pause_ns = std::exchange(longest_ns, 0);
      if (byte == 'e' && pause_ns > 0) pauses_.push_back(pause_ns);
    }
    return false;
  }

  void Finish() {
    const int64_t give_up_ns = NowNs() + kLastCallsNs;
    while (!calls_.empty() && NowNs() < give_up_ns) Turn(kSecondNs / 10);
    const size_t unanswered = calls_.size();
    const size_t calls = latencies_.size() + failed_total_;
    const uint64_t failed = failed_total_;
    for (size_t i = 0; i < resources_; ++i) {
      Start(Address(i, "get"), {kNone, sizeof(kNone)}, {NowNs(), i, true});
      if (calls_.size() >= 64) Turn(kSecondNs / 10);
    }
    while (!calls_.empty() && NowNs() < give_up_ns + kLastCallsNs) Turn(kSecondNs / 10);
    std::sort(latencies_.begin(), latencies_.end());
    std::sort(pauses_.begin(), pauses_.end());
    const auto at = [this](double share) { return Milliseconds(latencies_, share); };
    std::printf("{\"calls\": %zu, \"failed\": %" PRIu64 ", \"unanswered\": %zu, \"lost\": %" PRIu64
                ", \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.3f, "
                "\"streams_opened\": %" PRIu64 ", \"stream_messages\": %" PRIu64,
                calls, failed, unanswered, lost_, at(0.5), at(0.99), at(0.999), at(1.0), opened_,
                messages_);
    std::printf(", \"pauses\": %zu, \"pause_p50_ms\": %.3f, \"pause_p99_ms\": %.3f, \"pause_max_ms\": %.3f",
                pauses_.size(), Milliseconds(pauses_, 0.5), Milliseconds(pauses_, 0.99),
                Milliseconds(pauses_, 1.0));
    Print("failures", failed_);
    Print("stream_ends", ended_);
    std::printf("}\n");
  }

  // Of sorted nanoseconds.
  static double Milliseconds(const std::vector<int64_t>& sorted, double share) {
    if (sorted.empty()) return 0;
    const auto index = static_cast<size_t>(share * static_cast<double>(sorted.size() - 1));
    return static_cast<double>(sorted[index]) / 1e6;
  }

  static void Print(const char* name, const std::map<std::string, uint64_t>& counts) {
    std::printf(", \"%s\": {", name);
    const char* comma = "";
    for (const auto& [what, count] : counts) {
      std::printf("%s\"%s\": %" PRIu64, comma, what.c_str(), count);
      comma = ", ";
    }
    std::printf("}");
  }

  const std::string service_;
  const size_t resources_;
  const double rate_;
  const size_t streams_;
  const double slow_;
  lever::e2e::Journal journal_;
  lever_queue* queue_ = nullptr;
  lever_client* client_ = nullptr;
  std::mt19937 random_{1};
  std::unordered_map<uint64_t, Call> calls_;
  std::unordered_map<uint64_t, size_t> open_;  // streams, and their resource
  std::vector<Closed> reopen_;
  std::vector<uint64_t> acknowledged_;  // of each resource
  std::vector<int64_t> latencies_;
  std::vector<int64_t> longest_;  // of each resource, since a move began
  std::vector<int64_t> pauses_;
  std::map<std::string, uint64_t> failed_;
  std::map<std::string, uint64_t> ended_;
  uint64_t failed_total_ = 0;
  uint64_t lost_ = 0;
  uint64_t opened_ = 0;
  uint64_t messages_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Callers(argc, argv).Run();
  std::fflush(stdout);
  std::_Exit(0);
}
