#include "liblever/policy/shard_wishes.h"

#include <algorithm>
#include <utility>

namespace lever::policy {

void ShardWishes::Move(uint32_t shard, std::string instance) {
  wishes_[shard] = {Kind::kMoved, std::move(instance)};
}

void ShardWishes::Pause(uint32_t shard) { wishes_[shard] = {Kind::kPaused, ""}; }

bool ShardWishes::Resume(uint32_t shard) {
  if (!paused(shard)) return false;
  wishes_.erase(shard);
  return true;
}

void ShardWishes::Close(uint32_t shard) { wishes_[shard] = {Kind::kClosed, ""}; }

bool ShardWishes::paused(uint32_t shard) const {
  const auto found = wishes_.find(shard);
  return found != wishes_.end() && found->second.kind == Kind::kPaused;
}

void ShardWishes::Apply(const std::vector<std::string>& eligible,
                        std::vector<std::string>* targets) {
  std::erase_if(wishes_, [&](const auto& entry) {
    const Wish& wish = entry.second;
    return wish.kind == Kind::kMoved &&
           !std::binary_search(eligible.begin(), eligible.end(), wish.instance);
  });
  for (const auto& [shard, wish] : wishes_) (*targets)[shard] = wish.instance;
}

bool ShardWishes::Reopen(const std::function<bool(uint32_t)>& let_go) {
  return std::erase_if(wishes_, [&](const auto& entry) {
           return entry.second.kind == Kind::kClosed && let_go(entry.first);
         }) > 0;
}

}  // namespace lever::policy
