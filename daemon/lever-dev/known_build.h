// Build steps whose inputs are known: package managers that install what is locked or listed. `lever dev` runs
// them again only when one of these files has changed, so that an edit of code does not wait for them.
//
// Anything that could make other files matter, as scripts of npm's or a requirement that is a path, makes a
// build step an unknown one, which is run at every change. Reads files; any thread.
#ifndef DAEMON_LEVER_DEV_KNOWN_BUILD_H_
#define DAEMON_LEVER_DEV_KNOWN_BUILD_H_

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/lever-dev/watched_tree.h"

namespace lever::cli {

struct KnownBuild {
  std::set<std::string> inputs;  // paths in the directory, there or not
  std::string output;            // the directory that it fills
  bool operator==(const KnownBuild&) const = default;

  // Whether what it made is out of date: an input differs between the two, or something in `output`.
  bool Affected(const TreeState& before, const TreeState& after) const;
};

// `npm ci` and `pip install --requirement FILE --target DIR`; nullopt for every other.
std::optional<KnownBuild> KnownBuildOf(const std::vector<std::string>& argv,
                                       const std::string& directory);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_KNOWN_BUILD_H_
