#include "liblever/host/capi/instance_logs.h"

#include <utility>
#include <vector>

namespace lever::host {
namespace {

class Follower final : public admin::LogFollower {
 public:
  explicit Follower(std::unique_ptr<fleet::LogReader> reader) : reader_(std::move(reader)) {}

  std::vector<admin::LogRecord> Take(size_t lines_max) override {
    std::vector<admin::LogRecord> records;
    for (fleet::LogLine& line : reader_->Take(lines_max)) {
      records.push_back({std::move(line.environment), std::move(line.service),
                         std::move(line.instance), line.version, line.time_unix_ns,
                         line.is_stderr, std::move(line.text), line.lost});
    }
    return records;
  }

 private:
  std::unique_ptr<fleet::LogReader> reader_;
};

}  // namespace

void InstanceLogs::Begin(const scale::OutputSource& source) {
  book_.Begin({source.instance_key, source.environment, source.service, source.instance,
               source.version});
}

std::unique_ptr<admin::LogFollower> InstanceLogs::Open(admin::LogQuery query, Loop* loop,
                                                       std::function<void()> wake) {
  return std::make_unique<Follower>(
      book_.Open({std::move(query.environment), std::move(query.service), query.tail, query.follow},
                 loop, std::move(wake)));
}

}  // namespace lever::host
