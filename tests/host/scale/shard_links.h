// The sessions of instances with hosts, by steps of time: messages that take theirs, in order each way,
// and sessions that break, by which the last of them may be lost.
#ifndef TESTS_HOST_SCALE_SHARD_LINKS_H_
#define TESTS_HOST_SCALE_SHARD_LINKS_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "liblever/base/random.h"
#include "tests/host/scale/shard_fixture.h"

namespace lever::scale {

// A clock that runs up to 0.04 % too fast or too slow: two differ by less than kClockRateSlack.
struct Drift {
  explicit Drift(Random* random) : parts(static_cast<int64_t>(random->Below(801)) - 400) {}
  int64_t Of(int64_t ns) const { return ns + ns / 1'000'000 * parts; }
  int64_t parts;  // of a million
};

// What is on its way, in order, each with the step at which it arrives.
class Arrivals {
 public:
  // At `step`, or behind what is on its way already.
  void Push(int step, std::function<void()> what) {
    if (!queue_.empty()) step = std::max(step, queue_.back().first);
    queue_.emplace_back(step, std::move(what));
  }
  // The next one that has arrived by `step`; empty: none.
  std::function<void()> Take(int step) {
    if (queue_.empty() || queue_.front().first > step) return nullptr;
    std::function<void()> what = std::move(queue_.front().second);
    queue_.pop_front();
    return what;
  }
  // Behind everything that is on its way here.
  void Append(Arrivals other) {
    for (auto& [step, what] : other.queue_) Push(step, std::move(what));
  }
  void DropLast() { queue_.pop_back(); }
  // When the last one arrives; 0: there is none.
  int last_step() const { return queue_.empty() ? 0 : queue_.back().first; }
  void Clear() { queue_.clear(); }
  bool empty() const { return queue_.empty(); }

 private:
  std::deque<std::pair<int, std::function<void()>>> queue_;
};

// An instance's end of its session. It stays where it is as long as messages may be on their way.
struct LinkEnd {
  std::string id;
  ShardHost* host = nullptr;  // that it has a session with
  uint64_t session = 0;
  uint64_t known_session = 0;  // of the host: what it says goes over that one
  int steps_paused = 0;
  Arrivals to_instance;  // of this session
  Arrivals to_host;
  std::function<void()> on_welcome;  // the host has the session, and has said nothing else yet
  std::function<void()> on_cut;      // may be empty, too
};

class ShardLinks {
 public:
  ShardLinks(ShardWorld* its_world, Random* its_random) : world(its_world), random(its_random) {}

  bool OneIn(uint32_t n) { return faulty && random->Below(n) == 0; }
  // Mostly at once, now and then some seconds.
  int Arrival() { return step + (OneIn(15) ? static_cast<int>(random->Below(25)) : 0); }

  void Send(ShardHost& host, LinkEnd* to, std::function<void()> what) {
    if (to == nullptr || to->host != &host || to->known_session != to->session) return;
    to->to_instance.Push(Arrival(), std::move(what));
  }
  void SendToHost(LinkEnd& from, std::function<void(ShardController&)> what) {
    if (from.host == nullptr) return;
    from.to_host.Push(Arrival(), [host = from.host, what = std::move(what)] {
      what(*host->controller);
    });
  }
  void Connect(LinkEnd& instance) {
    instance.host = world->hosts[random->Below(static_cast<uint32_t>(world->hosts.size()))].get();
    // It looks for the host that decides.
    for (const auto& host : world->hosts) {
      if (host->controller->leading() && !OneIn(4)) instance.host = host.get();
    }
    ++instance.session;
    // Behind the end of the one before.
    instance.to_host.Push(
        std::max(Arrival(), orphans_[instance.host].last_step()),
        [this, host = instance.host, &instance, session = instance.session] {
          // Another host may hear of one before only now.
          if (instance.session == session) {
            instance.known_session = session;
            if (instance.on_welcome) Send(*host, &instance, instance.on_welcome);
          }
          host->controller->OnSession(instance.id);
        });
  }
  // Both sides learn of it, the host maybe later.
  void Cut(LinkEnd& instance) {
    ShardHost* const host = std::exchange(instance.host, nullptr);
    if (host == nullptr) return;
    instance.to_instance.Clear();
    // What it said last may be lost.
    while (!instance.to_host.empty() && OneIn(2)) instance.to_host.DropLast();
    Arrivals last = std::exchange(instance.to_host, {});
    last.Push(Arrival(), [host, id = instance.id] { host->controller->OnSessionEnd(id); });
    orphans_[host].Append(std::move(last));
    if (instance.on_cut) instance.on_cut();
  }
  // Its process has ended, which its host may see.
  void End(LinkEnd& instance, bool seen) {
    ShardHost* const host = instance.host;
    Cut(instance);
    if (!seen || host == nullptr) return;
    orphans_[host].Push(Arrival(), [host, id = instance.id] { host->controller->OnEnded(id); });
  }
  // What has arrived at the host from `instances`, each a LinkEnd; `after` is called behind each.
  template <typename Instances, typename After>
  void ArriveAt(ShardHost& host, const Instances& instances, After after) {
    Arrive(host, &orphans_[&host], after);
    for (const auto& instance : instances) {
      if (instance->host == &host) Arrive(host, &instance->to_host, after);
    }
  }

  ShardWorld* const world;
  Random* const random;
  int step = 0;
  bool faulty = true;

 private:
  template <typename After>
  void Arrive(ShardHost& host, Arrivals* queue, After after) {
    while (const auto what = queue->Take(step)) {
      world->On(host, what);
      after();
    }
  }

  // Of sessions that have ended.
  std::map<ShardHost*, Arrivals> orphans_;
};

}  // namespace lever::scale

#endif  // TESTS_HOST_SCALE_SHARD_LINKS_H_
