// The reading end of an instance's stdout or stderr.
//
// Threads: those of its loop.
//
// Invariants
//  1. At most kBytesPerSecond are read in the long run, kBurstBytes at once. Beyond that the pipe
//     is not read, and whoever writes to it waits.
//  2. Nothing is kept: what is read is handed on at once.
#ifndef LIBLEVER_HOST_FLEET_OUTPUT_PIPE_H_
#define LIBLEVER_HOST_FLEET_OUTPUT_PIPE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"

namespace lever::fleet {

class OutputPipe final : private IoSource, private Timer {
 public:
  // 4 MiB/s is more than anybody reads, and costs the control loop a few per cent of a core.
  static constexpr int64_t kBytesPerSecond = 4 * 1024 * 1024;
  static constexpr int64_t kBurstBytes = 1024 * 1024;
  // Read from one pipe before others get their turn.
  static constexpr size_t kReadBytes = 16 * 1024;
  static constexpr int kReadsPerTurn = 4;
  // What Drain() takes at most: the largest buffer that an unprivileged program can give its pipe.
  static constexpr size_t kDrainBytesMax = 1024 * 1024;

  // May be called again inside; may not destroy the pipe.
  using Sink = std::function<void(std::string_view bytes)>;

  OutputPipe(Loop* loop, Sink sink) : loop_(loop), sink_(std::move(sink)) {}
  ~OutputPipe() override { Close(); }

  // `reader` is non-blocking.
  Status Open(UniqueFd reader);
  // Reads what is in the pipe, whatever the rate, and closes it.
  void Drain();
  void Close();
  bool open() const { return reader_.valid(); }

 private:
  uint32_t OnReady(uint32_t events) override;
  void OnTimer() override;
  // Reads once. False: there is nothing now, or nothing any more.
  bool ReadOnce();
  bool MayRead();

  Loop* const loop_;
  const Sink sink_;
  UniqueFd reader_;
  // Bytes that may be read, as of `earned_ns_`.
  int64_t allowance_bytes_ = kBurstBytes;
  int64_t earned_ns_ = 0;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_OUTPUT_PIPE_H_
