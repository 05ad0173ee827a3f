#include "liblever/host/scale/directory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

namespace lever::scale {
namespace {

constexpr ServiceName kHello{"dev.lever", "hello"};

// An instance i of it reports `calls` + i calls.
std::shared_ptr<const ServiceView> View(uint64_t revision, uint32_t instances, uint32_t calls) {
  auto view = std::make_shared<ServiceView>();
  view->environment = kHello.environment;
  view->service = kHello.service;
  view->revision = revision;
  for (uint32_t i = 0; i < instances; ++i) {
    InstanceView& instance = view->instances.emplace_back();
    instance.key = i + 1;
    instance.load = std::make_shared<InstanceLoad>();
    instance.load->calls = calls + i;
  }
  return view;
}

TEST(Directory, GivesEachInstanceItsOwnLoad) {
  Directory directory;
  uint64_t revision = 0;
  for (const uint32_t instances : {0, 1, 2, 3, 10, 1}) {
    directory.Apply(View(++revision, instances, 100 * instances));
    const ListedService* service = directory.Find(kHello);
    ASSERT_NE(service, nullptr);
    ASSERT_EQ(service->instances.size(), instances);
    for (uint32_t i = 0; i < instances; ++i) {
      EXPECT_EQ(service->instances[i].key, i + 1);
      EXPECT_EQ(service->LoadOf(i).calls, 100 * instances + i);
    }
  }
}

TEST(Directory, IgnoresAnOlderViewAndAnOlderRemoval) {
  Directory directory;
  directory.Apply(View(5, 2, 0));
  directory.Apply(View(4, 1, 0));
  directory.Remove(kHello, 3);
  ASSERT_NE(directory.Find(kHello), nullptr);
  EXPECT_EQ(directory.Find(kHello)->view->revision, 5u);
  EXPECT_EQ(directory.Find(kHello)->instances.size(), 2u);
  directory.Remove(directory.Find(kHello)->view->name(), 6);
  EXPECT_EQ(directory.Find(kHello), nullptr);
}

TEST(Directory, FindsEachOfManyServicesWhileTheTableGrows) {
  Directory directory;
  constexpr int kServices = 1000;
  const auto name_of = [](int i) { return "service-" + std::to_string(i); };
  for (int i = 0; i < kServices; ++i) {
    auto view = std::make_shared<ServiceView>(*View(1, 1, static_cast<uint32_t>(i)));
    view->service = name_of(i);
    view->is_private = i % 2 == 0;
    directory.Apply(view);
  }
  for (int i = 0; i < kServices; ++i) {
    const std::string name = name_of(i);
    const ListedService* service = directory.Find({"dev.lever", name});
    ASSERT_NE(service, nullptr) << name;
    EXPECT_EQ(service->view->service, name);
    EXPECT_EQ(service->LoadOf(0).calls, static_cast<uint32_t>(i));
    EXPECT_EQ(service->is_private, i % 2 == 0);
    EXPECT_EQ(directory.Find({"staging", name}), nullptr);
  }
}

}  // namespace
}  // namespace lever::scale
