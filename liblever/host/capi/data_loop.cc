#include "liblever/host/capi/data_loop.h"

#include <chrono>
#include <thread>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/fleet/attach_session.h"
#include "liblever/host/gateway/watch_session.h"
#include "liblever/route/wire.h"

namespace lever::host {
namespace {

// How often a drain looks whether connections are left.
constexpr int64_t kDrainPollNs = 10 * kNanosPerMilli;

}  // namespace

StatusOr<std::unique_ptr<DataLoop>> DataLoop::Open(size_t index) {
  LEVER_ASSIGN_OR_RETURN(auto thread, LoopThread::Open("lever-data-" + std::to_string(index)));
  return std::unique_ptr<DataLoop>(new DataLoop(std::move(thread)));
}

DataLoop::~DataLoop() = default;

Status DataLoop::Serve(scale::Control* control, const std::string& host_id, uint64_t random_seed,
                       const gateway::HttpOptions& http,
                       const std::vector<gateway::UpstreamOptions>& upstreams) {
  upstreams_ = std::make_unique<gateway::Upstreams>(loop());
  for (const auto& upstream : upstreams) LEVER_RETURN_IF_ERROR(upstreams_->Add(upstream));
  router_ = std::make_unique<gateway::Router>(loop(), &directory_, control, random_seed);
  http_ = std::make_unique<gateway::HttpApi>(loop(), router_.get(), &counters_, http);
  front_ = std::make_unique<gateway::Front>(loop(), router_.get(), &counters_);
  front_->set_http(http_.get());
  front_->set_upstreams(upstreams_.get());
  front_->AddMethod(std::string(route::kAttachPath),
                    [this, control](rpc::Call& call, const fleet::Caller& caller) {
                      fleet::AttachSession::Accept(loop(), control, caller, call);
                    });
  const gateway::WatchSession::Context watch{loop(), &directory_, control, host_id};
  front_->AddMethod(std::string(route::kWatchPath),
                    [watch](rpc::Call& call, const fleet::Caller& caller) {
                      gateway::WatchSession::Accept(watch, caller, call);
                    });
  return Status::Ok();
}

void DataLoop::Drain(int64_t timeout_ns) {
  if (front_ == nullptr) return;
  thread().Run([this] { front_->Drain(); });
  const int64_t give_up_ns = DeadlineAfter(Clock::System().NowNs(), timeout_ns);
  size_t open = 0;
  do {
    thread().Run([this, &open] { open = front_->connections(); });
    if (open > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(kDrainPollNs));
  } while (open > 0 && Clock::System().NowNs() < give_up_ns);
  thread().Run([this] { front_->Close(Unavailable("the host was shut down")); });
}

void DataLoop::Close() {
  front_.reset();
  http_.reset();
  router_.reset();
  upstreams_.reset();
}

void DataLoop::Take(UniqueFd socket, std::shared_ptr<rpc::TlsServerContext> tls) {
  loop()->Post([this, shared = std::make_shared<UniqueFd>(std::move(socket)),
                tls = std::move(tls)]() mutable {
    front_->Take(std::move(*shared), std::move(tls));
  });
}

void DataLoop::Adopt(UniqueFd socket, fleet::Caller caller) {
  loop()->Post([this, shared = std::make_shared<UniqueFd>(std::move(socket)),
                caller = std::move(caller)]() mutable {
    const Status adopted = front_->Adopt(std::move(*shared), std::move(caller));
    if (!adopted.ok()) Log(LogLevel::kError, "an instance's socket: " + adopted.ToString());
  });
}

}  // namespace lever::host
