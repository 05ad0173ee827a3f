#include "liblever/host/registry/history.h"

#include <algorithm>
#include <cassert>

namespace lever::registry {
namespace {

size_t EntryBytes(const Entry& entry) { return entry.key.size() + entry.value.size(); }

Revision RevisionOf(const History::Change& change) { return change.event.entry.mod_revision; }

}  // namespace

size_t History::BytesOf(const Change& change) {
  return sizeof(Change) + EntryBytes(change.event.entry) +
         (change.previous ? EntryBytes(*change.previous) : 0);
}

Revision History::compacted() const { return std::max(compacted_, overflowed_.value_or(0)); }

void History::Append(Change change) {
  assert(changes_.empty() || RevisionOf(change) >= RevisionOf(changes_.back()));
  const size_t bytes = BytesOf(change);
  if (overflowed_ || unsettled_ + 1 > bounds_.changes_max ||
      unsettled_bytes_ + bytes > bounds_.bytes_max) {
    overflowed_ = RevisionOf(change);
    return;
  }
  ++unsettled_;
  unsettled_bytes_ += bytes;
  bytes_ += bytes;
  changes_.push_back(std::move(change));
}

void History::Settle(Revision revision) {
  if (overflowed_) Compact(revision);
  unsettled_ = 0;
  unsettled_bytes_ = 0;
  while (changes_.size() > bounds_.changes_max || bytes_ > bounds_.bytes_max) {
    compacted_ = RevisionOf(changes_.front());
    while (!changes_.empty() && RevisionOf(changes_.front()) == compacted_) DropFront();
  }
}

void History::Unwind(Revision revision) {
  while (!changes_.empty() && RevisionOf(changes_.back()) > revision) {
    bytes_ -= BytesOf(changes_.back());
    changes_.pop_back();
  }
  unsettled_ = 0;
  unsettled_bytes_ = 0;
  overflowed_.reset();
}

void History::Compact(Revision revision) {
  changes_.clear();
  bytes_ = 0;
  unsettled_ = 0;
  unsettled_bytes_ = 0;
  overflowed_.reset();
  compacted_ = revision;
}

void History::DropFront() {
  bytes_ -= BytesOf(changes_.front());
  changes_.pop_front();
}

std::deque<History::Change>::const_iterator History::FirstAfter(Revision revision) const {
  return std::upper_bound(
      changes_.begin(), changes_.end(), revision,
      [](Revision wanted, const Change& change) { return wanted < RevisionOf(change); });
}

History::Past History::PastOf(Revision revision, std::string_view prefix,
                              std::string_view after) const {
  Past past;
  for (auto change = FirstAfter(revision); change != changes_.end(); ++change) {
    const std::string& key = change->event.entry.key;
    // The first change after the revision knows what was there at the revision.
    if (key.starts_with(prefix) && key > after) past.try_emplace(key, change->previous);
  }
  return past;
}

History::Slice History::Read(Revision after, std::string_view prefix, size_t events_max,
                             size_t bytes_max) const {
  Slice slice;
  slice.through = after;
  size_t bytes = 0;
  for (auto change = FirstAfter(after); change != changes_.end(); ++change) {
    const bool full = slice.events.size() >= events_max || bytes >= bytes_max;
    if (full && RevisionOf(*change) != slice.through) return slice;
    slice.through = RevisionOf(*change);
    if (!change->event.entry.key.starts_with(prefix)) continue;
    bytes += EntryBytes(change->event.entry);
    slice.events.push_back(change->event);
  }
  return slice;
}

}  // namespace lever::registry
