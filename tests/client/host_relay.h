// What a host does with a stream that comes through it: the fake host hands it on to an instance, message by
// message, and does not send it again.
#ifndef TESTS_CLIENT_HOST_RELAY_H_
#define TESTS_CLIENT_HOST_RELAY_H_

#include <string>
#include <string_view>
#include <utility>

#include "liblever/route/wire.h"
#include "liblever/rpc/call.h"
#include "liblever/rpc/channel.h"

namespace lever::client {

// Owns itself until both calls have ended.
class HostRelay final {
 public:
  // `generation` is put in place of what the caller knows.
  static void Start(rpc::Call& from_caller, rpc::Channel& instance, const std::string& generation) {
    new HostRelay(from_caller, instance, generation);
  }

 private:
  struct Side final : public rpc::CallHandler {
    explicit Side(HostRelay* its_relay) : relay(its_relay) {}
    void OnHeaders(rpc::Call& call) override {
      if (Other().call != nullptr) Other().call->SendHeaders(&call.headers());
    }
    void OnMessage(rpc::Call&, SliceList message) override {
      if (Other().call != nullptr) Other().call->Write(std::move(message));
    }
    void OnPeerEnd(rpc::Call&) override {
      if (Other().call != nullptr) Other().call->CloseSend();
    }
    void OnEnd(rpc::Call&, const rpc::CallEnd& end) override {
      call = nullptr;
      Side& other = Other();
      if (other.call == nullptr) {
        delete relay;
      } else if (&other == &relay->down_) {
        other.call->Finish(end.status, end.trailers);
      } else {
        other.call->Cancel(end.status.ok() ? Cancelled("the caller has gone") : end.status);
      }
    }
    Side& Other() { return this == &relay->down_ ? relay->up_ : relay->down_; }

    HostRelay* const relay;
    rpc::Call* call = nullptr;
  };

  HostRelay(rpc::Call& from_caller, rpc::Channel& instance, const std::string& generation) {
    rpc::HeaderList headers;
    for (size_t i = 0; i < from_caller.headers().size(); ++i) {
      const rpc::HeaderView field = from_caller.headers()[i];
      if (field.name != route::kGenerationHeader) headers.Add(field.name, field.value);
    }
    headers.Add(route::kGenerationHeader, generation);
    rpc::CallOptions options;
    options.path = route::kStreamPath;
    options.headers = &headers;
    options.initial_credit_messages = UINT64_MAX;
    down_.call = &from_caller;
    from_caller.set_handler(&down_);
    up_.call = instance.StartCall(options, &up_);
    from_caller.Read(UINT64_MAX);
  }

  Side down_{this};  // the caller's
  Side up_{this};    // the instance's
};

}  // namespace lever::client

#endif  // TESTS_CLIENT_HOST_RELAY_H_
