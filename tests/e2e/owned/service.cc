// A service whose resources are counters, and which writes down what happens to them: for tests of
// ownership with real processes.
//
//   owned           as an instance that a host has started
//   owned attach [JOURNAL]   as a program that attaches itself, to $LEVER_HOST
//
// Each event is one line of the file that its configuration names ("config": "/path"), or that is the
// second argument of an attached one: the clock, what happened, the process, the resource, its
// generation, and a number.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <lever/lever.hpp>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace {

class Journal {
 public:
  void Open(const char* path) {
    file_ = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file_ < 0) std::perror(path);
  }
  // The configuration is there when the first resource is opened.
  void OpenOnce(const char* config_json) {
    std::call_once(once_, [&] {
      std::string path(config_json);
      if (file_ >= 0 || path.size() < 2 || path[0] != '"') return;
      Open(path.substr(1, path.size() - 2).c_str());
    });
  }
  void Write(const char* what, const std::string& name, uint64_t generation, int64_t number) const {
    if (file_ < 0) return;
    timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    char line[1024];
    const int size = std::snprintf(line, sizeof(line), "%" PRId64 " %s %d %s %" PRIu64 " %" PRId64 "\n",
                                   int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec, what, getpid(),
                                   name.c_str(), generation, number);
    // One write of less than a page: appended whole.
    if (write(file_, line, static_cast<size_t>(size)) != size) std::perror("owned: the journal");
  }

 private:
  std::once_flag once_;
  int file_ = -1;
};

Journal journal;
const lever::Service* the_service = nullptr;

class Counter {
 public:
  explicit Counter(const lever::Opening& opening)
      : name_(opening.name),
        generation_(opening.generation),
        origin_(static_cast<int>(opening.origin)),
        count_(opening.state_or<int64_t>(0)) {
    journal.OpenOnce(the_service->details().config_json);
    if (name_ == "refuses") throw std::runtime_error("it does not want to be opened");
    journal.Write(kOpened[origin_], name_, generation_, count_);
  }
  int64_t add(int64_t n) {
    journal.Write("dispatch", name_, generation_, n);
    count_ += n;
    journal.Write("end", name_, generation_, count_);
    return count_;
  }
  int64_t get() { return count_; }
  int64_t sleep(int64_t ms) {
    journal.Write("dispatch", name_, generation_, ms);
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    journal.Write("end", name_, generation_, count_);
    return count_;
  }
  std::string where() { return name_ + " " + std::to_string(generation_) + " " + kOpened[origin_]; }
  // Its count now, and then each time that the caller sends something.
  void watchChan(lever::IncomingStream& stream) {
    stream.write(count_);
    for ([[maybe_unused]] const lever::Value& message : stream.messages()) stream.write(count_);
  }
  int64_t close(lever::CloseReason reason) {
    journal.Write("close", name_, generation_, static_cast<int64_t>(reason));
    if (name_ == "breaks") throw std::runtime_error("it cannot be closed");
    return count_;
  }

 private:
  static constexpr const char* kOpened[] = {"new", "carried", "lost"};

  const std::string name_;
  const uint64_t generation_;
  const int origin_;
  int64_t count_;
};

int Serve(const lever::ServiceOptions& options) {
  lever::Service service(options);
  the_service = &service;
  service.resource<Counter>({.serial = true})
      .method("add", &Counter::add)
      .method("get", &Counter::get)
      .method("sleep", &Counter::sleep)
      .method("where", &Counter::where)
      .stream("watchChan", &Counter::watchChan);
  service.method("pid", [] { return static_cast<int64_t>(getpid()); });
  if (!options.name.empty()) service.drain_on_signals();
  service.start();
  return service.run();
}

}  // namespace

int main(int argc, char** argv) {
  lever::ServiceOptions options;
  options.method_threads = 4;
  options.stream_threads_max = 1000;
  if (argc > 1) {
    if (std::string_view(argv[1]) != "attach") return 2;
    options.name = "owned";
    if (argc > 2) journal.Open(argv[2]);
  }
  try {
    return Serve(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "owned: %s\n", error.what());
    return 1;
  }
}
