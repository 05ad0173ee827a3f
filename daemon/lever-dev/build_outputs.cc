#include "daemon/lever-dev/build_outputs.h"

namespace lever::cli {

void BuildOutputs::OnEdited(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (!outputs_.contains(path)) sources_.insert(path);
  }
  suspects_.clear();
  builds_ = 0;
}

bool BuildOutputs::OnBuilt(const TreeState& before, const TreeState& after) {
  bool again = false;
  for (const std::string& path : ChangedPaths(before, after)) {
    if (outputs_.contains(path)) continue;
    const bool is_source = sources_.contains(path);
    if (!is_source && (!before.contains(path) || suspects_.contains(path))) {
      outputs_.insert(path);
    } else {
      suspects_.insert(path);
      again = true;
    }
  }
  return ++builds_ < kBuildsMax && again;
}

}  // namespace lever::cli
