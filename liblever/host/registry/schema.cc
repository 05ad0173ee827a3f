#include "liblever/host/registry/schema.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace lever::registry {
namespace {

constexpr int kNumberDigits = 20;  // of the greatest uint64_t
constexpr std::string_view kHex = "0123456789ABCDEF";

// What stands in each segment after the first.
enum class Part { kEnv, kService, kId, kNumber };

struct Layout {
  KeyKind kind;
  std::string_view name;
  std::array<Part, 3> parts;
  size_t part_count;
};

// In the order of KeyKind.
constexpr Layout kLayouts[] = {
    {KeyKind::kEnvironment, "env", {Part::kEnv}, 1},
    {KeyKind::kService, "service", {Part::kEnv, Part::kService}, 2},
    {KeyKind::kVersion, "version", {Part::kEnv, Part::kService, Part::kNumber}, 3},
    {KeyKind::kConfig, "config", {Part::kEnv, Part::kId}, 2},
    {KeyKind::kOwner, "owner", {Part::kEnv, Part::kService, Part::kNumber}, 3},
    {KeyKind::kGeneration, "generation", {Part::kEnv, Part::kService}, 2},
    {KeyKind::kState, "state", {Part::kEnv, Part::kService, Part::kId}, 3},
    {KeyKind::kCarried, "carried", {Part::kEnv, Part::kService}, 2},
    {KeyKind::kHost, "host", {Part::kId}, 1},
    {KeyKind::kInstance, "instance", {Part::kEnv, Part::kService, Part::kId}, 3},
    {KeyKind::kController, "controller", {Part::kEnv, Part::kService}, 2},
};

const Layout& LayoutOf(KeyKind kind) { return kLayouts[static_cast<size_t>(kind)]; }

bool MustEscape(unsigned char c) { return c == '/' || c == '%' || c < 0x20 || c == 0x7f; }

void AppendSegment(std::string* key, std::string_view segment) {
  for (const char c : segment) {
    const auto byte = static_cast<unsigned char>(c);
    if (MustEscape(byte)) {
      key->push_back('%');
      key->push_back(kHex[byte >> 4]);
      key->push_back(kHex[byte & 15]);
    } else {
      key->push_back(c);
    }
  }
}

// `names` are the segments after the kind; `end` follows the last one.
std::string Build(KeyKind kind, std::initializer_list<std::string_view> names,
                  std::string_view end = {}) {
  std::string key(LayoutOf(kind).name);
  for (const std::string_view name : names) {
    key.push_back('/');
    AppendSegment(&key, name);
  }
  key += end;
  return key;
}

std::string Digits(uint64_t number) {
  std::string digits = std::to_string(number);
  return std::string(kNumberDigits - digits.size(), '0') + digits;
}

// Only what AppendSegment() writes is taken, so that two keys never mean the same.
std::optional<std::string> ParseSegment(std::string_view segment) {
  if (segment.empty()) return std::nullopt;
  std::string name;
  for (size_t i = 0; i < segment.size(); ++i) {
    if (segment[i] != '%') {
      if (MustEscape(static_cast<unsigned char>(segment[i]))) return std::nullopt;
      name.push_back(segment[i]);
      continue;
    }
    if (segment.size() - i < 3) return std::nullopt;
    const size_t high = kHex.find(segment[i + 1]);
    const size_t low = kHex.find(segment[i + 2]);
    if (high == kHex.npos || low == kHex.npos) return std::nullopt;
    const auto byte = static_cast<unsigned char>(high << 4 | low);
    if (!MustEscape(byte)) return std::nullopt;
    name.push_back(static_cast<char>(byte));
    i += 2;
  }
  return name;
}

std::optional<uint64_t> ParseNumber(std::string_view segment) {
  if (segment.size() != kNumberDigits) return std::nullopt;
  uint64_t number = 0;
  const char* end = segment.data() + segment.size();
  const auto [at, error] = std::from_chars(segment.data(), end, number);
  if (error != std::errc() || at != end) return std::nullopt;
  return number;
}

bool ParsePart(Part part, std::string_view segment, ParsedKey* parsed) {
  if (part == Part::kNumber) {
    const std::optional<uint64_t> number = ParseNumber(segment);
    parsed->number = number.value_or(0);
    return number.has_value();
  }
  std::optional<std::string> name = ParseSegment(segment);
  if (!name) return false;
  std::string& field = part == Part::kEnv       ? parsed->env
                       : part == Part::kService ? parsed->service
                                                : parsed->id;
  field = *std::move(name);
  return true;
}

}  // namespace

std::string EnvironmentKey(std::string_view env) { return Build(KeyKind::kEnvironment, {env}); }

std::string ServiceKey(std::string_view env, std::string_view service) {
  return Build(KeyKind::kService, {env, service});
}

std::string VersionKey(std::string_view env, std::string_view service, uint64_t number) {
  return Build(KeyKind::kVersion, {env, service, Digits(number)});
}

std::string ConfigKey(std::string_view env, std::string_view name) {
  return Build(KeyKind::kConfig, {env, name});
}

std::string OwnerKey(std::string_view env, std::string_view service, uint64_t page) {
  return Build(KeyKind::kOwner, {env, service, Digits(page)});
}

std::string GenerationKey(std::string_view env, std::string_view service) {
  return Build(KeyKind::kGeneration, {env, service});
}

std::string StateKey(std::string_view env, std::string_view service, std::string_view resource) {
  return Build(KeyKind::kState, {env, service, resource});
}

std::string CarriedKey(std::string_view env, std::string_view service) {
  return Build(KeyKind::kCarried, {env, service});
}

std::string HostKey(std::string_view id) { return Build(KeyKind::kHost, {id}); }

std::string InstanceKey(std::string_view env, std::string_view service, std::string_view id) {
  return Build(KeyKind::kInstance, {env, service, id});
}

std::string ControllerKey(std::string_view env, std::string_view service) {
  return Build(KeyKind::kController, {env, service});
}

std::string KindPrefix(KeyKind kind) { return Build(kind, {}, "/"); }

std::string KindPrefix(KeyKind kind, std::string_view env) { return Build(kind, {env}, "/"); }

std::string KindPrefix(KeyKind kind, std::string_view env, std::string_view service) {
  return Build(kind, {env, service}, "/");
}

std::optional<ParsedKey> ParseKey(std::string_view key) {
  std::vector<std::string_view> segments;
  for (size_t begin = 0; begin <= key.size();) {
    const size_t slash = std::min(key.find('/', begin), key.size());
    segments.push_back(key.substr(begin, slash - begin));
    begin = slash + 1;
  }
  for (const Layout& layout : kLayouts) {
    if (segments[0] != layout.name) continue;
    if (segments.size() != layout.part_count + 1) return std::nullopt;
    ParsedKey parsed;
    parsed.kind = layout.kind;
    for (size_t i = 0; i < layout.part_count; ++i) {
      if (!ParsePart(layout.parts[i], segments[i + 1], &parsed)) return std::nullopt;
    }
    return parsed;
  }
  return std::nullopt;
}

}  // namespace lever::registry
