#include "liblever/host/fleet/log_segment.h"

#include <charconv>

namespace lever::fleet {
namespace {

constexpr std::string_view kMagic = "lever-log 1 ";
constexpr std::string_view kSuffix = ".log";
constexpr size_t kNumberDigits = 20;

// The text up to the next blank, which is taken off with it; nullopt without one.
std::optional<std::string_view> TakeWord(std::string_view* rest) {
  const size_t blank = rest->find(' ');
  if (blank == rest->npos) return std::nullopt;
  const std::string_view word = rest->substr(0, blank);
  rest->remove_prefix(blank + 1);
  return word;
}

template <typename Number>
bool ParseNumber(std::string_view text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

template <typename Number>
bool TakeNumber(std::string_view* rest, Number* number) {
  const auto word = TakeWord(rest);
  return word && ParseNumber(*word, number);
}

}  // namespace

void AppendLine(const StoredLine& line, std::string* bytes) {
  bytes->append(std::to_string(line.number)).append(1, ' ');
  bytes->append(std::to_string(line.time_unix_ns)).append(1, ' ');
  bytes->append(std::to_string(line.version)).append(line.is_stderr ? " e " : " o ");
  bytes->append(line.instance).append(1, ' ').append(line.text).append(1, '\n');
}

std::optional<StoredLine> ParseLine(std::string_view bytes) {
  StoredLine line;
  if (!TakeNumber(&bytes, &line.number) || !TakeNumber(&bytes, &line.time_unix_ns) ||
      !TakeNumber(&bytes, &line.version)) {
    return std::nullopt;
  }
  const auto stream = TakeWord(&bytes);
  if (!stream || (*stream != "o" && *stream != "e")) return std::nullopt;
  const auto instance = TakeWord(&bytes);
  if (!instance) return std::nullopt;
  line.is_stderr = *stream == "e";
  line.instance = *instance;
  line.text = bytes;
  return line;
}

std::string SegmentHeader(std::string_view environment, std::string_view service) {
  return std::string(kMagic).append(environment).append(1, ' ').append(service).append(1, '\n');
}

std::optional<std::pair<std::string, std::string>> ParseSegmentHeader(std::string_view line) {
  if (!line.starts_with(kMagic)) return std::nullopt;
  line.remove_prefix(kMagic.size());
  const auto environment = TakeWord(&line);
  if (!environment || environment->empty() || line.empty()) return std::nullopt;
  return std::make_pair(std::string(*environment), std::string(line));
}

std::string SegmentFileName(uint64_t first_number) {
  const std::string digits = std::to_string(first_number);
  return std::string(kNumberDigits - digits.size(), '0') + digits + std::string(kSuffix);
}

std::optional<uint64_t> ParseSegmentFileName(std::string_view name) {
  uint64_t number = 0;
  if (name.size() != kNumberDigits + kSuffix.size() || !name.ends_with(kSuffix) ||
      !ParseNumber(name.substr(0, kNumberDigits), &number)) {
    return std::nullopt;
  }
  return number;
}

}  // namespace lever::fleet
