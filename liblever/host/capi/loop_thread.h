// A loop and the thread that drives it, for as long as the host lives.
//
// Threads: Start(), Run() and Stop() by whoever owns it; the loop's own rules for everything else.
//
// Invariants
//  1. Until Start() nobody drives the loop: setting up may touch it without its word.
//  2. After Stop() nobody drives it any more: tearing down may touch it again.
#ifndef LIBLEVER_HOST_CAPI_LOOP_THREAD_H_
#define LIBLEVER_HOST_CAPI_LOOP_THREAD_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"

namespace lever::host {

class LoopThread {
 public:
  // `name` is what the thread is called in ps and in debuggers, at most 15 characters.
  static StatusOr<std::unique_ptr<LoopThread>> Open(std::string name);
  ~LoopThread();

  Loop* loop() { return loop_.get(); }
  void Start();
  bool started() const { return thread_.joinable(); }
  // Runs `function` on the loop's thread and waits for it. Not from a thread of the host.
  void Run(const std::function<void()>& function);
  // Lets the thread finish its turn and waits for its end. A second call does nothing.
  void Stop();

 private:
  LoopThread(std::string name, std::unique_ptr<Loop> loop);
  void Drive();

  const std::string name_;
  std::unique_ptr<Loop> loop_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_LOOP_THREAD_H_
