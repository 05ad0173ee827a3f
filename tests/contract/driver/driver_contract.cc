// What every driver promises.
#include <set>

#include "liblever/base/ids.h"
#include "liblever/base/random.h"
#include "tests/contract/driver/contract.h"

namespace lever::fleet {

using Order = std::vector<std::string>;

TEST_P(DriverContract, TellsStartOutputAndExitInThisOrder) {
  Run(1, {"out", "hello", "err", "oops", "exit", "3"});
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).out, "hello\n");
  EXPECT_EQ(Of(1).err, "oops\n");
  EXPECT_EQ(Of(1).exited->code, 3);
  EXPECT_EQ(Of(1).exited->signal, 0);
  EXPECT_FALSE(Of(1).exited->unknown);
  EXPECT_EQ(Of(1).order, (Order{"started", "output", "exited"}));
  ASSERT_TRUE(RemoveAndWait(1));
  EXPECT_EQ(Of(1).order, (Order{"started", "output", "exited", "removed"}));
}

TEST_P(DriverContract, TellsTheSignalThatEndedIt) {
  Run(1, {"signal", "6"});
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).exited->signal, SIGABRT);
}

TEST_P(DriverContract, AsksToEnd) {
  Run(1, {"exit-at-term", "7", "out", "set", "wait"});
  ASSERT_TRUE(AwaitOut(1, "set"));
  Stop(1, StopKind::kGraceful);
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).exited->code, 7);
  EXPECT_EQ(Of(1).exited->signal, 0);
}

TEST_P(DriverContract, KillsWhatDoesNotListen) {
  Run(1, {"ignore-term", "out", "set", "wait"});
  ASSERT_TRUE(AwaitOut(1, "set"));
  Stop(1, StopKind::kGraceful);
  Stop(1, StopKind::kGraceful);
  Stop(1, StopKind::kKill);
  ASSERT_TRUE(AwaitExited(1));
  EXPECT_EQ(Of(1).exited->signal, SIGKILL);
}

TEST_P(DriverContract, FailsWhatCannotBeExecuted) {
  InstanceSpec spec = Spec({});
  spec.argv = {folder_ + "/is-not-there"};
  Start(1, std::move(spec));
  ASSERT_TRUE(RunUntil([&] { return Of(1).failed.has_value(); }));
  ASSERT_TRUE(RemoveAndWait(1));
  EXPECT_EQ(Of(1).order, (Order{"failed", "removed"}));
}

TEST_P(DriverContract, RemoveOfARunningInstanceEndsItFirst) {
  Run(1, {"ignore-term", "out", "set", "wait"});
  ASSERT_TRUE(AwaitOut(1, "set"));
  ASSERT_TRUE(RemoveAndWait(1));
  EXPECT_EQ(Of(1).order, (Order{"started", "output", "exited", "removed"}));
}

TEST_P(DriverContract, RemoveOfAStartingInstanceLeavesNothing) {
  recorder_.Expect(1);
  Call([&](Driver& driver) {
    driver.Start(1, Spec({"wait"}), &recorder_);
    driver.Remove(1);
    driver.Remove(1);
  });
  ASSERT_TRUE(RunUntil([&] { return Of(1).removed; }));
  EXPECT_TRUE(Of(1).exited || Of(1).failed);
  EXPECT_FALSE(Of(1).started && Alive(Of(1).started->pid));
}

TEST_P(DriverContract, PassesOverIdsThatAreNotKnown) {
  Stop(17, StopKind::kGraceful);
  Stop(17, StopKind::kKill);
  Remove(17);
  Run(1, {"exit", "0"});
  ASSERT_TRUE(AwaitExited(1));
  Stop(1, StopKind::kGraceful);
  Stop(1, StopKind::kKill);
  ASSERT_TRUE(RemoveAndWait(1));
  Stop(1, StopKind::kKill);
  Remove(1);
  const size_t events = recorder_.events();
  RunFor(50 * kNanosPerMilli);
  EXPECT_EQ(recorder_.events(), events);
}

TEST_P(DriverContract, TwoStartsAtOnceDoNotMix) {
  constexpr uint64_t kInstances = 8;
  InstanceSpec specs[kInstances];
  for (uint64_t i = 0; i < kInstances; ++i) {
    specs[i] = Spec({"out", "I am " + std::to_string(i + 1), "exit", std::to_string(i + 1)});
    recorder_.Expect(i + 1);
  }
  Call([&](Driver& driver) {
    for (uint64_t i = 0; i < kInstances; ++i) driver.Start(i + 1, std::move(specs[i]), &recorder_);
  });
  for (uint64_t id = 1; id <= kInstances; ++id) {
    ASSERT_TRUE(AwaitExited(id));
    EXPECT_EQ(Of(id).out, "I am " + std::to_string(id) + "\n");
    EXPECT_EQ(Of(id).exited->code, static_cast<int32_t>(id));
  }
}

TEST_P(DriverContract, EveryCallIsAllowedInsideAnEvent) {
  int rounds = 0;
  recorder_.set_hook([&](uint64_t id, const std::string& event) {
    Driver& driver = *holder_->driver();
    // Nothing of what these lead to may come before the event is over.
    recorder_.set_inside_call(true);
    if (event == "started") driver.Stop(id, StopKind::kKill);
    if (event == "exited") driver.Remove(id);
    if (event == "removed" && ++rounds < 3) {
      recorder_.Expect(id);
      driver.Start(id, Spec({"wait"}), &recorder_);
    }
    recorder_.set_inside_call(false);
  });
  Run(1, {"wait"});
  EXPECT_TRUE(RunUntil([&] { return rounds == 3; }));
  recorder_.set_hook(nullptr);
}

TEST_P(DriverContract, GivesAllOutputBeforeTheExit) {
  constexpr size_t kBytes = 3'000'000;
  Run(1, {"bytes", std::to_string(kBytes)});
  ASSERT_TRUE(AwaitExited(1));
  ASSERT_EQ(Of(1).out.size(), kBytes);
  for (size_t i = 0; i < kBytes; ++i) {
    ASSERT_EQ(Of(1).out[i], static_cast<char>('0' + i % 10)) << "at byte " << i;
  }
}

TEST_P(DriverContract, PassesTheSocketsOnAndKeepsNoCopy) {
  Run(1, {"attach", "I attach", "introduction", "introduce me", "exit", "0"});
  ASSERT_TRUE(AwaitStarted(1));
  EXPECT_EQ(Of(1).started->endpoint, EndpointKind::kDescriptor);
  EXPECT_EQ(Receive(attach_), "I attach");
  EXPECT_EQ(Receive(introduction_), "introduce me");
  EXPECT_EQ(Receive(attach_), "");
  EXPECT_EQ(Receive(introduction_), "");
}

TEST_P(DriverContract, ClosesTheSocketsOfAFailedStart) {
  InstanceSpec spec = Spec({});
  spec.argv = {folder_ + "/is-not-there"};
  Start(1, std::move(spec));
  ASSERT_TRUE(RunUntil([&] { return Of(1).failed.has_value(); }));
  EXPECT_EQ(Receive(attach_), "");
  EXPECT_EQ(Receive(introduction_), "");
}

TEST_P(DriverContract, ItsEndEndsAllInstancesAndNoEventFollows) {
  Run(1, {"ignore-term", "out", "set", "wait"});
  const UniqueFd first = std::move(attach_);
  Run(2, {"wait"});
  ASSERT_TRUE(AwaitOut(1, "set"));
  ASSERT_TRUE(AwaitStarted(2));
  recorder_.ForbidEvents();
  EndDriver();
  EXPECT_EQ(Receive(first), "");
  EXPECT_EQ(Receive(attach_), "");
  EXPECT_TRUE(RunUntil([&] { return !Alive(Of(1).started->pid) && !Alive(Of(2).started->pid); }));
}

TEST_P(DriverContract, WhateverIsAskedInWhateverOrderEndsInOrder) {
  constexpr uint64_t kIds = 6;
  constexpr int kCalls = 300;
  const uint64_t seed = RandomSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const std::vector<std::vector<std::string>> programs = {{"wait"},
                                                          {"exit", "0"},
                                                          {"out", "a", "err", "b", "wait"},
                                                          {"ignore-term", "wait"},
                                                          {"bytes", "100000", "wait"}};
  std::set<uint64_t> used;
  for (int call = 0; call < kCalls; ++call) {
    const uint64_t id = 1 + random.Below(kIds);
    switch (random.Below(5)) {
      case 0:
        if (used.contains(id) && !Of(id).removed) break;
        used.insert(id);
        if (random.Below(5) == 0) {
          InstanceSpec spec = Spec({});
          spec.argv = {folder_ + "/is-not-there"};
          Start(id, std::move(spec));
        } else {
          Run(id, programs[random.Below(static_cast<uint32_t>(programs.size()))]);
        }
        break;
      case 1:
        Stop(id, StopKind::kGraceful);
        break;
      case 2:
        Stop(id, StopKind::kKill);
        break;
      case 3:
        Remove(id);
        break;
      case 4:
        (void)loop_->Turn(random.Below(2) * kNanosPerMilli);
        break;
    }
  }
  for (const uint64_t id : used) Remove(id);
  for (const uint64_t id : used) {
    ASSERT_TRUE(RunUntil([&] { return Of(id).removed; })) << id;
    EXPECT_FALSE(Of(id).started && Alive(Of(id).started->pid));
  }
}

TEST_P(DriverContract, SaysWhatItIs) { EXPECT_FALSE(holder_->driver()->Describe().empty()); }

}  // namespace lever::fleet
