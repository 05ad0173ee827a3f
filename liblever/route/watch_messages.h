// liblever's side of the watch stream and of the introduction socket (lever/v1/host.proto), with
// protozero: what it says, and what it understands.
//
// Functions without state; any thread. What a host sends is input: a broken message gives
// INVALID_ARGUMENT, unknown fields are skipped, and lists are bounded.
#ifndef LIBLEVER_ROUTE_WATCH_MESSAGES_H_
#define LIBLEVER_ROUTE_WATCH_MESSAGES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "liblever/base/status.h"

namespace lever::route {

// Instances of one service in a table; a host that names more is cut short.
inline constexpr size_t kInstancesPerServiceMax = 4096;

// ---- To the host ----

std::string WriteWatcherHello(uint64_t pid, std::string_view runtime);
std::string WriteSubscribe(std::string_view environment, std::string_view service);
std::string WriteUnsubscribe(std::string_view environment, std::string_view service);
// Whether a connection is to come over the introduction socket, or an address and a token.
enum class IntroduceBy : bool { kSocket, kAddress };
std::string WriteIntroduce(uint64_t id, std::string_view instance, IntroduceBy by);

// ---- From the host ----

struct WatcherWelcome {
  uint32_t protocol = 0;
  std::string host;
  std::string introduction_path;
  std::string nonce;
};

struct InstanceRoute {
  std::string id;
  uint64_t version = 0;
  bool local = false;
  uint32_t in_flight = 0;
  uint64_t latency_ns = 0;
  uint32_t load_max = 0;
  uint32_t concurrency_max = 0;
  bool listens = false;
};

struct ShardRoute {
  uint32_t owner = 0;  // 1 + its place among the instances; 0: none of them
  uint64_t generation = 0;
};

struct Routes {
  std::string environment;
  std::string service;
  uint64_t revision = 0;
  std::vector<InstanceRoute> instances;
  std::vector<ShardRoute> shards;  // none: the service has no resources, or nobody owns them yet
  uint64_t canary_version = 0;     // that a share of the calls goes to; 0: there is none
  uint32_t canary_share = 0;       // of policy::kShareParts
};

// How an instance is reached over a network.
struct AddressWay {
  std::string address = {};   // "tls:10.0.0.7:9000"
  std::string key_hash = {};  // of the server that is there (rpc/tls_identity.h)
  std::string token = {};     // what it is shown (token.h)
};

struct Introduced {
  uint64_t id = 0;
  Status status;
  AddressWay way;  // without an address: the socket comes, or has come
};

// monostate: a message of a later protocol.
using ToWatcher = std::variant<std::monostate, WatcherWelcome, Routes, Introduced>;
StatusOr<ToWatcher> ParseToWatcher(std::string_view message);

// ---- Introduction socket ----

std::string WriteNonce(std::string_view nonce);
std::string WriteFailed(uint64_t id);

// With a descriptor: a connection of ours to an instance, or of a caller's to us.
struct Introduction {
  enum class Direction : uint8_t { kOutgoing, kIncoming };
  Direction direction = Direction::kOutgoing;
  uint64_t id = 0;
  std::string instance;  // outgoing
  std::string caller;    // incoming: "lever://env/service", or ""
  bool host = false;     // incoming: the caller is the host itself
};

StatusOr<Introduction> ParseIntroduction(std::string_view packet);
// The id of a packet whose end or descriptor was lost, as far as it can be read; 0 if not. `buffer` may
// hold more bytes than the packet had.
uint64_t IntroductionIdOf(std::string_view buffer);

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_WATCH_MESSAGES_H_
