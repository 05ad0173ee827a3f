// The service that is measured: answers with its own bytes. On lever.hpp, as a user would write it.
#include <lever/lever.hpp>

int main() {
  lever::Service service;
  service.method("echo", [](const lever::Raw& bytes) { return bytes; });
  service.stream("echoChan", [](lever::IncomingStream& stream) {
    for (const lever::Raw& message : stream.messages<lever::Raw>()) stream.write(message);
  });
  service.start();
  return service.run();
}
