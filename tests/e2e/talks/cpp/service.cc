// tests/e2e/talks/python/service.py in C++.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <lever/lever.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>

namespace {

class Talk {
 public:
  explicit Talk(const lever::Opening&) {}

  void count(lever::IncomingStream& stream) { GoOn(stream, 0, 0); }

  void resume(lever::IncomingStream& stream, const std::string& token, uint64_t last_received) {
    uint64_t sent = 0, received = 0;
    std::istringstream(token) >> sent >> received;
    if (sent != last_received) {
      throw std::runtime_error("the caller has " + std::to_string(last_received) +
                               " messages, and its token is that of " + std::to_string(sent));
    }
    GoOn(stream, sent, received);
  }

 private:
  static void GoOn(lever::IncomingStream& stream, uint64_t sent, uint64_t received) {
    const auto write = [&](const std::string& what) {
      ++sent;
      stream.write(std::tuple(what, sent, received),
                   std::to_string(sent) + " " + std::to_string(received));
    };
    try {
      for (const uint64_t number : stream.messages<uint64_t>()) {
        if (number != ++received) {
          throw std::runtime_error(std::to_string(number) + " has come for " +
                                   std::to_string(received));
        }
        write("read");
      }
    } catch (const lever::Moved&) {
      write("moved");
      throw;
    }
    write("end");
  }
};

}  // namespace

int main() {
  try {
    lever::Service service;
    service.resource<Talk>().stream("count_chan", &Talk::count);
    return service.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "talks: %s\n", error.what());
    return 1;
  }
}
