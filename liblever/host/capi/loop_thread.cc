#include "liblever/host/capi/loop_thread.h"

#include <pthread.h>

#include <future>
#include <utility>

namespace lever::host {

StatusOr<std::unique_ptr<LoopThread>> LoopThread::Open(std::string name) {
  LoopOptions options;
  options.posters_drive = false;
  LEVER_ASSIGN_OR_RETURN(std::unique_ptr<Loop> loop, Loop::Open(options));
  return std::unique_ptr<LoopThread>(new LoopThread(std::move(name), std::move(loop)));
}

LoopThread::LoopThread(std::string name, std::unique_ptr<Loop> loop)
    : name_(std::move(name)), loop_(std::move(loop)) {}

LoopThread::~LoopThread() { Stop(); }

void LoopThread::Start() {
  thread_ = std::thread([this] { Drive(); });
}

void LoopThread::Drive() {
  ::pthread_setname_np(::pthread_self(), name_.c_str());
  while (!stopping_.load(std::memory_order_acquire)) {
    // The only failure is a fork, in whose child this thread does not exist.
    (void)loop_->Turn(-1);
  }
}

void LoopThread::Run(const std::function<void()>& function) {
  if (!thread_.joinable()) {
    function();
    return;
  }
  std::promise<void> done;
  loop_->Post([&] {
    function();
    done.set_value();
  });
  done.get_future().wait();
}

void LoopThread::Stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  loop_->Wake();
  thread_.join();
}

}  // namespace lever::host
