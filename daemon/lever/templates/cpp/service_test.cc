// Service and client in this process, without a host: `lever test`.
#include <cstdio>
#include <string>

#include <lever/testing.hpp>

#include "service.h"

namespace {

int failures = 0;

void Check(bool holds, const char* what) {
  std::printf("%s: %s\n", holds ? "ok" : "FAILED", what);
  if (!holds) ++failures;
}

}  // namespace

int main() {
  lever::testing::Lever lever;
  AddMethods(lever.service("{{name}}"));
  lever.start();

  const auto greeting = lever.client().invoke<std::string>("/{{name}}/sayHello", "Ann");
  Check(greeting == "Hello, Ann!", "says hello");

  auto stream = lever.client().stream("/{{name}}/echoChan", "hi");
  Check(stream.read<std::string>() == "hi", "greets");
  stream.write(1);
  Check(stream.read<int>() == 1, "echoes what it is sent");
  stream.end();
  Check(!stream.read<int>(), "ends after its caller");
  return failures == 0 ? 0 : 1;
}
