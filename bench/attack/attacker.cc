// A client that misbehaves, again and again: as tests/misbehave has it.
//
//   attacker --list                 the names of the attacks, a line each
//   attacker ADDRESS ATTACK         `attack SECONDS`: connects and attacks until so much time has passed
//
// The attack `nothing` only takes processor time: what an attack costs others without one being made.
//
// bench/common/load.h tells how it is driven. "calls" are connections.
#include <cstdio>
#include <string>

#include "bench/common/load.h"
#include "tests/misbehave/attacks.h"

namespace {

using lever::bench::Command;
using lever::bench::kSecondNs;
using lever::bench::NowNs;

// A call that the C++ service would answer.
std::vector<lever::misbehave::Attack> Attacks() {
  return lever::misbehave::AttacksOnServer(
      "/lever.v1.Lever/Invoke", lever::misbehave::Field("lever-url", "/echo-cpp/echo"));
}

void Run(uint16_t port, const lever::misbehave::Attack& attack, const Command& command) {
  const int64_t began_ns = NowNs();
  const int64_t end_ns = began_ns + static_cast<int64_t>(command.seconds * kSecondNs);
  uint64_t connections = 0;
  for (int64_t now_ns = began_ns; now_ns < end_ns; now_ns = NowNs()) {
    const lever::UniqueFd socket = lever::misbehave::Connect(port);
    if (socket.get() < 0) lever::bench::Die("nobody takes a connection any more");
    lever::misbehave::AttackServer(socket.get(), attack, end_ns - now_ns);
    ++connections;
  }
  lever::bench::AnswerMessages(connections, 0, NowNs() - began_ns);
}

void TakeTime(const Command& command) {
  const int64_t began_ns = NowNs();
  while (NowNs() - began_ns < static_cast<int64_t>(command.seconds * kSecondNs)) {
  }
  lever::bench::AnswerMessages(0, 0, NowNs() - began_ns);
}

// Carries one command after the other out.
template <typename Attack>
int Serve(Attack attack) {
  lever::bench::Commands commands;
  lever::bench::Commands::Ready();
  Command command;
  while (commands.Next(&command)) attack(command);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto attacks = Attacks();
  if (argc == 2 && std::string_view(argv[1]) == "--list") {
    std::puts("nothing");
    for (const auto& attack : attacks) std::printf("%s\n", attack.name.c_str());
    return 0;
  }
  if (argc != 3) lever::bench::Die("usage: attacker --list | ADDRESS ATTACK");
  const std::string address = argv[1];
  const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  if (std::string_view(argv[2]) == "nothing") return Serve(TakeTime);
  for (const auto& attack : attacks) {
    if (attack.name != argv[2]) continue;
    return Serve([&](const Command& command) { Run(port, attack, command); });
  }
  lever::bench::Die(std::string("no attack is named ") + argv[2]);
}
