// One call with one request and one reply, answered now or later.
//
// Threads: those of the call's loop. It owns itself until its call has ended; whoever answers later
// keeps a share, and what he answers after the end is dropped.
#ifndef LIBLEVER_HOST_ADMIN_UNARY_CALL_H_
#define LIBLEVER_HOST_ADMIN_UNARY_CALL_H_

#include <google/protobuf/message.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/rpc/call.h"

namespace lever::admin {

// Whether the bytes are a message of that type.
bool ParseMessage(const SliceList& bytes, google::protobuf::Message* message);
SliceList SerializeMessage(const google::protobuf::Message& message);

class UnaryCall final : public rpc::CallHandler, public std::enable_shared_from_this<UnaryCall> {
 public:
  using Serve = std::function<void(const std::shared_ptr<UnaryCall>&, const SliceList& request)>;

  static void Accept(rpc::Call& call, Serve serve);
  // `serve(unary, request)` with the parsed request.
  template <typename Request, typename Function>
  static void AcceptAs(rpc::Call& call, Function serve) {
    Accept(call, [serve = std::move(serve)](const std::shared_ptr<UnaryCall>& unary,
                                            const SliceList& bytes) {
      Request request;
      if (!ParseMessage(bytes, &request)) {
        unary->Fail(InvalidArgument("the request is not a " + Request::descriptor()->full_name())
                        .WithExecuted(LEVER_EXECUTED_NO));
        return;
      }
      serve(unary, request);
    });
  }

  // One of them, once.
  void Reply(const google::protobuf::Message& message);
  void Fail(const Status& status);

  void OnMessage(rpc::Call& call, SliceList message) override;
  void OnPeerEnd(rpc::Call& call) override;
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;

 private:
  UnaryCall(rpc::Call& call, Serve serve) : call_(&call), serve_(std::move(serve)) {}

  rpc::Call* call_;
  Serve serve_;
  bool asked_ = false;
  std::shared_ptr<UnaryCall> self_;
};

}  // namespace lever::admin

#endif  // LIBLEVER_HOST_ADMIN_UNARY_CALL_H_
