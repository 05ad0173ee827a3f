#include "liblever/host/gateway/grpc_reply.h"

#include <string>

#include "liblever/route/wire.h"
#include "liblever/rpc/call.h"
#include "liblever/rpc/percent.h"

namespace lever::gateway {
namespace {

class Ignoring final : public rpc::StreamHandler {
 public:
  void OnData(rpc::Stream& stream, Slice data) override { stream.Consume(data.size()); }
  void OnRemoteEnd(rpc::Stream& stream) override {}
  void OnClosed(rpc::Stream& stream, const rpc::StreamClose& close) override {}
};

}  // namespace

rpc::StreamHandler* IgnoreRequest() {
  static Ignoring ignoring;  // stateless, so that all streams may share it
  return &ignoring;
}

void SendGrpcStatus(rpc::Stream& stream, const Status& status, HeadersSent sent) {
  rpc::HeaderList fields;
  if (sent == HeadersSent::kNo) {
    fields.Add(":status", "200");
    fields.Add("content-type", "application/grpc");
  }
  fields.Add("grpc-status", std::to_string(StatusToGrpc(status.code())));
  if (!status.message().empty()) {
    fields.Add("grpc-message", rpc::EncodeGrpcMessage(status.message()));
  }
  if (status.executed() == LEVER_EXECUTED_NO) {
    fields.Add(rpc::kExecutedTrailer, rpc::kExecutedNo);
    if (status.code() == LEVER_RESOURCE_EXHAUSTED) {
      fields.Add(route::kPushbackTrailer, std::to_string(kRetryAfterSeconds * 1000));
    }
  }
  if (sent == HeadersSent::kNo) {
    stream.SendHeaders(fields, rpc::Stream::End::kYes);
  } else {
    stream.EndWithTrailers(fields);
  }
}

}  // namespace lever::gateway
