#include "liblever/host/capi/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace lever::host {
namespace {

TEST(WorkerPool, RunsWhatWasPostedBeforeItStops) {
  std::atomic<int> ran{0};
  WorkerPool pool(2);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(pool.Post([&] { ++ran; }));
  pool.Stop();
  EXPECT_EQ(ran, 1000);
  EXPECT_FALSE(pool.Post([&] { ++ran; }));
  EXPECT_EQ(ran, 1000);
}

TEST(WorkerPool, RefusesBeyondItsLimit) {
  WorkerPool pool(1);
  std::promise<void> hold;
  std::shared_future<void> held = hold.get_future().share();
  std::promise<void> begun;
  ASSERT_TRUE(pool.Post([&] {
    begun.set_value();
    held.wait();
  }));
  begun.get_future().wait();
  for (size_t i = 0; i < WorkerPool::kTasksMax; ++i) ASSERT_TRUE(pool.Post([] {}));
  EXPECT_FALSE(pool.Post([] {}));
  hold.set_value();
  pool.Stop();
}

}  // namespace
}  // namespace lever::host
