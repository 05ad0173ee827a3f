#include "daemon/lever/log_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

namespace lever::cli {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kNanosPerSecond = 1'000'000'000;
// More than anybody keeps, and far from the end of 64 bits.
constexpr int64_t kSecondsMax = int64_t{1000} * 366 * 24 * 3600;

Status BadSince(std::string_view text) {
  return InvalidArgument("--since " + std::string(text) +
                         ": neither a duration (30s, 10m, 2h, 1d) nor a time "
                         "(2026-11-24T22:16:45Z; without Z, local time)");
}

std::optional<int64_t> SecondsOf(std::string_view unit) {
  if (unit.empty() || unit == "s") return 1;
  if (unit == "m") return 60;
  if (unit == "h") return 3600;
  if (unit == "d") return 24 * 3600;
  return std::nullopt;
}

std::optional<int64_t> ParseAgo(std::string_view text) {
  int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || number < 0) return std::nullopt;
  const auto unit = SecondsOf(std::string_view(rest, static_cast<size_t>(end - rest)));
  if (!unit || number > kSecondsMax / *unit) return std::nullopt;
  return number * *unit;
}

std::optional<int64_t> ParseTime(std::string text) {
  const bool utc = text.ends_with('Z');
  if (utc) text.pop_back();
  std::replace(text.begin(), text.end(), ' ', 'T');
  for (const char* format : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"}) {
    struct tm fields = {};
    const char* const end = ::strptime(text.c_str(), format, &fields);
    if (end == nullptr || *end != '\0') continue;
    fields.tm_isdst = -1;
    const int64_t seconds = utc ? ::timegm(&fields) : ::mktime(&fields);
    if (seconds <= 0 || seconds > kSecondsMax) return std::nullopt;
    return seconds;
  }
  return std::nullopt;
}

template <size_t kCount>
bool Is(const std::string& name, const std::array<std::string_view, kCount>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr std::array<std::string_view, 4> kLevelNames = {"level", "severity", "lvl", "levelname"};
constexpr std::array<std::string_view, 3> kMessageNames = {"msg", "message", "event"};
constexpr std::array<std::string_view, 4> kTimeNames = {"time", "ts", "timestamp", "@timestamp"};

// pino's numbers, and everybody else's names.
std::string LevelText(const ordered_json& level) {
  if (level.is_number()) {
    const double number = level.get<double>();
    if (number >= 60) return "FATAL";
    if (number >= 50) return "ERROR";
    if (number >= 40) return "WARN";
    if (number >= 30) return "INFO";
    return number >= 20 ? "DEBUG" : "TRACE";
  }
  if (!level.is_string()) return "";
  std::string text = level.get<std::string>();
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

std::string ValueText(const ordered_json& value) {
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    if (!text.empty() && text.find_first_of(" \"=") == text.npos) return text;
  }
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace

StatusOr<int64_t> ParseSince(std::string_view text, int64_t now_unix_ns) {
  if (const auto ago = ParseAgo(text)) {
    // A negative moment would stand for none.
    return std::max<int64_t>(1, now_unix_ns / kNanosPerSecond - *ago) * kNanosPerSecond;
  }
  const auto seconds = ParseTime(std::string(text));
  if (!seconds || *seconds > INT64_MAX / kNanosPerSecond) return BadSince(text);
  return *seconds * kNanosPerSecond;
}

std::optional<ordered_json> StructuredLine(std::string_view text) {
  // Most lines are none: they are not parsed.
  if (!text.starts_with('{') || text.find('}') == text.npos) return std::nullopt;
  ordered_json fields = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!fields.is_object() || fields.empty()) return std::nullopt;
  return fields;
}

std::string StructuredText(const ordered_json& fields) {
  std::string level, message, rest;
  for (const auto& [name, value] : fields.items()) {
    if (level.empty() && Is(name, kLevelNames)) {
      level = LevelText(value);
      if (!level.empty()) continue;
    }
    if (message.empty() && Is(name, kMessageNames) && value.is_string()) {
      message = value.get<std::string>();
      continue;
    }
    if (Is(name, kTimeNames)) continue;
    rest += " " + name + "=" + ValueText(value);
  }
  std::string text = level;
  if (!message.empty()) text += (text.empty() ? "" : " ") + message;
  text += rest;
  if (text.starts_with(' ')) text.erase(0, 1);
  return text;
}

}  // namespace lever::cli
