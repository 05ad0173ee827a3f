#include "liblever/host/gateway/watch_session.h"

#include <limits>
#include <utility>
#include <vector>

#include "lever/v1/host.pb.h"
#include "liblever/host/fleet/attach_session.h"
#include "liblever/policy/address.h"
#include "liblever/policy/canary.h"

namespace lever::gateway {

WatchSession::WatchSession(const Context& context, fleet::Caller caller, rpc::Call& call)
    : context_(context), caller_(std::move(caller)), call_(&call) {
  context_.directory->AddObserver(this);
}

WatchSession::~WatchSession() = default;

void WatchSession::Accept(const Context& context, fleet::Caller caller, rpc::Call& call) {
  std::shared_ptr<WatchSession> session(new WatchSession(context, std::move(caller), call));
  session->self_ = session;
  call.set_handler(session.get());
  call.SendHeaders();
  call.Read(std::numeric_limits<uint32_t>::max());
}

void WatchSession::OnMessage(rpc::Call& call, SliceList message) {
  const Slice bytes = Flatten(message);
  lever::v1::FromWatcher parsed;
  if (bytes.size() > fleet::kSessionMessageBytesMax ||
      !parsed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    call.Finish(InvalidArgument("watch: a message that is not a lever.v1.FromWatcher"));
    return;
  }
  switch (phase_) {
    case Phase::kHello: OnHello(parsed); return;
    case Phase::kWelcoming:
      call.Finish(InvalidArgument("watch: nothing may be sent between hello and welcome"));
      return;
    case Phase::kWatching: OnWatchingMessage(parsed); return;
  }
}

void WatchSession::OnHello(const lever::v1::FromWatcher& message) {
  if (!message.has_hello()) {
    call_->Finish(InvalidArgument("watch: the first message must be hello"));
    return;
  }
  const lever::v1::WatcherHello& hello = message.hello();
  if (hello.protocol_min() > fleet::kProtocolMax || hello.protocol_max() < fleet::kProtocolMin) {
    call_->Finish(FailedPrecondition(
        "watch: the client speaks protocol " + std::to_string(hello.protocol_min()) + " to " +
        std::to_string(hello.protocol_max()) + ", this host " +
        std::to_string(fleet::kProtocolMin) + " to " + std::to_string(fleet::kProtocolMax)));
    return;
  }
  phase_ = Phase::kWelcoming;
  context_.control->AddWatcher(
      caller_, context_.loop,
      [self = shared_from_this()](scale::Control::WatcherTicket ticket) { self->OnTicket(ticket); });
}

void WatchSession::OnTicket(const scale::Control::WatcherTicket& ticket) {
  if (call_ == nullptr) {
    context_.control->RemoveWatcher(ticket.key);
    return;
  }
  watcher_key_ = ticket.key;
  phase_ = Phase::kWatching;
  lever::v1::ToWatcher message;
  lever::v1::WatcherWelcome& welcome = *message.mutable_welcome();
  welcome.set_protocol(fleet::kProtocolMax);
  welcome.set_host(context_.host_id);
  welcome.set_introduction_path(ticket.introduction_path);
  welcome.set_nonce(ticket.nonce);
  Send(message);
}

void WatchSession::OnWatchingMessage(const lever::v1::FromWatcher& message) {
  switch (message.message_case()) {
    case lever::v1::FromWatcher::kSubscribe:
      Subscribe({message.subscribe().environment(), message.subscribe().service()});
      return;
    case lever::v1::FromWatcher::kUnsubscribe:
      subscribed_.erase({message.unsubscribe().environment(), message.unsubscribe().service()});
      return;
    case lever::v1::FromWatcher::kIntroduce: {
      const uint64_t id = message.introduce().id();
      const auto by = message.introduce().by_address() ? route::IntroduceBy::kAddress
                                                       : route::IntroduceBy::kSocket;
      context_.control->Introduce(
          watcher_key_, id, message.introduce().instance(), by, context_.loop,
          [self = shared_from_this(), id](StatusOr<route::AddressWay> way) {
            self->OnIntroduced(id, way);
          });
      return;
    }
    case lever::v1::FromWatcher::kHello:
      call_->Finish(InvalidArgument("watch: hello may be sent only once"));
      return;
    case lever::v1::FromWatcher::MESSAGE_NOT_SET: return;  // of a newer protocol
  }
}

void WatchSession::OnIntroduced(uint64_t id, const StatusOr<route::AddressWay>& way) {
  if (call_ == nullptr) return;
  lever::v1::ToWatcher message;
  lever::v1::Introduced& answer = *message.mutable_introduced();
  answer.set_id(id);
  answer.set_status(way.status().code());
  answer.set_message(way.status().message());
  if (way.ok() && !way->address.empty()) {
    answer.set_address(way->address);
    answer.set_key_hash(way->key_hash);
    answer.set_token(way->token);
  }
  Send(message);
}

void WatchSession::Subscribe(Name name) {
  if (!policy::CheckEnvironment(name.first).ok() || !policy::CheckService(name.second).ok()) {
    call_->Finish(InvalidArgument("watch: subscribe to a malformed name"));
    return;
  }
  if (subscribed_.size() >= kSubscriptionsMax) {
    call_->Finish(ResourceExhausted("watch: more than " + std::to_string(kSubscriptionsMax) +
                                    " services"));
    return;
  }
  const auto [entry, inserted] = subscribed_.try_emplace(std::move(name), 0);
  SendRoutes(entry->first);
}

namespace {

// `places`: for each instance of the view 1 + its place in the table, or 0.
void AddOwners(const scale::ServiceView& view, const std::vector<uint32_t>& places,
               lever::v1::Routes* routes) {
  if (view.shards == nullptr) return;
  lever::v1::ShardOwners& shown = *routes->mutable_shards();
  for (const scale::ShardOwners::Owner& owner : view.shards->owners) {
    const bool known = owner.instance != scale::ShardOwners::kNobody;
    shown.add_owner(known ? places[owner.instance] : 0);
    shown.add_generation(owner.generation);
  }
}

// A caller that stays with one version is told of all of the calls, or of none.
void AddCanary(const scale::ServiceView& view, uint64_t caller, lever::v1::Routes* routes) {
  if (view.canary_version == 0) return;
  routes->set_canary_version(view.canary_version);
  uint32_t share = view.canary_instances > 0 ? view.canary_share : 0;
  if (share > 0 && view.canary_sticky) {
    const uint64_t draw = policy::DrawOfCaller(caller, view.environment, view.service);
    share = policy::IsCanaryDraw(share, draw) ? policy::kShareParts : 0;
  }
  routes->set_canary_share(share);
}

}  // namespace

void WatchSession::SendRoutes(const Name& name) {
  if (call_ == nullptr) return;
  if (!call_->Writable()) {
    owed_.insert(name);
    return;
  }
  lever::v1::ToWatcher message;
  lever::v1::Routes& routes = *message.mutable_routes();
  routes.set_environment(name.first);
  routes.set_service(name.second);
  const scale::ListedService* service = context_.directory->Find({name.first, name.second});
  uint64_t& sent = subscribed_[name];
  // Without a service the table is empty. It is newer than the last one, and older than the next: the
  // control loop has counted the removal too.
  sent = service != nullptr ? service->view->revision : sent == 0 ? 0 : sent + 1;
  routes.set_revision(sent);
  if (service != nullptr) {
    const bool allowed = !service->is_private || caller_.environment == name.first;
    std::vector<uint32_t> places(service->instances.size(), 0);
    for (size_t i = 0; i < service->instances.size(); ++i) {
      const scale::InstanceView& instance = service->instances[i];
      // An instance that is only an address is the host's driver's own: calls go through the host.
      if (!allowed || !(instance.introducible || instance.listens)) continue;
      places[i] = static_cast<uint32_t>(routes.instances_size()) + 1;
      lever::v1::Instance& row = *routes.add_instances();
      row.set_id(instance.id);
      row.set_version(instance.version);
      row.set_local(instance.introducible);
      row.set_listens(instance.listens);
      row.set_in_flight(instance.load->calls.load(std::memory_order_relaxed) +
                        instance.load->streams.load(std::memory_order_relaxed));
      row.set_latency_ns(instance.load->latency_ns.load(std::memory_order_relaxed));
      row.set_load_max(instance.load_max);
      row.set_concurrency_max(instance.concurrency_max);
    }
    if (allowed) AddOwners(*service->view, places, &routes);
    if (allowed) AddCanary(*service->view, caller_.number, &routes);
  }
  Send(message);
}

void WatchSession::Send(const lever::v1::ToWatcher& message) {
  SliceList slices;
  slices.push_back(Slice::Copy(message.SerializeAsString()));
  call_->Write(std::move(slices));
}

void WatchSession::OnWritable(rpc::Call& call) {
  std::set<Name> owed;
  owed.swap(owed_);
  for (const Name& name : owed) {
    if (subscribed_.contains(name)) SendRoutes(name);
  }
}

void WatchSession::OnServiceChanged(const std::shared_ptr<const scale::ServiceView>& view) {
  const Name name(view->environment, view->service);
  if (subscribed_.contains(name)) SendRoutes(name);
}

void WatchSession::OnServiceRemoved(scale::ServiceName name) {
  const Name owned(std::string(name.environment), std::string(name.service));
  if (subscribed_.contains(owned)) SendRoutes(owned);
}

void WatchSession::OnPeerEnd(rpc::Call& call) { call.Finish(Status::Ok()); }

void WatchSession::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  context_.directory->RemoveObserver(this);
  if (watcher_key_ != 0) context_.control->RemoveWatcher(watcher_key_);
  const std::shared_ptr<WatchSession> last = std::move(self_);
}

}  // namespace lever::gateway
