// Introductions: hands the two ends of a new socketpair to two processes of this machine, so that
// calls between them need neither a path, nor a credential, nor the host.
//
// Every process that can be introduced has one SOCK_SEQPACKET socket to the host: an instance that
// the host started inherits it, all others connect to the host's introduction path and show the
// nonce that they were given on their attach or watch stream. A packet is a lever.v1.Introduction
// with exactly one descriptor.
//
// Threads: those of its loop (the control loop).
//
// Invariants
//  1. A nonce opens one socket, once, and only for the peer that it was made for.
//  2. Nothing blocks: a peer whose buffer is full, or that has kUnansweredMax packets unread, does
//     not get the introduction, and who asked for it is told.
//  3. A connection to the path that has not shown a nonce within kNonceTimeoutNs is closed, and
//     there are at most kStrangersMax of them.
#ifndef LIBLEVER_HOST_FLEET_INTRODUCER_H_
#define LIBLEVER_HOST_FLEET_INTRODUCER_H_

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"

namespace lever::fleet {

class Introducer {
 public:
  static constexpr int kUnansweredMax = 64;
  static constexpr int64_t kNonceTimeoutNs = 10 * kNanosPerSecond;
  static constexpr size_t kStrangersMax = 64;
  static constexpr size_t kPacketBytesMax = 4096;

  // Listens on `path`, a socket file that it makes anew. `unreachable` is called with the key of a
  // peer whose socket has ended, `arrived` with the key of one whose socket has come.
  static StatusOr<std::unique_ptr<Introducer>> Open(Loop* loop, std::string path,
                                                    std::function<void(uint64_t key)> arrived,
                                                    std::function<void(uint64_t key)> unreachable);
  ~Introducer();

  const std::string& path() const { return path_; }

  // A peer whose socket the host made itself.
  Status AddPeer(uint64_t key, UniqueFd socket);
  // A peer that will come to the path; returns the nonce that it has to show.
  std::string ExpectPeer(uint64_t key);
  bool Reachable(uint64_t key) const;
  void RemovePeer(uint64_t key);

  // Gives the callee a connection on which `caller` ("" from outside) calls.
  enum class CallerIs : bool { kOther, kHost };
  Status SendIncoming(uint64_t callee, uint64_t id, const std::string& caller, CallerIs kind,
                      const UniqueFd& descriptor);
  // Gives the caller its end.
  Status SendOutgoing(uint64_t caller, uint64_t id, const std::string& instance,
                      const UniqueFd& descriptor);

 private:
  class Listener;
  class Stranger;
  class Peer;

  Introducer(Loop* loop, std::string path, std::function<void(uint64_t)> arrived,
             std::function<void(uint64_t)> unreachable);
  void OnStranger(UniqueFd socket);
  void OnNonce(Stranger* stranger, const std::string& nonce);
  void DropStranger(Stranger* stranger);
  void OnPeerEnded(uint64_t key);
  Status Send(uint64_t key, const std::string& packet, const UniqueFd& descriptor);

  Loop* loop_;
  std::string path_;
  std::function<void(uint64_t)> arrived_;
  std::function<void(uint64_t)> unreachable_;
  std::unique_ptr<Listener> listener_;
  boost::unordered_flat_map<Stranger*, std::unique_ptr<Stranger>> strangers_;
  boost::unordered_flat_map<uint64_t, std::unique_ptr<Peer>> peers_;
  boost::unordered_flat_map<std::string, uint64_t> nonces_;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_INTRODUCER_H_
