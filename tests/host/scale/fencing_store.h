// A store outside, in which services keep their counters under a fencing token: it refuses a token lower
// than the highest one that it has seen, for each counter.
//
// What one client asks arrives in order, and takes its time; also after the client has gone.
#ifndef TESTS_HOST_SCALE_FENCING_STORE_H_
#define TESTS_HOST_SCALE_FENCING_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "tests/host/scale/ownership_history.h"
#include "tests/host/scale/shard_links.h"

namespace lever::scale {

class FencingStore {
 public:
  using Counted = std::set<uint64_t>;
  using Done = std::function<void(bool accepted, const Counted& counted)>;

  FencingStore(ShardLinks* links, History* history) : links_(links), history_(history) {}

  // `at`: an event with all that is known of who asks; its generation is the token. `done` is called when
  // it is carried out.
  void Read(HistoryEvent at, Done done) {
    asked_[at.instance].Push(links_->Arrival(), [this, at, done = std::move(done)] {
      Answer(at, HistoryEvent::Kind::kRead, nullptr, done);
    });
  }
  // The whole counter.
  void Write(HistoryEvent at, Counted counted, Done done) {
    asked_[at.instance].Push(links_->Arrival(), [this, at, counted = std::move(counted),
                                                 done = std::move(done)] {
      Answer(at, HistoryEvent::Kind::kStored, &counted, done);
    });
  }
  // What has arrived by now is carried out.
  void Live() {
    for (auto& [instance, asked] : asked_) {
      while (const auto what = asked.Take(links_->step)) what();
    }
  }

 private:
  struct Counter {
    uint64_t highest_token = 0;
    Counted counted;
  };
  void Answer(HistoryEvent at, HistoryEvent::Kind kind, const Counted* write, const Done& done) {
    Counter& counter = counters_[at.resource];
    const bool accepted = at.generation >= counter.highest_token;
    at.kind = accepted ? kind : HistoryEvent::Kind::kFenced;
    if (accepted) {
      counter.highest_token = at.generation;
      if (write != nullptr) counter.counted = *write;
      at.counted.assign(counter.counted.begin(), counter.counted.end());
    }
    history_->push_back(std::move(at));
    done(accepted, counter.counted);
  }

  ShardLinks* const links_;
  History* const history_;
  std::map<std::string, Counter> counters_;
  std::map<std::string, Arrivals> asked_;  // by instance
};

}  // namespace lever::scale

#endif  // TESTS_HOST_SCALE_FENCING_STORE_H_
