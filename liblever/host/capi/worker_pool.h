// The threads for whatever waits on a disk: unpacking bundles, storing them. Loops never do. They run
// below the loops' priority: a deploy takes what the calls leave of the processors.
//
// Thread-safe. Bounded: more than kTasksMax waiting tasks mean that the disk does not keep up, and
// Post() says so.
#ifndef LIBLEVER_HOST_CAPI_WORKER_POOL_H_
#define LIBLEVER_HOST_CAPI_WORKER_POOL_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace lever::host {

class WorkerPool {
 public:
  static constexpr size_t kTasksMax = 10'000;
  // Added to the process's nice value: about a third of a loop's weight where both want a core.
  static constexpr int kNice = 5;

  explicit WorkerPool(size_t threads);
  // Runs what was posted, then ends the threads.
  ~WorkerPool();

  // False, and the task is dropped, at the limit and after Stop().
  bool Post(std::function<void()> task);
  // Runs what was posted and waits for it; nothing is taken any more.
  void Stop();

 private:
  void Work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_WORKER_POOL_H_
