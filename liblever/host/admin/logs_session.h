// One call of lever.v1.Admin/Logs: lines as long as the client reads them.
//
// Threads: those of its loop. It owns itself until its call has ended.
#ifndef LIBLEVER_HOST_ADMIN_LOGS_SESSION_H_
#define LIBLEVER_HOST_ADMIN_LOGS_SESSION_H_

#include <memory>

#include "lever/v1/admin.pb.h"
#include "liblever/base/loop.h"
#include "liblever/host/admin/log_source.h"
#include "liblever/rpc/call.h"

namespace lever::admin {

class LogsSession final : public rpc::CallHandler,
                          public std::enable_shared_from_this<LogsSession> {
 public:
  static constexpr uint32_t kTailDefault = 100;
  // The host remembers a number for each while it looks for where they begin.
  static constexpr uint32_t kTailMax = 1'000'000;
  static constexpr size_t kLinesPerTake = 64;

  static void Accept(Loop* loop, LogSource* source, rpc::Call& call);

  void OnMessage(rpc::Call& call, SliceList message) override;
  void OnPeerEnd(rpc::Call& call) override;
  void OnWritable(rpc::Call& call) override;
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;

 private:
  LogsSession(Loop* loop, LogSource* source, rpc::Call& call)
      : loop_(loop), source_(source), call_(&call) {}
  void Open(const lever::v1::LogsRequest& request);
  void Pump();
  void Finish(const Status& status);

  Loop* loop_;
  LogSource* source_;
  rpc::Call* call_;
  std::unique_ptr<LogFollower> follower_;
  std::shared_ptr<LogsSession> self_;
};

}  // namespace lever::admin

#endif  // LIBLEVER_HOST_ADMIN_LOGS_SESSION_H_
