#include "liblever/host/gateway/relay.h"

#include <string_view>
#include <utility>

#include "liblever/policy/address.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/call.h"

namespace lever::gateway {
namespace {

// Codes that pass, as grpc-status has them.
constexpr std::string_view kGrpcResourceExhausted = "8";
constexpr std::string_view kGrpcUnavailable = "14";

}  // namespace

void Relay::Start(Loop* loop, Router* router, RelayCounters* counters, const fleet::Caller& caller,
                  rpc::Stream& stream) {
  // Owns itself: see DeleteIfDone().
  Relay* relay = new Relay(loop, router, counters, caller, stream);
  const Status status = relay->ReadRequest(caller);
  if (!status.ok()) {
    relay->EndCaller(status.WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  relay->FindPeer();
}

Status Relay::ReadRequest(const fleet::Caller& caller) {
  const rpc::HeaderList& request = down_->headers();
  const auto proto = request.Find(route::kProtoHeader);
  if (proto && *proto != route::kProtoVersion) {
    return FailedPrecondition("the caller speaks lever-proto " + std::string(*proto) +
                              ", this host " + std::string(route::kProtoVersion));
  }
  const auto url = request.Find(route::kUrlHeader);
  if (!url) return InvalidArgument("the header lever-url is missing");
  LEVER_ASSIGN_OR_RETURN(const policy::AddressParts address, policy::SplitUrlHeader(*url));
  if (!address.environment.empty()) {
    environment_ = address.environment;
  } else {
    environment_ = !caller.environment.empty() ? std::string_view(caller.environment)
                                               : policy::kDefaultEnvironment;
  }
  service_ = address.service;
  if (const auto encoded = request.Find(route::kResourceHeader)) {
    LEVER_ASSIGN_OR_RETURN(const std::string resource, policy::DecodeResource(*encoded));
    resource_hash_ = policy::ResourceHash(environment_, service_, resource);
  }
  LEVER_ASSIGN_OR_RETURN(wish_, ReadVersionWish(request, caller));
  LEVER_RETURN_IF_ERROR(ReadDeadline());
  host_retries_ = !request.Find(route::kAttemptHeader);
  return router_->Check({environment_, service_}, caller);
}

void Relay::BuildHeaders(rpc::HeaderList* headers) {
  const rpc::HeaderList& request = down_->headers();
  // Without what the host sets itself, or belongs to one hop only.
  headers->AddFrom(request, [this](std::string_view name) {
    switch (name.size()) {
      case route::kCallerHeader.size():
        static_assert(route::kCallerHeader.size() == rpc::kTimeoutHeader.size());
        return name != route::kCallerHeader && name != rpc::kTimeoutHeader;
      case route::kTokenHeader.size():
        return name != route::kTokenHeader;
      case route::kGenerationHeader.size():
        return name != route::kGenerationHeader;
      case route::kAttemptHeader.size():
        return !host_retries_ || name != route::kAttemptHeader;
      default:
        return name != "connection";
    }
  });
  if (!request.Find("te")) headers->Add("te", "trailers");
  if (!caller_.empty()) headers->Add(route::kCallerHeader, caller_);
  if (host_retries_) headers->Add(route::kAttemptHeader, std::to_string(attempt_));
  if (resource_hash_) {
    const std::string generation = GenerationHeader(request.Find(route::kGenerationHeader));
    if (!generation.empty()) headers->Add(route::kGenerationHeader, generation);
  }
  AddTimeout(headers);
}

void Relay::OnRouted(const std::shared_ptr<Backend>& backend) {
  if (down_ == nullptr) {
    DeleteIfDone();
    return;
  }
  backend_ = backend;
  backend_->Begin();
  began_ns_ = loop_->now_ns();
  Attempt(backend_->connection());
}

bool Relay::RefusedUnrun() const {
  const rpc::HeaderList& headers = up_->headers();
  if (headers.Find(rpc::kExecutedTrailer) != rpc::kExecutedNo) return false;
  // Another attempt would be refused for any other reason just so.
  const std::string_view code = headers.Find("grpc-status").value_or("");
  return code == kGrpcUnavailable || code == kGrpcResourceExhausted;
}

bool Relay::RefusedFull() const {
  return up_->headers().Find(route::kRefusedTrailer) == route::kRefusedFull && RefusedUnrun();
}

void Relay::WaitForRoom() {
  backend_->OnFull();
  LeavePeer();
  router_->RouteAgain(this);
}

bool Relay::MayResend(Sent sent) {
  if (sent == Sent::kNothing) return true;
  // Whoever counts his attempts decides himself, once an instance has heard of one.
  if (!host_retries_) return false;
  // It has another owner: the others do not suffer for that.
  if (up_ != nullptr && up_->headers().Find(route::kGenerationHeader)) return true;
  backend_->retry_budget().OnFailure();
  return backend_->retry_budget().AllowsRetry();
}

void Relay::LeavePeer() {
  if (backend_ == nullptr) return;
  backend_->End(loop_->now_ns() - began_ns_);
  backend_.reset();
}

}  // namespace lever::gateway
