#include "liblever/client/attempts.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "liblever/client/client_impl.h"
#include "liblever/client/target.h"
#include "liblever/policy/canary.h"
#include "liblever/route/host_link.h"
#include "liblever/route/refusal.h"
#include "liblever/route/router.h"
#include "liblever/route/user_headers.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/channel.h"

namespace lever::client {

bool Attempts::of_resource() const { return target_ != nullptr && !target_->resource.empty(); }

void Attempts::Begin(ClientImpl* client, std::shared_ptr<Target> target, const Request& request,
                     int64_t deadline_ns) {
  client_ = client;
  target_ = std::move(target);
  if (target_ == nullptr) path_.assign(request.address);
  if (request.metadata != nullptr) route::AddUserHeaders(*request.metadata, &metadata_);
  idempotent_ = request.idempotent;
  compression_ = request.compress ? rpc::Compression::kGzip : rpc::Compression::kIdentity;
  deadline_ns_ = deadline_ns;
}

void Attempts::Reset() {
  target_.reset();
  peer_.reset();
  path_.clear();
  if (metadata_.AccountedBytes() > kKeptMetadataBytesMax) {
    metadata_ = rpc::HeaderList();
    headers_ = rpc::HeaderList();
  }
  metadata_.Clear();
  headers_.Clear();
  owner_ = {};
  told_of_owner_ = false;
  refused_full_ = false;
  idempotent_ = false;
  compression_ = rpc::Compression::kIdentity;
  retry_ = policy::RetryState();
  started_ = 0;
  told_generation_ = 0;
  moves_ = 0;
  version_draw_ = 0;
  to_canary_.reset();
}

// Constant fields first: what is the same in every call stays in HPACK's table.
void Attempts::BuildHeaders(bool stream) {
  headers_.Clear();
  if (!bare()) {
    char digits[10];
    const auto end = std::to_chars(digits, digits + sizeof(digits), started_).ptr;
    headers_.Add(route::kProtoHeader, route::kProtoVersion);
    headers_.Add(route::kUrlHeader, target_->url);
    headers_.Add(route::kAttemptHeader, {digits, static_cast<size_t>(end - digits)});
    // The host would draw anew, and the share would not hold.
    if (to_canary_ && peer_ == nullptr) {
      headers_.Add(route::kCanaryHeader, *to_canary_ ? "true" : "false");
    }
    if (of_resource()) {
      if (stream) headers_.Add(route::kResumeHeader, route::kResumeYes);
      headers_.Add(route::kResourceHeader, target_->resource, rpc::Indexing::kNever);
      if (owner_.generation != 0) {
        headers_.Add(route::kGenerationHeader, policy::FormatShardGeneration(owner_));
      }
    }
  }
}

void Attempts::ChoosePeer(const route::Peer* failed) {
  route::Router& router = client_->link().router();
  if (target_->route == nullptr) {
    target_->route = router.Find(target_->environment, target_->service);
  }
  const bool direct = retry_.attempts() <= kDirectAttemptsMax;
  if (target_->resource.empty()) {
    const route::ServiceRoute& known = *target_->route;
    if (known.canary_version != 0) {
      if (version_draw_ == 0) version_draw_ = client_->link().random().Next();
      to_canary_ = policy::IsCanaryDraw(known.canary_share, version_draw_);
    }
    const bool canary = to_canary_.value_or(false);
    if (direct) {
      peer_ = router.Pick(&target_->route, failed,
                          canary ? route::ServiceRoute::Version::kCanary
                                 : route::ServiceRoute::Version::kServing);
    }
  } else {
    route::ServiceRoute::Owner owner = router.PickOwner(&target_->route, target_->resource_hash);
    owner_ = owner.shard;
    // No other instance takes what an owner that is full has refused.
    if ((direct && !refused_full_) || told_of_owner_) peer_ = std::move(owner.peer);
  }
  // What it would refuse surely is not sent: calls wait at the host.
  if (peer_ != nullptr && policy::FullOfOwn(peer_->load())) peer_ = nullptr;
}

bool Attempts::Redirected(const rpc::CallEnd& end) {
  told_of_owner_ = false;
  if (target_ == nullptr || end.trailers == nullptr ||
      end.status.executed() != LEVER_EXECUTED_NO) {
    return false;
  }
  const auto header = end.trailers->Find(route::kGenerationHeader);
  if (!header.has_value()) return false;
  const auto shard = policy::ParseShardGeneration(*header);
  if (!shard.has_value()) return false;
  NoteGeneration(shard->generation);
  // Who calls through the host alone keeps no table: it knows more by then.
  if (target_->route == nullptr) return true;
  const std::string_view instance = end.trailers->Find(route::kOwnerTrailer).value_or("");
  told_of_owner_ = target_->route->Learn(*shard, instance);
  return true;
}

void Attempts::NoteGeneration(uint64_t generation) {
  if (generation <= told_generation_ || moves_ >= kMovesFollowedMax) return;
  told_generation_ = generation;
  ++moves_;
  retry_ = policy::RetryState();
}

rpc::Call* Attempts::Start(std::string_view path, uint64_t credit_messages,
                           rpc::CallHandler* handler) {
  route::HostLink& link = client_->link();
  const std::shared_ptr<route::Peer> failed = std::move(peer_);
  peer_ = nullptr;
  owner_ = {};
  to_canary_.reset();
  if (!bare() && !client_->options().only_through_host && !link.in_process()) {
    ChoosePeer(failed.get());
  }
  sampled_ = path == route::kInvokePath;
  ++started_;
  BuildHeaders(!sampled_);
  rpc::Channel* channel = &link.channel();
  if (peer_ != nullptr) {
    peer_->AttemptBegan();
    channel = peer_->channel.get();
    ++client_->counters().calls_direct;
  } else if (link.in_process() && !bare()) {
    channel = &link.ChannelTo(target_->environment, target_->service);
    ++client_->counters().calls_direct;
  } else {
    ++client_->counters().calls_through_host;
  }
  started_ns_ = client_->loop()->now_ns();
  rpc::CallOptions options;
  options.path = bare() ? std::string_view(path_) : path;
  options.deadline_ns = deadline_ns_;
  options.headers = &headers_;
  options.metadata = &metadata_;
  options.message_bytes_max = client_->options().message_bytes_max;
  options.initial_credit_messages = credit_messages;
  options.compression = compression_;
  // A service of ours compresses only for who does so.
  options.accept_compressed = bare() || compression_ != rpc::Compression::kIdentity;
  options.user_agent = bare();
  return channel->StartCall(options, handler);
}

void Attempts::Ended(const rpc::CallEnd& end) {
  if (peer_ != nullptr) {
    peer_->AttemptEnded();
    client_->link().router().AttemptEnded();
    // An error may come in no time: only answers tell how long the instance takes.
    if (sampled_ && end.replied) peer_->load().AddLatency(client_->loop()->now_ns() - started_ns_);
  }
  if (end.status.ok()) budget().OnSuccess();
}

void Attempts::MovedTo(const policy::ShardGeneration& shard, std::string_view owner) {
  retry_ = policy::RetryState();
  started_ = 0;
  refused_full_ = false;
  told_of_owner_ = target_->route != nullptr && target_->route->Learn(shard, owner);
}

std::optional<int64_t> Attempts::NextAt(const rpc::CallEnd& end) {
  const bool moved = Redirected(end);
  refused_full_ = route::RefusedAsFull(end);
  const policy::AttemptFailure failure{.status = end.status.code(),
                                       .executed = end.status.executed(),
                                       .never_written = end.never_written,
                                       .redirected = moved || refused_full_,
                                       .idempotent = idempotent_};
  const int64_t now_ns = client_->loop()->now_ns();
  const policy::RetryDecision decision =
      policy::DecideRetry(failure, now_ns, deadline_ns_, client_->link().random().NextDouble(),
                          &retry_, &budget());
  if (decision.action == policy::RetryAction::kGiveUp) return std::nullopt;
  if (decision.action == policy::RetryAction::kRetry) ++client_->counters().retries;
  const int64_t delay_ns = std::max(decision.delay_ns, moved ? policy::MoveWaitNs(moves_) : 0);
  if (delay_ns >= deadline_ns_ - now_ns) return std::nullopt;
  return now_ns + delay_ns;
}

policy::RetryBudget& Attempts::budget() {
  return target_ != nullptr ? *target_->budget : client_->bare_budget();
}

}  // namespace lever::client
