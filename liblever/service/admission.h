// Who calls over a connection to the service's own address with "tls:": nobody, until the first call on it
// has shown a token (route/token.h).
//
// Threads: used only by who holds the loop's word.
#ifndef LIBLEVER_SERVICE_ADMISSION_H_
#define LIBLEVER_SERVICE_ADMISSION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/base/status.h"
#include "liblever/route/token.h"
#include "liblever/rpc/server.h"
#include "liblever/rpc/tls_identity.h"

namespace lever::service {

// A connection that has shown no token by then is closed.
inline constexpr int64_t kAdmissionTimeoutNs = 10 * kNanosPerSecond;

// Whether the calls of other environments are refused.
enum class Privacy : bool { kPublic, kPrivate };

class Admission {
 public:
  // With a new key. INVALID_ARGUMENT: it cannot listen at `endpoint`, because others could not reach it.
  static StatusOr<std::unique_ptr<Admission>> Open(const rpc::Endpoint& endpoint, Privacy privacy);

  const std::string& key_hash() const { return identity_->key_hash(); }
  StatusOr<rpc::ListenOptions> Listening() const;
  // Which instance it is, and whose tokens it takes from now on, as the host says.
  void SetInstance(std::string environment, std::string instance,
                   const std::vector<route::TokenKey>& keys);

  // What a connection is admitted as that shows `token` at `now_s`, seconds since 1970. UNAUTHENTICATED:
  // the token is not good; PERMISSION_DENIED: but its caller may not call.
  StatusOr<route::TokenClaims> Check(std::string_view token, int64_t now_s) const;

 private:
  Admission(std::shared_ptr<const rpc::TlsIdentity> identity, Privacy privacy)
      : identity_(std::move(identity)), privacy_(privacy) {}

  const std::shared_ptr<const rpc::TlsIdentity> identity_;
  const Privacy privacy_;
  std::string environment_;
  std::string instance_;
  route::TokenVerifier verifier_;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_ADMISSION_H_
