// What a driver tells, kept in order, and checked against driver.h's invariants as it comes.
#ifndef TESTS_CONTRACT_DRIVER_RECORDER_H_
#define TESTS_CONTRACT_DRIVER_RECORDER_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/host/fleet/driver.h"

namespace lever::fleet {

class Recorder final : public DriverEvents {
 public:
  // All that was told of one id since its (last) start.
  struct Story {
    std::vector<std::string>
        order;  // "started", "ready", "output", ... without repetition of output
    std::optional<Started> started;
    std::optional<Exited> exited;
    std::optional<Status> failed;
    bool ready = false;
    bool removed = false;
    std::string out;
    std::string err;
  };

  // To be called before each Start().
  void Expect(uint64_t id) {
    stories_[id] = Story();
    known_.insert(id);
  }
  const Story& Of(uint64_t id) { return stories_[id]; }
  size_t events() const { return events_; }
  void set_inside_call(bool inside) { inside_call_ = inside; }
  // Called at the end of each event with its name.
  void set_hook(std::function<void(uint64_t id, const std::string& event)> hook) {
    hook_ = std::move(hook);
  }
  // No event may come any more.
  void ForbidEvents() { forbidden_ = true; }

  void OnStarted(uint64_t id, const Started& started) override {
    Story& story = Note(id, "started");
    EXPECT_FALSE(story.started || story.failed) << "a second answer to Start(" << id << ")";
    story.started = started;
    Hook(id, "started");
  }
  void OnReady(uint64_t id) override {
    Story& story = Note(id, "ready");
    ExpectRunning(story);
    EXPECT_FALSE(story.ready);
    EXPECT_EQ(story.started->endpoint, EndpointKind::kAddress);
    story.ready = true;
    Hook(id, "ready");
  }
  void OnOutput(uint64_t id, OutputStream stream, std::string_view bytes) override {
    Story& story = Note(id, "output");
    ExpectRunning(story);
    EXPECT_FALSE(bytes.empty());
    (stream == OutputStream::kStdout ? story.out : story.err).append(bytes);
    Hook(id, "output");
  }
  void OnExited(uint64_t id, const Exited& exited) override {
    Story& story = Note(id, "exited");
    ExpectRunning(story);
    story.exited = exited;
    Hook(id, "exited");
  }
  void OnFailed(uint64_t id, const Status& status) override {
    Story& story = Note(id, "failed");
    EXPECT_FALSE(story.started || story.failed) << "a second answer to Start(" << id << ")";
    EXPECT_FALSE(status.ok());
    story.failed = status;
    Hook(id, "failed");
  }
  void OnRemoved(uint64_t id) override {
    Story& story = Note(id, "removed");
    EXPECT_TRUE(story.exited || story.failed) << "removed before it ended";
    story.removed = true;
    known_.erase(id);
    Hook(id, "removed");
  }

 private:
  Story& Note(uint64_t id, const std::string& event) {
    EXPECT_FALSE(inside_call_) << event << " of " << id << " inside a call of the driver";
    EXPECT_FALSE(forbidden_) << event << " of " << id << " after the driver's end";
    EXPECT_TRUE(known_.contains(id)) << event << " of " << id << ", which is not known or removed";
    ++events_;
    Story& story = stories_[id];
    if (story.order.empty() || story.order.back() != event || event != "output") {
      story.order.push_back(event);
    }
    return story;
  }
  void ExpectRunning(const Story& story) {
    EXPECT_TRUE(story.started) << "before OnStarted()";
    EXPECT_FALSE(story.exited || story.failed) << "after its end";
  }
  void Hook(uint64_t id, const std::string& event) {
    if (hook_) hook_(id, event);
  }

  std::map<uint64_t, Story> stories_;
  std::set<uint64_t> known_;
  std::function<void(uint64_t, const std::string&)> hook_;
  size_t events_ = 0;
  bool inside_call_ = false;
  bool forbidden_ = false;
};

}  // namespace lever::fleet

#endif  // TESTS_CONTRACT_DRIVER_RECORDER_H_
