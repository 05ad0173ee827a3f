// Which of a service's two versions a call goes to while one of them is a canary: a new version
// that gets a share of the calls beside the one that serves, until it is promoted or given up.
//
// The share is a weight on the version and not on its instances, as in Envoy's weighted clusters,
// Knative's traffic targets and Argo Rollouts with a traffic router: how many instances a version
// has follows from the calls that it gets, and not the other way round. Whoever chooses an instance
// draws the version first, and only then one of its instances, so that clients which route by
// themselves and hosts that relay hold the share alike.
//
// Pure. Any thread.
#ifndef LIBLEVER_POLICY_CANARY_H_
#define LIBLEVER_POLICY_CANARY_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "liblever/base/status.h"

namespace lever::policy {

// What a share is counted in: parts of all calls.
inline constexpr uint32_t kShareParts = 10'000;

// Whether a draw of 64 random bits is one of the canary's.
inline bool IsCanaryDraw(uint32_t share, uint64_t draw) {
  return (((draw >> 32) * kShareParts) >> 32) < share;
}

// The draw of a caller that stays with one version: the same for all of its calls to the service,
// another one for every other service. `caller` is any number that tells it apart.
uint64_t DrawOfCaller(uint64_t caller, std::string_view environment, std::string_view service);
// That number of a caller with a name.
uint64_t CallerNumber(std::string_view identity);

// "10%", "0.5 %", "10": more than nothing and less than all, in steps of 0.01 %.
StatusOr<uint32_t> ParseShare(std::string_view text);
// "10 %", "0.5 %"
std::string FormatShare(uint32_t share);

// What each instance weighs where shards are placed, so that the versions have their shares of them
// between their instances. Without instances of one of the two all weigh the same.
struct ShardWeights {
  double serving = 1;
  double canary = 1;
};
ShardWeights WeighVersions(uint32_t share, size_t serving, size_t canary);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_CANARY_H_
