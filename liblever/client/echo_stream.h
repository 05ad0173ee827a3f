// A stream of a client in echo mode: its own messages come back, and it ends when it is closed.
//
// Credit, the limit on queued bytes and the order of events are those of a real stream, so that
// bindings are tested without a network. Threads: used only by who holds the loop's word. A stream owns
// itself until its OnEnd().
#ifndef LIBLEVER_CLIENT_ECHO_STREAM_H_
#define LIBLEVER_CLIENT_ECHO_STREAM_H_

#include <deque>
#include <optional>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/client/client.h"
#include "liblever/client/client_impl.h"
#include "liblever/route/stream_core.h"

namespace lever::client {

class EchoStream final : public ClientStream, public Live, private Timer {
 public:
  EchoStream(ClientImpl* client, const Request& request, StreamHandler* handler);
  ~EchoStream() override = default;

  Status Write(Kind kind, SliceList payload) override;
  size_t queued_bytes() const override { return queued_bytes_; }
  void WantWritable() override;
  void Read(uint64_t messages, uint64_t bytes) override;
  void CloseSend() override;
  void Cancel(const Status& status) override;
  void Abandon() override { Cancel(Cancelled("the client was closed")); }

 private:
  // Messages given back in one turn.
  static constexpr int kMessagesPerTurn = 64;

  void Soon();
  void OnTimer() override;
  void Complete(Status status);

  ClientImpl* const client_;
  StreamHandler* const handler_;
  route::ReadCredit credit_;
  uint64_t granted_ = 0;  // messages that may be delivered
  std::deque<std::pair<Kind, SliceList>> queue_;
  size_t queued_bytes_ = 0;
  bool writable_wanted_ = false;
  bool send_closed_ = false;
  bool ended_ = false;
  std::optional<Status> cancelled_;
};

}  // namespace lever::client

#endif  // LIBLEVER_CLIENT_ECHO_STREAM_H_
