// The watches: each a place in the history, with at most one batch on its way to the executor.
//
// Add() and Cancel() may be called from any thread; Start(), Deliver() and EndAll() are the
// writer's. It outlives the registry where batches are still on their way.
//
// Invariants
//  1. A watch has one batch under way at most, of whole revisions; the rest waits in the history.
//     Who does not keep up costs no memory and is told COMPACTED.
//  2. Callbacks are run and destroyed on the executor only.
//  3. After the call with an error, and after Cancel() on the executor, a callback is not called.
#ifndef LIBLEVER_HOST_REGISTRY_WATCHES_H_
#define LIBLEVER_HOST_REGISTRY_WATCHES_H_

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "liblever/host/registry/history.h"
#include "liblever/host/registry/registry.h"

namespace lever::registry {

class Inbox;

class Watches : public std::enable_shared_from_this<Watches> {
 public:
  Watches(std::shared_ptr<Inbox> inbox, size_t watches_max)
      : inbox_(std::move(inbox)), watches_max_(watches_max) {}

  WatchId Add(WatchRequest request, WatchCallback callback);
  void Cancel(WatchId id);

  // Gives the watches that were added since the last time their place. Those who ask for changes
  // from now on see what comes after `revision`.
  void Start(Revision revision);
  // Posts what each has not been told and has room for.
  void Deliver(const History& history, Revision revision);
  // Ends all that are open; Add() answers `final`, unless it is OK.
  void EndAll(const Status& why, Status final = Status::Ok());

 private:
  struct Watch {
    std::string prefix;
    WatchCallback callback;
    std::atomic<bool> ended = false;
    // Under the mutex.
    bool started = false;
    bool under_way = false;
    bool behind = false;   // there is more, to be posted when the batch under way has been run
    Revision through = 0;  // everything up to it has been posted
  };

  // Posts a batch, or reports why the watch has ended. Under the mutex.
  Status DeliverTo(const std::shared_ptr<Watch>& watch, const History& history, Revision revision);
  void PostBatch(std::shared_ptr<Watch> watch, WatchBatch batch);
  void PostEnd(std::shared_ptr<Watch> watch, Status status);
  void Delivered(Watch* watch);

  const std::shared_ptr<Inbox> inbox_;
  const size_t watches_max_;
  std::mutex mutex_;
  Status final_;
  WatchId last_id_ = 0;
  std::map<WatchId, std::shared_ptr<Watch>> watches_;
};

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_WATCHES_H_
