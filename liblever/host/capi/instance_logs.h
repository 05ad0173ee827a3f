// The fleet's log book, as the control plane writes it and the admin service reads it.
//
// Threads: InstanceOutput's functions on the control loop; Open() from any loop.
#ifndef LIBLEVER_HOST_CAPI_INSTANCE_LOGS_H_
#define LIBLEVER_HOST_CAPI_INSTANCE_LOGS_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/host/admin/log_source.h"
#include "liblever/host/fleet/log_book.h"
#include "liblever/host/scale/launch.h"

namespace lever::host {

class InstanceLogs final : public scale::InstanceOutput, public admin::LogSource {
 public:
  void Begin(const scale::OutputSource& source) override;
  void Append(uint64_t instance_key, fleet::OutputStream stream, std::string_view bytes) override {
    book_.Append(instance_key, stream, bytes);
  }
  void Note(uint64_t instance_key, std::string_view line) override {
    book_.Note(instance_key, line);
  }
  std::string LastWords(uint64_t instance_key) override { return book_.LastWords(instance_key); }
  void End(uint64_t instance_key) override { book_.End(instance_key); }

  std::unique_ptr<admin::LogFollower> Open(admin::LogQuery query, Loop* loop,
                                           std::function<void()> wake) override;

 private:
  fleet::LogBook book_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_INSTANCE_LOGS_H_
