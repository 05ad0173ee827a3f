// One call of an instance's health method, before the instance takes calls.
//
// Threads: those of its loop. Invariants
//  1. `done` is called once, never from inside Start(), and not after the destructor.
//  2. `done` may destroy it.
#ifndef LIBLEVER_HOST_SCALE_HEALTH_CALL_H_
#define LIBLEVER_HOST_SCALE_HEALTH_CALL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/rpc/channel.h"

namespace lever::scale {

class HealthCall {
 public:
  // `url`: "/<service>/<method>"; called without arguments. OK: it has returned something; what it
  // has returned is not looked at. Else what went wrong, with the method's own error.
  static StatusOr<std::unique_ptr<HealthCall>> Over(Loop* loop, UniqueFd socket,
                                                    const std::string& url, int64_t deadline_ns,
                                                    std::function<void(Status)> done);
  static StatusOr<std::unique_ptr<HealthCall>> To(Loop* loop, const std::string& address,
                                                  const std::string& url, int64_t deadline_ns,
                                                  std::function<void(Status)> done);
  HealthCall(const HealthCall&) = delete;
  HealthCall& operator=(const HealthCall&) = delete;

 private:
  class Answer;

  HealthCall(Loop* loop, std::unique_ptr<rpc::Channel> channel, const std::string& url,
             int64_t deadline_ns, std::function<void(Status)> done);

  std::unique_ptr<rpc::Channel> channel_;
  std::shared_ptr<std::function<void(Status)>> done_;
};

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_HEALTH_CALL_H_
