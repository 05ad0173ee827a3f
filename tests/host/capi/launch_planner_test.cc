#include "liblever/host/capi/launch_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

namespace lever::host {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Runtimes TwoRuntimes() {
  Runtimes runtimes;
  runtimes.node = {"node", "/opt/node/bin/node", "20.1.0", "/lib/launcher.js", ""};
  runtimes.python = {"python", "/usr/bin/python3", "", "/lib/launcher.py", "no package for it"};
  return runtimes;
}

TEST(LaunchPlanner, RunsAnEntryAsItIs) {
  scale::ServiceSpec spec;
  spec.entry = {"./serve", "--port", "1"};
  EXPECT_THAT(*ArgvOf(spec, TwoRuntimes()), ElementsAre("./serve", "--port", "1"));
}

TEST(LaunchPlanner, RunsAJsEntryWithTheHostsNodeAndLauncher) {
  scale::ServiceSpec spec;
  spec.js_entry = "service.js";
  EXPECT_THAT(*ArgvOf(spec, TwoRuntimes()),
              ElementsAre("/opt/node/bin/node", "/lib/launcher.js", "service.js"));
}

TEST(LaunchPlanner, SaysWhyARuntimeCannotBeUsed) {
  scale::ServiceSpec spec;
  spec.py_entry = "service.py";
  const auto argv = ArgvOf(spec, TwoRuntimes());
  ASSERT_FALSE(argv.ok());
  EXPECT_EQ(argv.status().code(), LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(argv.status().message(), HasSubstr("no package for it"));
}

TEST(LaunchPlanner, GivesTheServiceNothingOfTheHostsOwnEnvironment) {
  ::setenv("LEVER_TEST_SECRET", "hunter2", 1);
  scale::ServiceSpec spec;
  spec.environment = "dev.lever";
  spec.service = "hello";
  const auto variables = VariablesOf(spec, TwoRuntimes(), "/trees/x");
  EXPECT_THAT(variables, Not(Contains(HasSubstr("LEVER_TEST_SECRET"))));
  EXPECT_THAT(variables, Contains("LEVER_ENV=dev.lever"));
  EXPECT_THAT(variables, Contains("LEVER_SERVICE=hello"));
  EXPECT_THAT(variables, Contains("HOME=/trees/x"));
  EXPECT_THAT(variables, Contains(StartsWith("PATH=/opt/node/bin:/usr/local/sbin:")));
}

TEST(LaunchPlanner, AServiceReadsItsInterpretersInstallationAndNotWhatLiesAround) {
  Runtimes runtimes = TwoRuntimes();
  runtimes.node.path = "/home/ann/bin/node";
  runtimes.node.launcher = "/opt/lever/runtime/node/node_modules/lever/launcher.js";
  runtimes.python.version = "3.11.2";
  runtimes.python.launcher = "/usr/lib/lever/runtime/python/lever/launcher.py";
  scale::ServiceSpec spec;
  spec.js_entry = "service.js";
  EXPECT_THAT(ReadableOf(spec, runtimes),
              ElementsAre("/home/ann/bin", "/home/ann/lib", "/home/ann/lib64",
                          "/home/ann/pyvenv.cfg", "/home/ann/share",
                          "/opt/lever/runtime/node/node_modules"));
  spec.js_entry.clear();
  spec.py_entry = "service.py";
  EXPECT_THAT(ReadableOf(spec, runtimes), testing::IsEmpty()) << "all of it is below /usr";
  runtimes.python.path = "/bin/python3";
  EXPECT_THAT(ReadableOf(spec, runtimes), testing::IsEmpty());
}

}  // namespace
}  // namespace lever::host
