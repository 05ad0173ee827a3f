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

namespace lever::host {

// Whether plain listening there needs to be allowed: anything but a unix socket and a loopback address.
bool NeedsInsecure(const rpc::Endpoint& endpoint);

class Listeners {
 public:
  // Gets each accepted socket, on the accepting loop.
  using Take = std::function<void(UniqueFd socket)>;

  // Binds all of them, or none. INVALID_ARGUMENT: an address that is none, or one beyond loopback
  // without `insecure`.
  static StatusOr<Listeners> Open(Loop* loop, const std::vector<std::string>& addresses,
                                  bool insecure, const Take& take);

  // As bound, with the ports that were chosen.
  const std::vector<std::string>& addresses() const { return addresses_; }
  void Close() { listeners_.clear(); }

 private:
  std::vector<std::unique_ptr<rpc::Listener>> listeners_;
  std::vector<std::string> addresses_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_LISTENERS_H_
