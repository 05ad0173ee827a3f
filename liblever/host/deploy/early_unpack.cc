#include "liblever/host/deploy/early_unpack.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace lever::deploy {

EarlyUnpack::EarlyUnpack(int bundle_fd, int parent_fd, std::string name,
                         const BundleLimits& limits)
    : bundle_fd_(bundle_fd) {
  thread_ = std::thread([this, parent_fd, name = std::move(name), limits] {
    ::pthread_setname_np(::pthread_self(), "lever-unpack");
    const auto read = [this](char* buffer, size_t size, off_t offset) {
      return ReadAt(buffer, size, offset);
    };
    result_ = UnpackBundle(read, parent_fd, name, limits);
  });
}

EarlyUnpack::~EarlyUnpack() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    unwanted_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void EarlyUnpack::Grown(int64_t bytes) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    bytes_ = bytes;
  }
  changed_.notify_all();
}

void EarlyUnpack::End() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

StatusOr<BundleInfo> EarlyUnpack::Finish() {
  thread_.join();
  return *std::move(result_);
}

ssize_t EarlyUnpack::ReadAt(char* buffer, size_t size, off_t offset) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return unwanted_ || ended_ || bytes_ > offset; });
  if (unwanted_) {
    errno = ECANCELED;
    return -1;
  }
  const int64_t left = std::max<int64_t>(bytes_ - offset, 0);
  lock.unlock();
  return ::pread(bundle_fd_, buffer, std::min(size, static_cast<size_t>(left)), offset);
}

}  // namespace lever::deploy
