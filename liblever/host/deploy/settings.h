// What is laid over a version's lever.json: configuration and secrets.
//
// Each version has its own: a change makes a new version of the same bundle, and going back to a
// version goes back to what it was set to. A secret is here as SecretBox has sealed it.
//
// Values and pure functions; any thread.
#ifndef LIBLEVER_HOST_DEPLOY_SETTINGS_H_
#define LIBLEVER_HOST_DEPLOY_SETTINGS_H_

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/status.h"
#include "liblever/host/deploy/secret_box.h"

namespace lever::deploy {

// Of the names together with what they are set to; each kind. The record of a version, with a
// manifest of 256 KiB beside, is far below the registry's 1 MiB.
inline constexpr size_t kSettingsBytesMax = 64 * 1024;
inline constexpr size_t kSettingNameBytesMax = 128;
inline constexpr int kSettingDepthMax = 32;

struct Settings {
  std::map<std::string, std::string> config;   // each value is compact JSON
  std::map<std::string, std::string> secrets;  // each value is sealed

  bool operator==(const Settings&) const = default;
};

struct SettingsChange {
  std::map<std::string, std::string> config_json{};
  std::vector<std::string> config_unset{};
  std::map<std::string, std::string> secrets{};  // as they are
  std::vector<std::string> secrets_unset{};
};

// The settings after the change; `context` binds what is sealed to its service. INVALID_ARGUMENT: a
// name or a value, or too much; NOT_FOUND: a name that is to be unset is not set.
StatusOr<Settings> Changed(Settings settings, const SettingsChange& change,
                           const std::string& context, const SecretBox& box);

// What the service gets. INVALID_ARGUMENT: there are settings, and `manifest_config` is neither an
// object nor null.
StatusOr<std::string> MergedConfig(const std::string& manifest_config, const Settings& settings);
// An object of texts; empty without secrets.
StatusOr<std::string> SecretsJson(const Settings& settings, const std::string& context,
                                  const SecretBox& box);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_SETTINGS_H_
