// A unary call of a client's, from its start to its one completion.
//
// Threads: used only by who holds the loop's word. Calls are pooled by their client.
#ifndef LIBLEVER_CLIENT_UNARY_CALL_H_
#define LIBLEVER_CLIENT_UNARY_CALL_H_

#include <memory>

#include "liblever/base/loop.h"
#include "liblever/client/attempts.h"
#include "liblever/client/client.h"
#include "liblever/client/client_impl.h"
#include "liblever/rpc/call.h"

namespace lever::client {

class UnaryCallImpl final : public UnaryCall, public Live, private rpc::CallHandler, private Timer {
 public:
  explicit UnaryCallImpl(ClientImpl* client) : client_(client) {}

  // `target` is null for gRPC pass-through.
  void Begin(std::shared_ptr<Target> target, Request request, int64_t deadline_ns,
             UnaryHandler* handler);
  void Cancel() override;
  void Abandon() override { Cancel(); }

 private:
  enum class Phase : uint8_t {
    kFree,
    kRunning,  // an attempt is under way
    kWaiting,  // for the next attempt
    kEnding,   // `outcome_` is decided and is told by the timer
  };

  void StartAttempt();
  void OnMessage(rpc::Call& call, SliceList message) override;
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;
  void OnTimer() override;
  Outcome OutcomeOf(const rpc::CallEnd& end);
  void EndLater(Outcome outcome);
  void Complete(Outcome outcome);

  ClientImpl* const client_;
  Phase phase_ = Phase::kFree;
  UnaryHandler* handler_ = nullptr;
  rpc::Call* call_ = nullptr;
  Attempts attempts_;
  Kind kind_ = Kind::kNone;
  SliceList payload_;  // kept for the next attempt
  bool has_reply_ = false;
  bool cancelled_ = false;
  Kind reply_kind_ = Kind::kNone;
  SliceList reply_;
  Outcome outcome_;  // kEnding
};

}  // namespace lever::client

#endif  // LIBLEVER_CLIENT_UNARY_CALL_H_
