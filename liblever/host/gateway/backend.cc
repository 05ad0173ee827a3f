#include "liblever/host/gateway/backend.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace lever::gateway {
namespace {

// Weight of the newest latency in the moving average: 1/8, as TCP's smoothed round-trip time has it
// (RFC 6298 section 2).
constexpr int64_t kLatencyShift = 3;

}  // namespace

Backend::Backend(Loop* loop, scale::Control* control, scale::InstanceView instance,
                 std::shared_ptr<policy::RetryBudget> retry_budget, BackendOwner* owner)
    : loop_(loop),
      control_(control),
      instance_(std::move(instance)),
      retry_budget_(std::move(retry_budget)),
      owner_(owner) {}

Backend::~Backend() = default;

rpc::Connection* Backend::connection() const {
  if (connection_ == nullptr || !connection_->TakesStreams() || retired_) return nullptr;
  return connection_.get();
}

void Backend::Await(BackendWaiter* waiter) {
  waiters_.push_back(*waiter);
  if (!connecting_) Connect();
}

void Backend::Connect() {
  connecting_ = true;
  if (!instance_.address.empty()) {
    loop_->Post([self = shared_from_this()] { self->Dial({.address = self->instance_.address}); });
    return;
  }
  control_->Connect(instance_.key, loop_, [self = shared_from_this()](StatusOr<scale::HostWay> way) {
    self->OnWay(std::move(way));
  });
}

void Backend::OnWay(StatusOr<scale::HostWay> way) {
  if (!way.ok()) return OnConnection(way.status());
  if (auto* address = std::get_if<route::AddressWay>(&*way)) return Dial(std::move(*address));
  OnConnection(Over(std::get<UniqueFd>(std::move(*way))));
}

void Backend::Dial(route::AddressWay way) {
  dial_ = std::make_unique<InstanceDial>(
      loop_, std::move(way), this,
      [weak = weak_from_this()](StatusOr<std::unique_ptr<rpc::Connection>> opened) {
        if (const std::shared_ptr<Backend> backend = weak.lock()) {
          backend->OnConnection(std::move(opened));
        }
      });
  dial_->Start();
}

StatusOr<std::unique_ptr<rpc::Connection>> Backend::Over(UniqueFd socket) {
  rpc::ConnectionOptions options;
  options.role = rpc::Role::kClient;
  return rpc::Connection::Open(loop_, std::move(socket), options, this);
}

void Backend::OnConnection(StatusOr<std::unique_ptr<rpc::Connection>> opened) {
  connecting_ = false;
  Status status = opened.status();
  if (status.ok() && retired_) status = Unavailable("the instance " + instance_.id + " is gone");
  if (status.ok()) {
    // One that has ended already, and is still to say so, ends its calls by itself.
    if (connection_ != nullptr) old_connections_.push_back(std::move(connection_));
    connection_ = std::move(opened).value();
  } else {
    failed_ns_ = loop_->now_ns();
  }
  TellWaiters(status);
}

void Backend::TellWaiters(const Status& status) {
  const std::shared_ptr<Backend> keep = shared_from_this();
  WaiterList waiters;
  waiters.swap(waiters_);
  while (!waiters.empty()) {
    BackendWaiter& waiter = waiters.front();
    waiters.pop_front();
    if (status.ok() && connection() != nullptr) {
      waiter.OnConnected(*this);
    } else {
      waiter.OnConnectFailed(
          *this, status.ok() ? Unavailable("the connection to " + instance_.id + " has ended")
                             : status);
    }
  }
}

void Backend::End(int64_t latency_ns) {
  --in_flight_;
  instance_.load->relayed.fetch_sub(1, std::memory_order_relaxed);
  if (latency_ns >= 0) {
    latency_ns_ = latency_ns_ == 0 ? latency_ns
                                   : latency_ns_ + ((latency_ns - latency_ns_) >> kLatencyShift);
  }
  if (retired_ && in_flight_ == 0 && connection_ != nullptr) connection_->Drain();
  if (owner_ != nullptr && instance_.concurrency_max != 0) owner_->OnRoom();
}

bool Backend::HasRoom() const {
  const uint32_t most = instance_.concurrency_max;
  if (most == 0) return true;
  const int64_t halved = (loop_->now_ns() - others_ns_) / kOthersHalveNs;
  const uint32_t others = halved >= 32 ? 0 : others_ >> halved;
  const uint64_t taken = uint64_t{instance_.load->relayed.load(std::memory_order_relaxed)} + others;
  // Those that wait for its connection come on top.
  return taken < most && taken + waiters_.size() < most;
}

void Backend::OnFull() {
  const uint32_t own = instance_.load->relayed.load(std::memory_order_relaxed) - 1;
  const uint32_t most = instance_.concurrency_max;
  others_ = std::max<uint32_t>(1, most - std::min(most, own));
  others_ns_ = loop_->now_ns();
}

void Backend::Retire() {
  retired_ = true;
  owner_ = nullptr;
  if (in_flight_ == 0 && connection_ != nullptr) connection_->Drain();
}

void Backend::OnRequest(rpc::Stream& stream) {
  // A client's connection gets no requests.
}

void Backend::OnDraining(rpc::Connection& connection) {
  if (connection_.get() == &connection) old_connections_.push_back(std::move(connection_));
}

void Backend::OnClosed(rpc::Connection& connection, const Status& status) {
  // Destroyed in the next turn: it is still on the stack here.
  std::shared_ptr<rpc::Connection> last;
  if (connection_.get() == &connection) {
    last = std::move(connection_);
    if (!status.ok()) failed_ns_ = loop_->now_ns();
  } else {
    const auto found = std::find_if(old_connections_.begin(), old_connections_.end(),
                                    [&](const auto& old) { return old.get() == &connection; });
    if (found == old_connections_.end()) return;
    last = std::move(*found);
    old_connections_.erase(found);
  }
  loop_->Post([last, self = shared_from_this()] {});
}

}  // namespace lever::gateway
