// One call that goes through the host: a request stream from the caller, a stream to an instance,
// and bytes passed between them without being decoded.
//
// Threads: those of its loop. A Relay owns itself, from Start() until both of its streams have
// closed.
//
// Invariants
//  1. Back-pressure is HTTP/2's own: bytes are given back to the sender's window only when the
//     other side's queue has room, so that a relay holds at most one window and one queue each way.
//  2. The request, up to one stream window, is kept until the first byte of the reply. For a caller
//     that does not retry by itself (no lever-attempt) it is sent again if it surely did not run. For
//     one that does, the host only looks for another instance while not a byte of the call was
//     written to one.
//  3. The caller gets exactly one end: the instance's own, or a status of the host's. The host ends
//     a call at its deadline, whatever the instance does.
#ifndef LIBLEVER_HOST_GATEWAY_RELAY_H_
#define LIBLEVER_HOST_GATEWAY_RELAY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/gateway/router.h"
#include "liblever/rpc/connection.h"

namespace lever::gateway {

struct RelayCounters {
  std::atomic<uint64_t> calls{0};    // that reached an instance
  std::atomic<uint64_t> resends{0};  // attempts after the first
};

class Relay final : public RoutedCall {
 public:
  // Attempts of one call that the host makes for a caller that does not retry by itself.
  static constexpr uint32_t kAttemptsMax = 4;

  // Takes over a request for lever.v1.Lever.
  static void Start(Loop* loop, Router* router, RelayCounters* counters,
                    const fleet::Caller& caller, rpc::Stream& stream);

 private:
  // The caller's stream.
  class Down final : public rpc::StreamHandler {
   public:
    explicit Down(Relay* relay) : relay_(relay) {}
    void OnData(rpc::Stream& stream, Slice data) override { relay_->OnRequestData(std::move(data)); }
    void OnRemoteEnd(rpc::Stream& stream) override { relay_->OnRequestEnd(); }
    void OnWritable(rpc::Stream& stream) override { relay_->ConsumeReply(); }
    void OnClosed(rpc::Stream& stream, const rpc::StreamClose& close) override {
      relay_->OnCallerClosed();
    }

   private:
    Relay* relay_;
  };
  // The instance's stream.
  class Up final : public rpc::StreamHandler {
   public:
    explicit Up(Relay* relay) : relay_(relay) {}
    void OnHeaders(rpc::Stream& stream) override { relay_->OnReplyHeaders(); }
    void OnData(rpc::Stream& stream, Slice data) override { relay_->OnReplyData(std::move(data)); }
    void OnRemoteEnd(rpc::Stream& stream) override { relay_->OnReplyEnd(); }
    void OnWritable(rpc::Stream& stream) override { relay_->ConsumeRequest(); }
    void OnClosed(rpc::Stream& stream, const rpc::StreamClose& close) override {
      relay_->OnInstanceClosed(close);
    }

   private:
    Relay* relay_;
  };

  Relay(Loop* loop, Router* router, RelayCounters* counters, const fleet::Caller& caller,
        rpc::Stream& stream);
  ~Relay() override = default;

  Status ReadRequest(const fleet::Caller& caller);
  void OnRouted(const std::shared_ptr<Backend>& backend) override;
  void OnRefused(const Status& status) override;
  void BuildHeaders();

  void OnRequestData(Slice data);
  void OnRequestEnd();
  void OnCallerClosed();
  void ConsumeRequest();

  void OnReplyHeaders();
  void OnReplyData(Slice data);
  void OnReplyEnd();
  void OnInstanceClosed(const rpc::StreamClose& close);
  void ConsumeReply();

  void ForwardHeaders(rpc::Stream::End end);
  // What an instance may have heard of the attempt that failed.
  enum class Sent : uint8_t { kNothing, kRequest };
  // Looks for an instance once more for a call that surely did not run. False: it may not.
  bool TryAgain(Sent sent);
  void Route();
  void OnDeadline();
  Status StatusOfClose(const rpc::StreamClose& close, bool not_run) const;
  void EndCaller(const Status& status);
  void LeaveInstance();
  void DeleteIfDone();

  Loop* loop_;
  Router* router_;
  RelayCounters* counters_;
  Down down_handler_;
  Up up_handler_;
  rpc::Stream* down_;          // null once closed
  rpc::Stream* up_ = nullptr;  // null while there is none
  std::shared_ptr<Backend> backend_;
  int64_t began_ns_ = 0;

  std::string environment_;
  std::string service_;
  std::string caller_;
  int64_t deadline_ns_ = kNever;
  FunctionTimer deadline_timer_;
  FunctionTimer again_timer_;
  uint32_t attempt_ = 0;
  bool host_retries_ = false;
  rpc::HeaderList headers_;  // to the instance

  std::vector<Slice> kept_;  // of the request, while it may be sent again
  size_t kept_bytes_ = 0;
  bool keeping_ = true;
  bool request_ended_ = false;
  size_t request_unconsumed_ = 0;
  size_t reply_unconsumed_ = 0;
  bool headers_forwarded_ = false;
  bool reply_headers_ = false;  // have come, and wait to be forwarded
  bool ended_ = false;          // the caller has its end
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_RELAY_H_
