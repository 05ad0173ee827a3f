// The fleet's log book and its files, as the control plane writes them and the admin service reads
// them.
//
// Who asks for lines of the past gets them from the files, unless all of them are in memory, and
// then what came meanwhile from memory.
//
// Threads: InstanceOutput's functions on the control loop; Open() from any loop. Files are read on
// the host's disk threads.
#ifndef LIBLEVER_HOST_CAPI_INSTANCE_LOGS_H_
#define LIBLEVER_HOST_CAPI_INSTANCE_LOGS_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/host/admin/log_source.h"
#include "liblever/host/deploy/worker.h"
#include "liblever/host/fleet/log_book.h"
#include "liblever/host/fleet/log_store.h"
#include "liblever/host/scale/launch.h"

namespace lever::host {

class InstanceLogs final : public scale::InstanceOutput, public admin::LogSource {
 public:
  InstanceLogs(std::shared_ptr<fleet::LogStore> store, deploy::Execute execute);

  void Begin(const scale::OutputSource& source) override;
  void Append(uint64_t instance_key, fleet::OutputStream stream, std::string_view bytes) override {
    book_.Append(instance_key, stream, bytes);
  }
  void Note(uint64_t instance_key, std::string_view line) override {
    book_.Note(instance_key, line);
  }
  std::string LastWords(uint64_t instance_key) override { return book_.LastWords(instance_key); }
  void End(uint64_t instance_key) override { book_.End(instance_key); }

  StatusOr<std::unique_ptr<admin::LogFollower>> Open(admin::LogQuery query, Loop* loop,
                                                     std::function<void()> wake) override;

 private:
  const std::shared_ptr<fleet::LogStore> store_;
  const deploy::Execute execute_;
  fleet::LogBook book_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_INSTANCE_LOGS_H_
