// Work that waits on a disk, done on the host's pool, with its result back on a loop.
//
// Any thread.
#ifndef LIBLEVER_HOST_DEPLOY_WORKER_H_
#define LIBLEVER_HOST_DEPLOY_WORKER_H_

#include <functional>
#include <memory>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"

namespace lever::deploy {

// The host's bounded pool of threads. False: it takes nothing more, and the task was dropped.
using Execute = std::function<bool(std::function<void()> task)>;

inline Status PoolIsFull() {
  return ResourceExhausted("the host's disk does not keep up: try again in a moment")
      .WithExecuted(LEVER_EXECUTED_NO);
}

// Hands the answer over to `loop`, whatever thread it is given on.
template <typename Result>
std::function<void(Result)> AnswerOn(Loop* loop, std::function<void(Result)> done) {
  return [loop, done = std::move(done)](Result result) {
    loop->Post(
        [done, shared = std::make_shared<Result>(std::move(result))] { done(std::move(*shared)); });
  };
}

// Runs `work` on the pool and `then(its result)` on `loop`. The result is a Status or a StatusOr: if
// the pool is full, `then` gets that, later on the loop like anything else.
template <typename Work, typename Then>
void RunOnPool(const Execute& execute, Loop* loop, Work work, Then then) {
  using Result = decltype(work());
  struct Task {
    Work work;
    Then then;
  };
  auto task = std::make_shared<Task>(Task{std::move(work), std::move(then)});
  const auto answer = [loop](std::shared_ptr<Task> answered, Result result) {
    loop->Post([answered = std::move(answered),
                result = std::make_shared<Result>(std::move(result))] {
      answered->then(std::move(*result));
    });
  };
  const bool taken = execute([task, answer] { answer(task, task->work()); });
  if (!taken) answer(task, Result(PoolIsFull()));
}

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_WORKER_H_
