#include "liblever/service/attachment.h"

#include <algorithm>
#include <string>
#include <variant>

#include "liblever/policy/silence.h"
#include "liblever/route/host_link.h"
#include "liblever/route/wire.h"

namespace lever::service {

Attachment::Attachment(route::HostLink* link, const LoadTracker* load, ShardLoads* shard_loads,
                       AttachmentHandler* handler)
    : link_(link),
      loop_(link->loop()),
      load_(load),
      shard_loads_(shard_loads),
      handler_(handler),
      session_(loop_, &link->channel(), route::kAttachPath, &link->random(), this) {}

Attachment::~Attachment() { Stop(); }

void Attachment::OnSessionOpen() {
  const InstanceHello hello = handler_->MakeHello();
  listens_ = !hello.listen.empty();
  session_.Send(WriteHello(hello));
}

void Attachment::OnSessionMessage(std::string_view message) {
  ToInstance parsed;
  if (const Status read = ParseToInstance(message, &parsed); !read.ok()) return session_.Fail(read);
  if (auto* welcome = std::get_if<InstanceWelcome>(&parsed)) return OnWelcome(*welcome);
  if (std::holds_alternative<Serving>(parsed)) {
    if (attached_) handler_->OnServing();
    return;
  }
  if (auto* drain = std::get_if<DrainRequest>(&parsed)) return handler_->OnDrainRequest(*drain);
  if (attached_) handler_->OnShardMessage(parsed);
}

void Attachment::OnWelcome(const InstanceWelcome& welcome) {
  if (attached_) return session_.Fail(Internal("the host sent a second welcome"));
  if (welcome.protocol != route::kSessionProtocol) {
    return session_.Fail(FailedPrecondition(
        "the host speaks attach protocol " + std::to_string(welcome.protocol) + ", this library " +
        std::to_string(route::kSessionProtocol)));
  }
  const Status introduced = link_->OpenIntroductions(welcome.introduction_path, welcome.nonce);
  if (!introduced.ok() && !listens_) {
    return session_.Fail(Unavailable(
        "the host has no way to this program: its socket " + welcome.introduction_path +
        " cannot be reached from here (" + introduced.ToString() +
        "). In another container or mount namespace, give the service an address to listen on"));
  }
  attached_ = true;
  session_.Established();
  if (welcome.load_interval_ns != 0) {
    constexpr uint64_t kIntervalMaxNs = 60 * kNanosPerSecond;
    interval_ns_ = std::max(
        static_cast<int64_t>(std::min(welcome.load_interval_ns, kIntervalMaxNs)),
        kReportIntervalMinNs);
  }
  reported_ = LoadReport();
  loop_->Arm(this, loop_->now_ns() + policy::kHeartbeatNs);
  handler_->OnWelcome(welcome);
}

void Attachment::OnSessionEnd(const Status& status, bool final) {
  attached_ = false;
  loop_->Disarm(this);
  handler_->OnDetached(status, final);
}

void Attachment::SendReady() {
  session_.Send(WriteReady());
  LoadChanged(Urgency::kAtOnce);
}

void Attachment::Send(const std::string& message) {
  if (attached_) session_.Send(message);
}

void Attachment::SendDraining() {
  if (attached_) session_.Send(WriteDraining());
}

void Attachment::SendDrained(uint32_t cut_off) {
  if (attached_) session_.Send(WriteDrained(cut_off));
  loop_->Disarm(this);
  session_.Finish();
}

void Attachment::Stop() {
  attached_ = false;
  loop_->Disarm(this);
  session_.Stop();
}

void Attachment::LoadChanged(Urgency urgency) {
  if (!attached_) return;
  const int64_t wait_ns = urgency == Urgency::kAtOnce ? kReportSpacingNs : interval_ns_;
  const int64_t at_ns = std::max(reported_ns_ + wait_ns, loop_->now_ns());
  if (!armed() || at_ns < Timer::deadline_ns()) loop_->Arm(this, at_ns);
}

void Attachment::OnTimer() {
  if (!attached_) return;
  const LoadReport report = load_->Report();
  const bool due = loop_->now_ns() >= DeadlineAfter(reported_ns_, policy::kHeartbeatNs);
  if (report != reported_ || due) {
    reported_ns_ = loop_->now_ns();
    session_.Send(WriteLoad(report));
    reported_ = report;
  }
  if (shard_loads_->Due(loop_->now_ns())) {
    session_.Send(WriteShardLoads(shard_loads_->Take(loop_->now_ns())));
  }
  loop_->Arm(this, DeadlineAfter(reported_ns_, policy::kHeartbeatNs));
}

}  // namespace lever::service
