// The introduction socket: where a host hands over connected sockets, one a packet (SOCK_SEQPACKET).
//
// Threads: used only by who holds the loop's word.
//
// Invariants
//  1. A packet that was cut short, that has no descriptor or another thing than a stream socket is a
//     failed introduction: it is answered by its id if that can be read, its descriptors are closed,
//     and the socket goes on.
//  2. Nothing here waits: an answer that does not fit in the socket's buffer is dropped, and the
//     host's own time limit ends that introduction.
//  3. The handler gets OnIntroductionsClosed() once, when the host has closed the socket.
#ifndef LIBLEVER_ROUTE_INTRODUCTION_H_
#define LIBLEVER_ROUTE_INTRODUCTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/route/watch_messages.h"

namespace lever::route {

class IntroductionSocket;

class IntroductionHandler {
 public:
  virtual ~IntroductionHandler() = default;
  virtual void OnIntroduction(IntroductionSocket& from, Introduction introduction,
                              UniqueFd socket) = 0;
  // `id` is 0 where it could not be read.
  virtual void OnIntroductionLost(IntroductionSocket& from, uint64_t id) = 0;
  // The handler may destroy the socket in here.
  virtual void OnIntroductionsClosed(IntroductionSocket& from) = 0;
};

class IntroductionSocket final : public IoSource {
 public:
  // Packets handled in one turn.
  static constexpr int kPacketsPerTurn = 16;

  // Over a socket that was inherited.
  static StatusOr<std::unique_ptr<IntroductionSocket>> Over(Loop* loop, UniqueFd socket,
                                                            IntroductionHandler* handler);
  // Connects to the host's socket at `path` and shows the nonce.
  static StatusOr<std::unique_ptr<IntroductionSocket>> Connect(Loop* loop, const std::string& path,
                                                               std::string_view nonce,
                                                               IntroductionHandler* handler);
  ~IntroductionSocket() override;

  // Tells the host that an introduction could not be used.
  void Refuse(uint64_t id);

  uint32_t OnReady(uint32_t events) override;

 private:
  IntroductionSocket(Loop* loop, UniqueFd socket, IntroductionHandler* handler)
      : loop_(loop), socket_(std::move(socket)), handler_(handler) {}
  void Lost(uint64_t id);

  Loop* loop_;
  UniqueFd socket_;
  IntroductionHandler* handler_;
};

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_INTRODUCTION_H_
