#include "liblever/host/capi/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "liblever/host/fleet/machine_memory.h"

namespace lever::host {
namespace {

lever_host_options Minimal() {
  lever_host_options options{};
  options.size = sizeof(options);
  options.data_dir = "/tmp/data/";
  options.spawner_path = "/bin/true";
  return options;
}

TEST(HostOptions, HaveDefaults) {
  const lever_host_options raw = Minimal();
  const auto options = ReadHostOptions(&raw);
  ASSERT_TRUE(options.ok()) << options.status().ToString();
  EXPECT_EQ(options->data_dir, "/tmp/data");
  EXPECT_THAT(options->listen, testing::ElementsAre("127.0.0.1:8080"));
  EXPECT_GE(options->threads, 1u);
  EXPECT_EQ(options->service_uids, "61184-65519");
  EXPECT_FALSE(options->insecure);
}

TEST(HostOptions, RefuseWhatTheyDoNotKnow) {
  EXPECT_EQ(ReadHostOptions(nullptr).status().code(), LEVER_INVALID_ARGUMENT);
  lever_host_options raw = Minimal();
  raw.size = 0;
  EXPECT_EQ(ReadHostOptions(&raw).status().code(), LEVER_INVALID_ARGUMENT);
  raw = Minimal();
  raw.data_dir = nullptr;
  EXPECT_EQ(ReadHostOptions(&raw).status().code(), LEVER_INVALID_ARGUMENT);
  raw = Minimal();
  raw.listen_count = 1;
  EXPECT_EQ(ReadHostOptions(&raw).status().code(), LEVER_INVALID_ARGUMENT);
  raw = Minimal();
  raw.threads = 100'000;
  EXPECT_EQ(ReadHostOptions(&raw).status().code(), LEVER_INVALID_ARGUMENT);
  raw = Minimal();
  raw.runtime_pool = 65;
  EXPECT_EQ(ReadHostOptions(&raw).status().code(), LEVER_INVALID_ARGUMENT);
  raw.runtime_pool = 64;
  EXPECT_TRUE(ReadHostOptions(&raw).ok());
  raw = Minimal();
  const lever_driver half{sizeof(lever_driver), nullptr, nullptr, nullptr};
  raw.driver = &half;
  EXPECT_EQ(ReadHostOptions(&raw).status().code(), LEVER_INVALID_ARGUMENT);
}

TEST(HostOptions, TokensHoldFiveMinutesOrAsLongAsIsSaid) {
  lever_host_options raw = Minimal();
  EXPECT_EQ(ReadHostOptions(&raw)->token_lifetime_s, 300);
  raw.token_lifetime_s = 86'400;
  EXPECT_EQ(ReadHostOptions(&raw)->token_lifetime_s, 86'400);
  raw.token_lifetime_s = 86'401;
  EXPECT_EQ(ReadHostOptions(&raw).status().code(), LEVER_INVALID_ARGUMENT);
}

TEST(HostOptions, MemoryIsMostOfTheMachinesOrWhatIsSaid) {
  lever_host_options raw = Minimal();
  auto options = ReadHostOptions(&raw);
  ASSERT_TRUE(options.ok()) << options.status().ToString();
  const uint64_t machine = fleet::MachineMemoryBytes();
  EXPECT_GT(options->ram_bytes, machine / 2);
  EXPECT_LT(options->ram_bytes, machine);
  raw.ram_mib = 300;
  EXPECT_EQ(ReadHostOptions(&raw)->ram_bytes, 300u << 20);
  raw.ram_mib = (1ull << 30) + 1;
  EXPECT_EQ(ReadHostOptions(&raw).status().code(), LEVER_INVALID_ARGUMENT);
}

TEST(HostOptions, OfALaterVersionAreTakenIfTheirRestIsZero) {
  unsigned char bytes[sizeof(lever_host_options) + 16] = {};
  lever_host_options raw = Minimal();
  raw.size = sizeof(bytes);
  std::memcpy(bytes, &raw, sizeof(raw));
  const auto* later = reinterpret_cast<const lever_host_options*>(bytes);
  EXPECT_TRUE(ReadHostOptions(later).ok());
  bytes[sizeof(raw) + 3] = 1;
  EXPECT_EQ(ReadHostOptions(later).status().code(), LEVER_INVALID_ARGUMENT);
}

TEST(HostOptions, OfAnEarlierVersionLeaveTheRestAtItsDefault) {
  lever_host_options raw = Minimal();
  raw.size = offsetof(lever_host_options, listen);
  raw.threads = 100'000;  // beyond the size: not looked at
  const auto options = ReadHostOptions(&raw);
  // The path of the spawner is beyond it, too; it is looked for beside the program.
  if (!options.ok()) {
    EXPECT_EQ(options.status().code(), LEVER_FAILED_PRECONDITION);
    EXPECT_THAT(options.status().message(), testing::HasSubstr("lever-spawner"));
  } else {
    EXPECT_GE(options->threads, 1u);
    EXPECT_LT(options->threads, 100'000u);
  }
}

}  // namespace
}  // namespace lever::host
