#include "liblever/host/fleet/output_pipe.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace lever::fleet {
namespace {

// A pipe that has used up its allowance is looked at again when there is this much to read.
constexpr int64_t kPauseNs = static_cast<int64_t>(OutputPipe::kReadBytes) *
                             OutputPipe::kReadsPerTurn * kNanosPerSecond /
                             OutputPipe::kBytesPerSecond;
// As long as it takes to earn a whole burst; more is not added up.
constexpr int64_t kFullNs = OutputPipe::kBurstBytes * kNanosPerSecond / OutputPipe::kBytesPerSecond;

}  // namespace

Status OutputPipe::Open(UniqueFd reader) {
  reader_ = std::move(reader);
  earned_ns_ = loop_->now_ns();
  return loop_->Watch(reader_.get(), EPOLLIN, this);
}

void OutputPipe::Close() {
  loop_->Unwatch(this);
  loop_->Disarm(this);
  reader_.reset();
}

bool OutputPipe::MayRead() {
  const int64_t passed_ns = std::clamp<int64_t>(loop_->now_ns() - earned_ns_, 0, kFullNs);
  earned_ns_ = loop_->now_ns();
  allowance_bytes_ = std::min(kBurstBytes, allowance_bytes_ + passed_ns * (kBytesPerSecond / 1024) /
                                                                  (kNanosPerSecond / 1024));
  return allowance_bytes_ > 0;
}

bool OutputPipe::ReadOnce() {
  char buffer[kReadBytes];
  ssize_t size;
  do {
    size = ::read(reader_.get(), buffer, sizeof(buffer));
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) return false;
  if (size <= 0) {
    Close();
    return false;
  }
  allowance_bytes_ -= size;
  sink_(std::string_view(buffer, static_cast<size_t>(size)));
  return reader_.valid();
}

uint32_t OutputPipe::OnReady(uint32_t events) {
  for (int i = 0; i < kReadsPerTurn; ++i) {
    if (!MayRead()) {
      // Paused, so that what lies in the pipe does not keep the loop awake.
      if (loop_->Rewatch(this, 0).ok()) {
        loop_->Arm(this, DeadlineAfter(loop_->now_ns(), kPauseNs));
        return 0;
      }
    }
    if (!ReadOnce()) return 0;
  }
  return EPOLLIN;
}

void OutputPipe::OnTimer() {
  if (reader_.valid() && !loop_->Rewatch(this, EPOLLIN).ok()) Close();
}

void OutputPipe::Drain() {
  int64_t before = allowance_bytes_;
  while (reader_.valid() && before - allowance_bytes_ < static_cast<int64_t>(kDrainBytesMax)) {
    if (!ReadOnce()) break;
  }
  Close();
}

}  // namespace lever::fleet
