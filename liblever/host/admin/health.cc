#include "liblever/host/admin/health.h"

#include <algorithm>
#include <set>
#include <utility>

#include "grpc/health/v1/health.pb.h"
#include "liblever/host/admin/unary_call.h"

namespace lever::admin {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

struct Health::State {
  std::vector<std::string> services;
  bool serving = true;
  std::set<WatchCall*> watches;

  HealthCheckResponse::ServingStatus StatusOf(const std::string& service) const {
    if (!service.empty() &&
        std::find(services.begin(), services.end(), service) == services.end()) {
      return HealthCheckResponse::SERVICE_UNKNOWN;
    }
    return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
  }
};

// One open watch; owns itself until its call has ended.
class Health::WatchCall final : public rpc::CallHandler {
 public:
  static void Accept(rpc::Call& call, std::shared_ptr<State> state) {
    auto* watch = new WatchCall(call, std::move(state));
    call.set_handler(watch);
    call.Read(1);
  }

  void Tell() {
    HealthCheckResponse response;
    response.set_status(state_->StatusOf(service_));
    call_->Write(SerializeMessage(response));
  }

  void OnMessage(rpc::Call& call, SliceList message) override {
    HealthCheckRequest request;
    if (!ParseMessage(message, &request)) {
      call.Finish(InvalidArgument("the request is not a grpc.health.v1.HealthCheckRequest"));
      return;
    }
    if (state_->watches.size() >= kWatchesMax) {
      call.Finish(ResourceExhausted("too many health watches"));
      return;
    }
    asked_ = true;
    service_ = request.service();
    state_->watches.insert(this);
    Tell();
  }
  void OnPeerEnd(rpc::Call& call) override {
    if (!asked_) call.Finish(InvalidArgument("the call has no request"));
  }
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override {
    state_->watches.erase(this);
    delete this;
  }

 private:
  WatchCall(rpc::Call& call, std::shared_ptr<State> state)
      : call_(&call), state_(std::move(state)) {}

  rpc::Call* call_;
  std::shared_ptr<State> state_;
  std::string service_;
  bool asked_ = false;
};

Health::Health(std::vector<std::string> services) : state_(std::make_shared<State>()) {
  state_->services = std::move(services);
}

Health::~Health() = default;

void Health::Check(rpc::Call& call) {
  UnaryCall::AcceptAs<HealthCheckRequest>(
      call, [state = state_](const auto& unary, const HealthCheckRequest& request) {
        HealthCheckResponse response;
        response.set_status(state->StatusOf(request.service()));
        if (response.status() == HealthCheckResponse::SERVICE_UNKNOWN) {
          unary->Fail(NotFound("there is no gRPC service " + request.service()));
          return;
        }
        unary->Reply(response);
      });
}

void Health::Watch(rpc::Call& call) { WatchCall::Accept(call, state_); }

void Health::StopServing() {
  if (!std::exchange(state_->serving, false)) return;
  for (WatchCall* watch : state_->watches) watch->Tell();
}

}  // namespace lever::admin
