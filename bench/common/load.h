// What every program of the bench has in common: the clock, latencies, and how it is driven.
//
// A program that makes load prints "ready" once it is connected, and then answers commands, one line
// each on standard input, with one line of JSON each:
//
//   unary SECONDS OUTSTANDING     calls, so many at a time
//   stream SECONDS WINDOW         64-byte messages that come back over one stream, so many on their way
//   bytes SECONDS                 64 KiB messages, one way through one stream
//
// It ends with its input. A server prints "listening PORT" once it takes calls, and ends with its input,
// too. So no program outlives the bench, however that ends.
//
// Threads: none of its own; each object is used by one thread at a time.
#ifndef BENCH_COMMON_LOAD_H_
#define BENCH_COMMON_LOAD_H_

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace lever::bench {

inline constexpr int64_t kSecondNs = 1'000'000'000;
inline constexpr size_t kUnaryBytes = 32;
inline constexpr size_t kMessageBytes = 64;
inline constexpr size_t kLargeBytes = 64 * 1024;

inline int64_t NowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

[[noreturn]] inline void Die(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

// Latencies of one run; what is beyond its room is not kept.
class Latencies {
 public:
  static constexpr size_t kSamplesMax = 4'000'000;
  void Add(int64_t ns) {
    if (samples_ns_.size() < kSamplesMax) samples_ns_.push_back(ns);
  }
  void Clear() { samples_ns_.clear(); }
  double Us(double quantile) {
    if (samples_ns_.empty()) return 0;
    const auto at = static_cast<ptrdiff_t>(quantile * static_cast<double>(samples_ns_.size() - 1));
    std::nth_element(samples_ns_.begin(), samples_ns_.begin() + at, samples_ns_.end());
    return static_cast<double>(samples_ns_[static_cast<size_t>(at)]) / 1000;
  }

 private:
  std::vector<int64_t> samples_ns_;
};

struct Command {
  std::string verb;
  double seconds = 0;
  size_t count = 0;
};

// Takes the commands out of standard input, without stdio's buffer, so that the descriptor can be polled.
class Commands {
 public:
  static void Ready() { Print("ready\n"); }
  static void Print(const std::string& line) {
    std::fputs(line.c_str(), stdout);
    std::fflush(stdout);
  }
  // Waits for the next one. False: there will be none.
  bool Next(Command* out) {
    size_t end;
    while ((end = input_.find('\n')) == std::string::npos) {
      char piece[256];
      const ssize_t size = ::read(STDIN_FILENO, piece, sizeof(piece));
      if (size <= 0) return false;
      input_.append(piece, static_cast<size_t>(size));
    }
    char verb[32] = "";
    double first = 0;
    unsigned long second = 0;
    std::sscanf(input_.c_str(), "%31s %lf %lu", verb, &first, &second);
    input_.erase(0, end + 1);
    *out = Command{verb, first, static_cast<size_t>(second)};
    return true;
  }

 private:
  std::string input_;
};

inline void AnswerCalls(uint64_t calls, uint64_t errors, int64_t took_ns, Latencies& latencies) {
  std::printf("{\"calls\":%llu,\"errors\":%llu,\"seconds\":%.4f,\"p50_us\":%.2f,\"p99_us\":%.2f}\n",
              static_cast<unsigned long long>(calls), static_cast<unsigned long long>(errors),
              static_cast<double>(took_ns) / kSecondNs, latencies.Us(0.5), latencies.Us(0.99));
  std::fflush(stdout);
}

inline void AnswerMessages(uint64_t messages, uint64_t errors, int64_t took_ns) {
  std::printf("{\"calls\":%llu,\"errors\":%llu,\"seconds\":%.4f}\n",
              static_cast<unsigned long long>(messages), static_cast<unsigned long long>(errors),
              static_cast<double>(took_ns) / kSecondNs);
  std::fflush(stdout);
}

// Ends this process when its standard input ends, whatever its other threads do.
inline void ExitWithInput() {
  std::thread([] {
    char byte;
    while (::read(STDIN_FILENO, &byte, 1) > 0) {
    }
    ::_exit(0);
  }).detach();
}

// The value of `--name` in the arguments, or `otherwise`.
inline std::string Flag(int argc, char** argv, std::string_view name, std::string otherwise = "") {
  for (int i = 1; i + 1 < argc; ++i) {
    if (name == argv[i]) return argv[i + 1];
  }
  return otherwise;
}

}  // namespace lever::bench

#endif  // BENCH_COMMON_LOAD_H_
