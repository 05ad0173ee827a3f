#include "liblever/host/fleet/ready_probe.h"

#include <sys/socket.h>

#include <cstring>

namespace lever::fleet {
namespace {

// Without a listener, TCP may connect a socket to itself if its own port happens to be the one
// asked for.
bool ConnectedToItself(int socket) {
  sockaddr_storage own{};
  sockaddr_storage peer{};
  socklen_t own_size = sizeof(own);
  socklen_t peer_size = sizeof(peer);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 ||
      ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) {
    return false;
  }
  return own.ss_family != AF_UNIX && own_size == peer_size &&
         std::memcmp(&own, &peer, own_size) == 0;
}

}  // namespace

void ReadyProbe::Start() { loop_->Arm(this, loop_->now_ns()); }

void ReadyProbe::Try() {
  connector_ = std::make_unique<rpc::Connector>(
      loop_, endpoint_, DeadlineAfter(loop_->now_ns(), kTryTimeoutNs),
      [this](StatusOr<UniqueFd> result) { OnResult(std::move(result)); });
  connector_->Start();
}

// Inside the connector, which stays until the timer.
void ReadyProbe::OnResult(StatusOr<UniqueFd> result) {
  answered_ = result.ok() && !ConnectedToItself(result->get());
  loop_->Arm(this, answered_ ? loop_->now_ns() : DeadlineAfter(loop_->now_ns(), kIntervalNs));
}

void ReadyProbe::OnTimer() {
  connector_.reset();
  if (answered_) {
    const std::function<void()> ready = ready_;
    ready();
  } else {
    Try();
  }
}

}  // namespace lever::fleet
