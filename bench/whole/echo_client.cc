// Calls /<service>/echo with 32 bytes, keeping a number of calls outstanding, and prints one JSON line:
//
//   {"calls":..,"errors":..,"seconds":..,"cpu_us":..,"p50_us":..,"p99_us":..,"direct":..}
//
//   bench_echo_client SERVICE OUTSTANDING SECONDS direct|host
//
// `cpu_us` is what this process used for one call. The host is $LEVER_HOST.
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "lever/lever.h"

namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr size_t kEventsMax = 256;
constexpr uint8_t kPayload[32] = {};
// Latencies that are kept; what is beyond is counted, not timed.
constexpr size_t kSamplesMax = 4'000'000;

int64_t NowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

int64_t CpuNs() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * kSecondNs +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

void Must(lever_status status, lever_error* error, const char* what) {
  if (status == LEVER_OK) return;
  std::fprintf(stderr, "%s: %s %s\n", what, lever_status_name(status),
               error == nullptr ? "" : lever_error_message(error));
  std::exit(1);
}

class Bench {
 public:
  Bench(const std::string& service, bool only_through_host)
      : address_("/" + service + "/echo") {
    lever_error* error = nullptr;
    lever_queue_options queue_options{};
    queue_options.size = sizeof(queue_options);
    // As an event loop does it: what one batch of events starts is written together.
    queue_options.flush_explicitly = 1;
    Must(lever_queue_create(&queue_options, &queue_, &error), error, "queue");
    lever_client_options client_options{};
    client_options.size = sizeof(client_options);
    client_options.only_through_host = only_through_host ? 1 : 0;
    Must(lever_client_create(queue_, &client_options, &client_, &error), error, "client");
  }

  // Until `seconds` have passed and everything that was started has come back.
  void Run(size_t outstanding, double seconds) {
    started_ns_.assign(outstanding, 0);
    const int64_t end_ns = NowNs() + static_cast<int64_t>(seconds * kSecondNs);
    for (size_t slot = 0; slot < outstanding; ++slot) Start(slot);
    Must(lever_queue_flush(queue_), nullptr, "flush");
    size_t in_flight = outstanding;
    lever_event events[kEventsMax];
    while (in_flight > 0) {
      size_t count = 0;
      Must(lever_queue_next(queue_, events, sizeof(events[0]), kEventsMax, -1, &count), nullptr,
           "next");
      const int64_t now_ns = NowNs();
      for (size_t i = 0; i < count; ++i) {
        if (events[i].type != LEVER_EVENT_CALL_DONE) continue;
        const auto slot = reinterpret_cast<size_t>(events[i].user_data);
        Done(events[i], now_ns - started_ns_[slot]);
        if (now_ns < end_ns) {
          Start(slot);
        } else {
          --in_flight;
        }
      }
      Must(lever_queue_flush(queue_), nullptr, "flush");
    }
  }

  void Reset() {
    calls_ = errors_ = 0;
    latencies_ns_.clear();
  }
  uint64_t calls() const { return calls_; }
  uint64_t errors() const { return errors_; }
  uint64_t direct() const {
    lever_client_stats stats{};
    stats.size = sizeof(stats);
    Must(lever_client_get_stats(client_, &stats), nullptr, "stats");
    return stats.calls_direct;
  }
  double LatencyUs(double quantile) {
    if (latencies_ns_.empty()) return 0;
    const auto at = static_cast<size_t>(quantile * static_cast<double>(latencies_ns_.size() - 1));
    std::nth_element(latencies_ns_.begin(), latencies_ns_.begin() + static_cast<ptrdiff_t>(at),
                     latencies_ns_.end());
    return static_cast<double>(latencies_ns_[at]) / 1000;
  }

 private:
  void Start(size_t slot) {
    const lever_slice payload{kPayload, sizeof(kPayload)};
    lever_call_options options{};
    options.size = sizeof(options);
    options.address = address_.data();
    options.address_size = address_.size();
    options.kind = LEVER_KIND_RAW;
    options.slices = &payload;
    options.slice_count = 1;
    options.user_data = reinterpret_cast<void*>(slot);
    lever_call call = 0;
    lever_error* error = nullptr;
    started_ns_[slot] = NowNs();
    Must(lever_call_start(client_, &options, &call, &error), error, "call");
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
    if (latencies_ns_.size() < kSamplesMax) latencies_ns_.push_back(took_ns);
  }

  const std::string address_;
  lever_queue* queue_ = nullptr;
  lever_client* client_ = nullptr;
  std::vector<int64_t> started_ns_;
  std::vector<int64_t> latencies_ns_;
  uint64_t calls_ = 0;
  uint64_t errors_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: bench_echo_client SERVICE OUTSTANDING SECONDS direct|host\n");
    return 2;
  }
  const auto outstanding = static_cast<size_t>(std::strtoul(argv[2], nullptr, 10));
  Bench bench(argv[1], std::strcmp(argv[4], "host") == 0);
  // The instance starts, routes and connections come.
  bench.Run(outstanding, 0.5);
  const uint64_t direct_before = bench.direct();
  bench.Reset();
  // The driver reads the CPU time of the other processes between these two lines.
  std::printf("warm\n");
  std::fflush(stdout);
  (void)std::getchar();
  const int64_t cpu_before = CpuNs();
  const int64_t began_ns = NowNs();
  bench.Run(outstanding, std::strtod(argv[3], nullptr));
  const auto took_ns = static_cast<double>(NowNs() - began_ns);
  const auto cpu_ns = static_cast<double>(CpuNs() - cpu_before);
  const auto calls = static_cast<double>(bench.calls());
  std::printf("{\"calls\":%llu,\"errors\":%llu,\"seconds\":%.3f,\"cpu_us\":%.3f,\"p50_us\":%.1f,"
              "\"p99_us\":%.1f,\"direct\":%llu}\n",
              static_cast<unsigned long long>(bench.calls()),
              static_cast<unsigned long long>(bench.errors()), took_ns / kSecondNs,
              cpu_ns / calls / 1000, bench.LatencyUs(0.5), bench.LatencyUs(0.99),
              static_cast<unsigned long long>(bench.direct() - direct_before));
  return bench.errors() == 0 ? 0 : 1;
}
