// liblever's side of the attach stream (lever/v1/host.proto), with protozero.
//
// Functions without state; any thread. A broken message of the host's gives INVALID_ARGUMENT.
#ifndef LIBLEVER_SERVICE_ATTACH_MESSAGES_H_
#define LIBLEVER_SERVICE_ATTACH_MESSAGES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "liblever/base/status.h"
#include "liblever/route/token.h"
#include "liblever/service/shard_messages.h"

namespace lever::service {

// ---- To the host ----

struct InstanceHello {
  std::string environment;  // empty in an instance that the host started
  std::string service;
  uint64_t pid = 0;
  std::string runtime;
  std::string listen;
  std::vector<std::string> methods;
  uint32_t concurrency_max = 0;
  std::vector<std::string> resource_methods;
  std::string listen_key_hash;  // of a `listen` with "tls:"
  bool is_private = false;
};
std::string WriteHello(const InstanceHello& hello);
std::string WriteReady();

struct LoadReport {
  uint32_t calls = 0;
  uint32_t streams = 0;
  uint64_t calls_total = 0;
  uint64_t latency_ns = 0;
  uint64_t last_active_ns = 0;
  uint64_t ended_total = 0;
  uint64_t errors_total = 0;

  friend bool operator==(const LoadReport&, const LoadReport&) = default;
};
std::string WriteLoad(const LoadReport& report);

struct ShardLoad {
  uint32_t shard = 0;
  uint32_t calls_milli = 0;  // mean in flight, in thousandths
  uint32_t streams = 0;
};
struct ShardLoadsReport {
  uint64_t window_ns = 0;
  std::vector<ShardLoad> loads;
};
std::string WriteShardLoads(const ShardLoadsReport& report);
std::string WriteDraining();
std::string WriteDrained(uint32_t cut_off);

// ---- From the host ----

struct InstanceWelcome {
  uint32_t protocol = 0;
  std::string environment;
  std::string service;
  uint64_t version = 0;
  std::string instance;
  std::string config_json;
  uint64_t drain_timeout_ns = 0;
  std::string introduction_path;
  std::string nonce;
  uint64_t load_interval_ns = 0;
  uint32_t concurrency_max = 0;
  uint32_t shards = 0;  // 0: the host knows of no resources
  std::string secrets_json;
  std::vector<route::TokenKey> token_keys;
};

struct DrainRequest {
  uint64_t timeout_ns = 0;
  std::string reason;
};

struct Serving {};

// monostate: a message of a later protocol.
using ToInstance = std::variant<std::monostate, InstanceWelcome, DrainRequest, Serving, ShardOrders,
                                GrantRenewed, StateAnswer>;
// Into `*parsed`, which is new.
Status ParseToInstance(std::string_view message, ToInstance* parsed);

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_ATTACH_MESSAGES_H_
