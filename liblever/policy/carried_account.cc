#include "liblever/policy/carried_account.h"

#include <algorithm>
#include <utility>

namespace lever::policy {

bool CarriedAccount::Fits(uint64_t bytes, uint64_t there, uint64_t bytes_max) const {
  if (bytes <= there) return true;
  const uint64_t more = bytes - there;
  return more <= bytes_max && bytes_ <= bytes_max - more;
}

void CarriedAccount::Replace(uint64_t there, uint64_t bytes) {
  bytes_ = bytes_ - std::min(bytes_, there) + bytes;
}

void CarriedAccount::NoteFull(uint64_t lost) {
  if (!std::exchange(full_, true)) lost_ = 0;
  lost_ += lost;
}

CarriedAccount::Verdict CarriedAccount::Carry(uint64_t record, uint64_t tombstone,
                                              uint64_t there) {
  if (Fits(record, there, bytes_max_ - bytes_max_ / kTombstonePart)) {
    Replace(there, record);
    return Verdict::kCarried;
  }
  NoteFull(1);
  return Lose(tombstone, there);
}

CarriedAccount::Verdict CarriedAccount::Lose(uint64_t tombstone, uint64_t there) {
  if (there == 0 && !Fits(tombstone, 0, bytes_max_)) {
    NoteFull(0);
    return Verdict::kRefused;
  }
  Replace(there, tombstone);
  return Verdict::kLost;
}

void CarriedAccount::Forget(uint64_t there) { Replace(there, 0); }

CarriedAccount::Notice CarriedAccount::TakeNotice() {
  if (!full_) return Notice::kNone;
  if (!std::exchange(said_, true)) return Notice::kFull;
  if (bytes_ > bytes_max_ - bytes_max_ / kCarriedRoomPart) return Notice::kNone;
  full_ = said_ = false;
  return Notice::kRoomAgain;
}

}  // namespace lever::policy
