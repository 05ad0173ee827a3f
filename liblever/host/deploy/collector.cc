#include "liblever/host/deploy/collector.h"

#include <algorithm>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/deploy/service_record.h"
#include "liblever/host/registry/scan.h"
#include "liblever/host/registry/schema.h"

namespace lever::deploy {

Collector::Collector(scale::Control* control, registry::Registry* registry, BundleStore* store,
                     Execute execute)
    : control_(control),
      registry_(registry),
      store_(store),
      execute_(std::move(execute)),
      retry_([this] { Collect(); }) {}

Collector::~Collector() { control_->loop().Disarm(&retry_); }

void Collector::Enter(std::function<void()> begin) {
  if (running_) {
    waiting_.push_back(std::move(begin));
    return;
  }
  ++entered_;
  begin();
}

void Collector::Leave() {
  --entered_;
  StartIfWanted();
}

void Collector::Retire(std::string environment, std::string service, uint64_t version,
                       std::string bundle) {
  retired_.push_back({std::move(environment), std::move(service), version, std::move(bundle)});
}

void Collector::Collect() {
  wanted_ = true;
  StartIfWanted();
}

void Collector::StartIfWanted() {
  if (!wanted_ || running_ || entered_ > 0) return;
  wanted_ = false;
  running_ = true;
  live_.clear();
  control_->ListInstances(&control_->loop(), [self = shared_from_this()](auto instances) {
    self->OnInstances(instances);
  });
}

void Collector::OnInstances(const std::vector<scale::InstanceStatus>& instances) {
  std::erase_if(retired_, [&](const Retired& retired) {
    return std::none_of(instances.begin(), instances.end(), [&](const auto& instance) {
      return !instance.attached && instance.version == retired.version &&
             instance.service == retired.service && instance.environment == retired.environment;
    });
  });
  for (const Retired& retired : retired_) live_.insert(retired.bundle);
  control_->ListServices(&control_->loop(), [self = shared_from_this()](auto services) {
    self->OnServices(services);
  });
}

void Collector::OnServices(const std::vector<scale::ServiceStatus>& services) {
  for (const scale::ServiceStatus& service : services) {
    if (service.deployed) live_.insert(service.spec.bundle);
  }
  registry::ScanPrefix(registry_, registry::KindPrefix(registry::KeyKind::kVersion),
                       [self = shared_from_this()](auto records) { self->OnRecords(records); });
}

void Collector::OnRecords(const StatusOr<std::vector<registry::Entry>>& records) {
  if (!records.ok()) {
    Finished(records.status());
    return;
  }
  for (const registry::Entry& entry : *records) {
    StatusOr<std::string> bundle = BundleOfVersion(entry.value);
    // What cannot be read may name any bundle: nothing is removed then.
    if (!bundle.ok()) {
      Finished(bundle.status());
      return;
    }
    live_.insert(std::move(*bundle));
  }
  RunOnPool(
      execute_, &control_->loop(),
      [store = store_, live = std::move(live_)] { return store->CollectGarbage(live); },
      [self = shared_from_this()](const Status& status) { self->Finished(status); });
}

void Collector::Finished(const Status& status) {
  if (!status.ok()) {
    Log(LogLevel::kWarning, "bundles that nobody needs were not removed: " + status.ToString());
  }
  running_ = false;
  if (!retired_.empty()) {
    control_->loop().Arm(&retry_, control_->loop().now_ns() + kRetryNs);
  }
  std::vector<std::function<void()>> waiting;
  waiting.swap(waiting_);
  // Counted at once, so that the collection that the first of them asks for waits for all.
  entered_ += waiting.size();
  for (const std::function<void()>& begin : waiting) begin();
  StartIfWanted();
}

}  // namespace lever::deploy
