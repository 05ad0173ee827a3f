// The host's listening sockets. One loop accepts, and deals the connections out to all data loops in
// turn: few clients with many calls each would fall unevenly on sockets that share an address.
//
// Threads: Open() and Close() while the accepting loop is not driven, or on its thread.
#ifndef LIBLEVER_HOST_CAPI_LISTENERS_H_
#define LIBLEVER_HOST_CAPI_LISTENERS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/rpc/listener.h"
#include "liblever/rpc/tls.h"

namespace lever::host {

// Whether more than this machine reaches it: neither a unix socket nor a loopback address.
bool BeyondLoopback(const rpc::Endpoint& endpoint);
// Whether listening there needs to be allowed: plain, and beyond loopback.
bool NeedsInsecure(const rpc::Endpoint& endpoint);
// What the log is to say of listening there; empty: nothing. `clients_checked`: TLS asks each client for a
// certificate.
std::string ListeningWarning(const rpc::Endpoint& endpoint, bool clients_checked);

class Listeners {
 public:
  using Tls = std::shared_ptr<rpc::TlsServerContext>;
  // Gets each accepted socket, on the accepting loop; without `tls` it is plain.
  using Take = std::function<void(UniqueFd socket, const Tls& tls)>;

  // Binds all of them, or none. INVALID_ARGUMENT: an address that is none, one with "tls:" where `tls` is
  // null, or a plain one beyond loopback without `insecure`.
  static StatusOr<Listeners> Open(Loop* loop, const std::vector<std::string>& addresses,
                                  bool insecure, const Tls& tls, const Take& take);

  // As bound, with the ports that were chosen.
  const std::vector<std::string>& addresses() const { return addresses_; }
  void Close() { listeners_.clear(); }

 private:
  std::vector<std::unique_ptr<rpc::Listener>> listeners_;
  std::vector<std::string> addresses_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_LISTENERS_H_
