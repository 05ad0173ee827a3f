#include "liblever/host/deploy/settings.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "liblever/host/deploy/quoted.h"

namespace lever::deploy {
namespace {

using nlohmann::json;

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

Status CheckName(const std::string& name) {
  const auto is_other = [](char c) {
    return IsLetter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
  };
  if (!name.empty() && name.size() <= kSettingNameBytesMax && IsLetter(name[0]) &&
      std::all_of(name.begin(), name.end(), is_other)) {
    return Status::Ok();
  }
  return InvalidArgument(Quoted(name) +
                         " is no name of a setting: a letter or _, then letters, digits, " +
                         "_, - and ., " + std::to_string(kSettingNameBytesMax) + " at most");
}

// In the form that lever.json's own values are kept in.
StatusOr<std::string> CompactJson(const std::string& name, const std::string& text) {
  if (text.size() > kSettingsBytesMax) return InvalidArgument(name + ": the value is too large");
  bool too_deep = false;
  const auto look = [&](int depth, json::parse_event_t, json&) {
    too_deep |= depth > kSettingDepthMax;
    return !too_deep;
  };
  const json value = json::parse(text, look, /*allow_exceptions=*/false);
  if (too_deep) return InvalidArgument(name + ": the value is nested too deep");
  if (value.is_discarded()) return InvalidArgument(name + ": the value is not JSON");
  return value.dump();
}

// JSON can hold it, and so can every language's text.
bool IsText(const std::string& bytes) {
  try {
    (void)json(bytes).dump();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

Status CheckSize(const std::map<std::string, std::string>& values, const char* what) {
  size_t bytes = 0;
  for (const auto& [name, value] : values) bytes += name.size() + value.size();
  // Sealing and base64 make a third more of a secret, and 60 bytes.
  if (bytes <= kSettingsBytesMax) return Status::Ok();
  return InvalidArgument("the service's " + std::string(what) + " would take " +
                         std::to_string(bytes) + " bytes, and " +
                         std::to_string(kSettingsBytesMax) + " is the limit");
}

Status Unset(const std::vector<std::string>& names, const char* what,
             std::map<std::string, std::string>* values) {
  for (const std::string& name : names) {
    if (values->erase(name) == 0) return NotFound(Quoted(name) + ": no such " + what + " is set");
  }
  return Status::Ok();
}

}  // namespace

StatusOr<Settings> Changed(Settings settings, const SettingsChange& change,
                           const std::string& context, const SecretBox& box) {
  LEVER_RETURN_IF_ERROR(Unset(change.config_unset, "configuration", &settings.config));
  LEVER_RETURN_IF_ERROR(Unset(change.secrets_unset, "secret", &settings.secrets));
  for (const auto& [name, text] : change.config_json) {
    LEVER_RETURN_IF_ERROR(CheckName(name));
    LEVER_ASSIGN_OR_RETURN(settings.config[name], CompactJson(name, text));
  }
  for (const auto& [name, text] : change.secrets) {
    LEVER_RETURN_IF_ERROR(CheckName(name));
    if (text.empty()) return InvalidArgument(name + ": the secret is empty");
    if (text.size() > kSettingsBytesMax) return InvalidArgument(name + ": the secret is too large");
    if (!IsText(text)) return InvalidArgument(name + ": the secret is not UTF-8");
    const std::string place = context + '\0' + name;
    // The same secret again is no change, though it would be sealed to other bytes.
    const auto before = settings.secrets.find(name);
    if (before != settings.secrets.end()) {
      const StatusOr<std::string> known = box.Open(place, before->second);
      if (known.ok() && *known == text) continue;
    }
    settings.secrets[name] = box.Seal(place, text);
  }
  LEVER_RETURN_IF_ERROR(CheckSize(settings.config, "configuration"));
  LEVER_RETURN_IF_ERROR(CheckSize(settings.secrets, "secrets"));
  return settings;
}

StatusOr<std::string> MergedConfig(const std::string& manifest_config, const Settings& settings) {
  if (settings.config.empty()) return manifest_config;
  json config = json::parse(manifest_config, nullptr, /*allow_exceptions=*/false);
  if (config.is_null()) config = json::object();
  if (!config.is_object()) {
    return InvalidArgument(
        "\"config\" of lever.json is not an object, so that nothing can be laid " +
        std::string("over it: unset what was set, or make it one"));
  }
  for (const auto& [name, text] : settings.config) {
    config[name] = json::parse(text, nullptr, /*allow_exceptions=*/false);
  }
  return config.dump();
}

StatusOr<std::string> SecretsJson(const Settings& settings, const std::string& context,
                                  const SecretBox& box) {
  if (settings.secrets.empty()) return std::string();
  json secrets = json::object();
  for (const auto& [name, sealed] : settings.secrets) {
    StatusOr<std::string> text = box.Open(context + '\0' + name, sealed);
    if (!text.ok()) return DataLoss("secret " + name + ": " + text.status().message());
    secrets[name] = std::move(*text);
  }
  return secrets.dump();
}

}  // namespace lever::deploy
