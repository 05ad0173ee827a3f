// What a peer has to do in time: begin, answer a PING, finish what it has begun, take what is sent,
// and do something at all. One timer looks after all of it: it comes at the earliest moment that may
// matter, and is moved back only when it has come, so that a busy connection does not touch it.
#include <algorithm>
#include <string>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/rpc/connection.h"
#include "liblever/rpc/counters.h"
#include "liblever/rpc/session.h"

namespace lever::rpc {

// A frame that has come in part has to be finished.
void Connection::LookAtInput() {
  const int64_t complete_by_ns = session_->InputDeadline();
  if (complete_by_ns != kNever) LookBy(complete_by_ns);
}

void Connection::OnBusy() {
  if (open_streams_ == 1) turned_ns_ = loop_->now_ns();
  if (!ready_) return;
  const int64_t look_ns = keepalive_time_ns_ < 0 ? kKeepaliveTimeNs : keepalive_time_ns_;
  LookBy(DeadlineAfter(loop_->now_ns(), look_ns));
}

void Connection::OnIdle() {
  turned_ns_ = loop_->now_ns();
  if (ready_ && idle_timeout_ns_ >= 0) LookBy(DeadlineAfter(turned_ns_, idle_timeout_ns_));
}

void Connection::OnLiveTimer() {
  if (phase_ != Phase::kOpen) return;
  const int64_t now_ns = loop_->now_ns();
  if (!CheckPeerInTime(now_ns) || !CheckKeepalive(now_ns)) return;
  int64_t next_ns = session_->InputDeadline();
  if (output_waits_ns_ != kNever) {
    next_ns = std::min(next_ns, DeadlineAfter(output_waits_ns_, kOutputTimeoutNs));
  }
  if (open_streams_ == 0) {
    session_->Trim();
    if (idle_timeout_ns_ >= 0) {
      const int64_t idle_ns = DeadlineAfter(turned_ns_, idle_timeout_ns_);
      if (idle_ns > now_ns) next_ns = std::min(next_ns, idle_ns);
    }
  } else {
    session_->CutStalledReplies(now_ns - kReplyTimeoutNs);
    MarkDirty();
    int64_t look_ns = DeadlineAfter(now_ns, kKeepaliveTimeNs);
    if (keepalive_pending_) {
      look_ns = DeadlineAfter(keepalive_sent_ns_, keepalive_timeout_ns_);
    } else if (keepalive_time_ns_ >= 0) {
      look_ns = DeadlineAfter(std::max(last_receive_ns_, turned_ns_), keepalive_time_ns_);
    }
    next_ns = std::min(next_ns, look_ns);
  }
  if (next_ns != kNever) loop_->Arm(&live_timer_, next_ns);
}

// False: the connection ends.
bool Connection::CheckPeerInTime(int64_t now_ns) {
  CounterBlock& counters = LocalCounters();
  if (!ready_) {
    CutOff(&counters.preface_timeouts, "the peer did not begin HTTP/2 in time");
    return false;
  }
  if (session_->InputDeadline() <= now_ns) {
    CutOff(&counters.limit_frame_time, "the peer did not finish a frame in time");
    return false;
  }
  if (output_waits_ns_ != kNever &&
      DeadlineAfter(output_waits_ns_, kOutputTimeoutNs) <= now_ns) {
    CutOff(&counters.limit_output_time, "the peer takes nothing of what it is sent");
    return false;
  }
  if (open_streams_ == 0 && idle_timeout_ns_ >= 0 && !drain_asked_ &&
      DeadlineAfter(turned_ns_, idle_timeout_ns_) <= now_ns) {
    Count(counters.limit_idle_time);
    Drain();
  }
  return true;
}

bool Connection::CheckKeepalive(int64_t now_ns) {
  if (keepalive_pending_ && last_receive_ns_ < keepalive_sent_ns_) {
    if (now_ns < DeadlineAfter(keepalive_sent_ns_, keepalive_timeout_ns_)) return true;
    Count(LocalCounters().keepalive_timeouts);
    Close(Unavailable("the peer does not answer"));
    return false;
  }
  keepalive_pending_ = false;
  if (open_streams_ == 0 || keepalive_time_ns_ < 0) return true;
  const int64_t heard_ns = std::max(last_receive_ns_, turned_ns_);
  if (now_ns < DeadlineAfter(heard_ns, keepalive_time_ns_)) return true;
  session_->SubmitKeepalivePing();
  keepalive_pending_ = true;
  keepalive_sent_ns_ = now_ns;
  MarkDirty();
  return true;
}

void Connection::CutOff(std::atomic<uint64_t>* counter, std::string_view why) {
  Count(*counter);
  LogCutOff(why);
  Close(Unavailable(std::string(why)));
}

void Connection::LogCutOff(std::string_view why) const {
  static constinit LogLimiter limiter(kPeerLogIntervalNs);
  if (!LogEnabled(LogLevel::kInfo)) return;
  std::string line = "cut off " + (peer_.empty() ? "a peer" : peer_) + ": ";
  limiter.Log(LogLevel::kInfo, loop_->now_ns(), std::move(line.append(why)));
}

}  // namespace lever::rpc
