// A service in C++: counts, fails on request, and echoes what it is sent.
//
//   serve           as an instance that a host has started
//   serve attach [--host ADDRESS] [--environment NAME] [--listen ADDRESS]
//                   as a program that attaches itself to a host
#include <cstdint>
#include <cstdio>
#include <exception>
#include <lever/lever.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

void Usage() {
  std::fprintf(stderr, "usage: serve [attach [--host ADDRESS] [--environment NAME] "
                       "[--listen ADDRESS]]\n");
}

bool ParseAttach(int argc, char** argv, lever::ServiceOptions* options) {
  if (std::string_view(argv[1]) != "attach") return false;
  options->name = "counter";
  for (int i = 2; i < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (i + 1 == argc) return false;
    if (flag == "--host") {
      options->host = argv[i + 1];
    } else if (flag == "--environment") {
      options->environment = argv[i + 1];
    } else if (flag == "--listen") {
      options->listen = argv[i + 1];
    } else {
      return false;
    }
  }
  return true;
}

int Serve(const lever::ServiceOptions& options) {
  lever::Service service(options);
  int64_t count = 0;
  service.method("add", [&](int64_t n) { return count += n; });
  service.method("get", [&] { return count; });
  service.method("fail", [](const std::string& why) { throw std::runtime_error(why); });
  service.stream("echoChan", [](lever::IncomingStream& stream) {
    for (const lever::Value& message : stream.messages()) stream.write(message);
  });
  if (!options.name.empty()) service.drain_on_signals();
  service.start();
  if (!options.listen.empty()) {
    std::printf("listening on %s\n", service.details().listening);
    std::fflush(stdout);
  }
  return service.run();
}

}  // namespace

int main(int argc, char** argv) {
  lever::ServiceOptions options;
  if (argc > 1 && !ParseAttach(argc, argv, &options)) {
    Usage();
    return 2;
  }
  try {
    return Serve(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "serve: %s\n", error.what());
    return 1;
  }
}
