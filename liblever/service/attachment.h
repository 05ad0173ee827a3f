// The attach session of a service: hello and welcome, ready, load reports, the words of a drain.
//
// Load is reported every load interval while it changes, and at once when the first request begins or
// the last one ends; but never sooner than kReportSpacingNs after the report before, so that a caller
// who calls again and again does not double its instance's work. Where nothing changes, the same report
// goes out every heartbeat (policy/silence.h), so that the host can tell an idle instance from one that
// is stuck. What the shards have in flight goes with a report once a second while there is any.
//
// Threads: used only by who holds the loop's word.
#ifndef LIBLEVER_SERVICE_ATTACHMENT_H_
#define LIBLEVER_SERVICE_ATTACHMENT_H_

#include <cstdint>
#include <string_view>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/route/host_session.h"
#include "liblever/service/attach_messages.h"
#include "liblever/service/load_tracker.h"
#include "liblever/service/shard_loads.h"

namespace lever::route {
class HostLink;
}  // namespace lever::route

namespace lever::service {

inline constexpr int64_t kReportSpacingNs = 20 * kNanosPerMilli;
inline constexpr int64_t kReportIntervalNs = 250 * kNanosPerMilli;  // unless the host says otherwise
inline constexpr int64_t kReportIntervalMinNs = kReportSpacingNs;

class AttachmentHandler {
 public:
  virtual ~AttachmentHandler() = default;
  virtual InstanceHello MakeHello() = 0;
  virtual void OnWelcome(const InstanceWelcome& welcome) = 0;
  // After SendReady(): calls find the instance from now on.
  virtual void OnServing() = 0;
  virtual void OnDrainRequest(const DrainRequest& request) = 0;
  // ShardOrders, GrantRenewed, StateAnswer.
  virtual void OnShardMessage(ToInstance& message) = 0;
  // `final`: it will not be attached again.
  virtual void OnDetached(const Status& status, bool final) = 0;
};

class Attachment final : private route::HostSessionHandler, private Timer {
 public:
  // All pointers outlive it.
  Attachment(route::HostLink* link, const LoadTracker* load, ShardLoads* shard_loads,
             AttachmentHandler* handler);
  ~Attachment() override;

  void Start() { session_.Start(); }
  bool attached() const { return attached_; }
  void SendReady();
  // Dropped while it is not attached.
  void Send(const std::string& message);
  void SendDraining();
  // The last word: the session is ended from this side.
  void SendDrained(uint32_t cut_off);
  // The load has changed; `at_once` if the first request began or the last one ended.
  enum class Urgency : bool { kInterval, kAtOnce };
  void LoadChanged(Urgency urgency);
  // What the host has welcomed it with will not do: the session fails, and is tried again.
  void Refuse(const Status& status) { session_.Fail(status); }
  void Stop();

 private:
  void OnSessionOpen() override;
  void OnSessionMessage(std::string_view message) override;
  void OnSessionEnd(const Status& status, bool final) override;
  void OnTimer() override;
  void OnWelcome(const InstanceWelcome& welcome);

  route::HostLink* link_;
  Loop* loop_;
  const LoadTracker* load_;
  ShardLoads* shard_loads_;
  AttachmentHandler* handler_;
  route::HostSession session_;
  bool listens_ = false;  // the host has an address where it reaches the program
  bool attached_ = false;
  int64_t interval_ns_ = kReportIntervalNs;
  int64_t reported_ns_ = 0;
  LoadReport reported_;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_ATTACHMENT_H_
