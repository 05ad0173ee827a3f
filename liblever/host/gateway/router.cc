#include "liblever/host/gateway/router.h"

#include <algorithm>
#include <utility>

#include "liblever/policy/canary.h"
#include "liblever/route/wire.h"

namespace lever::gateway {

StatusOr<VersionWish> ReadVersionWish(const rpc::HeaderList& request,
                                      const fleet::Caller& caller) {
  VersionWish wish{.canary = std::nullopt, .caller = caller.number};
  const auto text = request.Find(route::kCanaryHeader);
  if (!text) return wish;
  if (*text != "true" && *text != "false") {
    return InvalidArgument(std::string(route::kCanaryHeader) + " is neither true nor false");
  }
  wish.canary = *text == "true";
  return wish;
}

RoutedCall::~RoutedCall() {
  if (router_ != nullptr) router_->Cancel(this);
}

void RoutedCall::OnConnected(Backend& backend) {
  // Many may have waited for the one connection.
  if (!backend.HasRoom()) return router_->TryRoute(this);
  router_->loop_->Disarm(this);
  router_ = nullptr;
  OnRouted(backend.shared_from_this());
}

void RoutedCall::OnConnectFailed(Backend& backend, const Status& status) {
  Router* router = router_;
  if (++connect_failures_ >= Router::kConnectFailuresMax) {
    router->Refuse(this, Unavailable("no connection to an instance of " +
                                     scale::ServiceName{environment_, service_}.ToString() + ": " +
                                     status.message()));
    return;
  }
  router->TryRoute(this);
}

void RoutedCall::OnTimer() {
  Router* router = router_;
  const std::string name = scale::ServiceName{environment_, service_}.ToString();
  if (too_large_) {
    router->Refuse(this, Router::TooLargeTogether({environment_, service_}));
    return;
  }
  const bool at_owner = queue_ != nullptr && held_for_ == HeldFor::kRoomAtOwner;
  const bool for_room =
      at_owner || (queue_ != nullptr && queue_->for_room && held_for_ == HeldFor::kInstance);
  const std::string what = at_owner ? "the instance of " + name + " that owns the resource was full"
                           : for_room ? "every instance of " + name + " was full"
                                      : "no instance of " + name + " was ready";
  const scale::ListedService* service = router->directory_->Find({environment_, service_});
  const std::string lacks = service == nullptr ? "" : service->view->lacks;
  const std::string because = lacks.empty() ? "" : ": " + lacks;
  if (deadline_ns_ <= hold_until_ns_) {
    return router->Refuse(this, DeadlineExceeded(what + (for_room ? " until" : " before") +
                                                 " the deadline" + because));
  }
  const std::string waited = what + (for_room ? " for " : " within ") +
                             std::to_string(Router::kHoldMaxNs / kNanosPerSecond) + " s" + because;
  router->Refuse(this, lacks.empty() ? Unavailable(waited) : ResourceExhausted(waited));
}

Router::Router(Loop* loop, scale::Directory* directory, scale::Control* control,
               uint64_t random_seed)
    : loop_(loop), directory_(directory), control_(control), random_(random_seed) {
  directory_->AddObserver(this);
}

Router::~Router() {
  directory_->RemoveObserver(this);
  loop_->Disarm(&tell_timer_);
  loop_->Disarm(&room_timer_);
  for (const auto& [key, backend] : backends_) backend->LoseOwner();
  for (const auto& [name, queue] : held_by_service_) SetForRoom(queue.get(), false);
}

Status Router::Check(scale::ServiceName name, const fleet::Caller& caller) const {
  const scale::ListedService* service = directory_->Find(name);
  if (service == nullptr) {
    const bool known = directory_->HasEnvironment(name.environment);
    return NotFound(known ? "there is no service " + name.ToString()
                          : "there is no environment " + std::string(name.environment))
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  if (service->is_private && caller.environment != name.environment) {
    return PermissionDenied(name.ToString() + " is private: only services of its environment may " +
                            "call it")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  return Status::Ok();
}

std::string RoutedCall::GenerationHeader(std::optional<std::string_view> believed) const {
  policy::ShardGeneration stamp = owner_;
  if (believed) {
    const auto parsed = policy::ParseShardGeneration(*believed);
    // What is of another shard, or no generation at all, is for the instance to refuse.
    if (!parsed || parsed->shard != stamp.shard || stamp.generation == 0) {
      return std::string(*believed);
    }
    stamp.generation = std::max(stamp.generation, parsed->generation);
  }
  return stamp.generation == 0 ? std::string() : policy::FormatShardGeneration(stamp);
}

void Router::Route(RoutedCall* call, scale::ServiceName name, int64_t deadline_ns,
                   std::optional<uint64_t> resource_hash, VersionWish wish) {
  call->router_ = this;
  call->environment_ = name.environment;
  call->service_ = name.service;
  call->deadline_ns_ = deadline_ns;
  call->hold_until_ns_ = DeadlineAfter(loop_->now_ns(), kHoldMaxNs);
  call->connect_failures_ = 0;
  call->resource_hash_ = resource_hash;
  call->wish_ = wish;
  call->draw_ = random_.Next();
  call->admitted_ = false;
  call->first_ = false;
  call->too_large_ = false;
  TryRoute(call);
}

void Router::RouteAgain(RoutedCall* call) {
  call->router_ = this;
  call->connect_failures_ = 0;
  call->admitted_ = true;
  call->first_ = true;
  call->too_large_ = false;
  TryRoute(call);
}

void Router::TryRoute(RoutedCall* call) {
  const scale::ServiceName name{call->environment_, call->service_};
  const scale::ListedService* service = directory_->Find(name);
  if (service == nullptr) {
    Refuse(call, NotFound("there is no service " + name.ToString()));
    return;
  }
  call->owner_ = {};
  if (service->instances.empty()) return Hold(call, *service, HeldFor::kInstance);
  // An instance without resources says so itself.
  if (call->resource_hash_ && service->view->has_resources) return TryRouteToOwner(call, *service);
  if (queues_for_room_ > 0) {
    const HeldQueue* queue = FindQueue(name);
    if (queue != nullptr && queue->for_room && !queue->calls.empty()) {
      return Hold(call, *service, HeldFor::kInstance);
    }
  }
  const std::shared_ptr<Backend> backend = PickFor(*call, *service);
  if (backend == nullptr) return Hold(call, *service, HeldFor::kInstance);
  Use(call, backend);
}

void Router::TryRouteToOwner(RoutedCall* call, const scale::ListedService& service) {
  const scale::InstanceView* owner = FindOwner(call, service);
  if (owner == nullptr) return Hold(call, service, HeldFor::kOwner);
  const std::shared_ptr<Backend> backend = BackendOf(*owner);
  const HeldQueue* queue = queues_for_room_ > 0 ? FindQueue(service.view->name()) : nullptr;
  if (!backend->HasRoom() || (queue != nullptr && queue->IsWaitedFor(owner->key))) {
    return Hold(call, service, HeldFor::kRoomAtOwner, backend.get());
  }
  Use(call, backend);
}

void Router::Use(RoutedCall* call, const std::shared_ptr<Backend>& backend) {
  if (backend->connection() != nullptr) {
    loop_->Disarm(call);
    call->router_ = nullptr;
    call->OnRouted(backend);
    return;
  }
  if (!call->armed()) loop_->Arm(call, std::min(call->deadline_ns_, call->hold_until_ns_));
  backend->Await(call);
}

const scale::InstanceView* Router::FindOwner(RoutedCall* call,
                                             const scale::ListedService& service) const {
  const scale::ShardOwners* shards = service.view->shards.get();
  if (shards == nullptr || shards->owners.empty()) return nullptr;
  const uint32_t shard = policy::ShardOfHash(*call->resource_hash_,
                                             static_cast<uint32_t>(shards->owners.size()));
  const scale::ShardOwners::Owner& owner = shards->owners[shard];
  if (owner.instance == scale::ShardOwners::kNobody) return nullptr;
  call->owner_ = {shard, owner.generation};
  return &service.instances[owner.instance];
}

bool Router::Failed(const Backend& backend) const {
  return backend.failed_ns() != kNever && loop_->now_ns() - backend.failed_ns() < kAvoidNs;
}

namespace {

uint32_t LoadOf(const Backend& backend, const scale::InstanceLoad& reported) {
  return std::max<uint32_t>(backend.in_flight(),
                            reported.calls.load(std::memory_order_relaxed) +
                                reported.streams.load(std::memory_order_relaxed));
}

}  // namespace

bool Router::WantsCanary(const RoutedCall& call, const scale::ListedService& service) {
  if (service.canary_instances == 0) return false;
  if (call.wish_.canary) return *call.wish_.canary;
  const uint64_t draw =
      service.canary_sticky
          ? policy::DrawOfCaller(call.wish_.caller, call.environment_, call.service_)
          : call.draw_;
  return policy::IsCanaryDraw(service.canary_share, draw);
}

// A canary without an instance that has room leaves its share to the version that serves, and not
// the other way round: a canary holds nobody up, and gets nothing that is not its share.
std::shared_ptr<Backend> Router::PickFor(const RoutedCall& call,
                                         const scale::ListedService& service) {
  const Group serving{0, service.serving_instances()};
  if (WantsCanary(call, service)) {
    if (auto backend = Pick(service, {serving.count, service.canary_instances})) return backend;
  }
  return Pick(service, serving);
}

std::shared_ptr<Backend> Router::Pick(const scale::ListedService& service, Group group) {
  const uint32_t count = group.count;
  if (count == 0) return nullptr;
  if (count == 1) {
    std::shared_ptr<Backend> only = BackendOf(service.instances[group.first]);
    return only->HasRoom() ? only : nullptr;
  }
  // Power of two choices (Mitzenmacher 2001), on what this loop has in flight and what the instance
  // reported itself.
  uint32_t first = random_.Below(count);
  uint32_t second = random_.Below(count - 1);
  if (second >= first) ++second;
  first += group.first;
  second += group.first;
  std::shared_ptr<Backend> a = BackendOf(service.instances[first]);
  std::shared_ptr<Backend> b = BackendOf(service.instances[second]);
  const bool b_is_better = Failed(*a) != Failed(*b) ? Failed(*a)
                                                    : LoadOf(*b, service.LoadOf(second)) <
                                                          LoadOf(*a, service.LoadOf(first));
  const std::shared_ptr<Backend>& better = b_is_better ? b : a;
  return better->HasRoom() ? better : PickAmongAll(service, group);
}

std::shared_ptr<Backend> Router::PickAmongAll(const scale::ListedService& service, Group group) {
  std::shared_ptr<Backend> best;
  uint32_t best_load = 0;
  for (uint32_t i = group.first; i < group.first + group.count; ++i) {
    const std::shared_ptr<Backend> backend = BackendOf(service.instances[i]);
    if (!backend->HasRoom()) continue;
    const uint32_t load = LoadOf(*backend, service.LoadOf(i));
    const bool better = best == nullptr || (Failed(*best) != Failed(*backend) ? Failed(*best)
                                                                              : load < best_load);
    if (!better) continue;
    best = backend;
    best_load = load;
  }
  return best;
}

std::shared_ptr<Backend> Router::BackendOf(const scale::InstanceView& instance) {
  std::shared_ptr<Backend>& backend = backends_[instance.key];
  if (backend == nullptr) {
    std::shared_ptr<policy::RetryBudget>& budget =
        retry_budgets_[scale::ServiceName{instance.environment, instance.service}.ToString()];
    if (budget == nullptr) budget = std::make_shared<policy::RetryBudget>();
    backend = std::make_shared<Backend>(loop_, control_, instance, budget,
                                        static_cast<BackendOwner*>(this));
  }
  return backend;
}

void Router::Cancel(RoutedCall* call) {
  if (call->router_ == nullptr) return;
  Unhold(call);
  if (static_cast<BackendWaiter*>(call)->is_linked()) static_cast<BackendWaiter*>(call)->unlink();
  loop_->Disarm(call);
  call->router_ = nullptr;
}

void Router::Refuse(RoutedCall* call, const Status& status) {
  Cancel(call);
  call->OnRefused(status.WithExecuted(LEVER_EXECUTED_NO));
}

// ---- What the directory says ----

void Router::OnServiceChanged(const std::shared_ptr<const scale::ServiceView>& view) {
  boost::unordered::erase_if(backends_, [&](const auto& entry) {
    const scale::InstanceView& mine = entry.second->instance();
    const auto here = std::find_if(view->instances.begin(), view->instances.end(),
                                   [&](const auto& i) { return i.key == mine.key; });
    if (here != view->instances.end() || mine.environment != view->environment ||
        mine.service != view->service) {
      return false;
    }
    entry.second->Retire();
    return true;
  });
  HeldQueue* const queue = FindQueue(view->name());
  if (queue == nullptr || queue->count == 0) return;
  if (view->instances.empty()) {
    SetForRoom(queue, false);
    // Whoever waited for an owner waits for an instance.
    queue->calls.splice(queue->calls.end(), queue->ownerless);
    for (auto& [key, calls] : queue->at_owner) queue->calls.splice(queue->calls.end(), calls);
    queue->at_owner.clear();
    for (RoutedCall& call : queue->calls) {
      call.held_for_ = HeldFor::kInstance;
      call.in_demand_ = true;
    }
    queue->without_demand = 0;
    queue->told = queue->count;
    control_->Demand(view->name(), this, queue->count);
    return;
  }
  // The control plane may have forgotten what it was told.
  queue->told = HeldQueue::kToldUnknown;
  TellSoon();
  RouteHeldOfResources(queue, *view);
  Release(queue);
}

void Router::OnServiceRemoved(scale::ServiceName name) {
  boost::unordered::erase_if(backends_, [&](const auto& entry) {
    const scale::InstanceView& mine = entry.second->instance();
    if (mine.environment != name.environment || mine.service != name.service) return false;
    entry.second->Retire();
    return true;
  });
  retry_budgets_.erase(name.ToString());
  if (HeldQueue* const queue = FindQueue(name)) {
    RefuseAll(queue, NotFound("the service " + name.ToString() + " was removed"));
  }
}

void Router::OnStartFailed(scale::ServiceName name, const Status& status) {
  HeldQueue* const queue = FindQueue(name);
  if (queue == nullptr) return;
  const scale::ListedService* service = directory_->Find(name);
  if (service != nullptr && !service->instances.empty()) {
    // There are others, for whose room the calls wait.
    queue->told = HeldQueue::kToldUnknown;
    TellSoon();
    return;
  }
  RefuseAll(queue, status);
}

}  // namespace lever::gateway
