#include "liblever/host/scale/directory.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace lever::scale {

std::string ServiceName::ToString() const {
  std::string text("lever://");
  text.append(environment).append("/").append(service);
  return text;
}

ListedService::ListedService(std::shared_ptr<const ServiceView> listed)
    : view(std::move(listed)),
      instances(view->instances),
      canary_instances(view->canary_instances),
      canary_share(static_cast<uint16_t>(view->canary_share)),
      canary_sticky(view->canary_sticky),
      is_private(view->is_private) {
  for (size_t i = 0; i < std::min(instances.size(), first_loads.size()); ++i) {
    first_loads[i] = instances[i].load.get();
  }
}

size_t Directory::Hash::operator()(const ServiceName& name) const {
  const size_t environment = std::hash<std::string_view>()(name.environment);
  const size_t service = std::hash<std::string_view>()(name.service);
  // The odd constant of Fibonacci hashing keeps equal halves from cancelling out.
  return environment * 0x9E3779B97F4A7C15ull + service;
}

const ListedService* Directory::Find(ServiceName name) const {
  const auto found = services_.find(name);
  return found == services_.end() ? nullptr : &found->second;
}

bool Directory::HasEnvironment(std::string_view environment) const {
  return environments_ != nullptr &&
         std::binary_search(environments_->begin(), environments_->end(), environment);
}

void Directory::Apply(std::shared_ptr<const ServiceView> view) {
  auto [entry, inserted] = services_.try_emplace(Key{view->environment, view->service}, view);
  if (!inserted) {
    if (entry->second.view->revision >= view->revision) return;
    entry->second = ListedService(view);
  }
  for (DirectoryObserver* observer : observers_) observer->OnServiceChanged(view);
}

void Directory::Remove(ServiceName name, uint64_t revision) {
  const auto found = services_.find(name);
  if (found == services_.end() || found->second.view->revision >= revision) return;
  // The name may lie in the view that goes away.
  const std::shared_ptr<const ServiceView> kept = found->second.view;
  services_.erase(found);
  for (DirectoryObserver* observer : observers_) observer->OnServiceRemoved(kept->name());
}

void Directory::StartFailed(ServiceName name, const Status& status) {
  for (DirectoryObserver* observer : observers_) observer->OnStartFailed(name, status);
}

void Directory::ApplyEnvironments(std::shared_ptr<const std::vector<std::string>> environments) {
  environments_ = std::move(environments);
}

void Directory::AddObserver(DirectoryObserver* observer) { observers_.push_back(observer); }

void Directory::RemoveObserver(DirectoryObserver* observer) { std::erase(observers_, observer); }

}  // namespace lever::scale
