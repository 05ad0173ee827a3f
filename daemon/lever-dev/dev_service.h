// One service's directory under `lever dev`: built, deployed, and looked at for changes.
//
// One thread.
//
// Invariants
//  1. A directory is deployed only when something in it differs from what was deployed, or tried, last.
//  2. Whatever fails is told, and what was deployed before goes on.
//  3. While the host starts a version nothing here waits for it; an edit ends that start, untold, and is
//     deployed in its place.
#ifndef DAEMON_LEVER_DEV_DEV_SERVICE_H_
#define DAEMON_LEVER_DEV_DEV_SERVICE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "daemon/lever-dev/build_outputs.h"
#include "daemon/lever-dev/known_build.h"
#include "daemon/lever-dev/watched_tree.h"
#include "daemon/lever/command.h"
#include "daemon/lever/connection.h"
#include "daemon/lever/upload.h"
#include "lever/v1/admin.pb.h"
#include "liblever/base/status.h"

namespace lever::cli {

class DevService {
 public:
  // `globals` has the address of the host, and `data_dir` its data. `cancel_fd` (connection.h) ends what
  // is under way.
  DevService(const Globals* globals, std::string data_dir, std::string directory, int cancel_fd);

  // Both readable when OnWake() has something to do; -1: none.
  int fd() const { return tree_.fd(); }
  int host_fd() const { return starting_ ? starting_->upload->fd() : -1; }
  // Something has happened in the directory, or the host has told something.
  void OnWake(int64_t now_ns);
  // When Refresh() is due, on CLOCK_MONOTONIC; nullopt: not before something happens.
  std::optional<int64_t> due_ns() const { return due_ns_; }
  // Looks, and builds and deploys if it has to. CANCELLED: it was broken off.
  Status Refresh();
  // The host starts a version of it.
  bool starting() const { return starting_.has_value(); }

 private:
  // An editor writes several files, or one in several steps.
  static constexpr int64_t kQuietNs = 80'000'000;
  // Something that is written all the time must not keep a version from being deployed.
  static constexpr int64_t kQuietNsMax = 2'000'000'000;
  static constexpr int64_t kPollNs = 1'000'000'000;
  // Between two tries to end a start: its process may not be there yet.
  static constexpr int64_t kGiveUpNs = 50'000'000;

  // A version that the host has and starts.
  struct Starting {
    std::unique_ptr<Connection> connection;
    std::unique_ptr<Upload> upload;
    std::string name;
    int64_t began_ns = 0;
    bool given_up = false;
  };

  StatusOr<bool> LookForChanges();
  Status Build();
  Status Deploy(int64_t began_ns);
  Status EndDeploy();
  void TakeUp(const lever::v1::DeployProgress& result, int64_t began_ns);
  void LookWhileStarting();
  Status GiveUpStart();
  void PlanNext(int64_t now_ns);
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
  std::optional<Starting> starting_;
  std::string told_polls_;
  Status told_look_;  // why the last look at it failed
  std::string manifest_name_;  // what lever.json called it last
  std::string name_;      // that it was last deployed under; empty: never
  uint64_t version_ = 0;  // that serves
  bool failing_ = false;  // what is in the directory now does not
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_DEV_SERVICE_H_
