// Host names to addresses, off the loop: getaddrinfo() waits for the network.
//
// A process has at most kResolverThreadsMax threads for it, started when a name is first looked up
// and ended when they have been idle. Resolve() is called on the loop, and `done` comes on it.
#ifndef LIBLEVER_RPC_RESOLVER_H_
#define LIBLEVER_RPC_RESOLVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/rpc/endpoint.h"

namespace lever::rpc {

// More than one, so that a name whose servers do not answer holds up no other.
inline constexpr int kResolverThreadsMax = 4;
// Names that wait for a thread; more are refused.
inline constexpr size_t kResolverQueueMax = 256;
inline constexpr int64_t kResolverIdleNs = 10 * kNanosPerSecond;
// Addresses of one name that are tried.
inline constexpr size_t kAddressesMax = 8;

using Addresses = std::vector<SocketAddress>;

// A question that is out. Destroying it takes it back: `done` is not called any more.
class Resolution {
 public:
  using Done = std::function<void(StatusOr<Addresses>)>;

  // `done` is called once, not from inside. UNAVAILABLE if the name has no address,
  // RESOURCE_EXHAUSTED if too many wait.
  static std::unique_ptr<Resolution> Start(Loop* loop, std::string host, uint16_t port, Done done);
  Resolution(const Resolution&) = delete;
  Resolution& operator=(const Resolution&) = delete;
  ~Resolution();

  struct Question;

 private:
  explicit Resolution(std::shared_ptr<Question> question);
  std::shared_ptr<Question> question_;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_RESOLVER_H_
