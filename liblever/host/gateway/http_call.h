// A call that the host makes for a caller that speaks HTTP: finds an instance, calls it, and sends
// again what surely did not run. The host is the library here.
//
// Threads: those of its loop.
//
// Invariants
//  1. Start() is followed by exactly one OnCallEnd(), last, which may come before Start() returns.
//     Cancel() does not call it from inside; it then comes only where Cancel() returned kLater.
//  2. What was written is kept until the reply begins, up to kept_bytes_max, and sent again if the
//     attempt surely did not run (or may have run, and the caller said that it is idempotent): at
//     most Relay::kAttemptsMax attempts within the deadline, under the service's retry budget. What
//     an instance refused because it is full waits for room instead, and is not counted.
//  3. Nothing but OnCallReady() is told of an attempt that is made again.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_CALL_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_CALL_H_

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/host/gateway/relay.h"
#include "liblever/host/gateway/router.h"
#include "liblever/policy/address.h"
#include "liblever/route/envelope.h"
#include "liblever/rpc/call.h"

namespace lever::gateway {

struct HttpCallRequest {
  policy::Address address;  // with its environment
  VersionWish wish;
  std::string caller;       // "lever://env/service" of an attached instance; empty for anybody else
  rpc::HeaderList metadata;
  int64_t deadline_ns = kNever;
  bool idempotent = false;
  bool streams = false;
  size_t kept_bytes_max = 0;
};

class HttpCallHandler {
 public:
  virtual ~HttpCallHandler() = default;
  // An instance takes what is written from now on.
  virtual void OnCallReady() {}
  // The method has begun to answer.
  virtual void OnCallHeaders() {}
  virtual void OnCallMessage(route::Envelope message) = 0;
  virtual void OnCallWritable() {}
  virtual void OnCallEnd(const Status& status) = 0;
};

class HttpCall final : private RoutedCall, private rpc::CallHandler {
 public:
  HttpCall(Loop* loop, Router* router, RelayCounters* counters, HttpCallHandler* handler)
      : loop_(loop),
        router_(router),
        counters_(counters),
        handler_(handler),
        again_timer_([this] { RouteNow(); }) {}
  ~HttpCall() override = default;

  void Start(HttpCallRequest request);
  // Before or after Start(); not after CloseSend().
  void Write(route::Kind kind, SliceList payload);
  void CloseSend();
  // Credit for one more message.
  void Read();
  // False also while there is no instance.
  bool Writable() const { return call_ != nullptr && call_->Writable(); }
  enum class End : uint8_t { kNow, kLater };
  End Cancel(const Status& status);
  bool running() const { return running_; }

 private:
  void OnRouted(const std::shared_ptr<Backend>& backend) override;
  void OnRefused(const Status& status) override;

  void OnHeaders(rpc::Call& call) override;
  void OnMessage(rpc::Call& call, SliceList message) override;
  void OnWritable(rpc::Call& call) override;
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;

  void Route();
  // After an attempt that is made again.
  void RouteNow();
  bool TryWaiting(const rpc::CallEnd& end);
  void BuildHeaders();
  void ReplyBegins();
  // What an instance may have heard of the attempt that failed.
  enum class Sent : uint8_t { kNothing, kRequest };
  bool TryAgain(const Status& status, Sent sent);
  void LeaveInstance();
  void Finish(const Status& status);

  Loop* loop_;
  Router* router_;
  RelayCounters* counters_;
  HttpCallHandler* handler_;
  HttpCallRequest request_;
  std::string url_;
  std::optional<uint64_t> resource_hash_;
  rpc::HeaderList headers_;  // the host's own
  rpc::Call* call_ = nullptr;
  std::shared_ptr<Backend> backend_;
  int64_t began_ns_ = 0;
  uint32_t attempt_ = 0;
  uint32_t refused_full_ = 0;  // of the attempts
  bool waits_for_room_ = false;
  uint64_t credit_ = 0;  // of the attempt that is to begin
  FunctionTimer again_timer_;
  boost::container::small_vector<SliceList, 1> kept_;
  size_t kept_bytes_ = 0;
  bool keeping_ = true;
  bool send_closed_ = false;
  bool running_ = false;
  bool cancelled_ = false;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_CALL_H_
