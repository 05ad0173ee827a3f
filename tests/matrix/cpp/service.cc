// The service of the matrix in C++: tests/matrix/README.md says what each method does.
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <lever/lever.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/matrix/cpp/describe.h"

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// What methods remember by token.
class Memory {
 public:
  void Saw(const std::string& token) { Change([&] { cancelled_.insert(token); }); }
  bool HasSeen(const std::string& token) {
    const std::lock_guard lock(mutex_);
    return cancelled_.contains(token);
  }
  void Took(const std::string& token) { Change([&] { ++taken_[token]; }); }
  int64_t Taken(const std::string& token) {
    const std::lock_guard lock(mutex_);
    return taken_[token];
  }
  void Release(const std::string& token) { Change([&] { released_.insert(token); }); }
  void AwaitRelease(const std::string& token) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, seconds(30), [&] { return released_.contains(token); });
  }

 private:
  template <typename F>
  void Change(F change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> cancelled_;
  std::set<std::string> released_;
  std::map<std::string, int64_t> taken_;
};

bool WaitUntilGone(const lever::CallContext& context) {
  const auto until = std::chrono::steady_clock::now() + seconds(30);
  while (std::chrono::steady_clock::now() < until) {
    if (context.cancelled()) return true;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return false;
}

lever::Value Metadata(const lever::CallContext& context, const std::string& wanted) {
  for (const auto& [name, value] : context.metadata) {
    if (name != wanted) continue;
    if (!name.ends_with("-bin")) return lever::Value(value);
    return lever::Value(std::vector<char>(value.begin(), value.end()));
  }
  return {};
}

// Takes any one argument; bytes come as they are.
template <typename F>
void AddValueMethods(lever::Service& service, F describe) {
  service.method("echo", [](const lever::Value& value) { return value; });
  service.method("describe", describe);
  service.method("fail", [](const lever::Value& value) -> int { throw lever::MethodError(value); });
}

void AddUnary(lever::Service& service, Memory& memory) {
  AddValueMethods(service, [](const lever::Value& value) { return matrix::Describe(value); });
  service.method("size", [](const lever::Raw& raw) { return raw.bytes.size(); });
  service.method("produce", [](size_t size) { return lever::Raw{std::string(size, '\0')}; });
  service.method("failBytes", [](const lever::Raw& raw) -> int { throw lever::MethodError(raw); });
  service.method("throwObject",
                 [](const std::string& message) -> int { throw std::runtime_error(message); });
  service.method("remaining", [](const lever::CallContext& context) -> std::optional<int64_t> {
    const auto left = context.remaining();
    if (!left) return std::nullopt;
    return std::chrono::duration_cast<milliseconds>(*left).count();
  });
  service.method("sleep", [](const lever::CallContext& context, int64_t ms) {
    const auto until = std::chrono::steady_clock::now() + milliseconds(ms);
    while (std::chrono::steady_clock::now() < until && !context.cancelled()) {
      std::this_thread::sleep_for(milliseconds(2));
    }
  });
  service.method("waitCancel",
                 [&memory](const lever::CallContext& context, const std::string& token) {
                   if (WaitUntilGone(context)) memory.Saw(token);
                 });
  service.method("wasCancelled",
                 [&memory](const std::string& token) { return memory.HasSeen(token); });
  service.method("metadata", [](const lever::CallContext& context, const std::string& name) {
    return Metadata(context, name);
  });
  service.method("flooded", [&memory](const std::string& token) { return memory.Taken(token); });
  service.method("release", [&memory](const std::string& token) { memory.Release(token); });
}

void AddStreams(lever::Service& service, Memory& memory) {
  service.stream("echoChan", [](lever::IncomingStream& stream, const lever::Value& greeting) {
    stream.write(greeting);
    int64_t count = 0;
    for (const lever::Value& message : stream.messages()) {
      stream.write(message);
      ++count;
    }
    stream.write(std::make_tuple("end", count));
  });
  service.stream("countChan", [](lever::IncomingStream& stream, int64_t n) {
    for (int64_t i = 0; i < n; ++i) stream.write(i);
  });
  service.stream("sumChan", [](lever::IncomingStream& stream) {
    int64_t sum = 0;
    for (const int64_t message : stream.messages<int64_t>()) sum += message;
    stream.write(sum);
  });
  service.stream("failChan",
                 [](lever::IncomingStream& stream, int64_t k, const lever::Value& value) {
                   for (int64_t i = 0; i < k; ++i) stream.write(i);
                   throw lever::MethodError(value);
                 });
  service.stream("floodChan", [&memory](lever::IncomingStream& stream, const std::string& token,
                                        int64_t size, int64_t count) {
    const lever::Raw message{std::string(static_cast<size_t>(size), '\0')};
    for (int64_t i = 0; i < count; ++i) {
      stream.write(message);
      memory.Took(token);
    }
  });
  service.stream("slowChan", [&memory](lever::IncomingStream& stream, const std::string& token) {
    memory.AwaitRelease(token);
    int64_t count = 0;
    while (stream.read<lever::Raw>()) ++count;
    stream.write(count);
  });
  service.stream("waitCancelChan",
                 [&memory](lever::IncomingStream& stream, const std::string& token) {
                   stream.write("waiting");
                   if (WaitUntilGone(stream.context())) memory.Saw(token);
                 });
}

int Serve(const char* name) {
  Memory memory;
  lever::Service service({.name = name, .listen = "127.0.0.1:0", .method_threads = 8});
  AddUnary(service, memory);
  AddStreams(service, memory);
  service.drain_on_signals();
  service.start();
  std::thread ready([&service] {
    while (service.state() != LEVER_SERVICE_ATTACHED) std::this_thread::sleep_for(milliseconds(1));
    std::printf("ready %s\n", service.details().listening);
    std::fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    service.drain();
  });
  ready.detach();
  return service.run();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: service NAME\n");
    return 2;
  }
  try {
    return Serve(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "service: %s\n", error.what());
    return 1;
  }
}
