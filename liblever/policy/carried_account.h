// How much of what its resources carry a service may have stored at a time, and what becomes of
// what goes beyond that.
//
// What counts is what the registry holds: the bytes of a record and of its key. A resource that
// carries more than is free is lost: its tombstone is stored in the place of what it carries. The
// last part of the bound, one in kTombstonePart, is for tombstones alone, so that they find room
// when nothing else does. When that is used up, too, nothing is stored; the owner then releases the
// shard as unclean, which makes everything in it that has no record lost without one of its own.
//
// A value; pure; any thread.
#ifndef LIBLEVER_POLICY_CARRIED_ACCOUNT_H_
#define LIBLEVER_POLICY_CARRIED_ACCOUNT_H_

#include <cstdint>

namespace lever::policy {

// Of all resources of a service.
inline constexpr uint64_t kServiceCarriedBytesMax = uint64_t{1} << 30;
// 16 MiB of the 1 GiB: more than 100,000 tombstones whose keys are 128 bytes.
inline constexpr uint64_t kTombstonePart = 64;
// There is room again when a quarter is free: a service that is at its bound is said to be full
// once, not each time that one more record fits.
inline constexpr uint64_t kCarriedRoomPart = 4;

class CarriedAccount {
 public:
  enum class Verdict : uint8_t {
    kCarried,  // store what it carries
    kLost,     // store its tombstone
    kRefused,  // store nothing
  };
  enum class Notice : uint8_t { kNone, kFull, kRoomAgain };

  // `bytes`: what is stored.
  CarriedAccount(uint64_t bytes_max, uint64_t bytes) : bytes_max_(bytes_max), bytes_(bytes) {}

  // What is to be stored of a resource counts from then on. `there`: what is stored of it now, 0
  // for nothing; `tombstone`: what its tombstone would take.
  Verdict Carry(uint64_t record, uint64_t tombstone, uint64_t there);
  // A tombstone in the place of a record is always stored: the record must not be opened again.
  Verdict Lose(uint64_t tombstone, uint64_t there);
  // `there` is deleted.
  void Forget(uint64_t there);

  uint64_t bytes() const { return bytes_; }
  // What is stored was read anew.
  void set_bytes(uint64_t bytes) { bytes_ = bytes; }
  // Resources that the bound has cost their state since it was reached.
  uint64_t lost() const { return lost_; }
  // What is worth a line in the log since it was asked last: that the bound has been reached, and
  // that there is room again.
  Notice TakeNotice();

 private:
  bool Fits(uint64_t bytes, uint64_t there, uint64_t bytes_max) const;
  void Replace(uint64_t there, uint64_t bytes);
  void NoteFull(uint64_t lost);

  uint64_t bytes_max_;
  uint64_t bytes_;
  uint64_t lost_ = 0;
  bool full_ = false;
  bool said_ = false;  // that it is full
};

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_CARRIED_ACCOUNT_H_
