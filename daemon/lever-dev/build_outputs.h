// Tells what a build step wrote from what somebody edited while it ran, so that a build does not set off
// the next one for ever.
//
//   new after a build                          the build's
//   was there, and is changed after a build    may be an edit: one more build
//   and changed again by that one              the build's
//   was edited while no build ran              a source: always an edit, unless it is the build's
//
// What is the build's counts as an edit only when it changes while no build runs. Pure.
//
// Invariant: kBuildsMax builds at most follow each other without an edit between builds.
#ifndef DAEMON_LEVER_DEV_BUILD_OUTPUTS_H_
#define DAEMON_LEVER_DEV_BUILD_OUTPUTS_H_

#include <set>
#include <string>
#include <vector>

#include "daemon/lever-dev/watched_tree.h"

namespace lever::cli {

class BuildOutputs {
 public:
  static constexpr int kBuildsMax = 5;

  // These paths have changed while no build ran.
  void OnEdited(const std::vector<std::string>& paths);
  // A build ended that began with `before` and left `after`. Whether there has to be another one.
  bool OnBuilt(const TreeState& before, const TreeState& after);

 private:
  std::set<std::string> outputs_;
  std::set<std::string> sources_;
  std::set<std::string> suspects_;  // changed by the builds since the last edit
  int builds_ = 0;                  // since the last edit
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_BUILD_OUTPUTS_H_
