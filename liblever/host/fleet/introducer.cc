#include "liblever/host/fleet/introducer.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lever/v1/host.pb.h"
#include "liblever/base/ids.h"
#include "liblever/base/log.h"

namespace lever::fleet {
namespace {

// What the kernel charges a sender for one small packet with a descriptor, rounded up: together
// with the send buffer it bounds how many introductions a peer can leave unread.
constexpr int kPacketCharge = 1024;
constexpr int kSendBufferBytes = Introducer::kUnansweredMax * kPacketCharge;

StatusOr<UniqueFd> ListenOn(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return InvalidArgument("the path " + path +
                           " is too long for a socket: choose a shorter data "
                           "directory");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return ErrnoStatus(errno, "socket");
  ::unlink(path.c_str());
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus(errno, "bind " + path);
  }
  // Whoever may connect still has to show a nonce that the host gave to it alone.
  if (::chmod(path.c_str(), 0666) != 0) return ErrnoStatus(errno, "chmod " + path);
  if (::listen(socket.get(), 64) != 0) return ErrnoStatus(errno, "listen " + path);
  return socket;
}

}  // namespace

// Accepts whoever comes to the path.
class Introducer::Listener final : public IoSource {
 public:
  Listener(Introducer* owner, UniqueFd socket) : owner_(owner), socket_(std::move(socket)) {}
  ~Listener() override { owner_->loop_->Unwatch(this); }
  Status Start() { return owner_->loop_->Watch(socket_.get(), EPOLLIN, this); }

  uint32_t OnReady(uint32_t events) override {
    constexpr int kAcceptsPerTurn = 16;
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      UniqueFd accepted(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!accepted.valid()) {
        // Out of descriptors the connection stays in the backlog until the next one comes.
        if (errno != EINTR && errno != ECONNABORTED) return 0;
        return EPOLLIN;
      }
      owner_->OnStranger(std::move(accepted));
    }
    return EPOLLIN;
  }

 private:
  Introducer* owner_;
  UniqueFd socket_;
};

// A connection that has not shown its nonce yet.
class Introducer::Stranger final : public IoSource, public Timer {
 public:
  Stranger(Introducer* owner, UniqueFd socket) : owner_(owner), socket_(std::move(socket)) {}
  ~Stranger() override { owner_->loop_->Unwatch(this); }
  Status Start() {
    owner_->loop_->Arm(this, DeadlineAfter(owner_->loop_->now_ns(), kNonceTimeoutNs));
    return owner_->loop_->Watch(socket_.get(), EPOLLIN, this);
  }
  UniqueFd TakeSocket() {
    owner_->loop_->Unwatch(this);
    return std::move(socket_);
  }

  uint32_t OnReady(uint32_t events) override {
    std::array<uint8_t, kPacketBytesMax> buffer;
    const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) return EPOLLIN;
    if (size < 0 && errno == EAGAIN) return 0;
    lever::v1::Introduction packet;
    if (size <= 0 || !packet.ParseFromArray(buffer.data(), static_cast<int>(size)) ||
        !packet.has_nonce()) {
      owner_->DropStranger(this);
    } else {
      owner_->OnNonce(this, packet.nonce());
    }
    return 0;
  }
  void OnTimer() override { owner_->DropStranger(this); }

 private:
  Introducer* owner_;
  UniqueFd socket_;
};

// A socket whose other end is known. What a peer says on it is only that it could not take
// something, for which whoever asked falls back to the host by itself.
class Introducer::Peer final : public IoSource {
 public:
  Peer(Introducer* owner, uint64_t key, UniqueFd socket)
      : owner_(owner), key_(key), socket_(std::move(socket)) {}
  ~Peer() override { owner_->loop_->Unwatch(this); }
  Status Start() {
    const int bytes = kSendBufferBytes;
    if (::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) != 0) {
      return ErrnoStatus(errno, "setsockopt SO_SNDBUF");
    }
    return owner_->loop_->Watch(socket_.get(), EPOLLIN | EPOLLRDHUP, this);
  }
  int socket() const { return socket_.get(); }

  uint32_t OnReady(uint32_t events) override {
    std::array<uint8_t, kPacketBytesMax> buffer;
    constexpr int kPacketsPerTurn = 16;
    for (int i = 0; i < kPacketsPerTurn; ++i) {
      const ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == EAGAIN) return 0;
      if (size <= 0) {
        owner_->OnPeerEnded(key_);
        return 0;
      }
    }
    return EPOLLIN;
  }

 private:
  Introducer* owner_;
  uint64_t key_;
  UniqueFd socket_;
};

Introducer::Introducer(Loop* loop, std::string path, std::function<void(uint64_t)> arrived,
                       std::function<void(uint64_t)> unreachable)
    : loop_(loop),
      path_(std::move(path)),
      arrived_(std::move(arrived)),
      unreachable_(std::move(unreachable)) {}

Introducer::~Introducer() {
  listener_.reset();
  ::unlink(path_.c_str());
}

StatusOr<std::unique_ptr<Introducer>> Introducer::Open(Loop* loop, std::string path,
                                                       std::function<void(uint64_t)> arrived,
                                                       std::function<void(uint64_t)> unreachable) {
  LEVER_ASSIGN_OR_RETURN(UniqueFd socket, ListenOn(path));
  std::unique_ptr<Introducer> introducer(
      new Introducer(loop, std::move(path), std::move(arrived), std::move(unreachable)));
  introducer->listener_ = std::make_unique<Listener>(introducer.get(), std::move(socket));
  LEVER_RETURN_IF_ERROR(introducer->listener_->Start());
  return introducer;
}

Status Introducer::AddPeer(uint64_t key, UniqueFd socket) {
  auto peer = std::make_unique<Peer>(this, key, std::move(socket));
  LEVER_RETURN_IF_ERROR(peer->Start());
  peers_[key] = std::move(peer);
  return Status::Ok();
}

std::string Introducer::ExpectPeer(uint64_t key) {
  const Id128 random = Id128::Random();
  std::string nonce(reinterpret_cast<const char*>(random.bytes.data()), random.bytes.size());
  nonces_.emplace(nonce, key);
  return nonce;
}

bool Introducer::Reachable(uint64_t key) const { return peers_.contains(key); }

void Introducer::RemovePeer(uint64_t key) {
  peers_.erase(key);
  boost::unordered::erase_if(nonces_, [key](const auto& entry) { return entry.second == key; });
}

void Introducer::OnStranger(UniqueFd socket) {
  if (strangers_.size() >= kStrangersMax) {
    Log(LogLevel::kWarning, "introductions: too many connections without a nonce, one was closed");
    return;
  }
  auto stranger = std::make_unique<Stranger>(this, std::move(socket));
  if (!stranger->Start().ok()) return;
  Stranger* key = stranger.get();
  strangers_.emplace(key, std::move(stranger));
}

void Introducer::OnNonce(Stranger* stranger, const std::string& nonce) {
  const auto found = nonces_.find(nonce);
  if (found == nonces_.end()) {
    Log(LogLevel::kWarning, "introductions: a connection showed an unknown nonce and was closed");
    DropStranger(stranger);
    return;
  }
  const uint64_t key = found->second;
  nonces_.erase(found);
  const Status added = AddPeer(key, stranger->TakeSocket());
  DropStranger(stranger);
  if (added.ok()) arrived_(key);
}

void Introducer::DropStranger(Stranger* stranger) { strangers_.erase(stranger); }

void Introducer::OnPeerEnded(uint64_t key) {
  peers_.erase(key);
  unreachable_(key);
}

Status Introducer::SendIncoming(uint64_t callee, uint64_t id, const std::string& caller,
                                CallerIs kind, const UniqueFd& descriptor) {
  lever::v1::Introduction packet;
  packet.mutable_incoming()->set_id(id);
  packet.mutable_incoming()->set_caller(caller);
  packet.mutable_incoming()->set_host(kind == CallerIs::kHost);
  return Send(callee, packet.SerializeAsString(), descriptor);
}

Status Introducer::SendOutgoing(uint64_t caller, uint64_t id, const std::string& instance,
                                const UniqueFd& descriptor) {
  lever::v1::Introduction packet;
  packet.mutable_outgoing()->set_id(id);
  packet.mutable_outgoing()->set_instance(instance);
  return Send(caller, packet.SerializeAsString(), descriptor);
}

Status Introducer::Send(uint64_t key, const std::string& packet, const UniqueFd& descriptor) {
  const auto found = peers_.find(key);
  if (found == peers_.end()) return Unavailable("it has no introduction socket");
  const int fd = descriptor.get();
  const Status sent = SendWithFds(
      found->second->socket(),
      std::span(reinterpret_cast<const uint8_t*>(packet.data()), packet.size()), std::span(&fd, 1));
  if (sent.code() == LEVER_WOULD_BLOCK) {
    return ResourceExhausted("it has too many introductions unread");
  }
  return sent;
}

}  // namespace lever::fleet
