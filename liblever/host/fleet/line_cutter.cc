#include "liblever/host/fleet/line_cutter.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "liblever/value/utf8.h"

namespace lever::fleet {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";
constexpr size_t kContinuationsMax = 3;

bool IsContinuation(char byte) { return (static_cast<uint8_t>(byte) & 0xc0) == 0x80; }

}  // namespace

std::string RepairUtf8(std::string_view text) {
  if (value::IsUtf8(text)) return std::string(text);
  std::string repaired;
  repaired.reserve(text.size() + kReplacement.size());
  value::Utf8Checker checker;
  size_t begin = 0;  // of the character that is being looked at
  for (size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<uint8_t>(text[at]);
    if (checker.Feed(&byte, 1)) {
      if (!checker.Complete()) continue;
      repaired.append(text.substr(begin, at + 1 - begin));
      begin = at + 1;
      continue;
    }
    repaired.append(kReplacement);
    checker = value::Utf8Checker();
    // The byte that did not fit may begin the next character.
    if (at > begin) --at;
    begin = at + 1;
  }
  if (begin < text.size()) repaired.append(kReplacement);
  return repaired;
}

size_t CutAt(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text.size();
  for (size_t back = 0; back <= kContinuationsMax && back < bytes_max; ++back) {
    if (!IsContinuation(text[bytes_max - back])) return bytes_max - back;
  }
  return bytes_max;  // not UTF-8
}

void LineCutter::Append(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    // One byte more than a line may have: a carriage return that the line's end may follow.
    const size_t taken = std::min(end == std::string_view::npos ? bytes.size() : end,
                                  bytes_max_ + 1 - std::min(rest_.size(), bytes_max_ + 1));
    rest_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (!bytes.empty() && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      if (!rest_.empty() && rest_.back() == '\r') rest_.pop_back();
      Emit(std::exchange(rest_, std::string()), sink);
    } else if (rest_.size() > bytes_max_ && !(bytes.empty() && rest_.back() == '\r')) {
      const size_t cut = CutAt(rest_, bytes_max_);
      const std::string line = rest_.substr(0, cut);
      rest_.erase(0, cut);
      Emit(line, sink);
    }
  }
}

void LineCutter::Finish(const Sink& sink) {
  if (!rest_.empty()) Emit(std::exchange(rest_, std::string()), sink);
}

// Replacing bytes may make a line longer than it was.
void LineCutter::Emit(std::string_view line, const Sink& sink) const {
  const std::string repaired = RepairUtf8(line);
  std::string_view left = repaired;
  do {
    const size_t cut = CutAt(left, bytes_max_);
    sink(std::string(left.substr(0, cut)));
    left.remove_prefix(cut);
  } while (!left.empty());
}

}  // namespace lever::fleet
