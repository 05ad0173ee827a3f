#include "liblever/host/fleet/spawner_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "liblever/host/fleet/machine_memory.h"
#include "liblever/host/fleet/spawner_cgroup.h"

namespace lever::fleet {
namespace {

using testing::ElementsAre;
using testing::Pair;

// 52 fields, as Linux 6 has them; the 22nd is the start time.
std::string StatLine(const std::string& name) {
  return "4711 (" + name +
         ") S 17 4711 4711 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000000 250 "
         "18446744073709551615"
         " 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
}

TEST(ParseProcessStat, TakesPidParentAndStartTime) {
  ProcessEntry entry;
  ASSERT_TRUE(ParseProcessStat(StatLine("serve"), &entry));
  EXPECT_EQ(entry.pid, 4711);
  EXPECT_EQ(entry.parent, 17);
  EXPECT_EQ(entry.start_ticks, 987'654u);
  EXPECT_EQ(entry.threads, 1u);
}

TEST(ParseProcessStat, ANameMayLookLikeFields) {
  for (const char* name : {"a b", "a) R 1 2 3 (b", ")", "(", ") S 1 1 1 1 1 1"}) {
    ProcessEntry entry;
    ASSERT_TRUE(ParseProcessStat(StatLine(name), &entry)) << name;
    EXPECT_EQ(entry.pid, 4711) << name;
    EXPECT_EQ(entry.parent, 17) << name;
    EXPECT_EQ(entry.start_ticks, 987'654u) << name;
  }
}

TEST(ParseProcessStat, RefusesEveryTextThatEndsBeforeTheStartTime) {
  const std::string line = StatLine("serve");
  const size_t end = line.find("987654");
  for (size_t size = 0; size <= end; ++size) {
    ProcessEntry entry;
    EXPECT_FALSE(ParseProcessStat(std::string_view(line).substr(0, size), &entry)) << size;
  }
}

TEST(ReadProcessTable, HasThisProcess) {
  const std::vector<ProcessEntry> table = ReadProcessTable();
  const auto self = std::find_if(table.begin(), table.end(),
                                 [](const ProcessEntry& entry) { return entry.pid == ::getpid(); });
  ASSERT_NE(self, table.end());
  EXPECT_EQ(self->parent, ::getppid());
  EXPECT_GT(self->start_ticks, 0u);
}

TEST(MemoryOfProcesses, IsAboutWhatThisProcessHas) {
  const uint64_t before = MemoryOfProcesses({::getpid()}, UINT64_MAX);
  std::vector<char> taken(64 << 20, 1);
  const uint64_t after = MemoryOfProcesses({::getpid()}, UINT64_MAX);
  EXPECT_GT(after, before + (60 << 20)) << taken[1];
  // Above the limit shared pages count in parts: not more than before.
  EXPECT_LE(MemoryOfProcesses({::getpid()}, 1), after + (4 << 20));
}

TEST(FindMarker, TakesTheWholeVariableOnly) {
  using namespace std::literals;
  EXPECT_EQ(FindMarker("A=1\0LEVER_INSTANCE_ID=i-7\0B=2\0"sv), "i-7");
  EXPECT_EQ(FindMarker("LEVER_INSTANCE_ID=i-7"sv), "i-7");
  EXPECT_EQ(FindMarker("XLEVER_INSTANCE_ID=i-7\0LEVER_INSTANCE_IDX=8\0"sv), "");
  EXPECT_EQ(FindMarker("LEVER_INSTANCE_ID"sv), "");
  EXPECT_EQ(FindMarker("A=LEVER_INSTANCE_ID=i-7\0"sv), "");
  EXPECT_EQ(FindMarker(""sv), "");
}

// A table of processes as {pid, parent}, and who belongs to whom.
class AttributeProcessesTest : public testing::Test {
 protected:
  static constexpr pid_t kSpawner = 100;

  AttributeProcessesTest() {
    owners_.spawner = kSpawner;
    owners_.read_marker = [this](pid_t pid) {
      ++markers_read_;
      const auto found = marker_of_.find(pid);
      return found == marker_of_.end() ? std::string() : found->second;
    };
  }
  std::map<pid_t, uint64_t> Attribute(const std::vector<std::pair<pid_t, pid_t>>& processes) {
    std::vector<ProcessEntry> table;
    for (const auto& [pid, parent] : processes) table.push_back({pid, parent, 1});
    std::map<pid_t, uint64_t> owned;
    for (const OwnedProcess& process : AttributeProcesses(table, owners_)) {
      owned[process.process.pid] = process.owner;
    }
    return owned;
  }

  Owners owners_;
  std::map<pid_t, std::string> marker_of_;
  int markers_read_ = 0;
};

TEST_F(AttributeProcessesTest, DescendantsBelongToTheInstanceOfTheirAncestor) {
  owners_.mains = {{200, 1}, {300, 2}};
  EXPECT_THAT(
      Attribute({{1, 0}, {kSpawner, 1}, {200, kSpawner}, {201, 200}, {202, 201}, {300, kSpawner}}),
      ElementsAre(Pair(200, 1), Pair(201, 1), Pair(202, 1), Pair(300, 2)));
}

TEST_F(AttributeProcessesTest, OrphansAreToldByTheirMarker) {
  owners_.mains = {{200, 1}};
  owners_.markers = {{"i-1", 1}, {"i-2", 2}};
  marker_of_ = {{210, "i-1"}, {310, "i-2"}, {400, "i-gone"}};
  EXPECT_THAT(Attribute({{kSpawner, 1},
                         {200, kSpawner},
                         {210, kSpawner},
                         {211, 210},
                         {310, kSpawner},
                         {400, kSpawner},
                         {401, 400},
                         {500, kSpawner}}),
              ElementsAre(Pair(200, 1), Pair(210, 1), Pair(211, 1), Pair(310, 2),
                          Pair(400, kNobody), Pair(401, kNobody), Pair(500, kNobody)));
}

TEST_F(AttributeProcessesTest, AMarkerInsideAnInstanceDoesNotMoveAProcessToAnother) {
  owners_.mains = {{200, 1}};
  owners_.markers = {{"i-1", 1}, {"i-2", 2}};
  marker_of_ = {{201, "i-2"}};
  EXPECT_THAT(Attribute({{kSpawner, 1}, {200, kSpawner}, {201, 200}}),
              ElementsAre(Pair(200, 1), Pair(201, 1)));
}

TEST_F(AttributeProcessesTest, StrangersAreLeftAlone) {
  owners_.mains = {{200, 1}};
  owners_.markers = {{"i-1", 1}};
  marker_of_ = {{900, "i-1"}};
  EXPECT_THAT(Attribute({{1, 0}, {900, 1}, {901, 900}, {kSpawner, 1}, {200, kSpawner}, {950, 77}}),
              ElementsAre(Pair(200, 1)));
  EXPECT_EQ(markers_read_, 0) << "only the spawner's own descendants are looked into";
}

TEST_F(AttributeProcessesTest, ACircleOfATornTableEnds) {
  EXPECT_THAT(Attribute({{kSpawner, 1}, {500, 501}, {501, 502}, {502, 500}, {503, 501}}),
              ElementsAre());
}

TEST_F(AttributeProcessesTest, ALongChainCostsOneWalk) {
  owners_.mains = {{200, 1}};
  std::vector<std::pair<pid_t, pid_t>> chain{{kSpawner, 1}, {200, kSpawner}};
  for (pid_t pid = 201; pid < 20'000; ++pid) chain.emplace_back(pid, pid - 1);
  std::reverse(chain.begin(), chain.end());
  EXPECT_EQ(Attribute(chain).size(), 20'000u - 200);
}

constexpr std::string_view kMounts =
    "22 1 0:20 / /proc rw - proc proc rw\n"
    "30 1 0:25 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "31 1 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 1 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

TEST(OwnCgroupDirectory, JoinsMountAndPath) {
  const std::string_view groups = "4:memory:/host/a\n3:cpu,cpuacct:/c\n0::/unified/b\n";
  EXPECT_EQ(OwnCgroupDirectory(groups, kMounts, "memory"), "/sys/fs/cgroup/memory/host/a");
  EXPECT_EQ(OwnCgroupDirectory(groups, kMounts, "cpuacct"), "/sys/fs/cgroup/cpu/c");
  EXPECT_EQ(OwnCgroupDirectory(groups, kMounts, ""), "/sys/fs/cgroup/unified/unified/b");
  EXPECT_EQ(OwnCgroupDirectory(groups, kMounts, "pids"), "");
  EXPECT_EQ(OwnCgroupDirectory("0::/\n", kMounts, ""), "/sys/fs/cgroup/unified");
}

TEST(OwnCgroupDirectory, ABindMountShowsAPartOfTheHierarchy) {
  const std::string_view mounts = "30 1 0:25 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
  EXPECT_EQ(OwnCgroupDirectory("0::/docker/abc/inner\n", mounts, ""), "/sys/fs/cgroup/inner");
  EXPECT_EQ(OwnCgroupDirectory("0::/elsewhere\n", mounts, ""), "");
}

TEST(OwnCgroupDirectory, AGroupOutsideTheNamespaceIsNone) {
  EXPECT_EQ(OwnCgroupDirectory("0::/../other\n", kMounts, ""), "");
  EXPECT_EQ(OwnCgroupDirectory("", kMounts, "memory"), "");
  EXPECT_EQ(OwnCgroupDirectory("0::/a\n", "", ""), "");
}

TEST(MachineMemory, IsWhatTheKernelSays) {
  EXPECT_EQ(MemoryTotalBytes("MemFree: 7 kB\nMemTotal:       16384 kB\nBuffers: 1 kB\n"), 16384u * 1024);
  EXPECT_EQ(MemoryTotalBytes("MemFree: 7 kB\n"), 0u);
  EXPECT_EQ(MemoryTotalBytes("MemTotal:\n"), 0u);
  EXPECT_GT(MachineMemoryBytes(), 64u << 20);
}

}  // namespace
}  // namespace lever::fleet
