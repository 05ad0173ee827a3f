// The latest changes in the order of their revisions, as far back as two bounds allow. Watches read
// from it, and so do reads of an older revision.
//
// Not thread-safe: used by the registry's writer alone. It is in memory: after a restart everything
// before the restart is compacted.
//
// Invariants
//  1. Every change of the revisions above compacted() is here, in order; of the others none is.
//  2. Between two calls of Settle(), at most the bounds are held twice.
//  3. The changes of one revision are kept together or dropped together.
#ifndef LIBLEVER_HOST_REGISTRY_HISTORY_H_
#define LIBLEVER_HOST_REGISTRY_HISTORY_H_

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/host/registry/registry.h"

namespace lever::registry {

class History {
 public:
  struct Bounds {
    size_t changes_max;
    size_t bytes_max;
  };
  struct Change {
    WatchEvent event;
    std::optional<Entry> previous;  // what the key was before; nullopt: absent
  };

  // Begins empty: `revision` and everything before it is compacted.
  History(Bounds bounds, Revision revision) : bounds_(bounds), compacted_(revision) {}

  // Adds a change that is not settled yet. Revisions do not fall.
  void Append(Change change);
  // The changes since the last Settle() stay; what is beyond the bounds goes. `revision` is the
  // registry's now.
  void Settle(Revision revision);
  // The changes after `revision`, all since the last Settle(), were not made.
  void Unwind(Revision revision);
  void Compact(Revision revision);

  // No revision up to this one can be read or watched from any more. While changes are not settled
  // it may be higher than after Unwind().
  Revision compacted() const;

  // For each key after `after` with the prefix that was changed after `revision`: what it was then.
  using Past = std::map<std::string, std::optional<Entry>, std::less<>>;
  Past PastOf(Revision revision, std::string_view prefix, std::string_view after) const;

  struct Slice {
    std::vector<WatchEvent> events;
    Revision through = 0;  // everything up to it was looked at
  };
  // The changes with the prefix after the revision `after`, whole revisions, until there are
  // `events_max` of them or `bytes_max` bytes. `after` is not below compacted().
  Slice Read(Revision after, std::string_view prefix, size_t events_max, size_t bytes_max) const;

 private:
  static size_t BytesOf(const Change& change);
  std::deque<Change>::const_iterator FirstAfter(Revision revision) const;
  void DropFront();

  Bounds bounds_;
  Revision compacted_;
  std::deque<Change> changes_;
  size_t bytes_ = 0;
  // Changes that are not settled: more than the bounds would hold of them are not even added.
  size_t unsettled_ = 0;
  size_t unsettled_bytes_ = 0;
  std::optional<Revision> overflowed_;  // the last revision of which a change was not added
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_HISTORY_H_
