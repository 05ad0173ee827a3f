// One service's directory under `lever dev`: built, deployed, and looked at for changes.
//
// One thread.
//
// Invariants
//  1. A directory is deployed only when something in it differs from what was deployed, or tried, last.
//  2. Whatever fails is told, and what was deployed before goes on.
#ifndef DAEMON_LEVER_DEV_DEV_SERVICE_H_
#define DAEMON_LEVER_DEV_DEV_SERVICE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "daemon/lever-dev/build_outputs.h"
#include "daemon/lever-dev/known_build.h"
#include "daemon/lever-dev/watched_tree.h"
#include "daemon/lever/command.h"
#include "liblever/base/status.h"

namespace lever::cli {

class DevService {
 public:
  // `globals` has the address of the host, and `data_dir` its data. `cancel_fd` (connection.h) ends what
  // is under way.
  DevService(const Globals* globals, std::string data_dir, std::string directory, int cancel_fd);

  int fd() const { return tree_.fd(); }
  // Something has happened in it, or it has to be looked at now and then and that is due.
  void OnWake(int64_t now_ns);
  // When Refresh() is due, on CLOCK_MONOTONIC; nullopt: not before something happens.
  std::optional<int64_t> due_ns() const { return due_ns_; }
  // Looks, and builds and deploys if it has to. CANCELLED: it was broken off.
  Status Refresh();

 private:
  // An editor writes several files, or one in several steps.
  static constexpr int64_t kQuietNs = 80'000'000;
  // Something that is written all the time must not keep a version from being deployed.
  static constexpr int64_t kQuietNsMax = 2'000'000'000;
  static constexpr int64_t kPollNs = 1'000'000'000;

  StatusOr<bool> LookForChanges();
  Status Build();
  Status Deploy(int64_t started_ns);
  void RemoveFormer(const std::string& name);
  std::string Label() const;
  void Tell(const Status& status);
  std::string WithOwnPaths(std::string text) const;

  const Globals* globals_;
  std::string data_dir_;
  std::string directory_;
  int cancel_fd_;
  WatchedTree tree_;
  BuildOutputs outputs_;
  TreeState seen_;
  // What the directory was after the last build, if its step is a known one and did not fail.
  std::optional<std::pair<KnownBuild, TreeState>> built_;
  HasBuild has_build_ = HasBuild::kNo;
  bool first_look_ = true;
  bool build_again_ = false;  // what changed while the build ran may have been an edit
  std::optional<int64_t> due_ns_ = 0;
  std::optional<int64_t> first_event_ns_;
  std::string told_polls_;
  Status told_look_;
  std::string name_;      // that it was last deployed under; empty: never
  uint64_t version_ = 0;  // that serves
  bool failing_ = false;  // what is in the directory now does not
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_DEV_SERVICE_H_
