#include "liblever/host/fleet/attach_session.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "lever/v1/host.pb.h"

namespace lever::fleet {
namespace {

SliceList Serialize(const lever::v1::ToInstance& message) {
  SliceList slices;
  slices.push_back(Slice::Copy(message.SerializeAsString()));
  return slices;
}

StateRequestData ReadStateRequest(const lever::v1::StateRequest& request) {
  StateRequestData data;
  data.id = request.id();
  if (lever::v1::StateRequest::Kind_IsValid(request.kind())) {
    data.kind = static_cast<StateRequestKind>(request.kind());
  }
  data.shard = request.shard();
  data.generation = request.generation();
  data.resource = request.resource();
  data.payload_kind = request.payload_kind();
  data.payload = request.payload();
  return data;
}

ShardLoadsData ReadShardLoads(const lever::v1::ShardLoads& message) {
  ShardLoadsData data;
  data.window_ns = static_cast<int64_t>(std::min<uint64_t>(message.window_ns(), INT64_MAX));
  for (const lever::v1::ShardLoad& load : message.loads()) {
    data.loads.push_back({load.shard(), load.calls_milli(), load.streams()});
  }
  return data;
}

}  // namespace

AttachSession::AttachSession(Loop* loop, AttachRegistry* registry, Caller caller, rpc::Call& call)
    : loop_(loop), registry_(registry), caller_(std::move(caller)), call_(&call) {}

void AttachSession::Accept(Loop* loop, AttachRegistry* registry, Caller caller, rpc::Call& call) {
  std::shared_ptr<AttachSession> session(
      new AttachSession(loop, registry, std::move(caller), call));
  session->self_ = session;
  call.set_handler(session.get());
  call.SendHeaders();
  call.Read(std::numeric_limits<uint32_t>::max());
}

void AttachSession::OnMessage(rpc::Call& call, SliceList message) {
  const Slice bytes = Flatten(message);
  lever::v1::FromInstance parsed;
  const size_t bytes_max =
      phase_ == Phase::kAttached ? kAttachedMessageBytesMax : kSessionMessageBytesMax;
  if (bytes.size() > bytes_max ||
      !parsed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    Finish(InvalidArgument("attach: a message that is not a lever.v1.FromInstance"));
    return;
  }
  switch (phase_) {
    case Phase::kHello:
      if (!parsed.has_hello()) {
        Finish(InvalidArgument("attach: the first message must be hello"));
        return;
      }
      OnHello(parsed.hello());
      return;
    case Phase::kWelcoming:
      Finish(InvalidArgument("attach: nothing may be sent between hello and welcome"));
      return;
    case Phase::kAttached:
      OnAttachedMessage(parsed);
      return;
    case Phase::kEnded:
      return;
  }
}

void AttachSession::OnHello(const lever::v1::InstanceHello& hello) {
  if (hello.protocol_min() > kProtocolMax || hello.protocol_max() < kProtocolMin) {
    Finish(FailedPrecondition(
        "attach: the instance speaks protocol " + std::to_string(hello.protocol_min()) + " to " +
        std::to_string(hello.protocol_max()) + ", this host " + std::to_string(kProtocolMin) +
        " to " + std::to_string(kProtocolMax)));
    return;
  }
  phase_ = Phase::kWelcoming;
  AttachHello data;
  data.caller = caller_;
  data.environment = hello.environment();
  data.service = hello.service();
  data.pid = static_cast<int64_t>(hello.pid());
  data.runtime = hello.runtime();
  data.listen = hello.listen();
  data.listen_key_hash = hello.listen_key_hash();
  data.is_private = hello.private_();
  data.concurrency_max = hello.concurrency_max();
  data.has_resources = hello.resource_methods_size() > 0;
  registry_->Attach(std::move(data), shared_from_this(), loop_,
                    [self = shared_from_this()](StatusOr<AttachWelcome> welcome) {
                      self->OnWelcome(std::move(welcome));
                    });
}

void AttachSession::OnWelcome(StatusOr<AttachWelcome> welcome) {
  if (!welcome.ok()) {
    Finish(welcome.status());
    return;
  }
  if (call_ == nullptr || phase_ != Phase::kWelcoming) {
    registry_->AttachEnded(welcome->instance_key, Cancelled("the attach stream ended"));
    return;
  }
  phase_ = Phase::kAttached;
  instance_key_ = welcome->instance_key;
  lever::v1::ToInstance message;
  lever::v1::InstanceWelcome& reply = *message.mutable_welcome();
  reply.set_protocol(kProtocolMax);
  reply.set_environment(welcome->environment);
  reply.set_service(welcome->service);
  reply.set_version(welcome->version);
  reply.set_instance(welcome->instance);
  reply.set_config_json(welcome->config_json);
  reply.set_secrets_json(welcome->secrets_json);
  reply.set_drain_timeout_ns(static_cast<uint64_t>(welcome->drain_timeout_ns));
  reply.set_introduction_path(welcome->introduction_path);
  reply.set_nonce(welcome->nonce);
  reply.set_load_interval_ns(kLoadIntervalNs);
  reply.set_concurrency_max(welcome->concurrency_max);
  reply.set_shards(welcome->shards);
  for (const route::TokenKey& key : welcome->token_keys) {
    lever::v1::TokenKey& row = *reply.add_token_keys();
    row.set_id(key.id);
    row.set_public_key(key.public_key.data(), key.public_key.size());
  }
  call_->Write(Serialize(message));
}

void AttachSession::OnAttachedMessage(const lever::v1::FromInstance& message) {
  switch (message.message_case()) {
    case lever::v1::FromInstance::kReady:
      registry_->AttachReady(instance_key_);
      return;
    case lever::v1::FromInstance::kLoad: {
      LoadReportData report;
      report.calls = message.load().calls();
      report.streams = message.load().streams();
      report.calls_total = message.load().calls_total();
      report.latency_ns = message.load().latency_ns();
      report.last_active_ns = static_cast<int64_t>(message.load().last_active_boottime_ns());
      report.ended_total = message.load().ended_total();
      report.errors_total = message.load().errors_total();
      registry_->AttachLoad(instance_key_, report);
      return;
    }
    case lever::v1::FromInstance::kShardLoads:
      registry_->AttachShardLoads(instance_key_, ReadShardLoads(message.shard_loads()));
      return;
    case lever::v1::FromInstance::kRenew:
      registry_->AttachRenew(instance_key_, message.renew().id());
      return;
    case lever::v1::FromInstance::kReleased:
      registry_->AttachReleased(instance_key_,
                                {message.released().shard(), message.released().generation(),
                                 message.released().clean()});
      return;
    case lever::v1::FromInstance::kState:
      registry_->AttachState(instance_key_, ReadStateRequest(message.state()));
      return;
    case lever::v1::FromInstance::kDraining:
      registry_->AttachDraining(instance_key_);
      return;
    case lever::v1::FromInstance::kDrained:
      registry_->AttachDrained(instance_key_, message.drained().cut_off());
      return;
    case lever::v1::FromInstance::kHello:
      Finish(InvalidArgument("attach: hello may be sent only once"));
      return;
    case lever::v1::FromInstance::MESSAGE_NOT_SET:
      return;  // of a newer protocol
  }
}

void AttachSession::OnPeerEnd(rpc::Call& call) { Finish(Status::Ok()); }

void AttachSession::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  const bool attached = phase_ == Phase::kAttached;
  phase_ = Phase::kEnded;
  if (attached) registry_->AttachEnded(instance_key_, end.status);
  const std::shared_ptr<AttachSession> last = std::move(self_);
}

void AttachSession::Finish(const Status& status) {
  if (call_ != nullptr) call_->Finish(status);
}

// Dropped where the session is not attached (any more).
void AttachSession::Tell(const lever::v1::ToInstance& message) {
  loop_->Post([self = shared_from_this(), bytes = Serialize(message)]() mutable {
    if (self->call_ == nullptr || self->phase_ != Phase::kAttached) return;
    self->call_->Write(std::move(bytes));
  });
}

void AttachSession::TellServing() {
  lever::v1::ToInstance message;
  message.mutable_serving();
  Tell(message);
}

void AttachSession::RequestDrain(int64_t timeout_ns, std::string reason) {
  lever::v1::ToInstance message;
  message.mutable_drain()->set_timeout_ns(static_cast<uint64_t>(timeout_ns));
  message.mutable_drain()->set_reason(std::move(reason));
  Tell(message);
}

void AttachSession::TellShards(ShardOrdersData orders) {
  lever::v1::ToInstance message;
  lever::v1::ShardOrders& told = *message.mutable_shards();
  for (ShardOrderData& order : orders.orders) {
    lever::v1::ShardOrder& row = *told.add_orders();
    row.set_kind(static_cast<lever::v1::ShardOrder::Kind>(order.kind));
    row.set_shard(order.shard);
    row.set_generation(order.generation);
    if (order.kind != ShardOrderKind::kRelease) continue;
    row.set_next(std::move(order.next));
    row.set_next_generation(order.next_generation);
    row.set_reason(static_cast<lever::v1::CloseReason>(order.reason));
  }
  told.set_begins(orders.begins);
  told.set_synced(orders.synced);
  Tell(message);
}

void AttachSession::TellRenewed(uint64_t id) {
  lever::v1::ToInstance message;
  message.mutable_renewed()->set_id(id);
  Tell(message);
}

void AttachSession::TellState(StateAnswerData answer) {
  lever::v1::ToInstance message;
  lever::v1::StateAnswer& told = *message.mutable_state();
  told.set_id(answer.id);
  told.set_status(answer.status.code());
  told.set_message(answer.status.message());
  told.set_origin(static_cast<lever::v1::StateAnswer::Origin>(answer.origin));
  told.set_payload_kind(answer.payload_kind);
  told.set_payload(std::move(answer.payload));
  Tell(message);
}

void AttachSession::End(Status status) {
  loop_->Post([self = shared_from_this(), status = std::move(status)] { self->Finish(status); });
}

}  // namespace lever::fleet
