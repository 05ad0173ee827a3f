#include "liblever/host/fleet/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "liblever/host/fleet/sandbox_rules.h"

namespace lever::fleet {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

SystemPaths MergedUsr() { return {{{"/bin", "usr/bin"}, {"/lib", "usr/lib"}}, {"/lib64"}}; }

SandboxSpec Spec() {
  SandboxSpec spec;
  spec.directory = "/srv/trees/1";
  spec.readable = {"/opt/node/bin"};
  spec.scratch_bytes = 1000;
  spec.argv = {"node", "--", "s.js"};
  return spec;
}

size_t At(const std::vector<std::string>& arguments, const std::vector<std::string>& wanted) {
  return static_cast<size_t>(std::search(arguments.begin(), arguments.end(), wanted.begin(),
                                         wanted.end()) -
                             arguments.begin());
}

TEST(Sandbox, HasNoNetworkUnlessItIsAskedFor) {
  SandboxSpec spec = Spec();
  EXPECT_THAT(BwrapArguments("/usr/bin/bwrap", MergedUsr(), spec), Contains("--unshare-net"));
  spec.network = true;
  EXPECT_THAT(BwrapArguments("/usr/bin/bwrap", MergedUsr(), spec), Not(Contains("--unshare-net")));
}

TEST(Sandbox, HasTheListedPathsAndNothingWritableOfTheMachine) {
  const auto arguments = BwrapArguments("/usr/bin/bwrap", MergedUsr(), Spec());
  EXPECT_LT(At(arguments, {"--ro-bind-try", "/opt/node/bin", "/opt/node/bin"}), arguments.size());
  EXPECT_LT(At(arguments, {"--ro-bind", "/lib64", "/lib64"}), arguments.size());
  EXPECT_LT(At(arguments, {"--symlink", "usr/bin", "/bin"}), arguments.size());
  for (const char* writable : {"--bind", "--bind-try", "--dev-bind", "--dev-bind-try"}) {
    EXPECT_THAT(arguments, Not(Contains(writable)));
  }
}

TEST(Sandbox, MountsABundleBelowTmpAfterTmpAndClosesTheRootLast) {
  SandboxSpec spec = Spec();
  spec.directory = "/tmp/x/trees/1";
  const auto arguments = BwrapArguments("/usr/bin/bwrap", MergedUsr(), spec);
  const size_t scratch = At(arguments, {"--size", "1000", "--tmpfs", "/tmp"});
  const size_t bundle = At(arguments, {"--ro-bind", spec.directory, spec.directory});
  const size_t root = At(arguments, {"--remount-ro", "/"});
  EXPECT_LT(scratch, bundle);
  EXPECT_LT(bundle, root);
  EXPECT_LT(root, arguments.size());
}

TEST(Sandbox, PassesTheProgramsArgumentsOnAsTheyAre) {
  const auto arguments = BwrapArguments("/usr/bin/bwrap", MergedUsr(), Spec());
  const std::vector<std::string> last(arguments.end() - 5, arguments.end());
  EXPECT_THAT(last, testing::ElementsAre("/proc/self/fd/7", "inside", "node", "--", "s.js"));
}

TEST(SandboxRules, AHostThatRequiresOneRunsNothingWithout) {
  EXPECT_TRUE(*DecideSandbox(SandboxMode::kRequired, SandboxWish::kHost, ""));
  EXPECT_TRUE(*DecideSandbox(SandboxMode::kRequired, SandboxWish::kBwrap, ""));
  EXPECT_EQ(DecideSandbox(SandboxMode::kRequired, SandboxWish::kNone, "").status().code(),
            LEVER_FAILED_PRECONDITION);
  EXPECT_THAT(DecideSandbox(SandboxMode::kRequired, SandboxWish::kHost, "no bwrap")
                  .status().message(),
              HasSubstr("no bwrap"));
}

TEST(SandboxRules, ByItselfAHostSandboxesWhereItWorks) {
  EXPECT_TRUE(*DecideSandbox(SandboxMode::kAuto, SandboxWish::kHost, ""));
  EXPECT_FALSE(*DecideSandbox(SandboxMode::kAuto, SandboxWish::kHost, "no bwrap"));
  EXPECT_FALSE(*DecideSandbox(SandboxMode::kAuto, SandboxWish::kNone, ""));
}

TEST(SandboxRules, AServiceThatAsksForOneDoesNotRunWithout) {
  EXPECT_TRUE(*DecideSandbox(SandboxMode::kAuto, SandboxWish::kBwrap, ""));
  EXPECT_FALSE(DecideSandbox(SandboxMode::kAuto, SandboxWish::kBwrap, "no bwrap").ok());
  EXPECT_FALSE(DecideSandbox(SandboxMode::kNone, SandboxWish::kBwrap, "").ok());
  EXPECT_FALSE(*DecideSandbox(SandboxMode::kNone, SandboxWish::kHost, ""));
}

TEST(SandboxRules, ModesHaveNames) {
  EXPECT_EQ(*ParseSandboxMode("required"), SandboxMode::kRequired);
  EXPECT_FALSE(ParseSandboxMode("off").ok());
  EXPECT_FALSE(ParseSandboxMode("").ok());
}

}  // namespace
}  // namespace lever::fleet
