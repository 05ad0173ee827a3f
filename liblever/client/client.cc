#include "liblever/client/client.h"

#include <string>
#include <utility>

#include "liblever/client/client_impl.h"
#include "liblever/client/client_stream.h"
#include "liblever/client/echo_stream.h"
#include "liblever/client/unary_call.h"
#include "liblever/policy/address.h"
#include "liblever/route/host_link.h"
#include "liblever/route/router.h"
#include "liblever/route/wire.h"
#include "liblever/value/check.h"

namespace lever::client {
namespace {

// "/package.Service/Method"
bool IsGrpcPath(std::string_view path) {
  if (path.size() < 4 || path.size() > policy::kAddressBytesMax || path[0] != '/') return false;
  const size_t slash = path.find('/', 1);
  if (slash == std::string_view::npos || slash == 1 || slash + 1 == path.size()) return false;
  if (path.find('/', slash + 1) != std::string_view::npos) return false;
  for (const char c : path) {
    if (c <= ' ' || c > '~') return false;
  }
  return true;
}

Status CheckPayload(const Request& request, bool stream) {
  if (request.grpc) {
    const bool none = stream && request.kind == Kind::kNone && request.payload.empty();
    if (request.kind == Kind::kRaw || none) return Status::Ok();
    return InvalidArgument("a gRPC message is given as raw bytes");
  }
  if (request.kind == Kind::kRaw) return Status::Ok();
  if (request.kind != Kind::kValue) {
    return InvalidArgument("a request is a value (the array of arguments) or raw bytes");
  }
  return value::CheckArguments(std::span<const Slice>(request.payload)).status();
}

Status CheckResume(const Request& request, bool stream, bool of_resource) {
  if (request.resume == nullptr) return Status::Ok();
  if (!stream || !of_resource) return InvalidArgument("only the streams of resources are resumed");
  return route::CheckResumeToken(request.resume->token);
}

// Of pass-through, beside its payload.
Status CheckGrpc(const Request& request, bool stream) {
  LEVER_RETURN_IF_ERROR(CheckResume(request, stream, false));
  if (IsGrpcPath(request.address)) return Status::Ok();
  return InvalidArgument("a gRPC path looks like /package.Service/Method");
}

Status CheckRequest(const Request& request, bool stream) {
  LEVER_RETURN_IF_ERROR(CheckPayload(request, stream));
  if (request.grpc) return CheckGrpc(request, stream);
  LEVER_ASSIGN_OR_RETURN(const auto address, policy::ParseAddress(request.address));
  return CheckResume(request, stream, address.has_resource);
}

int64_t DeadlineOf(const Request& request, bool stream, int64_t now_ns) {
  if (request.deadline_ns != kDefaultDeadline) return request.deadline_ns;
  return stream ? kNever : now_ns + route::kUnaryTimeoutNs;
}

}  // namespace

StatusOr<std::unique_ptr<Client>> Client::Open(Loop* loop, ClientOptions options,
                                               ClientHandler* handler) {
  LEVER_RETURN_IF_ERROR(policy::CheckEnvironment(options.environment));
  if (options.link == nullptr && !options.echo) {
    LEVER_ASSIGN_OR_RETURN(options.link, route::HostLink::To(loop, options.host, options.tls));
  }
  return std::unique_ptr<Client>(new ClientImpl(loop, std::move(options), handler));
}

Status Client::CheckCall(const Request& request) { return CheckRequest(request, false); }
Status Client::CheckStream(const Request& request) { return CheckRequest(request, true); }

ClientImpl::ClientImpl(Loop* loop, ClientOptions options, ClientHandler* handler)
    : loop_(loop),
      options_(std::move(options)),
      handler_(handler),
      targets_(options_.environment) {}

ClientImpl::~ClientImpl() = default;

StatusOr<std::shared_ptr<Target>> ClientImpl::Check(const Request& request, bool stream) {
  if (closing_) return Cancelled("the client is closed");
  LEVER_RETURN_IF_ERROR(CheckPayload(request, stream));
  if (request.grpc) {
    LEVER_RETURN_IF_ERROR(CheckGrpc(request, stream));
    return std::shared_ptr<Target>();
  }
  LEVER_ASSIGN_OR_RETURN(std::shared_ptr<Target> target, targets_.Find(request.address));
  LEVER_RETURN_IF_ERROR(CheckResume(request, stream, !target->resource.empty()));
  return target;
}

StatusOr<UnaryCall*> ClientImpl::StartCall(Request request, UnaryHandler* handler) {
  LEVER_ASSIGN_OR_RETURN(std::shared_ptr<Target> target, Check(request, false));
  std::unique_ptr<UnaryCallImpl> call;
  if (pool_.empty()) {
    call = std::make_unique<UnaryCallImpl>(this);
  } else {
    call = std::move(pool_.back());
    pool_.pop_back();
  }
  const int64_t deadline_ns = DeadlineOf(request, false, loop_->now_ns());
  Add(call.get());
  call->Begin(std::move(target), std::move(request), deadline_ns, handler);
  return static_cast<UnaryCall*>(call.release());
}

StatusOr<ClientStream*> ClientImpl::OpenStream(Request request, StreamHandler* handler) {
  LEVER_ASSIGN_OR_RETURN(std::shared_ptr<Target> target, Check(request, true));
  if (options_.echo) {
    auto* echo = new EchoStream(this, request, handler);
    Add(echo);
    return static_cast<ClientStream*>(echo);
  }
  const int64_t deadline_ns = DeadlineOf(request, true, loop_->now_ns());
  auto* stream = new ClientStreamImpl(
      this, request.grpc ? route::Framing::kBare : route::Framing::kEnvelope);
  Add(stream);
  stream->Begin(std::move(target), std::move(request), deadline_ns, handler);
  return static_cast<ClientStream*>(stream);
}

ClientStats ClientImpl::stats() const {
  ClientStats stats = stats_;
  if (options_.link != nullptr) {
    stats.direct_connections = options_.link->router().direct_connections();
  }
  return stats;
}

void ClientImpl::Close() {
  if (std::exchange(closing_, true)) return;
  targets_.Clear();
  // None of them ends from inside Abandon(), so that the list holds still.
  for (Live& live : live_) live.Abandon();
  if (live_.empty()) loop_->Arm(&closed_timer_, loop_->now_ns());
}

void ClientImpl::Remove(Live* live) {
  live->unlink();
  if (closing_ && live_.empty()) loop_->Arm(&closed_timer_, loop_->now_ns());
}

void ClientImpl::Recycle(UnaryCallImpl* call) {
  std::unique_ptr<UnaryCallImpl> owned(call);
  if (!closing_ && pool_.size() < kPooledCallsMax) pool_.push_back(std::move(owned));
}

}  // namespace lever::client
