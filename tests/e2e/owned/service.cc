// A service whose resources are counters, and which writes down what happens to them: for tests of
// ownership with real processes.
//
//   owned           as an instance that a host has started
//   owned attach [JOURNAL]   as a program that attaches itself, to $LEVER_HOST
//
// The journal (journal.h) is the file that its configuration names ("config": "/path"), or that is
// the second argument of an attached one. A resource of which there is a file in the folder `store`
// beside the journal keeps its count there (store.h), the others carry it.
//
// What is written down:
//   new, carried, lost   it is opened, with this count
//   dispatch   the clock as read directly before the library reads it and lets the method begin
//   end        the method's last act: the count that it made
//   reply      the same is handed to the library, which reads the clock once more before it is sent
//   fenced     the store has refused what a method of this generation wanted to write
//   close      why
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <lever/lever.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "journal.h"
#include "store.h"

namespace {

using lever::e2e::BootNs;
using lever::e2e::Fenced;
using lever::e2e::Store;

lever::e2e::Journal journal;
std::once_flag journal_opened;
const lever::Service* the_service = nullptr;

// Of the method that this thread runs.
struct Ended {
  std::string resource;
  uint64_t generation = 0;
  int64_t count = 0;
};
thread_local int64_t begin_asked_ns = 0;
thread_local std::optional<Ended> ended;

void Write(const char* what, const std::string& resource, uint64_t generation, int64_t number) {
  journal.Write(BootNs(), what, getpid(), resource, generation, number);
}

// The configuration is there when the first resource is opened.
void OpenJournal() {
  std::call_once(journal_opened, [] {
    const std::string path(the_service->details().config_json);
    if (!journal.is_open() && path.size() > 2 && path[0] == '"') {
      journal.Open(path.substr(1, path.size() - 2));
    }
  });
}

std::unique_ptr<Store> OpenStore(const std::string& resource, uint64_t generation) {
  const std::string path = journal.folder() + "store/" + resource;
  struct stat found;
  if (!journal.is_open() || stat(path.c_str(), &found) != 0) return nullptr;
  return std::make_unique<Store>(path, generation);
}

class Counter {
 public:
  explicit Counter(const lever::Opening& opening)
      : name_(opening.name),
        generation_(opening.generation),
        origin_(static_cast<int>(opening.origin)),
        count_(opening.state_or<int64_t>(0)) {
    OpenJournal();
    if (name_ == "refuses") throw std::runtime_error("it does not want to be opened");
    store_ = OpenStore(name_, generation_);
    if (store_ != nullptr) count_ = store_->value();
    Write(kOpened[origin_], name_, generation_, count_);
  }
  int64_t add(int64_t n) {
    Began(n);
    return End(count_ + n);
  }
  // After so many milliseconds one more; with who says so: the count, the generation, the process.
  std::vector<int64_t> bump(int64_t ms) {
    Began(ms);
    if (ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    const int64_t count = End(count_ + 1);
    return {count, static_cast<int64_t>(generation_), getpid()};
  }
  int64_t get() { return count_; }
  int64_t sleep(int64_t ms) {
    Began(ms);
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    return End(count_);
  }
  std::string where() { return name_ + " " + std::to_string(generation_) + " " + kOpened[origin_]; }
  // Its count now, and then each time that the caller sends something.
  void watchChan(lever::IncomingStream& stream) {
    stream.write(int64_t{count_});
    for ([[maybe_unused]] const lever::Value& message : stream.messages()) {
      stream.write(int64_t{count_});
    }
  }
  int64_t close(lever::CloseReason reason) {
    Write("close", name_, generation_, static_cast<int64_t>(reason));
    if (name_ == "breaks") throw std::runtime_error("it cannot be closed");
    return count_;
  }

 private:
  static constexpr const char* kOpened[] = {"new", "carried", "lost"};

  void Began(int64_t argument) const {
    journal.Write(begin_asked_ns, "dispatch", getpid(), name_, generation_, argument);
  }
  int64_t End(int64_t count) {
    if (store_ != nullptr && count != count_) {
      try {
        store_->Set(count);
      } catch (const Fenced&) {
        Write("fenced", name_, generation_, count);
        throw;
      }
    }
    Write("end", name_, generation_, count);
    count_ = count;
    ended = Ended{name_, generation_, count};
    return count;
  }

  const std::string name_;
  const uint64_t generation_;
  const int origin_;
  // A method that was cut off may still run while it is closed.
  std::atomic<int64_t> count_;
  std::unique_ptr<Store> store_;
};

int Serve(const lever::ServiceOptions& options) {
  lever::Service service(options);
  the_service = &service;
  service.resource<Counter>({.serial = true})
      .method("add", &Counter::add)
      .method("bump", &Counter::bump)
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

// The linker puts these before the library's own functions of the same names (--wrap).
extern "C" lever_status __real_lever_incoming_begin(lever_queue* queue, uint64_t incoming);
extern "C" lever_status __wrap_lever_incoming_begin(lever_queue* queue, uint64_t incoming) {
  begin_asked_ns = BootNs();
  return __real_lever_incoming_begin(queue, incoming);
}

extern "C" lever_status __real_lever_incoming_reply(lever_queue* queue, lever_incoming incoming,
                                                    int32_t kind, const lever_slice* slices,
                                                    size_t count, const lever_metadata* trailing,
                                                    size_t trailing_count);
extern "C" lever_status __wrap_lever_incoming_reply(lever_queue* queue, lever_incoming incoming,
                                                    int32_t kind, const lever_slice* slices,
                                                    size_t count, const lever_metadata* trailing,
                                                    size_t trailing_count) {
  if (ended.has_value()) Write("reply", ended->resource, ended->generation, ended->count);
  ended.reset();
  return __real_lever_incoming_reply(queue, incoming, kind, slices, count, trailing,
                                     trailing_count);
}

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
