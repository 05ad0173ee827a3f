// A listening socket: accepts a bounded number of connections a turn and hands them on.
//
// Threads: those of its loop. It may be destroyed at any time, in its callback too.
#ifndef LIBLEVER_RPC_LISTENER_H_
#define LIBLEVER_RPC_LISTENER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/rpc/endpoint.h"
#include "liblever/rpc/server.h"

namespace lever::rpc {

inline constexpr int kAcceptsPerTurn = 16;
// Before it looks again when there are no descriptors, not even the spare one.
inline constexpr int64_t kAcceptRetryNs = 100 * kNanosPerMilli;

class Listener final : private IoSource, private Timer {
 public:
  using Accepted = std::function<void(UniqueFd)>;

  static StatusOr<std::unique_ptr<Listener>> Open(Loop* loop, const Endpoint& endpoint,
                                                  const ListenOptions& options, Accepted accepted);
  ~Listener() override;

  const Endpoint& bound() const { return bound_; }
  uint64_t refused() const { return refused_; }

 private:
  Listener(Loop* loop, Accepted accepted) : loop_(loop), accepted_(std::move(accepted)) {}
  Status OpenTcp(const Endpoint& endpoint, const ListenOptions& options);
  Status OpenUnix(const Endpoint& endpoint, const ListenOptions& options);
  // Whether somebody may be waiting still.
  bool RefuseOne();
  void OpenSpare();

  uint32_t OnReady(uint32_t events) override;
  void OnTimer() override;

  Loop* const loop_;
  Accepted accepted_;
  Endpoint bound_;
  UniqueFd socket_;
  // Held for the moment in which there are no other descriptors: it makes room to accept a
  // connection and close it, where the peer would otherwise wait and the listener be ready for
  // ever.
  UniqueFd spare_;
  uint64_t refused_ = 0;
  bool* destroyed_ = nullptr;  // set while accepted_ runs
  // Which file is ours to remove.
  bool owns_path_ = false;
  dev_t path_device_ = 0;
  ino_t path_inode_ = 0;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_LISTENER_H_
