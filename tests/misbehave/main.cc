// Attacks a server from outside, or holds many connections to it.
//
//   misbehave --list                           the names of the attacks, with what each may cost
//   misbehave NAME PORT [SECONDS [FIELD=VALUE..]]  one attack with further header fields; again and
//                                              again, on new connections, until SECONDS are over, if
//                                              there are any
//   misbehave idle PORT COUNT                  COUNT connections that say hello and then nothing
//   misbehave cut PORT COUNT                   the same, each of them in the middle of a frame
//
// Prints one line of JSON when it is done, or holds what it is to hold; then waits for the end of its
// input with its connections open.
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/clock.h"
#include "tests/misbehave/attacks.h"
#include "tests/rpc/connection_raw_peer.h"

namespace lever::misbehave {
namespace {

constexpr std::string_view kInvokePath = "/lever.v1.Lever/Invoke";
constexpr int64_t kAttackNs = 20 * kNanosPerSecond;

void WaitForEnd() {
  std::fflush(stdout);
  char byte;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
}

int List(const std::vector<Attack>& attacks) {
  for (const Attack& attack : attacks) {
    std::printf("{\"name\": \"%s\", \"counter\": \"%s\", \"cut_off\": %s, \"bytes_max\": %zu}\n",
                attack.name.c_str(), attack.counter.c_str(),
                attack.ends == Ends::kCutOff ? "true" : "false", attack.memory_bytes_max);
  }
  return 0;
}

int Hold(uint16_t port, int count, bool cut) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = static_cast<rlim_t>(count) + 100;
  files.rlim_max = std::max(files.rlim_max, files.rlim_cur);
  ::setrlimit(RLIMIT_NOFILE, &files);
  std::string hello = std::string(rpc::kClientMagic) + rpc::Frame(rpc::kFrameSettings, 0, 0);
  if (cut) hello += rpc::Frame(rpc::kFrameHeaders, 0, 1, rpc::kRequestBlock);
  std::vector<UniqueFd> held;
  int lost = 0;
  for (int i = 0; i < count; ++i) {
    UniqueFd socket = Connect(port);
    if (!socket.valid() || ::send(socket.get(), hello.data(), hello.size(), MSG_NOSIGNAL) < 0) {
      ++lost;
      continue;
    }
    held.push_back(std::move(socket));
  }
  // Each has the server's SETTINGS.
  for (UniqueFd& socket : held) {
    const timeval patience{20, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    char bytes[64];
    if (::recv(socket.get(), bytes, sizeof(bytes), 0) < 9) ++lost;
  }
  std::printf("{\"held\": %d, \"lost\": %d}\n", count - lost, lost);
  WaitForEnd();
  return 0;
}

int Carry(const Attack& attack, uint16_t port, int64_t again_ns) {
  const int64_t began_ns = Clock::System().NowNs();
  std::vector<UniqueFd> held;
  Outcome outcome;
  size_t rounds = 0;
  do {
    held.push_back(Connect(port));
    if (!held.back().valid()) return 1;
    outcome = AttackServer(held.back().get(), attack, kAttackNs);
    ++rounds;
    if (outcome.cut_off) held.pop_back();
  } while (Clock::System().NowNs() - began_ns < again_ns);
  std::printf("{\"cut_off\": %s, \"pieces\": %u, \"ms\": %.1f, \"rounds\": %zu}\n",
              outcome.cut_off ? "true" : "false", outcome.pieces,
              static_cast<double>(outcome.took_ns) / kNanosPerMilli, rounds);
  WaitForEnd();
  return 0;
}

int Run(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  std::string fields;
  for (size_t i = 3; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == std::string::npos) return 2;
    fields += Field(words[i].substr(0, equals), words[i].substr(equals + 1));
  }
  const std::vector<Attack> attacks = AttacksOnServer(kInvokePath, fields);
  if (words.size() == 1 && words[0] == "--list") return List(attacks);
  if (words.size() < 2) return 2;
  const auto port = static_cast<uint16_t>(std::atoi(words[1].c_str()));
  const int number = words.size() > 2 ? std::atoi(words[2].c_str()) : 0;
  if (words[0] == "idle" || words[0] == "cut") return Hold(port, number, words[0] == "cut");
  for (const Attack& attack : attacks) {
    if (attack.name == words[0]) return Carry(attack, port, number * kNanosPerSecond);
  }
  return 2;
}

}  // namespace
}  // namespace lever::misbehave

int main(int argc, char** argv) { return lever::misbehave::Run(argc, argv); }
