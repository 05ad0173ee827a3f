#include "liblever/service/service.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/policy/address.h"
#include "liblever/route/in_process.h"
#include "liblever/route/router.h"
#include "liblever/route/stream_core.h"
#include "liblever/rpc/channel.h"
#include "liblever/service/incoming_call.h"
#include "liblever/service/service_impl.h"

namespace lever::service {

StatusOr<std::unique_ptr<Service>> Service::Open(Loop* loop, ServiceOptions options,
                                                 ServiceHandler* handler) {
  UniqueFd attach(std::exchange(options.attach_socket, -1));
  UniqueFd introductions(std::exchange(options.introduction_socket, -1));
  std::shared_ptr<route::HostLink> link;
  if (attach.valid()) {
    LEVER_ASSIGN_OR_RETURN(
        link, route::HostLink::Over(loop, std::move(attach), std::move(introductions)));
  } else {
    LEVER_RETURN_IF_ERROR(policy::CheckService(options.name));
    LEVER_RETURN_IF_ERROR(policy::CheckEnvironment(options.environment));
    if (options.in_process != nullptr) {
      LEVER_ASSIGN_OR_RETURN(link, route::HostLink::InProcessOnly(
                                       loop, options.in_process,
                                       "lever://" + options.environment + "/" + options.name));
    } else {
      LEVER_ASSIGN_OR_RETURN(link, route::HostLink::To(loop, options.host, options.tls));
    }
  }
  return std::unique_ptr<Service>(
      new ServiceImpl(loop, std::move(options), std::move(link), handler));
}

ServiceImpl::ServiceImpl(Loop* loop, ServiceOptions options, std::shared_ptr<route::HostLink> link,
                         ServiceHandler* handler)
    : loop_(loop),
      options_(std::move(options)),
      link_(std::move(link)),
      handler_(handler),
      concurrency_max_(options_.concurrency_max),
      attachment_(link_.get(), &load_, &shard_loads_, this) {
  details_.environment = options_.environment;
  details_.name = options_.name;
  link_->set_acceptor(this);
}

ServiceImpl::~ServiceImpl() {
  link_->set_acceptor(nullptr);
  LeaveInProcess();
}

Status ServiceImpl::AddMethod(std::string_view name, void* user_data) {
  if (started_) return FailedPrecondition("methods are added before the service starts");
  return methods_.Add(name, user_data);
}

Status ServiceImpl::Start() {
  if (closing_) return FailedPrecondition("the service is closed");
  if (started_) return FailedPrecondition("the service has been started already");
  server_ = rpc::Server::Make(loop_, this);
  LEVER_RETURN_IF_ERROR(Listen());
  if (options_.in_process != nullptr) {
    LEVER_RETURN_IF_ERROR(options_.in_process->Add(details_.environment, details_.name, this));
  }
  started_ = true;
  SetState(State::kStarting);
  if (options_.in_process == nullptr) {
    attachment_.Start();
  } else {
    details_.config_json = options_.config_json;
    details_.secrets_json = options_.secrets_json;
    if (ownership_ != nullptr) ownership_->OwnAll();
    SetState(State::kAttached);
  }
  return Status::Ok();
}

Status ServiceImpl::Listen() {
  if (options_.listen.empty()) return Status::Ok();
  LEVER_ASSIGN_OR_RETURN(rpc::Endpoint endpoint, rpc::Endpoint::Parse(options_.listen));
  rpc::ListenOptions listening;
  if (endpoint.tls) {
    const Privacy privacy = options_.is_private ? Privacy::kPrivate : Privacy::kPublic;
    LEVER_ASSIGN_OR_RETURN(admission_, Admission::Open(endpoint, privacy));
    LEVER_ASSIGN_OR_RETURN(listening, admission_->Listening());
  } else if (options_.is_private) {
    return InvalidArgument(
        "a private service cannot listen on a plain address, where anybody calls: write tls: before it");
  }
  LEVER_RETURN_IF_ERROR(server_->Listen(endpoint, listening));
  details_.listening = server_->bound().ToString();
  return Status::Ok();
}

void ServiceImpl::LeaveInProcess() {
  if (options_.in_process != nullptr) options_.in_process->Remove(this);
}

void ServiceImpl::SetState(State state, const Status& status) {
  state_ = state;
  handler_->OnState(*this, state, status);
}

// ---- The attachment ----

InstanceHello ServiceImpl::MakeHello() {
  InstanceHello hello;
  hello.environment = options_.name.empty() ? std::string() : details_.environment;
  hello.service = options_.name;
  hello.pid = static_cast<uint64_t>(::getpid());
  hello.runtime = options_.runtime;
  hello.listen = details_.listening;
  hello.methods = methods_.Names();
  hello.resource_methods = resource_methods_.Names();
  hello.concurrency_max = options_.concurrency_max;
  hello.is_private = options_.is_private;
  if (admission_ != nullptr) hello.listen_key_hash = admission_->key_hash();
  return hello;
}

void ServiceImpl::OnWelcome(const InstanceWelcome& welcome) {
  details_.environment = welcome.environment;
  details_.name = welcome.service;
  details_.instance = welcome.instance;
  details_.version = welcome.version;
  details_.config_json = welcome.config_json.empty() ? "null" : welcome.config_json;
  details_.secrets_json = welcome.secrets_json.empty() ? "{}" : welcome.secrets_json;
  host_drain_timeout_ns_ = static_cast<int64_t>(
      std::min<uint64_t>(welcome.drain_timeout_ns, static_cast<uint64_t>(INT64_MAX)));
  concurrency_max_ = options_.concurrency_max;
  if (welcome.concurrency_max != 0 &&
      (concurrency_max_ == 0 || welcome.concurrency_max < concurrency_max_)) {
    concurrency_max_ = welcome.concurrency_max;
  }
  if (admission_ != nullptr) {
    admission_->SetInstance(welcome.environment, welcome.instance, welcome.token_keys);
  }
  if (ownership_ != nullptr) {
    if (const Status owning = ownership_->Attached(welcome.shards); !owning.ok()) {
      return attachment_.Refuse(owning);
    }
    shard_loads_.SetShards(ownership_->shards());
  }
  if (drain_.phase() != Drain::Phase::kServing) return attachment_.SendDraining();
  attachment_.SendReady();
  // Who calls a service that the host starts is held by the host until it is ready.
  awaits_serving_ = !options_.name.empty();
  if (!awaits_serving_) SetState(State::kAttached);
}

void ServiceImpl::OnServing() {
  if (!awaits_serving_) return;
  awaits_serving_ = false;
  SetState(State::kAttached);
  AdoptParked();
}

void ServiceImpl::OnDrainRequest(const DrainRequest& request) {
  if (!request.reason.empty()) Log(LogLevel::kInfo, "draining: " + request.reason);
  const int64_t asked_ns = static_cast<int64_t>(
      std::min<uint64_t>(request.timeout_ns, static_cast<uint64_t>(INT64_MAX)));
  BeginDrain(asked_ns);
}

void ServiceImpl::OnShardMessage(ToInstance& message) {
  if (ownership_ == nullptr) return;
  if (auto* orders = std::get_if<ShardOrders>(&message)) return ownership_->OnOrders(*orders);
  if (auto* renewed = std::get_if<GrantRenewed>(&message)) return ownership_->OnRenewed(*renewed);
  if (auto* answer = std::get_if<StateAnswer>(&message)) ownership_->OnAnswer(std::move(*answer));
}

void ServiceImpl::OnDetached(const Status& status, bool final) {
  awaits_serving_ = false;
  parked_.clear();
  if (ownership_ != nullptr) ownership_->Detached();
  if (drain_.phase() != Drain::Phase::kServing) {
    // Nobody is left to tell; what runs finishes all the same.
    attachment_.Stop();
    if (ownership_ != nullptr) ownership_->LetGoOfAll();
    return;
  }
  if (state_ != State::kDetached) SetState(State::kDetached, status);
}

// ---- Requests ----

Status ServiceImpl::MayBegin(int64_t deadline_ns) const {
  if (closing_) return Unavailable("the service is closed");
  if (drain_.refusing()) return Unavailable("this instance is draining");
  if (deadline_ns != kNever && loop_->clock().NowNs() >= deadline_ns) {
    return DeadlineExceeded("the deadline passed before the method began");
  }
  return Status::Ok();
}

void ServiceImpl::CallBegan(OpenRequest* request, const ResourceRequest& of) {
  const uint32_t before = load_.in_flight();
  open_.push_back(*request);
  load_.CallBegan(loop_->now_ns());
  if (!of.resource_name.empty()) shard_loads_.CallBegan(of.shard, loop_->now_ns());
  LoadChanged(before);
}

void ServiceImpl::CallEnded(OpenRequest* request, const ResourceRequest& of,
                            int64_t latency_ns) {
  const uint32_t before = load_.in_flight();
  request->unlink();
  load_.CallEnded(loop_->now_ns(), latency_ns);
  if (!of.resource_name.empty()) shard_loads_.CallEnded(of.shard, loop_->now_ns());
  LoadChanged(before);
}

void ServiceImpl::StreamBegan(OpenRequest* request, const ResourceRequest& of) {
  const uint32_t before = load_.in_flight();
  open_.push_back(*request);
  load_.StreamBegan(loop_->now_ns());
  if (!of.resource_name.empty()) shard_loads_.StreamBegan(of.shard, loop_->now_ns());
  LoadChanged(before);
}

void ServiceImpl::StreamEnded(OpenRequest* request, const ResourceRequest& of) {
  const uint32_t before = load_.in_flight();
  request->unlink();
  load_.StreamEnded(loop_->now_ns());
  if (!of.resource_name.empty()) shard_loads_.StreamEnded(of.shard);
  LoadChanged(before);
}

void ServiceImpl::LoadChanged(uint32_t in_flight_before) {
  const bool edge = in_flight_before == 0 || load_.in_flight() == 0;
  attachment_.LoadChanged(edge ? Attachment::Urgency::kAtOnce : Attachment::Urgency::kInterval);
  if (!open_.empty()) return;
  if (drain_.refusing()) loop_->Arm(&drain_timer_, loop_->now_ns());
}

void ServiceImpl::Recycle(IncomingCallImpl* call) {
  std::unique_ptr<IncomingCallImpl> owned(call);
  if (!closing_ && pool_.size() < kPooledCallsMax) pool_.push_back(std::move(owned));
}

// ---- The end ----

void ServiceImpl::Drain() {
  if (!started_ || closing_) return;
  attachment_.SendDraining();
  BeginDrain(0);
}

int64_t ServiceImpl::DrainTimeoutNs() const {
  if (options_.drain_timeout_ns > 0) return options_.drain_timeout_ns;
  return host_drain_timeout_ns_ > 0 ? host_drain_timeout_ns_ : kDrainTimeoutNs;
}

void ServiceImpl::BeginDrain(int64_t host_timeout_ns) {
  if (closing_ || drain_.phase() != Drain::Phase::kServing) return;
  int64_t timeout_ns = DrainTimeoutNs();
  // The host's own patience ends there.
  if (host_timeout_ns > 0) timeout_ns = std::min(timeout_ns, host_timeout_ns);
  LeaveInProcess();
  awaits_serving_ = false;
  AdoptParked();
  drain_.Begin(loop_->now_ns(), timeout_ns, ownership_ != nullptr ? kCloseTimeoutNs : 0);
  loop_->Arm(&drain_timer_, drain_.WakeNs());
  SetState(State::kDraining);
  // With a host, the shards are released as their next owners are named.
  if (ownership_ != nullptr && !attachment_.attached()) ownership_->LetGoOfAll();
}

// Nothing is open any more.
bool ServiceImpl::Drained() const {
  return open_.empty() && server_drained_ && (ownership_ == nullptr || ownership_->Empty());
}

void ServiceImpl::StepDrain() {
  if (closing_) return;
  for (;;) {
    switch (drain_.Next(loop_->now_ns(), Drained())) {
      case Drain::Step::kNone:
        return loop_->Arm(&drain_timer_, drain_.WakeNs());
      case Drain::Step::kRefuse:
        handler_->OnRefusing(*this);
        server_->Drain([this] {
          server_drained_ = true;
          loop_->Arm(&drain_timer_, loop_->now_ns());
        });
        break;
      case Drain::Step::kCutOff:
        CutOff();
        break;
      case Drain::Step::kDrained:
        attachment_.SendDrained(cut_off_);
        return SetState(State::kDrained);
    }
    if (closing_) return;
  }
}

void ServiceImpl::CutOff() {
  cut_off_ = AbandonAll(Unavailable("cut off: the instance had to stop before the method ended"),
                        [](const OpenRequest& request) {
                          Log(LogLevel::kWarning, "cut off by the drain: " + request.Describe());
                        });
  if (ownership_ != nullptr) ownership_->CutReleases();
}

// What the program does when it hears of one may end others: each is looked at once, and none of them
// is touched after it has left the list.
uint32_t ServiceImpl::AbandonAll(const Status& status,
                                 const std::function<void(const OpenRequest&)>& before) {
  uint32_t count = 0;
  RequestList rest;
  rest.swap(open_);
  while (!rest.empty()) {
    OpenRequest& request = rest.front();
    rest.pop_front();
    open_.push_back(request);
    ++count;
    if (before) before(request);
    request.Abandon(status);
  }
  return count;
}

// ---- Resources ----

Status ServiceImpl::SetResource(ResourceOptions options) {
  if (started_) return FailedPrecondition("the service has been started already");
  if (ownership_ != nullptr) return FailedPrecondition("the service has a resource type already");
  ownership_ = std::make_unique<Ownership>(loop_, options, static_cast<OwnershipHandler*>(this));
  return Status::Ok();
}

Status ServiceImpl::AddResourceMethod(std::string_view name, void* user_data) {
  if (started_) return FailedPrecondition("methods are added before the service starts");
  if (ownership_ == nullptr) return FailedPrecondition("the service has no resource type");
  return resource_methods_.Add(name, user_data);
}

void ServiceImpl::ResourceOpened(uint64_t resource, const Status& status) {
  if (ownership_ != nullptr) {
    ownership_->Opened(resource, status.WithExecuted(LEVER_EXECUTED_NO));
  }
}

Status ServiceImpl::ResourceClosed(uint64_t resource, const Status& status, Kind kind,
                                   const SliceList* state) {
  if (state != nullptr) LEVER_RETURN_IF_ERROR(route::CheckOutgoing(kind, *state));
  if (ownership_ != nullptr) ownership_->Closed(resource, status, kind, state);
  return Status::Ok();
}

std::shared_ptr<const GrantView> ServiceImpl::grants() const {
  return ownership_ == nullptr ? nullptr : ownership_->view();
}

void ServiceImpl::SendToHost(const std::string& message) { attachment_.Send(message); }

void ServiceImpl::OnResourceOpen(const ResourceOpening& opening) {
  if (!closing_) handler_->OnResourceOpen(*this, opening);
}

void ServiceImpl::OnResourceClose(uint64_t resource, CloseReason reason) {
  if (!closing_) handler_->OnResourceClose(*this, resource, reason);
}

void ServiceImpl::OnNothingOwned() {
  if (drain_.refusing()) loop_->Arm(&drain_timer_, loop_->now_ns());
}

int64_t ServiceImpl::ReleaseTimeoutNs() const { return DrainTimeoutNs(); }

// ---- Closing ----

void ServiceImpl::Close() {
  if (std::exchange(closing_, true)) return;
  handler_->OnRefusing(*this);
  loop_->Disarm(&drain_timer_);
  LeaveInProcess();
  parked_.clear();
  attachment_.Stop();
  loop_->Arm(&closed_timer_, loop_->now_ns());
}

// One step a turn: the requests are told, what they answer is flushed, the connections are closed.
void ServiceImpl::StepClose() {
  switch (close_step_) {
    case CloseStep::kAbandon:
      AbandonAll(Cancelled("the service was closed"), nullptr);
      close_step_ = CloseStep::kDisconnect;
      break;
    case CloseStep::kDisconnect:
      if (server_ != nullptr) server_->Close(Cancelled("the service was closed"));
      close_step_ = CloseStep::kWait;
      break;
    case CloseStep::kWait:
      if (server_ != nullptr && server_->open_calls() > 0) break;
      // What is left are calls that the program has not answered: their handles are over.
      while (!open_.empty()) open_.front().Discard();
      loop_->Disarm(&closed_timer_);
      return handler_->OnClosed(*this);
  }
  loop_->Arm(&closed_timer_, loop_->now_ns());
}

}  // namespace lever::service
