#include "liblever/host/capi/user_allocator.h"

#define XXH_INLINE_ALL
#include <pwd.h>
#include <xxhash.h>

#include <charconv>
#include <vector>

#include "liblever/host/fleet/driver.h"

namespace lever::host {
namespace {

bool ParseId(std::string_view text, uint32_t* id) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *id);
  return error == std::errc() && end == text.data() + text.size();
}

bool IsInUserDatabase(uint32_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16 * 1024);
  return ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr;
}

}  // namespace

StatusOr<UserIdRange> ParseUserIdRange(std::string_view text) {
  const size_t dash = text.find('-');
  UserIdRange range;
  if (dash == std::string_view::npos || !ParseId(text.substr(0, dash), &range.first) ||
      !ParseId(text.substr(dash + 1), &range.last) || range.first == 0 ||
      range.first > range.last || range.last >= fleet::kSameUser) {
    return InvalidArgument("service_uids: '" + std::string(text) +
                           "' is not a range of user ids like 61184-65519");
  }
  return range;
}

StatusOr<uint32_t> UserAllocator::UserOf(const scale::ServiceName& name) {
  if (!range_) return fleet::kSameUser;
  const auto key = std::make_pair(std::string(name.environment), std::string(name.service));
  const auto known = users_.find(key);
  if (known != users_.end()) return known->second;
  const std::string text = name.ToString();
  const uint32_t uid = Allocate(XXH3_64bits(text.data(), text.size()));
  if (uid == 0) {
    return ResourceExhausted("no user id is left for " + text + ": all of --service-uids " +
                             std::to_string(range_->first) + "-" + std::to_string(range_->last) +
                             " are given to services of this host");
  }
  users_.emplace(key, uid);
  return uid;
}

StatusOr<uint32_t> UserAllocator::Take() {
  if (!range_) return FailedPrecondition("services do not run under users of their own");
  const uint32_t uid = Allocate(next_);
  if (uid == 0) return ResourceExhausted("all ids of --service-uids are given to services");
  next_ = uid - range_->first + 1;
  return uid;
}

uint32_t UserAllocator::Allocate(uint64_t start) {
  const uint64_t count = uint64_t{range_->last} - range_->first + 1;
  for (uint64_t step = 0; step < count; ++step) {
    const auto uid = static_cast<uint32_t>(range_->first + (start % count + step) % count);
    if (taken_.contains(uid) || IsInUserDatabase(uid)) continue;
    taken_.insert(uid);
    return uid;
  }
  return 0;
}

}  // namespace lever::host
