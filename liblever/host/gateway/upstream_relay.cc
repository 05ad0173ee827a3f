#include "liblever/host/gateway/upstream_relay.h"

#include <string_view>

namespace lever::gateway {
namespace {

// Fields that belong to one hop only.
bool ForOneHop(std::string_view name) {
  return name == rpc::kTimeoutHeader || name == "connection" || name == "te";
}

}  // namespace

void UpstreamRelay::Start(Loop* loop, Upstream* upstream, RelayCounters* counters,
                          rpc::Stream& stream) {
  // Owns itself: see DeleteIfDone().
  UpstreamRelay* relay = new UpstreamRelay(loop, upstream, counters, stream);
  const Status status = relay->ReadDeadline();
  if (!status.ok()) {
    relay->EndCaller(status.WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  // Waiting for a connection is within it, too.
  if (relay->deadline_ns_ != kNever) loop->Arm(&relay->deadline_timer_, relay->deadline_ns_);
  relay->FindPeer();
}

void UpstreamRelay::BuildHeaders(rpc::HeaderList* headers) {
  const std::string_view scheme = upstream_->encrypted() ? "https" : "http";
  const rpc::HeaderList& request = down_->headers();
  for (size_t i = 0; i < request.size(); ++i) {
    const rpc::HeaderView field = request[i];
    if (ForOneHop(field.name)) continue;
    const bool is_scheme = field.name == ":scheme";
    headers->Add(field.name, is_scheme ? scheme : field.value, field.indexing);
  }
  headers->Add("te", "trailers");
  AddTimeout(headers);
}

bool UpstreamRelay::MayResend(Sent sent) {
  if (sent == Sent::kNothing) return true;
  upstream_->retry_budget().OnFailure();
  return upstream_->retry_budget().AllowsRetry();
}

}  // namespace lever::gateway
