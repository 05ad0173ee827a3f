// Calls addresses whose answers are no values: tests/matrix/README.md, "The hostile client".
#include <cstdio>
#include <lever/lever.hpp>
#include <string>
#include <string_view>

namespace {

const char* Outcome(lever::Client& client, std::string_view address) {
  try {
    if (address.ends_with("Chan")) {
      lever::Stream stream = client.stream(address);
      while (stream.read()) {
      }
    } else {
      client.invoke(address);
    }
  } catch (const lever::Error& error) {
    return error.name();
  }
  return "OK";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    lever::Client client;
    for (int i = 1; i < argc; ++i) {
      std::printf("[\"%s\", \"%s\"]\n", argv[i], Outcome(client, argv[i]));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hostile_client: %s\n", error.what());
    return 1;
  }
  return 0;
}
