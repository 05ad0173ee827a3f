// What a peer can do wrong, as frames: a table of attacks against a server, one against a client, and
// what carries them out over a socket. The bounds beside an attack are what it may cost.
#ifndef TESTS_MISBEHAVE_ATTACKS_H_
#define TESTS_MISBEHAVE_ATTACKS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/fd.h"

namespace lever::misbehave {

enum class Ends : uint8_t {
  kCutOff,  // the victim closes the connection
  kHeld,    // it goes on, and costs no more than the bounds say
};

struct Attack {
  std::string name;
  // The victim's counter that says why; empty: none of a limit, since nothing went beyond one.
  std::string counter;
  Ends ends = Ends::kCutOff;
  // Pieces after which the victim has cut it off, or that are sent where it does not.
  uint32_t pieces_max = 100'000;
  // How much the victim's memory may grow by it.
  size_t memory_bytes_max = size_t{32} << 20;
  // Sent once, after the preface and SETTINGS; `stream` is a stream of the victim's (client) or 1.
  std::function<std::string(uint32_t stream)> first;
  // Sent again and again, with i = 0, 1, ..
  std::function<std::string(uint32_t i, uint32_t stream)> piece;
  // Whether it waits for an answer after some pieces: else more streams than allowed are open before the
  // victim has looked at the first.
  bool waits = false;
  // Whether it reads what it is sent.
  bool reads = true;
};

// Against a server. `request` are more header fields of a request that is served: HPACK, without the
// pseudo header fields; `path` is its path.
std::vector<Attack> AttacksOnServer(std::string_view path, std::string_view request = {});
// Against a client whose call has come.
std::vector<Attack> AttacksOnClient();

// HPACK: a literal field that is not indexed. Name and value below 127 bytes each.
std::string Field(std::string_view name, std::string_view value);

struct Outcome {
  bool cut_off = false;
  uint32_t pieces = 0;  // sent before
  int64_t took_ns = 0;
};

// Connects to "127.0.0.1:port", blocking; -1 inside if nobody takes it.
UniqueFd Connect(uint16_t port);
// As a client: preface, SETTINGS, then the attack, for `limit_ns` at most. The socket stays open, so
// that what the victim holds for it stays held.
Outcome AttackServer(int socket, const Attack& attack, int64_t limit_ns);
// As a server: waits for a call, then the attack.
Outcome AttackClient(int socket, const Attack& attack, int64_t limit_ns);

}  // namespace lever::misbehave

#endif  // TESTS_MISBEHAVE_ATTACKS_H_
