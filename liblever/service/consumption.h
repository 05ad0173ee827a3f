// Which messages of its caller's a method has read, and when the caller is told.
//
// Messages are numbered from 1, over all owners of the stream's resource. The caller keeps what it has
// not been told of and waits while that is much, so it is told after kReportBytes, or kReportMessages, of
// what was read: also when the last of it is read long after it came.
//
// A value; whoever owns it uses it on one thread.
//
// Invariants
//  1. base <= reported <= read <= delivered.
//  2. Between two marks lie at least kReportBytes, so that they are few; beyond kMarksMax the last one
//     moves on, which a caller that waits for what it is told never sees.
#ifndef LIBLEVER_SERVICE_CONSUMPTION_H_
#define LIBLEVER_SERVICE_CONSUMPTION_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lever::service {

class Consumption {
 public:
  static constexpr uint64_t kReportBytes = 16 * 1024;
  static constexpr uint64_t kReportMessages = 256;
  // What a caller of ours keeps (256 KiB, and a message) has no more marks than that.
  static constexpr size_t kMarksMax = 32;

  // Those up to `base` were read at other owners.
  void Begin(uint64_t base) { delivered_ = read_ = reported_ = base_ = base; }

  void Delivered(size_t bytes) {
    ++delivered_;
    bytes_since_mark_ += bytes;
    if (bytes_since_mark_ < kReportBytes) return;
    bytes_since_mark_ = 0;
    if (marks_.size() == kMarksMax) marks_.pop_back();
    marks_.push_back(delivered_);
  }
  void Read(uint64_t messages) { read_ += std::min(messages, delivered_ - read_); }

  // Whether there is something to tell, and whether it is time.
  bool News() const { return read_ != reported_; }
  bool Due() const {
    return read_ - reported_ >= kReportMessages || (!marks_.empty() && marks_.front() <= read_);
  }
  // What the caller is told now.
  uint64_t Report() {
    reported_ = read_;
    const auto after = std::upper_bound(marks_.begin(), marks_.end(), reported_);
    marks_.erase(marks_.begin(), after);
    return reported_;
  }
  // All that was delivered is read but for the last `unread`: never less than the caller was told.
  uint64_t AllBut(uint64_t unread) const {
    return std::max(reported_, delivered_ - std::min(unread, delivered_ - base_));
  }

 private:
  uint64_t base_ = 0;
  uint64_t delivered_ = 0;
  uint64_t read_ = 0;
  uint64_t reported_ = 0;
  uint64_t bytes_since_mark_ = 0;
  std::vector<uint64_t> marks_;  // numbers of messages whose reading is told
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_CONSUMPTION_H_
