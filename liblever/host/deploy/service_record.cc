#include "liblever/host/deploy/service_record.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "liblever/host/deploy/content_hash.h"
#include "liblever/host/deploy/limits.h"
#include "liblever/policy/canary.h"

namespace lever::deploy {
namespace {

using nlohmann::json;

constexpr std::string_view kBundleFirst = "{\"bundle\":\"";

bool HasNumber(const json& object, const char* key) {
  return object.contains(key) && object[key].is_number_integer();
}

// What records of an earlier version of Lever do not have.
bool ReadRest(const json& object, VersionRecord* record) {
  const json none;
  const auto field = [&](const char* name) -> const json& {
    const auto found = object.find(name);
    return found == object.end() ? none : *found;
  };
  if (const json& bytes = field("packed_bytes"); bytes.is_number_unsigned()) {
    record->packed_bytes = bytes.get<uint64_t>();
  }
  if (const json& reason = field("reason"); reason.is_string()) {
    record->reason = reason.get<std::string>();
  }
  const json& config = field("config");
  const json& secrets = field("secrets");
  if ((!config.is_null() && !config.is_object()) || (!secrets.is_null() && !secrets.is_object())) {
    return false;
  }
  for (const auto& [name, value] : config.items()) record->settings.config[name] = value.dump();
  for (const auto& [name, value] : secrets.items()) {
    if (!value.is_string()) return false;
    record->settings.secrets[name] = value.get<std::string>();
  }
  return true;
}

bool HasBundle(const json& object) {
  return object.contains("bundle") && object["bundle"].is_string() &&
         IsContentHash(object["bundle"].get_ref<const std::string&>());
}

bool ReadCanary(const json& object, CanaryRecord* canary) {
  if (!HasBundle(object) || !HasNumber(object, "version") || !HasNumber(object, "share")) {
    return false;
  }
  const auto share = object["share"].get<int64_t>();
  if (share <= 0 || share >= policy::kShareParts) return false;
  canary->version = object["version"].get<uint64_t>();
  canary->bundle = object["bundle"].get<std::string>();
  canary->terms.share = static_cast<uint32_t>(share);
  const auto sticky = object.find("sticky");
  canary->terms.sticky = sticky != object.end() && *sticky == true;
  return true;
}

}  // namespace

std::string Encode(const ServiceRecord& record) {
  json object{
      {"version", record.version}, {"last", record.last_version}, {"bundle", record.bundle}};
  if (record.canary) {
    object["canary"] = {{"version", record.canary->version},
                        {"bundle", record.canary->bundle},
                        {"share", record.canary->terms.share},
                        {"sticky", record.canary->terms.sticky}};
  }
  return object.dump();
}

std::string Encode(const VersionRecord& record) {
  // The manifest is canonical JSON already, and stays so: it is not parsed for this. Neither are
  // the values of the configuration. The bundle comes first: see BundleOfVersion().
  std::string config;
  for (const auto& [name, value] : record.settings.config) {
    config += (config.empty() ? "" : ",") + json(name).dump() + ":" + value;
  }
  return std::string(kBundleFirst) + record.bundle +
         "\",\"deployed_unix_ns\":" + std::to_string(record.deployed_unix_ns) +
         ",\"manifest\":" + record.manifest.ToJson() +
         ",\"packed_bytes\":" + std::to_string(record.packed_bytes) +
         ",\"reason\":" + json(record.reason).dump() + ",\"config\":{" + config +
         "},\"secrets\":" + json(record.settings.secrets).dump() + "}";
}

StatusOr<ServiceRecord> ParseServiceRecord(std::string_view text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !HasNumber(object, "version") || !HasNumber(object, "last") ||
      !HasBundle(object)) {
    return DataLoss("a service's record in the registry cannot be read");
  }
  ServiceRecord record{object["version"].get<uint64_t>(), object["last"].get<uint64_t>(),
                       object["bundle"].get<std::string>()};
  if (const auto canary = object.find("canary"); canary != object.end()) {
    if (!canary->is_object() || !ReadCanary(*canary, &record.canary.emplace())) {
      return DataLoss("a service's record in the registry names a canary that cannot be read");
    }
  }
  return record;
}

StatusOr<VersionRecord> ParseVersionRecord(std::string_view text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !HasBundle(object) || !HasNumber(object, "deployed_unix_ns") ||
      !object.contains("manifest")) {
    return DataLoss("a version's record in the registry cannot be read");
  }
  StatusOr<Manifest> manifest = ParseManifest(object["manifest"].dump());
  if (!manifest.ok()) {
    return DataLoss("a version's record in the registry has a broken manifest: " +
                    manifest.status().message());
  }
  VersionRecord record{object["bundle"].get<std::string>(),
                       object["deployed_unix_ns"].get<int64_t>(), std::move(manifest).value()};
  if (!ReadRest(object, &record)) {
    return DataLoss("a version's record in the registry has broken settings");
  }
  return record;
}

StatusOr<std::string> BundleOfVersion(std::string_view text) {
  if (text.starts_with(kBundleFirst)) {
    text.remove_prefix(kBundleFirst.size());
    std::string bundle(text.substr(0, text.find('"')));
    if (IsContentHash(bundle)) return bundle;
  }
  return DataLoss("a version's record in the registry cannot be read");
}

scale::ServiceSpec MakeSpec(const std::string& environment, uint64_t version,
                            const std::string& bundle, const Manifest& manifest) {
  scale::ServiceSpec spec;
  spec.environment = environment;
  spec.service = manifest.name;
  spec.version = version;
  spec.bundle = bundle;
  spec.description = manifest.description;
  spec.entry = manifest.entry;
  spec.js_entry = manifest.js_entry;
  spec.py_entry = manifest.py_entry;
  spec.is_private = manifest.is_private;
  spec.instances_min = static_cast<uint32_t>(manifest.min_instances);
  spec.instances_max = static_cast<uint32_t>(manifest.max_instances);
  spec.standby = static_cast<uint32_t>(manifest.standby);
  spec.load_target = manifest.max_instance_load;
  spec.stream_load = manifest.stream_load;
  spec.concurrency_max = static_cast<uint32_t>(manifest.max_concurrency);
  spec.shards = static_cast<uint32_t>(manifest.shards);
  spec.queue_max = static_cast<uint32_t>(manifest.max_queue);
  spec.load_max =
      static_cast<uint32_t>(std::max(1L, std::lround(std::ceil(manifest.max_instance_load))));
  spec.ram_bytes = static_cast<uint64_t>(manifest.ram_mib) * kMebibyte;
  spec.ram_limit_bytes = static_cast<uint64_t>(manifest.ram_limit_mib) * kMebibyte;
  spec.cpu_millis = static_cast<uint32_t>(manifest.cpu_millis);
  spec.processes_max = static_cast<uint32_t>(manifest.max_processes);
  spec.descriptors_max = static_cast<uint32_t>(manifest.max_descriptors);
  if (manifest.sandbox == "bwrap") spec.sandbox = fleet::SandboxWish::kBwrap;
  if (manifest.sandbox == "none") spec.sandbox = fleet::SandboxWish::kNone;
  spec.network = manifest.network;
  spec.idle_timeout_ns = manifest.idle_timeout_ns;
  spec.start_timeout_ns = manifest.start_timeout_ns;
  spec.drain_timeout_ns = manifest.drain_timeout_ns;
  spec.health = manifest.health;
  spec.config_json = manifest.config_json;
  return spec;
}

StatusOr<scale::ServiceSpec> MakeSpec(const std::string& environment, uint64_t version,
                                      const VersionRecord& record, const SecretBox& box) {
  scale::ServiceSpec spec = MakeSpec(environment, version, record.bundle, record.manifest);
  LEVER_ASSIGN_OR_RETURN(spec.config_json,
                         MergedConfig(record.manifest.config_json, record.settings));
  LEVER_ASSIGN_OR_RETURN(
      spec.secrets_json,
      SecretsJson(record.settings, SecretContext(environment, spec.service), box));
  return spec;
}

std::string SecretContext(const std::string& environment, const std::string& service) {
  return environment + '\0' + service;
}

}  // namespace lever::deploy
