#include "liblever/host/registry/ephemeral_keys.h"

namespace lever::registry {

const Entry* EphemeralKeys::Find(std::string_view key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? nullptr : &found->second;
}

std::vector<std::string> EphemeralKeys::KeysOf(LeaseId lease) const {
  std::vector<std::string> keys;
  for (auto at = by_lease_.lower_bound({lease, std::string()});
       at != by_lease_.end() && at->first == lease; ++at) {
    keys.push_back(at->second);
  }
  return keys;
}

// The key stands in the map, in the entry and in the index.
size_t EphemeralKeys::BytesOf(const Entry& entry) {
  return sizeof(Entry) + 3 * entry.key.size() + entry.value.size();
}

void EphemeralKeys::Put(Entry entry) {
  std::string key = entry.key;
  std::optional<Entry> previous = Exchange(key, std::move(entry));
  undo_.emplace_back(std::move(key), std::move(previous));
}

void EphemeralKeys::Erase(const std::string& key) {
  undo_.emplace_back(key, Exchange(key, std::nullopt));
}

void EphemeralKeys::Unwind() {
  for (auto change = undo_.rbegin(); change != undo_.rend(); ++change) {
    Exchange(change->first, std::move(change->second));
  }
  undo_.clear();
}

std::optional<Entry> EphemeralKeys::Exchange(const std::string& key, std::optional<Entry> entry) {
  std::optional<Entry> previous;
  if (const auto found = keys_.find(key); found != keys_.end()) {
    previous = std::move(found->second);
    keys_.erase(found);
    by_lease_.erase({previous->lease, key});
    bytes_ -= BytesOf(*previous);
  }
  if (entry) {
    bytes_ += BytesOf(*entry);
    by_lease_.emplace(entry->lease, key);
    keys_.emplace(key, *std::move(entry));
  }
  return previous;
}

}  // namespace lever::registry
