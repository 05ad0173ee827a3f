#include "liblever/host/gateway/router.h"

#include <algorithm>
#include <utility>

namespace lever::gateway {

RoutedCall::~RoutedCall() {
  if (router_ != nullptr) router_->Cancel(this);
}

void RoutedCall::OnConnected(Backend& backend) {
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
  const bool deadline = deadline_ns_ <= hold_until_ns_;
  const std::string name = scale::ServiceName{environment_, service_}.ToString();
  router->Refuse(this, deadline ? DeadlineExceeded("no instance of " + name +
                                                   " was ready before the deadline")
                                : Unavailable("no instance of " + name + " was ready within " +
                                              std::to_string(Router::kHoldMaxNs / kNanosPerSecond) +
                                              " s"));
}

Router::Router(Loop* loop, scale::Directory* directory, scale::Control* control,
               uint64_t random_seed)
    : loop_(loop), directory_(directory), control_(control), random_(random_seed) {
  directory_->AddObserver(this);
}

Router::~Router() {
  directory_->RemoveObserver(this);
  loop_->Disarm(&tell_timer_);
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
                   std::optional<uint64_t> resource_hash) {
  call->router_ = this;
  call->environment_ = name.environment;
  call->service_ = name.service;
  call->deadline_ns_ = deadline_ns;
  call->hold_until_ns_ = DeadlineAfter(loop_->now_ns(), kHoldMaxNs);
  call->connect_failures_ = 0;
  call->resource_hash_ = resource_hash;
  TryRoute(call);
}

void Router::TryRoute(RoutedCall* call) {
  const scale::ListedService* service = directory_->Find({call->environment_, call->service_});
  if (service == nullptr) {
    Refuse(call, NotFound("there is no service " +
                          scale::ServiceName{call->environment_, call->service_}.ToString()));
    return;
  }
  call->owner_ = {};
  call->waits_for_owner_ = false;
  if (service->instances.empty()) {
    Hold(call);
    return;
  }
  std::shared_ptr<Backend> backend;
  // An instance without resources says so itself.
  if (!call->resource_hash_ || !service->view->has_resources) {
    backend = Pick(*service);
  } else if (const scale::InstanceView* owner = FindOwner(call, *service)) {
    backend = BackendOf(*owner);
  } else {
    call->waits_for_owner_ = true;
    Hold(call);
    return;
  }
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

std::shared_ptr<Backend> Router::Pick(const scale::ListedService& service) {
  const uint32_t count = static_cast<uint32_t>(service.instances.size());
  if (count == 1) return BackendOf(service.instances[0]);
  // Power of two choices (Mitzenmacher 2001), on what this loop has in flight and what the instance
  // reported itself.
  const uint32_t first = random_.Below(count);
  uint32_t second = random_.Below(count - 1);
  if (second >= first) ++second;
  std::shared_ptr<Backend> a = BackendOf(service.instances[first]);
  std::shared_ptr<Backend> b = BackendOf(service.instances[second]);
  const auto failed = [this](const Backend& backend) {
    return backend.failed_ns() != kNever && loop_->now_ns() - backend.failed_ns() < kAvoidNs;
  };
  if (failed(*a) != failed(*b)) return failed(*a) ? b : a;
  const auto load = [&service](const Backend& backend, uint32_t instance) {
    const scale::InstanceLoad& reported = service.LoadOf(instance);
    return std::max<uint32_t>(backend.in_flight(),
                              reported.calls.load(std::memory_order_relaxed) +
                                  reported.streams.load(std::memory_order_relaxed));
  };
  return load(*b, second) < load(*a, first) ? b : a;
}

std::shared_ptr<Backend> Router::BackendOf(const scale::InstanceView& instance) {
  std::shared_ptr<Backend>& backend = backends_[instance.key];
  if (backend == nullptr) {
    std::shared_ptr<policy::RetryBudget>& budget =
        retry_budgets_[scale::ServiceName{instance.environment, instance.service}.ToString()];
    if (budget == nullptr) budget = std::make_shared<policy::RetryBudget>();
    backend = std::make_shared<Backend>(loop_, control_, instance, budget);
  }
  return backend;
}

void Router::Hold(RoutedCall* call) {
  const scale::ServiceName name{call->environment_, call->service_};
  std::unique_ptr<Held>& held = held_by_service_[name.ToString()];
  if (held == nullptr) {
    held = std::make_unique<Held>();
    held->environment = call->environment_;
    held->service = call->service_;
  }
  if (held->count >= kHeldPerServiceMax || held_ >= kHeldMax) {
    Refuse(call, ResourceExhausted("too many calls wait for an instance of " + name.ToString()));
    return;
  }
  if (!call->armed()) loop_->Arm(call, std::min(call->deadline_ns_, call->hold_until_ns_));
  held->calls.push_back(*call);
  call->counted_ = true;
  ++held->count;
  if (call->waits_for_owner_) ++held->for_owner;
  ++held_;
  held_total_.fetch_add(1, std::memory_order_relaxed);
  if (held->demand() == 1 && (held->told == 0 || held->told == kToldUnknown)) {
    held->told = 1;
    control_->Demand(name, this, 1);
  } else {
    TellSoon();
  }
}

void Router::TellSoon() {
  if (!tell_timer_.armed()) loop_->Arm(&tell_timer_, DeadlineAfter(loop_->now_ns(), kTellNs));
}

void Router::Tell() {
  boost::unordered::erase_if(held_by_service_, [this](const auto& entry) {
    Held& held = *entry.second;
    if (held.demand() != held.told) {
      held.told = held.demand();
      control_->Demand({held.environment, held.service}, this, held.told);
    }
    return held.count == 0;
  });
}

void Router::Unhold(RoutedCall* call) {
  if (call->held_hook_.is_linked()) call->held_hook_.unlink();
  if (!std::exchange(call->counted_, false)) return;
  --held_;
  const auto found = held_by_service_.find(
      scale::ServiceName{call->environment_, call->service_}.ToString());
  if (found == held_by_service_.end()) return;
  --found->second->count;
  if (call->waits_for_owner_) --found->second->for_owner;
  TellSoon();
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

void Router::TakeHeld(scale::ServiceName name, HeldList* out) {
  const auto found = held_by_service_.find(name.ToString());
  if (found == held_by_service_.end()) return;
  held_ -= found->second->count;
  out->swap(found->second->calls);
  for (RoutedCall& call : *out) call.counted_ = false;
  found->second->count = 0;
  found->second->for_owner = 0;
  found->second->told = kToldUnknown;
  TellSoon();
}

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
  if (view->instances.empty()) {
    const auto held = held_by_service_.find(view->name().ToString());
    if (held == held_by_service_.end() || held->second->count == 0) return;
    // Whoever waited for an owner waits for an instance.
    for (RoutedCall& call : held->second->calls) call.waits_for_owner_ = false;
    held->second->for_owner = 0;
    held->second->told = held->second->count;
    control_->Demand(view->name(), this, held->second->count);
    return;
  }
  HeldList calls;
  TakeHeld(view->name(), &calls);
  while (!calls.empty()) {
    RoutedCall& call = calls.front();
    calls.pop_front();
    TryRoute(&call);
  }
}

void Router::OnServiceRemoved(scale::ServiceName name) {
  boost::unordered::erase_if(backends_, [&](const auto& entry) {
    const scale::InstanceView& mine = entry.second->instance();
    if (mine.environment != name.environment || mine.service != name.service) return false;
    entry.second->Retire();
    return true;
  });
  retry_budgets_.erase(name.ToString());
  OnStartFailed(name, NotFound("the service " + name.ToString() + " was removed"));
}

void Router::OnStartFailed(scale::ServiceName name, const Status& status) {
  HeldList calls;
  TakeHeld(name, &calls);
  while (!calls.empty()) {
    RoutedCall& call = calls.front();
    calls.pop_front();
    Refuse(&call, status);
  }
}

}  // namespace lever::gateway
