// Which answers a program owes for its resources, so that one that is wrong is refused at once.
//
// Any thread.
#ifndef LIBLEVER_CAPI_OPEN_RESOURCES_H_
#define LIBLEVER_CAPI_OPEN_RESOURCES_H_

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <mutex>

namespace lever::capi {

class OpenResources {
 public:
  void Opening(uint64_t resource) {
    const std::lock_guard lock(mutex_);
    states_.emplace(resource, State::kOpening);
  }
  void Closing(uint64_t resource) {
    const std::lock_guard lock(mutex_);
    states_[resource] = State::kClosing;
  }
  // False: it is not being opened.
  bool TakeOpened(uint64_t resource, bool ok) {
    const std::lock_guard lock(mutex_);
    const auto found = states_.find(resource);
    if (found == states_.end() || found->second != State::kOpening) return false;
    if (ok) {
      found->second = State::kOpen;
    } else {
      states_.erase(found);
    }
    return true;
  }
  // False: it is not being closed.
  bool TakeClosed(uint64_t resource) {
    const std::lock_guard lock(mutex_);
    const auto found = states_.find(resource);
    if (found == states_.end() || found->second != State::kClosing) return false;
    states_.erase(found);
    return true;
  }

 private:
  enum class State : uint8_t { kOpening, kOpen, kClosing };

  std::mutex mutex_;
  boost::unordered_flat_map<uint64_t, State> states_;
};

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_OPEN_RESOURCES_H_
