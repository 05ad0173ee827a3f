// The host's end of its lever-spawner: the process, the socket, and what waits to be sent.
//
// Threads: those of its loop. Open(), AwaitWelcome() and the destructor wait, with limits.
//
// Invariants
//  1. The spawner gets descriptors 0 (/dev/null), 1 and 2 (the host's stderr) and its socket,
//     whatever the process that embeds the host has open; no environment; a session of its own, so
//     that what a terminal sends to the host's group does not reach it.
//  2. Packets go out in order. What the socket does not take waits here.
//  3. OnSpawnerEnd() comes once, from the loop, and is the last that the handler hears.
#ifndef LIBLEVER_HOST_FLEET_SPAWNER_LINK_H_
#define LIBLEVER_HOST_FLEET_SPAWNER_LINK_H_

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/host/fleet/spawner_protocol.h"

namespace lever::fleet {

class SpawnerLink final : private IoSource, private Timer {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A message of the spawner, but for kWelcome.
    virtual void OnSpawnerPacket(const SpawnerHeader& header, std::string_view packet,
                                 std::vector<UniqueFd> fds) = 0;
    // It has gone, or what it says cannot be understood. The handler may destroy the link in here.
    virtual void OnSpawnerEnd(const Status& status) = 0;
  };

  // While the socket's buffer or the kernel's count of descriptors in flight is full.
  static constexpr int64_t kResendNs = 5 * kNanosPerMilli;
  // How long the destructor lets the spawner end everything before it kills the spawner.
  static constexpr int64_t kEndTimeoutNs = 3 * kNanosPerSecond;
  static constexpr int kPacketsPerTurn = 32;

  // Starts the program at `path` and says hello.
  static StatusOr<std::unique_ptr<SpawnerLink>> Open(Loop* loop, const std::string& path,
                                                     const HelloMessage& hello, Handler* handler);
  // Ends the spawner with everything that it started, and waits for it.
  ~SpawnerLink() override;

  // Waits for kWelcome, which is the first message of every spawner. For setting up; without, the
  // loop takes it.
  Status AwaitWelcome(int64_t timeout_ns);
  const WelcomeMessage& welcome() const { return welcome_; }
  pid_t pid() const { return pid_; }

  void Send(std::string packet, std::vector<UniqueFd> fds = {});

 private:
  struct Outgoing {
    std::string packet;
    std::vector<UniqueFd> fds;
  };

  SpawnerLink(Loop* loop, Handler* handler) : loop_(loop), handler_(handler) {}
  Status Spawn(const std::string& path);
  uint32_t OnReady(uint32_t events) override;
  void OnTimer() override;
  void Flush();
  // Takes one packet. False: there is none, or the link has ended.
  bool ReceiveOne();
  void End(Status status);
  void AwaitEnd();

  Loop* const loop_;
  Handler* const handler_;
  UniqueFd socket_;
  UniqueFd pidfd_;  // -1 where the kernel has none
  pid_t pid_ = 0;
  WelcomeMessage welcome_;
  bool welcomed_ = false;
  bool ended_ = false;
  std::string path_;
  std::vector<char> buffer_;
  std::deque<Outgoing> outbox_;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_SPAWNER_LINK_H_
