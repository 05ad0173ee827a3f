// One long gRPC stream to the host (attach, watch), kept up: when it ends it is opened again, with
// back-off, as long as the channel can reconnect.
//
// Threads: used only by who holds the loop's word.
//
// Invariants
//  1. OnSessionOpen() and OnSessionEnd() alternate, beginning with OnSessionOpen(); messages come
//     between them.
//  2. After Stop() the handler is not called any more, and may go.
//  3. The back-off grows from kReconnectMinNs to kReconnectMaxNs, each wait with +-20 % of jitter, and
//     begins anew after Established().
#ifndef LIBLEVER_ROUTE_HOST_SESSION_H_
#define LIBLEVER_ROUTE_HOST_SESSION_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "liblever/base/loop.h"
#include "liblever/base/status.h"

namespace lever {
class Random;
namespace rpc {
class Channel;
}  // namespace rpc
}  // namespace lever

namespace lever::route {

class HostSessionHandler {
 public:
  virtual ~HostSessionHandler() = default;
  // The stream was started: the hello is to be sent.
  virtual void OnSessionOpen() = 0;
  virtual void OnSessionMessage(std::string_view message) = 0;
  // `final`: it is not opened again, because the channel is closed for good.
  virtual void OnSessionEnd(const Status& status, bool final) = 0;
};

// The wait before asking again a host that does not know this kind of session (UNIMPLEMENTED).
inline constexpr int64_t kUnknownSessionWaitNs = 60 * kNanosPerSecond;

class HostSession final : public Timer {
 public:
  // All pointers outlive the session. `path` is a constant of wire.h.
  HostSession(Loop* loop, rpc::Channel* channel, std::string_view path, Random* random,
              HostSessionHandler* handler);
  ~HostSession() override;

  void Start();
  bool open() const { return call_ != nullptr; }
  // Dropped while it is not open.
  void Send(std::string_view message);
  // The host has answered the hello.
  void Established() { failures_ = 0; }
  // Ends the stream that is open, as broken: OnSessionEnd() follows, and it is opened again.
  void Fail(const Status& status);
  // No more messages from us, and not opened again. OnSessionEnd() with `final` follows.
  void Finish();
  void Stop();

  void OnTimer() override;

 private:
  class StreamCall;

  void Open();
  void OnEnd(const Status& status);
  int64_t NextWaitNs(const Status& status);

  Loop* loop_;
  rpc::Channel* channel_;
  std::string_view path_;
  Random* random_;
  HostSessionHandler* handler_;
  StreamCall* call_ = nullptr;  // owns itself; null while waiting
  bool finishing_ = false;
  uint32_t failures_ = 0;
};

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_HOST_SESSION_H_
