// Calls and streams without end: a service and a client of lever.hpp, whose resident memory must not grow
// once they are warm.
//
//   leak [CALLS STREAMS]     20,000 and 2,000 by default; 1,000,000 and 100,000 for the long form
//
// Prints one line of JSON, and ends with code 1 if memory has grown by more than kGrowthMax from the end of
// the first tenth to the end.
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <lever/lever.hpp>
#include <string>
#include <thread>

namespace {

// Pools, and what the allocator keeps, grow for some 15,000 streams and stay. In the long form five bytes a
// call, or fifty a stream, are more.
constexpr int64_t kGrowthMax = 4 << 20;

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

void Call(lever::Client& client, int64_t count) {
  const std::string text(32, 'x');
  for (int64_t i = 0; i < count; ++i) {
    if (client.invoke<std::string>("/leak/echo", text) != text) std::abort();
    if (i % 16 == 0) {
      try {
        client.invoke("/leak/fail", text);
      } catch (const lever::MethodError&) {
      }
    }
  }
}

void Stream(lever::Client& client, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    lever::Stream stream = client.stream("/leak/echoChan");
    stream.write(i);
    if (stream.read<int64_t>() != i) std::abort();
    if (i % 4 == 0) continue;  // left open: it is cancelled
    stream.end();
    if (stream.read()) std::abort();
  }
}

int Run(int64_t calls, int64_t streams) {
  lever::Service service({.name = "leak", .host = "127.0.0.1:1", .listen = "127.0.0.1:0"});
  service.method("echo", [](const std::string& text) { return text; });
  service.method("fail", [](const std::string& why) -> int { throw std::runtime_error(why); });
  service.stream("echoChan", [](lever::IncomingStream& stream) {
    for (const int64_t message : stream.messages<int64_t>()) stream.write(message);
  });
  service.start();
  std::jthread runner([&service] { service.run(); });
  int64_t warm = 0;
  {
    lever::Client client({.host = service.details().listening, .only_through_host = true});
    for (int tenth = 0; tenth < 10; ++tenth) {
      Call(client, calls / 10);
      Stream(client, streams / 10);
      const int64_t now = ResidentBytes();
      if (tenth == 0) warm = now;
      std::fprintf(stderr, "%d tenths: %lld bytes\n", tenth + 1, static_cast<long long>(now));
    }
  }
  const int64_t grown = ResidentBytes() - warm;
  std::printf("{\"calls\": %lld, \"streams\": %lld, \"warm_bytes\": %lld, \"grown_bytes\": %lld}\n",
              static_cast<long long>(calls), static_cast<long long>(streams),
              static_cast<long long>(warm), static_cast<long long>(grown));
  service.drain();
  return grown <= kGrowthMax ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  // One arena: how threads share several is the allocator's affair, and looks like a leak for a while.
  ::mallopt(M_ARENA_MAX, 1);
  const int64_t calls = argc > 1 ? std::atoll(argv[1]) : 20'000;
  const int64_t streams = argc > 2 ? std::atoll(argv[2]) : 2'000;
  return Run(calls, streams);
}
