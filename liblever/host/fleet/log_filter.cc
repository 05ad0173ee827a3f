#include "liblever/host/fleet/log_filter.h"

#include <re2/re2.h>

namespace lever::fleet {

StatusOr<LogFilter> LogFilter::Make(int64_t since_unix_ns, const std::string& pattern) {
  LogFilter filter;
  filter.since_unix_ns_ = since_unix_ns;
  if (pattern.empty()) return filter;
  if (pattern.size() > kPatternBytesMax) {
    return InvalidArgument("the expression is longer than " + std::to_string(kPatternBytesMax) +
                           " bytes");
  }
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kPatternMemoryBytes);
  auto compiled = std::make_shared<const re2::RE2>(pattern, options);
  if (!compiled->ok()) return InvalidArgument("not a regular expression: " + compiled->error());
  filter.pattern_ = std::move(compiled);
  return filter;
}

bool LogFilter::Passes(int64_t time_unix_ns, std::string_view text) const {
  if (time_unix_ns < since_unix_ns_) return false;
  return pattern_ == nullptr ||
         re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *pattern_);
}

}  // namespace lever::fleet
