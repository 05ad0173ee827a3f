// The lines that are in the files of a LogStore, in their order over all files, a page at a time.
//
// First it looks where the last `tail` lines begin, from the newest file of each service backwards;
// then it reads forward and merges. Both are done in steps of bounded work, so that a long history
// does not keep a disk thread from others.
//
// Threads: one at a time; Step() waits for the disk.
//
// Invariants
//  1. Of the lines below `end_number` that pass the filter, the last `tail` come, each once, with
//  rising
//     numbers; fewer only where files were removed meanwhile.
//  2. Memory: `tail` numbers, and a block for each service.
#ifndef LIBLEVER_HOST_FLEET_LOG_HISTORY_H_
#define LIBLEVER_HOST_FLEET_LOG_HISTORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "liblever/host/fleet/log_book.h"
#include "liblever/host/fleet/log_filter.h"
#include "liblever/host/fleet/log_store.h"

namespace lever::fleet {

struct LogHistoryQuery {
  std::string environment{};
  std::string service{};  // empty: every service of the environment
  LogFilter filter{};
  size_t tail = SIZE_MAX;
  uint64_t end_number = UINT64_MAX;
};

class LogHistory {
 public:
  // What a step reads, roughly, and gives back.
  static constexpr size_t kStepBytes = 4 * 1024 * 1024;
  static constexpr size_t kStepLines = 512;
  // Longer than any line (LogBookOptions::line_bytes_max and what stands before its text).
  static constexpr size_t kBlockBytes = 32 * 1024;

  LogHistory(std::shared_ptr<LogStore> store, LogHistoryQuery query);
  ~LogHistory();
  LogHistory(const LogHistory&) = delete;
  LogHistory& operator=(const LogHistory&) = delete;

  // The next lines; none: nothing was found in this step.
  std::vector<LogLine> Step();
  bool done() const { return phase_ == Phase::kDone; }

 private:
  enum class Phase : uint8_t { kFlush, kPlace, kRead, kDone };
  struct Source;

  void Flush();
  void Place();
  void CountSegment(Source& source);
  void BeginReading();
  std::vector<LogLine> Read();
  bool Advance(Source& source);
  bool Fill(Source& source);

  const std::shared_ptr<LogStore> store_;
  const LogHistoryQuery query_;
  Phase phase_ = Phase::kFlush;
  std::vector<std::unique_ptr<Source>> sources_;
  size_t placing_ = 0;  // the source whose segments are counted
  std::vector<uint64_t>
      numbers_;  // a heap, the least on top: the last `tail` numbers that were found
  uint64_t first_number_ = 0;
  size_t step_bytes_ = 0;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_LOG_HISTORY_H_
