// Which lines of the log somebody wants to see: from a moment on, and by a regular expression.
//
// The expression is RE2's, so that none takes more than linear time or runs out of stack, whoever
// wrote it. Immutable; any thread.
#ifndef LIBLEVER_HOST_FLEET_LOG_FILTER_H_
#define LIBLEVER_HOST_FLEET_LOG_FILTER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/status.h"

namespace re2 {
class RE2;
}

namespace lever::fleet {

class LogFilter {
 public:
  static constexpr size_t kPatternBytesMax = 1024;
  // What a compiled expression may take; RE2's own default is eight times that.
  static constexpr int64_t kPatternMemoryBytes = 1024 * 1024;

  // Everything passes.
  LogFilter() = default;
  // `pattern` empty: every text. INVALID_ARGUMENT: what is wrong with it.
  static StatusOr<LogFilter> Make(int64_t since_unix_ns, const std::string& pattern);

  int64_t since_unix_ns() const { return since_unix_ns_; }
  bool Passes(int64_t time_unix_ns, std::string_view text) const;

 private:
  int64_t since_unix_ns_ = 0;
  std::shared_ptr<const re2::RE2> pattern_;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_LOG_FILTER_H_
