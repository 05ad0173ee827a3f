#include "liblever/service/admission.h"

#include <netinet/in.h>

#include <optional>
#include <utility>

#include "liblever/policy/address.h"
#include "liblever/rpc/tls.h"

namespace lever::service {
namespace {

bool IsWildcard(const rpc::SocketAddress& address) {
  if (address.family() == AF_INET) {
    return reinterpret_cast<const sockaddr_in*>(address.get())->sin_addr.s_addr == INADDR_ANY;
  }
  return address.family() == AF_INET6 &&
         IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_addr);
}

}  // namespace

StatusOr<std::unique_ptr<Admission>> Admission::Open(const rpc::Endpoint& endpoint,
                                                     Privacy privacy) {
  if (endpoint.kind != rpc::Endpoint::Kind::kTcp) {
    return InvalidArgument("listen: tls: is for TCP addresses");
  }
  const std::optional<rpc::SocketAddress> address = rpc::NumericAddress(endpoint);
  if (address && IsWildcard(*address)) {
    return InvalidArgument("listen: callers are told the address " + endpoint.ToString() +
                           ": name the one of this machine that they reach it by");
  }
  LEVER_ASSIGN_OR_RETURN(auto identity, rpc::TlsIdentity::Make());
  return std::unique_ptr<Admission>(new Admission(std::move(identity), privacy));
}

StatusOr<rpc::ListenOptions> Admission::Listening() const {
  rpc::ListenOptions options;
  LEVER_ASSIGN_OR_RETURN(options.tls, rpc::TlsServerContext::Of(identity_));
  options.admission_timeout_ns = kAdmissionTimeoutNs;
  return options;
}

void Admission::SetInstance(std::string environment, std::string instance,
                            const std::vector<route::TokenKey>& keys) {
  environment_ = std::move(environment);
  instance_ = std::move(instance);
  verifier_.SetKeys(keys);
}

StatusOr<route::TokenClaims> Admission::Check(std::string_view token, int64_t now_s) const {
  LEVER_ASSIGN_OR_RETURN(route::TokenClaims claims, verifier_.Verify(token, instance_, now_s));
  const std::string inside = std::string(policy::kAddressScheme) + environment_ + "/";
  // The host lets nobody in who may not call.
  if (privacy_ == Privacy::kPrivate && !claims.host && !claims.caller.starts_with(inside)) {
    return PermissionDenied("this service is private to the environment " + environment_);
  }
  return claims;
}

}  // namespace lever::service
