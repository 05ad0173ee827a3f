// The layout of the host's keys, and the functions that build and parse them. Values are the
// business of whoever owns the key; the registry does not look into them.
//
//   env/<env>                          an environment                               durable
//   service/<env>/<service>            a service: its description and life          durable
//   version/<env>/<service>/<number>   one deployed bundle                          durable
//   config/<env>/<name>                configuration                                durable
//   owner/<env>/<service>/<page>       the owners of 256 shards                     durable
//   generation/<env>/<service>         the counter of shard generations             durable
//   state/<env>/<service>/<resource>   what a closed resource carries               durable
//   carried/<env>/<service>            how many bytes these of a service take       durable
//   host/<id>                          a node's agent                               leased
//   instance/<env>/<service>/<id>      a running copy, its endpoints and its load   leased
//   controller/<env>/<service>         who controls the service                     leased
//
// Leased keys live under the lease of the host that wrote them.
//
// Pure functions; call them from anywhere.
//
// Invariants
//  1. Building is total and one-to-one: '/', '%' and control bytes in a name are written as %XX, so
//     that no name can reach outside its segment, checked or not. Names of the grammar are written
//     as they are.
//  2. ParseKey() of a built key gives back its parts; of anything else, nullopt. An empty name
//     makes a key that does not parse.
//  3. Numbers have 20 digits, so that the order of the keys is the order of the numbers.
//  4. Prefixes end in '/': those of `hello` do not take in `hello-2`.
#ifndef LIBLEVER_HOST_REGISTRY_SCHEMA_H_
#define LIBLEVER_HOST_REGISTRY_SCHEMA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lever::registry {

enum class KeyKind {
  kEnvironment,
  kService,
  kVersion,
  kConfig,
  kOwner,
  kGeneration,
  kState,
  kCarried,
  kHost,
  kInstance,
  kController,
};

// The shards of one page of owners: a page of a map stays far below the limit on values.
inline constexpr uint64_t kShardsPerOwnerPage = 256;

std::string EnvironmentKey(std::string_view env);
std::string ServiceKey(std::string_view env, std::string_view service);
std::string VersionKey(std::string_view env, std::string_view service, uint64_t number);
std::string ConfigKey(std::string_view env, std::string_view name);
std::string OwnerKey(std::string_view env, std::string_view service, uint64_t page);
std::string GenerationKey(std::string_view env, std::string_view service);
std::string StateKey(std::string_view env, std::string_view service, std::string_view resource);
std::string CarriedKey(std::string_view env, std::string_view service);
std::string HostKey(std::string_view id);
std::string InstanceKey(std::string_view env, std::string_view service, std::string_view id);
std::string ControllerKey(std::string_view env, std::string_view service);

// All keys of a kind; those of one environment; those of one service. A kind that has no such level
// gives a prefix that no key has.
std::string KindPrefix(KeyKind kind);
std::string KindPrefix(KeyKind kind, std::string_view env);
std::string KindPrefix(KeyKind kind, std::string_view env, std::string_view service);

struct ParsedKey {
  KeyKind kind = KeyKind::kEnvironment;
  std::string env;      // all but hosts
  std::string service;  // all but environments, configuration and hosts
  std::string id;       // of a host or an instance; the name of a configuration, or of a resource
  uint64_t number = 0;  // of a version or a page of owners

  friend bool operator==(const ParsedKey&, const ParsedKey&) = default;
};

std::optional<ParsedKey> ParseKey(std::string_view key);

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_SCHEMA_H_
