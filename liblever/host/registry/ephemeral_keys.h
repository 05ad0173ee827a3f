// The keys that live under a lease: a map in memory, with an index by lease.
//
// Not thread-safe: used by the registry's writer alone.
//
// Invariant: every change can be taken back until Settle(), so that a transaction that touches
// durable keys too is wholly made or not at all.
#ifndef LIBLEVER_HOST_REGISTRY_EPHEMERAL_KEYS_H_
#define LIBLEVER_HOST_REGISTRY_EPHEMERAL_KEYS_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "liblever/host/registry/registry.h"

namespace lever::registry {

class EphemeralKeys {
 public:
  using Map = std::map<std::string, Entry, std::less<>>;

  const Entry* Find(std::string_view key) const;
  Map::const_iterator After(std::string_view key) const { return keys_.upper_bound(key); }
  Map::const_iterator From(std::string_view key) const { return keys_.lower_bound(key); }
  Map::const_iterator end() const { return keys_.end(); }
  std::vector<std::string> KeysOf(LeaseId lease) const;

  // What the entry counts for bytes().
  static size_t BytesOf(const Entry& entry);
  size_t bytes() const { return bytes_; }

  void Put(Entry entry);
  void Erase(const std::string& key);
  void Settle() { undo_.clear(); }
  void Unwind();

 private:
  // Makes `key` be `entry`, or absent, and returns what it was.
  std::optional<Entry> Exchange(const std::string& key, std::optional<Entry> entry);

  Map keys_;
  std::set<std::pair<LeaseId, std::string>> by_lease_;
  size_t bytes_ = 0;
  std::vector<std::pair<std::string, std::optional<Entry>>> undo_;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_EPHEMERAL_KEYS_H_
