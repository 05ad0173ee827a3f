#include "liblever/host/admin/unary_call.h"

#include <limits>

namespace lever::admin {

bool ParseMessage(const SliceList& bytes, google::protobuf::Message* message) {
  const Slice flat = Flatten(bytes);
  return flat.size() <= static_cast<size_t>(std::numeric_limits<int>::max()) &&
         message->ParseFromArray(flat.data(), static_cast<int>(flat.size()));
}

SliceList SerializeMessage(const google::protobuf::Message& message) {
  SliceList slices;
  slices.push_back(Slice::Copy(message.SerializeAsString()));
  return slices;
}

void UnaryCall::Accept(rpc::Call& call, Serve serve) {
  const std::shared_ptr<UnaryCall> unary(new UnaryCall(call, std::move(serve)));
  unary->self_ = unary;
  call.set_handler(unary.get());
  call.Read(1);
}

void UnaryCall::Reply(const google::protobuf::Message& message) {
  if (call_ == nullptr) return;
  rpc::Call* const call = std::exchange(call_, nullptr);
  call->Write(SerializeMessage(message));
  call->Finish(Status::Ok());
}

void UnaryCall::Fail(const Status& status) {
  if (call_ == nullptr) return;
  std::exchange(call_, nullptr)->Finish(status);
}

void UnaryCall::OnMessage(rpc::Call& call, SliceList message) {
  asked_ = true;
  const std::shared_ptr<UnaryCall> self = shared_from_this();
  serve_(self, message);
}

void UnaryCall::OnPeerEnd(rpc::Call& call) {
  if (!asked_) Fail(InvalidArgument("the call has no request").WithExecuted(LEVER_EXECUTED_NO));
}

void UnaryCall::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  const std::shared_ptr<UnaryCall> last = std::move(self_);
}

}  // namespace lever::admin
