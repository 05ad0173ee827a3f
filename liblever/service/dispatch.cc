// What becomes of a call that comes in: the checks before the program hears of it.
#include <algorithm>
#include <string>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/policy/address.h"
#include "liblever/route/wire.h"
#include "liblever/service/health.h"
#include "liblever/service/incoming_call.h"
#include "liblever/service/incoming_stream.h"
#include "liblever/service/service_impl.h"

namespace lever::service {
namespace {

// Who is on the other end of a connection that was introduced or admitted.
struct CallerTag {
  std::string caller;
  bool host = false;
  std::string token;  // that it was admitted with
};

// `text` as it may stand in an error: short, and printable.
std::string Quoted(std::string_view text) {
  constexpr size_t kShownMax = 60;
  std::string quoted("'");
  for (const char c : text.substr(0, kShownMax)) quoted.push_back(c >= ' ' && c <= '~' ? c : '?');
  if (text.size() > kShownMax) quoted.append("...");
  quoted.push_back('\'');
  return quoted;
}

Status CheckProto(const rpc::HeaderList& headers) {
  const std::string_view proto = headers.Find(route::kProtoHeader).value_or(route::kProtoVersion);
  // "1" and "1.x" are ours.
  if (proto.substr(0, proto.find('.')) == route::kProtoVersion) return Status::Ok();
  return Unimplemented("lever-proto " + Quoted(proto) + " is not spoken here, only " +
                       std::string(route::kProtoVersion));
}

// Takes `prefix` off, if it is there.
bool Strip(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

}  // namespace

std::string DescribeRequest(const RequestInfo& info, int64_t open_ns) {
  std::string text(info.method_name);
  text.append(", called by ").append(info.caller.empty() ? "a caller from outside" : info.caller);
  text.append(", open for ").append(std::to_string(open_ns / kNanosPerSecond)).append(" s");
  return text;
}

bool ServiceImpl::OnIncomingConnection(const route::Introduction& introduction, UniqueFd socket) {
  if (closing_ || server_ == nullptr || drain_.refusing()) return false;
  if (!awaits_serving_) return Adopt(introduction, std::move(socket));
  parked_.emplace_back(introduction, std::move(socket));
  return true;
}

void ServiceImpl::AdoptParked() {
  for (auto& [introduction, socket] : std::exchange(parked_, {})) {
    // One that cannot be adopted is closed, and its caller comes again.
    if (!closing_) Adopt(introduction, std::move(socket));
  }
}

bool ServiceImpl::Adopt(const route::Introduction& introduction, UniqueFd socket) {
  auto tag = std::make_shared<CallerTag>();
  tag->caller = introduction.caller;
  tag->host = introduction.host;
  const auto callers =
      introduction.host ? rpc::Server::Callers::kMany : rpc::Server::Callers::kOne;
  return server_->Adopt(std::move(socket), std::move(tag), callers).ok();
}

std::string_view ServiceImpl::CallerOf(const rpc::Call& call) const {
  const auto* tag = static_cast<const CallerTag*>(server_->connection_tag(call));
  if (tag == nullptr) return {};
  if (!tag->host) return tag->caller;
  return call.headers().Find(route::kCallerHeader).value_or(std::string_view());
}

Status ServiceImpl::Admit(rpc::Call& call) {
  const auto* tag = static_cast<const CallerTag*>(server_->connection_tag(call));
  if (tag != nullptr && tag->token.empty()) return Status::Ok();  // introduced
  const auto token = call.headers().Find(route::kTokenHeader);
  if (tag != nullptr) {
    if (!token || *token == tag->token) return Status::Ok();
    return Status(LEVER_UNAUTHENTICATED, "this connection was opened with another token");
  }
  if (!token) {
    return Status(LEVER_UNAUTHENTICATED,
                  "who calls straight at this address shows a token of the host's first");
  }
  const int64_t now_s = route::UnixNowSeconds();
  LEVER_ASSIGN_OR_RETURN(route::TokenClaims claims, admission_->Check(*token, now_s));
  auto admitted = std::make_shared<CallerTag>();
  admitted->caller = std::move(claims.caller);
  admitted->host = claims.host;
  admitted->token = *token;
  const int64_t life_ns =
      std::min(claims.expires_s - now_s, route::kTokenLifetimeSecondsMax) * kNanosPerSecond;
  server_->Admit(call, std::move(admitted), DeadlineAfter(loop_->now_ns(), life_ns));
  return Status::Ok();
}

void ServiceImpl::OnCall(rpc::Call& call) {
  if (admission_ != nullptr) {
    if (const Status admitted = Admit(call); !admitted.ok()) {
      static constinit LogLimiter limiter(rpc::kPeerLogIntervalNs);
      limiter.Log(LogLevel::kWarning, loop_->now_ns(), "a call was refused: " + admitted.message());
      return call.Finish(admitted.WithExecuted(LEVER_EXECUTED_NO));
    }
  }
  const std::string_view path = call.path();
  const bool stream = path == route::kStreamPath;
  if (!stream && path != route::kInvokePath) {
    if (path == route::kHealthCheckPath) {
      return AnswerHealthCheck(call, drain_.phase() == Drain::Phase::kServing
                                         ? Health::kServing
                                         : Health::kNotServing);
    }
    return call.Finish(Unimplemented("no gRPC method " + Quoted(path) + " here")
                           .WithExecuted(LEVER_EXECUTED_NO));
  }
  drain_.RequestCame(loop_->now_ns());
  if (drain_.phase() == Drain::Phase::kQuieting) loop_->Arm(&drain_timer_, drain_.WakeNs());
  StatusOr<RequestInfo> info = Examine(call, stream);
  if (!info.ok()) return call.Finish(info.status().WithExecuted(LEVER_EXECUTED_NO));
  if (concurrency_max_ != 0 && load_.in_flight() >= concurrency_max_) return RefuseAsFull(call);
  // Who sends compressed is answered likewise.
  if (call.peer_compression() != rpc::Compression::kIdentity) {
    call.set_compression(call.peer_compression());
  }
  if (stream) {
    // Owns itself.
    (new IncomingStreamImpl(this))->Accept(call, *info);
    return;
  }
  std::unique_ptr<IncomingCallImpl> incoming;
  if (pool_.empty()) {
    incoming = std::make_unique<IncomingCallImpl>(this);
  } else {
    incoming = std::move(pool_.back());
    pool_.pop_back();
  }
  // Comes back through Recycle().
  incoming.release()->Accept(call, *info);
}

StatusOr<RequestInfo> ServiceImpl::Examine(const rpc::Call& call, bool stream) const {
  if (drain_.refusing() || closing_) return Unavailable("this instance is draining");
  const rpc::HeaderList& headers = call.headers();
  LEVER_RETURN_IF_ERROR(CheckProto(headers));
  const auto url = headers.Find(route::kUrlHeader);
  if (!url.has_value()) return InvalidArgument("a call needs the header lever-url");
  RequestInfo info;
  if (const auto resource = headers.Find(route::kResourceHeader); !resource.has_value()) {
    LEVER_ASSIGN_OR_RETURN(info.method, FindMethod(*url, methods_, &info.method_name));
  } else {
    LEVER_ASSIGN_OR_RETURN(info.method, FindMethod(*url, resource_methods_, &info.method_name));
    LEVER_RETURN_IF_ERROR(ExamineResource(call, *resource, &info));
  }
  if (info.method->streaming != stream) {
    return Unimplemented(std::string(info.method_name) +
                         (stream ? " is no streaming method, and is called by Invoke"
                                 : " is a streaming method, and is called by Stream"));
  }
  info.deadline_ns = call.deadline_ns();
  info.caller = CallerOf(call);
  return info;
}

void ServiceImpl::RefuseAsFull(rpc::Call& call) {
  rpc::HeaderList trailers;
  trailers.Add(route::kRefusedTrailer, route::kRefusedFull);
  call.Finish(ResourceExhausted("this instance runs as many calls as it may (" +
                                std::to_string(concurrency_max_) + ")")
                  .WithExecuted(LEVER_EXECUTED_NO),
              &trailers);
}

// The common case is a comparison with what the address must be; only errors are parsed.
StatusOr<const Method*> ServiceImpl::FindMethod(std::string_view url, const MethodTable& methods,
                                                std::string_view* name) const {
  std::string_view rest = url;
  const bool ours = (!Strip(&rest, policy::kAddressScheme) || Strip(&rest, details_.environment)) &&
                    Strip(&rest, "/") && Strip(&rest, details_.name) && Strip(&rest, "/");
  if (!ours) {
    LEVER_RETURN_IF_ERROR(policy::ParseAddress(url).status());
    return NotFound("this is an instance of lever://" + details_.environment + "/" + details_.name +
                    ", not of " + Quoted(url));
  }
  const Method* method = methods.Find(rest, name);
  if (method != nullptr) return method;
  LEVER_RETURN_IF_ERROR(policy::ParseAddressHeaders(url, std::nullopt).status());
  if (&methods == &methods_) {
    return NotFound("no method " + Quoted(rest) + " in service " + details_.name);
  }
  if (ownership_ == nullptr) return NotFound("service " + details_.name + " has no resources");
  return NotFound("no method " + Quoted(rest) + " of the resources of service " + details_.name);
}

Status ServiceImpl::ExamineResource(const rpc::Call& call, std::string_view encoded,
                                    RequestInfo* info) const {
  LEVER_ASSIGN_OR_RETURN(info->resource, policy::DecodeResource(encoded));
  const uint32_t shards = ownership_->shards();
  if (shards == 0) return Unavailable("this instance is not attached yet");
  const uint32_t shard =
      policy::ShardOf(details_.environment, details_.name, info->resource, shards);
  info->shard.shard = shard;
  const auto believed = call.headers().Find(route::kGenerationHeader);
  if (!believed.has_value()) return Status::Ok();
  const auto parsed = policy::ParseShardGeneration(*believed);
  if (!parsed.has_value() || parsed->shard != shard) {
    return InvalidArgument("lever-gen " + Quoted(*believed) + " is not of the resource's shard, " +
                           std::to_string(shard) + " of " + std::to_string(shards));
  }
  info->shard = *parsed;
  return Status::Ok();
}

}  // namespace lever::service
