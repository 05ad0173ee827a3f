#include "liblever/policy/scale.h"

#include <algorithm>
#include <cmath>

#include "liblever/policy/backoff.h"

namespace lever::policy {

namespace {

double Seconds(int64_t ns) { return static_cast<double>(ns) / static_cast<double>(kNanosPerSecond); }

bool Busy(const ScaleLoad& load) {
  return load.calls > 0 || load.streams > 0 || load.held_calls > 0;
}

// What an instance is meant for.
double LoadOfEach(const ScaleLimits& limits) {
  if (limits.concurrency_max == 0) return limits.load_max;
  return std::min<double>(limits.load_max, limits.concurrency_max);
}

// How many instances are meant for so much.
uint32_t InstancesFor(double concurrency, const ScaleLimits& limits) {
  // Sums of fractions are a little more than what was meant.
  const double wanted = std::ceil(concurrency / LoadOfEach(limits) - 1e-9);
  return static_cast<uint32_t>(std::clamp<double>(wanted, 0, limits.instances_max));
}

// Those that are there for the load, or will be: `standby` of what starts and what stands by are not.
uint32_t PresentForLoad(const ScaleLimits& limits, const ScaleLoad& load) {
  const uint32_t reserve = load.instances_starting + load.instances_standby;
  return load.instances_ready + reserve - std::min(reserve, limits.standby);
}

int64_t StartNs(const ScaleLoad& load) { return load.start_ns > 0 ? load.start_ns : kStartUnknownNs; }

// How fast the queue grows.
void NoteQueue(const ScaleLoad& load, int64_t now_ns, ScaleMemory* memory) {
  if (load.held_calls == 0) {
    memory->queue_since_ns = 0;
    memory->queue_growth = 0;
    return;
  }
  if (memory->queue_since_ns == 0) {
    memory->queue_since_ns = memory->queue_seen_ns = now_ns;
    memory->queue_seen = load.held_calls;
    return;
  }
  const int64_t passed_ns = now_ns - memory->queue_seen_ns;
  if (passed_ns < kQueueLookNs) return;
  memory->queue_growth =
      (static_cast<double>(load.held_calls) - memory->queue_seen) / Seconds(passed_ns);
  memory->queue_seen_ns = now_ns;
  memory->queue_seen = load.held_calls;
}

int64_t LatencyNs(const ScaleLoad& load) {
  return load.latency_ns > 0 ? load.latency_ns : kLatencyUnknownNs;
}

// What calls that wait are to be drained within, from now on.
int64_t PatienceNs(const ScaleLoad& load) { return StartNs(load) + kDrainGoalNs; }

// Whether the queue should have drained, and nothing is on its way that will do it. What came since an
// instance became ready last had no chance to be drained by it.
bool Overdue(const ScaleLimits& limits, const ScaleLoad& load, int64_t now_ns,
             const ScaleMemory& memory) {
  const int64_t since_ns = std::max(memory.queue_since_ns, load.last_ready_ns);
  return PresentForLoad(limits, load) == load.instances_ready &&
         now_ns - since_ns > PatienceNs(load);
}

// Whether the instances that are there drain the queue before anybody minds.
bool Bearable(const ScaleLimits& limits, const ScaleLoad& load) {
  const double slots = LoadOfEach(limits) * load.instances_ready;
  return load.held_calls * Seconds(LatencyNs(load)) <= slots * Seconds(kQueueBearableNs);
}

// The concurrency that calls which queue ask for, beside what is in flight.
double QueueLoad(const ScaleLimits& limits, const ScaleLoad& load, int64_t now_ns,
                 const ScaleMemory& memory) {
  if (load.held_calls == 0) return 0;
  const int64_t latency_ns = LatencyNs(load);
  const double part = Overdue(limits, load, now_ns, memory)
                          ? 1
                          : std::min(1.0, Seconds(latency_ns) / Seconds(PatienceNs(load)));
  return part * load.held_calls + std::max(0.0, memory.queue_growth) * Seconds(latency_ns);
}

uint32_t Need(const ScaleLimits& limits, const ScaleLoad& load, int64_t now_ns,
              const ScaleMemory& memory) {
  if (!Busy(load)) return 0;
  const double in_flight = load.calls + limits.stream_load * load.streams;
  const int64_t ahead_ns = std::min(StartNs(load) + kScaleTickNs, kForecastMostNs);
  const double expected = memory.window.Forecast(ahead_ns);
  uint32_t need = std::max(1u, InstancesFor(expected + kHeadroom * std::sqrt(expected), limits));
  if (load.held_calls > 0 && (Overdue(limits, load, now_ns, memory) || !Bearable(limits, load))) {
    need = std::max(need, InstancesFor(in_flight + QueueLoad(limits, load, now_ns, memory), limits));
  }
  const uint32_t panic = InstancesFor(in_flight, limits);
  if (panic >= kPanicFactor * PresentForLoad(limits, load)) need = std::max(need, panic);
  return need;
}

// What is to be kept of the mean load, whatever was started for what queues or is forecast.
uint32_t MeanNeed(const ScaleLimits& limits, const ScaleLoad& load, const ScaleMemory& memory) {
  if (!Busy(load)) return 0;
  const double mean = memory.window.PanicMean();
  return std::max(1u, InstancesFor(mean + kKeepHeadroom * std::sqrt(mean), limits));
}

// How long an instance more than needed is kept.
int64_t WaitNs(const ScaleLimits& limits, const ScaleMemory& memory) {
  return std::min(memory.wait_ns, limits.idle_timeout_ns);
}

int64_t SpareWaitNs(const ScaleLimits& limits, const ScaleMemory& memory) {
  return std::min(kSpareWaitNs, WaitNs(limits, memory));
}

void NoteNeeds(const ScaleLimits& limits, const ScaleLoad& load, uint32_t need, int64_t now_ns,
               ScaleMemory* memory) {
  const uint32_t of_mean = MeanNeed(limits, load, *memory);
  memory->mean_peaks.Note(now_ns, of_mean, WaitNs(limits, *memory));
  memory->peaks.Note(now_ns, need, SpareWaitNs(limits, *memory));
  memory->proven = std::max(memory->proven, std::min(of_mean, PresentForLoad(limits, load)));
}

void NoteIdle(const ScaleLimits& limits, const ScaleLoad& load, int64_t now_ns,
              ScaleMemory* memory) {
  const int64_t price_ns = limits.idle_timeout_ns;
  if (Busy(load)) {
    if (memory->idle_since_ns != 0 && memory->was_active) {
      memory->history.Add(now_ns - memory->idle_since_ns, price_ns);
    }
    memory->idle_since_ns = 0;
    memory->was_active = true;
    return;
  }
  const int64_t active_ns = std::min(load.last_active_ns, now_ns);
  if (memory->idle_since_ns == 0) {
    memory->idle_since_ns = active_ns > 0 ? active_ns : now_ns;
  } else if (active_ns > memory->idle_since_ns) {
    // A call came and went between two looks.
    if (memory->was_active) memory->history.Add(active_ns - memory->idle_since_ns, price_ns);
    memory->was_active = true;
    memory->idle_since_ns = active_ns;
  } else {
    return;
  }
  memory->plan = memory->history.Plan(price_ns, StartNs(load));
}

struct Keep {
  bool last = false;         // the last instance stays, if there is one
  bool start_ahead = false;  // and is started, if there is none
  int64_t until_ns = kNever;  // when this changes
};

Keep KeepIdle(const ScaleLimits& limits, const ScaleLoad& load, int64_t now_ns,
              const ScaleMemory& memory) {
  const IdlePlan& plan = memory.plan;
  const int64_t since_ns = memory.idle_since_ns;
  const int64_t ahead_ns = DeadlineAfter(since_ns, plan.start_after_ns);
  const int64_t end_ns = DeadlineAfter(since_ns, plan.end_after_ns);
  if (now_ns >= ahead_ns && now_ns < end_ns) return {true, true, end_ns};
  int64_t stop_ns = DeadlineAfter(since_ns, plan.stop_after_ns);
  // One that became ready for whatever reason and was not called has the usual time.
  const bool ahead = ahead_ns != kNever && now_ns >= ahead_ns;
  if (!ahead && load.last_ready_ns > since_ns) {
    const int64_t usual_ns = std::min(plan.stop_after_ns, limits.idle_timeout_ns);
    stop_ns = std::max(stop_ns, DeadlineAfter(load.last_ready_ns, usual_ns));
  }
  if (now_ns < stop_ns) return {true, false, std::min(stop_ns, ahead_ns > now_ns ? ahead_ns : kNever)};
  return {false, false, ahead_ns > now_ns ? ahead_ns : kNever};
}

// How many of the present ones stay, where fewer are needed.
uint32_t Lowered(uint32_t present, uint32_t need, const ScaleLimits& limits, int64_t now_ns,
                 ScaleMemory* memory) {
  const int64_t wait_ns = WaitNs(limits, *memory);
  const uint32_t kept = std::max({need, memory->mean_peaks.Most(now_ns, wait_ns),
                                  memory->peaks.Most(now_ns, SpareWaitNs(limits, *memory))});
  if (kept >= present) return present;
  const int64_t step_ns = std::min(kScaleDownStepNs, wait_ns / 4);
  if (memory->stepped_ns != 0 && now_ns - memory->stepped_ns < step_ns) return present;
  const uint32_t most = std::max(1u, present / 2);
  return std::max(kept, present - most);
}

// A start soon after a stop: the next stop waits longer. After a long time without, it waits less again.
void NoteStart(int64_t now_ns, ScaleMemory* memory) {
  if (memory->stopped_ns == 0) return;
  const bool regret = now_ns - memory->stopped_ns < kRegretWaits * memory->wait_ns;
  memory->stopped_ns = 0;
  if (!regret) return;
  memory->regretted_ns = now_ns;
  memory->wait_ns = std::min(2 * memory->wait_ns, kScaleDownWaitMostNs);
}

// `left` stay. To stop what the mean load has never needed is no reason to wait longer, if it is started again.
void NoteStop(uint32_t left, int64_t now_ns, ScaleMemory* memory) {
  memory->stepped_ns = now_ns;
  if (left < memory->proven) memory->stopped_ns = now_ns;
  memory->proven = std::min(memory->proven, left);
  if (memory->wait_ns > kScaleDownWaitNs &&
      now_ns - memory->regretted_ns > 8 * memory->wait_ns) {
    memory->wait_ns = std::max(memory->wait_ns / 2, kScaleDownWaitNs);
    memory->regretted_ns = now_ns;
  }
}

// How many are to stand by beside those that the load wants.
uint32_t StandbysWanted(const ScaleLimits& limits, uint32_t wanted) {
  return std::min(limits.standby, limits.instances_max - wanted);
}

void MoveStandbys(const ScaleLimits& limits, const ScaleLoad& load, ScaleDecision* decision) {
  const uint32_t missing =
      decision->wanted - std::min(decision->wanted, load.instances_ready);
  decision->promote = std::min(load.instances_standby, missing);
  const uint32_t left = load.instances_standby - decision->promote;
  decision->stop_standby = left - std::min(left, StandbysWanted(limits, decision->wanted));
}

void StartMissing(const ScaleLimits& limits, const ScaleLoad& load, int64_t now_ns,
                  ScaleDecision* decision) {
  const uint32_t whole = decision->wanted + StandbysWanted(limits, decision->wanted);
  const uint32_t present =
      load.instances_starting + load.instances_ready + load.instances_standby;
  if (whole <= present) return;
  if (now_ns < load.backoff_until_ns) {
    decision->refuse_held = load.held_calls > 0 && present == 0;
    decision->wake_at_ns = std::min(decision->wake_at_ns, load.backoff_until_ns);
    return;
  }
  const uint32_t at_a_time = std::max(kStartsAtATime, load.instances_ready);
  const uint32_t room = at_a_time - std::min(at_a_time, load.instances_starting);
  decision->start = std::min(whole - present, room);
}

}  // namespace

void NeedPeaks::Note(int64_t now_ns, uint32_t need, int64_t wait_ns) {
  Part& part = parts_[newest_ % parts_.size()];
  if (part.begun_ns >= 0 && now_ns - part.begun_ns < wait_ns / static_cast<int64_t>(kParts)) {
    part.need = std::max(part.need, need);
    return;
  }
  newest_ = (newest_ + 1) % parts_.size();
  parts_[newest_] = {now_ns, need};
}

uint32_t NeedPeaks::Most(int64_t now_ns, int64_t wait_ns) const {
  uint32_t most = 0;
  for (const Part& part : parts_) {
    const int64_t ended_ns = part.begun_ns + wait_ns / static_cast<int64_t>(kParts);
    if (part.begun_ns >= 0 && ended_ns > now_ns - wait_ns) most = std::max(most, part.need);
  }
  return most;
}

void CrashBackoff::OnCrash(int64_t now_ns, int64_t uptime_ns, double random) {
  if (uptime_ns >= kStableUptimeNs) {
    Reset();
    return;
  }
  ++crashes_;
  // An instance that was ready at all gets one new start without waiting.
  if (crashes_ == 1 && uptime_ns > 0) {
    until_ns_ = 0;
    return;
  }
  const int64_t wait_ns = BackoffNs(kBackoffFirstNs, crashes_ - 1, kBackoffMaxNs);
  const double jitter = 1.0 + kBackoffJitter * (2.0 * random - 1.0);
  until_ns_ = now_ns + static_cast<int64_t>(static_cast<double>(wait_ns) * jitter);
}

ScaleDecision DecideScale(const ScaleLimits& limits, const ScaleLoad& load, int64_t now_ns,
                          ScaleMemory* memory) {
  memory->window.Observe(now_ns, load.calls + limits.stream_load * load.streams);
  NoteQueue(load, now_ns, memory);
  NoteIdle(limits, load, now_ns, memory);
  const uint32_t need = Need(limits, load, now_ns, *memory);
  NoteNeeds(limits, load, need, now_ns, memory);

  const bool busy = Busy(load);
  const Keep keep = busy ? Keep{true, false, kNever} : KeepIdle(limits, load, now_ns, *memory);
  const uint32_t present = PresentForLoad(limits, load);
  ScaleDecision decision;
  if (!keep.last) {
    decision.wanted = 0;
  } else if (need < present) {
    decision.wanted = std::max(1u, Lowered(present, need, limits, now_ns, memory));
  } else {
    // A standby need not be started ahead.
    decision.wanted = std::max<uint32_t>(need, keep.start_ahead && limits.standby == 0 ? 1 : 0);
  }
  decision.wanted = std::clamp(decision.wanted, std::min(limits.instances_min, limits.instances_max),
                               limits.instances_max);
  if (busy || present > decision.wanted) decision.wake_at_ns = now_ns + kScaleTickNs;
  if (!busy && present > std::max(1u, limits.instances_min)) {
    decision.wake_at_ns = now_ns + kScaleTickNs;
  }
  if (limits.instances_min == 0) decision.wake_at_ns = std::min(decision.wake_at_ns, keep.until_ns);

  MoveStandbys(limits, load, &decision);
  StartMissing(limits, load, now_ns, &decision);
  if (decision.wanted > present) {
    if (decision.start + decision.promote > 0) NoteStart(now_ns, memory);
  } else {
    // One that is ready is not stopped for one that starts, and may not become so.
    decision.stop = load.instances_ready - std::min(load.instances_ready, decision.wanted);
    if (decision.stop > 0 && keep.last) NoteStop(decision.wanted, now_ns, memory);
  }
  return decision;
}

}  // namespace lever::policy
