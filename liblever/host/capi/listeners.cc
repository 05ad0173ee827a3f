#include "liblever/host/capi/listeners.h"

#include <netinet/in.h>

#include <optional>
#include <utility>

#include "liblever/base/log.h"

namespace lever::host {

bool BeyondLoopback(const rpc::Endpoint& endpoint) {
  if (endpoint.kind == rpc::Endpoint::Kind::kUnix || endpoint.host_or_path == "localhost") {
    return false;
  }
  const std::optional<rpc::SocketAddress> address = rpc::NumericAddress(endpoint);
  if (!address) return true;
  if (address->family() == AF_INET) {
    const auto* ip4 = reinterpret_cast<const sockaddr_in*>(address->get());
    return (ntohl(ip4->sin_addr.s_addr) >> 24) != IN_LOOPBACKNET;
  }
  const auto* ip6 = reinterpret_cast<const sockaddr_in6*>(address->get());
  return !IN6_IS_ADDR_LOOPBACK(&ip6->sin6_addr);
}

bool NeedsInsecure(const rpc::Endpoint& endpoint) {
  return !endpoint.tls && BeyondLoopback(endpoint);
}

std::string ListeningWarning(const rpc::Endpoint& endpoint, bool clients_checked) {
  if (!BeyondLoopback(endpoint) || (endpoint.tls && clients_checked)) return "";
  const std::string who = "whoever reaches " + endpoint.ToString() + " can call and deploy";
  return who + (endpoint.tls ? ": no --tls-client-ca says whose certificates are asked for"
                             : ", unencrypted (--insecure)");
}

StatusOr<Listeners> Listeners::Open(Loop* loop, const std::vector<std::string>& addresses,
                                    bool insecure, const Tls& tls, const Take& take) {
  Listeners listeners;
  for (const std::string& text : addresses) {
    LEVER_ASSIGN_OR_RETURN(const rpc::Endpoint endpoint, rpc::Endpoint::Parse(text));
    if (!insecure && NeedsInsecure(endpoint)) {
      return InvalidArgument("listening on " + text +
                             " would let anybody in the network call and deploy, unencrypted: "
                             "listen on loopback or with tls:, or say --insecure");
    }
    if (endpoint.tls && tls == nullptr) {
      return InvalidArgument("listening on " + text +
                             " needs a certificate and its key: --tls-cert, --tls-key");
    }
    rpc::ListenOptions options;
    if (endpoint.tls) options.tls = tls;
    LEVER_ASSIGN_OR_RETURN(
        auto listener,
        rpc::Listener::Open(loop, endpoint, options,
                            [take, tls = options.tls](UniqueFd socket) {
                              take(std::move(socket), tls);
                            }));
    const bool clients_checked = endpoint.tls && !tls->options().client_roots_file.empty();
    const std::string warning = ListeningWarning(listener->bound(), clients_checked);
    if (!warning.empty()) Log(LogLevel::kWarning, warning);
    listeners.addresses_.push_back(listener->bound().ToString());
    listeners.listeners_.push_back(std::move(listener));
  }
  return listeners;
}

}  // namespace lever::host
