// lever/policy.h over policy/.
#include "lever/policy.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "liblever/capi/error.h"
#include "liblever/capi/inputs.h"
#include "liblever/capi/sized.h"
#include "liblever/policy/address.h"
#include "liblever/policy/balancer.h"
#include "liblever/policy/placement.h"
#include "liblever/policy/retry.h"
#include "liblever/policy/scale.h"
#include "liblever/policy/shard.h"

namespace lever::capi {
namespace {

static_assert(LEVER_ENVIRONMENT_BYTES_MAX == policy::kEnvironmentBytesMax);
static_assert(LEVER_SERVICE_BYTES_MAX == policy::kServiceBytesMax);
static_assert(LEVER_METHOD_BYTES_MAX == policy::kMethodBytesMax);
static_assert(LEVER_RESOURCE_BYTES_MAX == policy::kResourceBytesMax);
static_assert(LEVER_ADDRESS_BYTES_MAX == policy::kAddressBytesMax);
static_assert(LEVER_RETRY_TOKENS_MAX == policy::kTokensMax);
static_assert(LEVER_RETRY_TOKENS_PER_SUCCESS == policy::kTokensPerSuccess);
static_assert(LEVER_NO_INSTANCE == policy::kNoInstance);
static_assert(LEVER_RETRY_AGAIN == static_cast<int>(policy::RetryAction::kRetry));

// The parts are within their limits.
template <size_t kSize>
void WriteText(const std::string& text, char (&to)[kSize]) {
  std::memcpy(to, text.data(), text.size());
  to[text.size()] = '\0';
}

// INVALID_ARGUMENT: no NUL within the field.
template <size_t kSize>
Status ReadField(const char (&from)[kSize], const char* what, std::string* text) {
  const size_t size = ::strnlen(from, kSize);
  if (size == kSize) return InvalidArgument(std::string(what) + ": has no NUL at its end");
  text->assign(from, size);
  return Status::Ok();
}

Status Parse(std::string_view text, lever_address* out) {
  LEVER_ASSIGN_OR_RETURN(const policy::Address address, policy::ParseAddress(text));
  lever_address ours{};
  WriteText(address.environment, ours.environment);
  WriteText(address.service, ours.service);
  WriteText(address.method, ours.method);
  WriteText(address.resource, ours.resource);
  ours.has_resource = address.has_resource ? 1 : 0;
  ours.streaming = policy::IsStreamingMethod(address.method) ? 1 : 0;
  return WriteSized(ours, "lever_address", out);
}

StatusOr<std::string> Format(const lever_address* given) {
  lever_address raw;
  LEVER_RETURN_IF_ERROR(ReadSized(given, "lever_address", &raw));
  policy::Address address;
  LEVER_RETURN_IF_ERROR(ReadField(raw.environment, "environment", &address.environment));
  LEVER_RETURN_IF_ERROR(ReadField(raw.service, "service", &address.service));
  LEVER_RETURN_IF_ERROR(ReadField(raw.method, "method", &address.method));
  LEVER_RETURN_IF_ERROR(ReadField(raw.resource, "resource", &address.resource));
  address.has_resource = raw.has_resource != 0;
  if (!address.environment.empty()) {
    LEVER_RETURN_IF_ERROR(policy::CheckEnvironment(address.environment));
  }
  LEVER_RETURN_IF_ERROR(policy::CheckService(address.service));
  LEVER_RETURN_IF_ERROR(policy::CheckMethod(address.method));
  if (address.has_resource) LEVER_RETURN_IF_ERROR(policy::CheckResource(address.resource));
  return policy::FormatAddress(address);
}

policy::PeerLoad ToPeerLoad(const unsigned char* peer, size_t peer_size) {
  lever_peer_load raw{};
  std::memcpy(&raw, peer, std::min(peer_size, sizeof(raw)));
  policy::PeerLoad load;
  load.in_flight = raw.in_flight;
  load.reported_in_flight = raw.reported_in_flight;
  load.latency_ns = std::max<int64_t>(raw.latency_ns, 0);
  load.reported_latency_ns = std::max<int64_t>(raw.reported_latency_ns, 0);
  load.load_max = raw.load_max;
  load.concurrency_max = raw.concurrency_max;
  load.excluded = raw.excluded != 0;
  return load;
}

Status Retry(const lever_attempt_failure* given, int64_t now_ns, int64_t deadline_ns, double random,
             lever_retry_state* state, lever_retry_budget* budget, lever_retry_decision* out) {
  lever_attempt_failure raw;
  LEVER_RETURN_IF_ERROR(ReadSized(given, "lever_attempt_failure", &raw));
  lever_retry_state raw_state;
  LEVER_RETURN_IF_ERROR(ReadSized(state, "lever_retry_state", &raw_state));
  lever_retry_budget raw_budget;
  LEVER_RETURN_IF_ERROR(ReadSized(budget, "lever_retry_budget", &raw_budget));
  if (now_ns < 0 || deadline_ns < 0) return InvalidArgument("a time is negative");
  if (!(random >= 0 && random < 1)) return InvalidArgument("random: not in [0, 1)");
  lever_retry_decision ours{};
  LEVER_RETURN_IF_ERROR(ReadSized(out, "lever_retry_decision", &ours));
  const policy::AttemptFailure failure{.status = static_cast<lever_status>(raw.status),
                                       .executed = static_cast<lever_executed>(raw.executed),
                                       .never_written = raw.never_written != 0,
                                       .redirected = raw.redirected != 0,
                                       .idempotent = raw.idempotent != 0};
  policy::RetryState used{.redirects = raw_state.redirects, .retries = raw_state.retries};
  policy::RetryBudget tokens(raw_budget.tokens);
  const policy::RetryDecision decision =
      policy::DecideRetry(failure, now_ns, deadline_ns, random, &used, &tokens);
  raw_state.redirects = used.redirects;
  raw_state.retries = used.retries;
  raw_budget.tokens = tokens.tokens();
  ours.action = static_cast<int32_t>(decision.action);
  ours.delay_ns = decision.delay_ns;
  LEVER_RETURN_IF_ERROR(WriteSized(raw_state, "lever_retry_state", state));
  LEVER_RETURN_IF_ERROR(WriteSized(raw_budget, "lever_retry_budget", budget));
  return WriteSized(ours, "lever_retry_decision", out);
}

// The first word of a memory that was used: other bytes are not one.
constexpr uint64_t kScaleMemoryMark = 0x1e7e5ca1e0000002;
static_assert(std::is_trivially_copyable_v<policy::ScaleMemory>);
static_assert(sizeof(policy::ScaleMemory) <= (LEVER_SCALE_MEMORY_WORDS - 1) * sizeof(uint64_t));

Status ReadScaleMemory(const lever_scale_memory* given, lever_scale_memory* raw,
                       policy::ScaleMemory* memory) {
  LEVER_RETURN_IF_ERROR(ReadSized(given, "lever_scale_memory", raw));
  if (given->size < sizeof(*raw)) return InvalidArgument("lever_scale_memory: too small");
  if (raw->words[0] == 0) return Status::Ok();
  if (raw->words[0] != kScaleMemoryMark) return InvalidArgument("lever_scale_memory: not of this version");
  std::memcpy(static_cast<void*>(memory), &raw->words[1], sizeof(*memory));
  return Status::Ok();
}

Status ReadScaleLimits(const lever_scale_limits* given, policy::ScaleLimits* limits) {
  lever_scale_limits raw;
  LEVER_RETURN_IF_ERROR(ReadSized(given, "lever_scale_limits", &raw));
  const bool in_range = raw.load_max > 0 && raw.load_max <= 1e9 && raw.stream_load >= 0 &&
                        raw.stream_load <= 1e9 && raw.idle_timeout_ns >= 0 && raw.instances_max > 0 &&
                        raw.instances_min <= raw.instances_max &&
                        raw.standby <= raw.instances_max;
  if (!in_range) return InvalidArgument("lever_scale_limits: a number is out of its range");
  *limits = {.instances_min = raw.instances_min,
             .instances_max = raw.instances_max,
             .standby = raw.standby,
             .load_max = raw.load_max,
             .stream_load = raw.stream_load,
             .concurrency_max = raw.concurrency_max,
             .idle_timeout_ns = raw.idle_timeout_ns};
  return Status::Ok();
}

Status ReadScaleLoad(const lever_scale_load* given, policy::ScaleLoad* load) {
  lever_scale_load raw;
  LEVER_RETURN_IF_ERROR(ReadSized(given, "lever_scale_load", &raw));
  for (const int64_t time_ns : {raw.latency_ns, raw.start_ns, raw.last_active_ns, raw.last_ready_ns,
                                raw.backoff_until_ns}) {
    if (time_ns < 0) return InvalidArgument("lever_scale_load: a time is negative");
  }
  *load = {.instances_starting = raw.instances_starting,
           .instances_ready = raw.instances_ready,
           .instances_standby = raw.instances_standby,
           .calls = raw.calls,
           .streams = raw.streams,
           .held_calls = raw.held_calls,
           .latency_ns = raw.latency_ns,
           .start_ns = raw.start_ns,
           .last_active_ns = raw.last_active_ns,
           .last_ready_ns = raw.last_ready_ns,
           .backoff_until_ns = raw.backoff_until_ns};
  return Status::Ok();
}

Status Scale(const lever_scale_limits* given_limits, const lever_scale_load* given_load,
             int64_t now_ns, lever_scale_memory* given_memory, lever_scale_decision* out) {
  policy::ScaleLimits limits;
  LEVER_RETURN_IF_ERROR(ReadScaleLimits(given_limits, &limits));
  policy::ScaleLoad load;
  LEVER_RETURN_IF_ERROR(ReadScaleLoad(given_load, &load));
  lever_scale_memory raw;
  policy::ScaleMemory memory;
  LEVER_RETURN_IF_ERROR(ReadScaleMemory(given_memory, &raw, &memory));
  lever_scale_decision ours{};
  LEVER_RETURN_IF_ERROR(ReadSized(out, "lever_scale_decision", &ours));
  if (now_ns < 0) return InvalidArgument("a time is negative");
  const policy::ScaleDecision decision = policy::DecideScale(limits, load, now_ns, &memory);
  ours.wanted = decision.wanted;
  ours.start = decision.start;
  ours.stop = decision.stop;
  ours.refuse_held = decision.refuse_held ? 1 : 0;
  ours.wake_at_ns = decision.wake_at_ns;
  ours.promote = decision.promote;
  ours.stop_standby = decision.stop_standby;
  raw.words[0] = kScaleMemoryMark;
  std::memcpy(&raw.words[1], &memory, sizeof(memory));
  LEVER_RETURN_IF_ERROR(WriteSized(raw, "lever_scale_memory", given_memory));
  return WriteSized(ours, "lever_scale_decision", out);
}

}  // namespace
}  // namespace lever::capi

using lever::InvalidArgument;
using lever::Status;
using lever::capi::ReadText;
using lever::capi::Return;
namespace policy = lever::policy;

lever_status lever_address_parse(const char* text, size_t size, lever_address* out,
                                 lever_error** error) {
  return Return(lever::capi::Parse(ReadText(text, size), out), error);
}

lever_status lever_address_format(const lever_address* address, char* buffer, size_t capacity,
                                  size_t* out_size, lever_error** error) {
  if (buffer == nullptr || out_size == nullptr) return Return(InvalidArgument("out: NULL"), error);
  const lever::StatusOr<std::string> text = lever::capi::Format(address);
  if (!text.ok()) return Return(text.status(), error);
  const std::string& formatted = text.value();
  if (formatted.size() >= capacity) return Return(lever::OutOfRange("buffer: too small"), error);
  std::memcpy(buffer, formatted.c_str(), formatted.size() + 1);
  *out_size = formatted.size();
  return Return(Status::Ok(), error);
}

lever_status lever_shard_of(const char* environment, size_t environment_size, const char* service,
                            size_t service_size, const char* resource, size_t resource_size,
                            uint32_t shards, uint32_t* out) {
  if (out == nullptr || !policy::IsShardCount(shards)) return LEVER_INVALID_ARGUMENT;
  *out = policy::ShardOf(ReadText(environment, environment_size), ReadText(service, service_size),
                         ReadText(resource, resource_size), shards);
  return LEVER_OK;
}

lever_status lever_shard_owner(uint32_t shard, const char* const* instances, size_t count,
                               size_t* out) {
  if (instances == nullptr || count == 0 || out == nullptr) return LEVER_INVALID_ARGUMENT;
  for (size_t i = 0; i < count; ++i) {
    if (instances[i] == nullptr) return LEVER_INVALID_ARGUMENT;
  }
  size_t owner = 0;
  for (size_t i = 1; i < count; ++i) {
    const std::string_view pair[] = {instances[owner], instances[i]};
    if (policy::OwnerOf(shard, pair) == 1) owner = i;
  }
  *out = owner;
  return LEVER_OK;
}

lever_status lever_shards_place(const char* const* instances, const int32_t* eligible, size_t count,
                                const uint32_t* loads, uint32_t* owners, size_t shards) {
  if ((instances == nullptr && count > 0) || count >= LEVER_NO_INSTANCE || owners == nullptr ||
      !policy::IsShardCount(shards)) {
    return LEVER_INVALID_ARGUMENT;
  }
  std::vector<policy::PlacementInstance> candidates(count);
  for (size_t i = 0; i < count; ++i) {
    if (instances[i] == nullptr) return LEVER_INVALID_ARGUMENT;
    candidates[i] = {instances[i], eligible == nullptr || eligible[i] != 0};
  }
  std::vector<policy::PlacementShard> before(shards);
  for (size_t i = 0; i < shards; ++i) before[i] = {owners[i], loads != nullptr ? loads[i] : 0};
  const std::vector<uint32_t> placed = policy::PlaceShards(candidates, before);
  std::copy(placed.begin(), placed.end(), owners);
  return LEVER_OK;
}

lever_status lever_pick_peer(const lever_peer_load* peers, size_t peer_size, size_t count,
                             uint64_t random, size_t* out) {
  if (out == nullptr || peer_size < sizeof(size_t) || (peers == nullptr && count > 0) ||
      count > UINT32_MAX) {
    return LEVER_INVALID_ARGUMENT;
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(peers);
  const size_t picked = policy::PickAmong(
      count, [=](size_t i) { return lever::capi::ToPeerLoad(bytes + i * peer_size, peer_size); },
      random);
  if (picked == policy::kNoPeer) return LEVER_NOT_FOUND;
  *out = picked;
  return LEVER_OK;
}

lever_status lever_retry_decide(const lever_attempt_failure* failure, int64_t now_ns,
                                int64_t deadline_ns, double random, lever_retry_state* state,
                                lever_retry_budget* budget, lever_retry_decision* out) {
  return lever::capi::Retry(failure, now_ns, deadline_ns, random, state, budget, out).code();
}

lever_status lever_retry_success(lever_retry_budget* budget) {
  lever_retry_budget raw;
  const Status valid = lever::capi::ReadSized(budget, "lever_retry_budget", &raw);
  if (!valid.ok()) return valid.code();
  policy::RetryBudget tokens(raw.tokens);
  tokens.OnSuccess();
  raw.tokens = tokens.tokens();
  return lever::capi::WriteSized(raw, "lever_retry_budget", budget).code();
}

lever_status lever_scale_decide(const lever_scale_limits* limits, const lever_scale_load* load,
                                int64_t now_ns, lever_scale_memory* memory,
                                lever_scale_decision* out) {
  return lever::capi::Scale(limits, load, now_ns, memory, out).code();
}
