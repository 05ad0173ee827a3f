// Which files of a service's directory matter to `lever dev`: those whose change means another version.
//
// All that is packed does. With a build step, files that .leverignore leaves out may be what it builds
// from: those are watched too, but for what .gitignore, at the root as well, calls products.
//
// A value; any thread.
#ifndef DAEMON_LEVER_DEV_WATCH_SCOPE_H_
#define DAEMON_LEVER_DEV_WATCH_SCOPE_H_

#include <string>
#include <string_view>

#include "liblever/host/deploy/ignore.h"

namespace lever::cli {

enum class HasBuild { kNo, kYes };

class WatchScope {
 public:
  WatchScope(std::string_view leverignore, std::string_view gitignore, HasBuild has_build);
  // Reads both files of `directory`; one that cannot be read excludes nothing.
  static WatchScope Read(const std::string& directory, HasBuild has_build);

  // `path` is relative. Of a directory: whether anything in it can matter.
  bool Watches(std::string_view path, deploy::PathKind kind) const;

 private:
  deploy::IgnoreRules not_packed_;
  deploy::IgnoreRules products_;
  HasBuild has_build_;
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_WATCH_SCOPE_H_
