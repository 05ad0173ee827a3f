// What the registry keeps of a service and of its version, and the spec that the control plane
// gets.
//
//   service/<env>/<service>            {"bundle":"<hash>","last":3,"version":3,
//                                       "canary":{"bundle":"<hash>","share":1000,"sticky":false,
//                                       "version":4}}
//   version/<env>/<service>/<number>   {"bundle":"<hash>","deployed_unix_ns":...,"manifest":{...},
//                                       "packed_bytes":...,"reason":"deploy","config":{...},
//                                       "secrets":{...}}
//
// Pure functions; any thread.
#ifndef LIBLEVER_HOST_DEPLOY_SERVICE_RECORD_H_
#define LIBLEVER_HOST_DEPLOY_SERVICE_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/host/deploy/manifest.h"
#include "liblever/host/deploy/settings.h"
#include "liblever/host/scale/control.h"

namespace lever::deploy {

// A version that gets a share of the calls beside the one that serves.
struct CanaryRecord {
  uint64_t version = 0;
  std::string bundle;
  scale::CanaryTerms terms;

  bool operator==(const CanaryRecord&) const = default;
};

struct ServiceRecord {
  uint64_t version = 0;       // that new calls go to
  uint64_t last_version = 0;  // the highest number that was given, also to one that failed to start
  std::string bundle;         // of `version`
  std::optional<CanaryRecord> canary{};

  bool operator==(const ServiceRecord&) const = default;
};

// What has led to a version.
inline constexpr std::string_view kReasonDeploy = "deploy";
inline constexpr std::string_view kReasonConfig = "config";
inline constexpr std::string_view kReasonSecret = "secret";

struct VersionRecord {
  std::string bundle;
  int64_t deployed_unix_ns = 0;
  Manifest manifest;
  uint64_t packed_bytes = 0;  // of the bundle; 0: not known
  std::string reason{kReasonDeploy};
  Settings settings{};
};

std::string Encode(const ServiceRecord& record);
std::string Encode(const VersionRecord& record);
// DATA_LOSS for what Encode() has not written.
StatusOr<ServiceRecord> ParseServiceRecord(std::string_view text);
StatusOr<VersionRecord> ParseVersionRecord(std::string_view text);
// The bundle of a version's record, without reading the rest of it.
StatusOr<std::string> BundleOfVersion(std::string_view text);

// Of lever.json alone.
scale::ServiceSpec MakeSpec(const std::string& environment, uint64_t version,
                            const std::string& bundle, const Manifest& manifest);
// With what is laid over it. INVALID_ARGUMENT: the configuration; DATA_LOSS: a secret does not
// open.
StatusOr<scale::ServiceSpec> MakeSpec(const std::string& environment, uint64_t version,
                                      const VersionRecord& record, const SecretBox& box);
// What seals a service's secrets to it.
std::string SecretContext(const std::string& environment, const std::string& service);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_SERVICE_RECORD_H_
