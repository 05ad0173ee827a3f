#include "liblever/host/deploy/ignore.h"

#include <optional>
#include <utility>

namespace lever::deploy {
namespace {

// Where the class that begins at pattern[0] == '[' ends, and whether it holds `c`; nullopt if it does
// not end: the bracket is then a literal.
std::optional<std::pair<size_t, bool>> MatchClass(std::string_view pattern, char c) {
  size_t i = 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  bool found = false;
  for (bool first = true; i < pattern.size(); first = false) {
    if (pattern[i] == ']' && !first) return std::pair(i + 1, found != negated);
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    const char low = pattern[i++];
    char high = low;
    if (i + 1 < pattern.size() && pattern[i] == '-' && pattern[i + 1] != ']') {
      high = pattern[i + 1];
      i += 2;
    }
    found = found || (low <= c && c <= high);
  }
  return std::nullopt;
}

// One segment against one segment: no slash in either. The greedy way back to the last star is enough,
// because a later star can take over whatever an earlier one could.
bool SegmentMatches(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  std::optional<std::pair<size_t, size_t>> star;  // where to go on: behind it, and in the text
  while (t < text.size()) {
    size_t next = p;
    bool matches = false;
    if (p < pattern.size() && pattern[p] == '*') {
      star = {p + 1, t};
      ++p;
      continue;
    }
    if (p < pattern.size()) {
      next = p + 1;
      const auto in_class =
          pattern[p] == '[' ? MatchClass(pattern.substr(p), text[t]) : std::nullopt;
      if (in_class) {
        next = p + in_class->first;
        matches = in_class->second;
      } else if (pattern[p] == '?') {
        matches = true;
      } else {
        const bool escaped = pattern[p] == '\\' && p + 1 < pattern.size();
        matches = pattern[escaped ? p + 1 : p] == text[t];
        next = escaped ? p + 2 : p + 1;
      }
    }
    if (matches) {
      p = next;
      ++t;
    } else if (star) {
      p = star->first;
      t = ++star->second;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<std::string_view> Segments(std::string_view path) {
  std::vector<std::string_view> segments;
  while (true) {
    const size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == path.npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace

bool GlobMatches(std::string_view pattern, std::string_view text) {
  const std::vector<std::string_view> patterns = Segments(pattern);
  const std::vector<std::string_view> texts = Segments(text);
  // matched[t]: the patterns so far match the first t segments.
  std::vector<char> matched(texts.size() + 1, 0);
  matched[0] = 1;
  for (size_t p = 0; p < patterns.size(); ++p) {
    std::vector<char> next(texts.size() + 1, 0);
    if (patterns[p] == "**") {
      // "a/**" is what is below a, not a itself.
      const bool last = p + 1 == patterns.size() && p > 0;
      bool reached = false;
      for (size_t t = 0; t <= texts.size(); ++t) {
        next[t] = reached || (matched[t] != 0 && !last) ? 1 : 0;
        reached = reached || matched[t] != 0;
      }
    } else {
      for (size_t t = 0; t < texts.size(); ++t) {
        next[t + 1] = matched[t] != 0 && SegmentMatches(patterns[p], texts[t]) ? 1 : 0;
      }
    }
    matched = std::move(next);
  }
  return matched[texts.size()] != 0;
}

IgnoreRules IgnoreRules::Parse(std::string_view text) {
  IgnoreRules rules;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == text.npos ? text.size() : newline + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    while (line.ends_with(' ') && !line.ends_with("\\ ")) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    Rule rule;
    if (line.front() == '!') {
      rule.take_back = true;
      line.remove_prefix(1);
    }
    if (line.ends_with('/')) {
      rule.directories_only = true;
      line.remove_suffix(1);
    }
    const bool from_the_top = line.find('/') != line.npos;
    if (line.starts_with('/')) line.remove_prefix(1);
    if (line.empty()) continue;
    rule.pattern = from_the_top ? std::string(line) : "**/" + std::string(line);
    rules.rules_.push_back(std::move(rule));
  }
  return rules;
}

bool IgnoreRules::Excludes(std::string_view path, PathKind kind) const {
  for (size_t i = rules_.size(); i-- > 0;) {
    const Rule& rule = rules_[i];
    if (rule.directories_only && kind != PathKind::kDirectory) continue;
    if (GlobMatches(rule.pattern, path)) return !rule.take_back;
  }
  return false;
}

}  // namespace lever::deploy
