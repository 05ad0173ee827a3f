#include "liblever/host/scale/health_call.h"

#include <utility>

#include "liblever/route/stream_core.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/call.h"
#include "liblever/rpc/endpoint.h"
#include "liblever/value/json.h"

namespace lever::scale {
namespace {

// The empty array: no arguments.
constexpr char kNoArguments[] = "\x90";
// Of the method's own error, for people.
constexpr size_t kErrorBytesMax = 1000;

std::string ErrorText(const route::Envelope& envelope) {
  const Slice bytes = Flatten(envelope.payload);
  std::string text(bytes.view());
  if (envelope.kind == route::Kind::kErrorValue) {
    StatusOr<std::string> json = value::MessagePackToJson(bytes.view());
    text = json.ok() ? std::move(*json) : json.status().message();
  }
  return text.substr(0, kErrorBytesMax);
}

}  // namespace

// Owns itself: the call outlives its channel by a moment.
class HealthCall::Answer final : public rpc::CallHandler {
 public:
  Answer(Loop* loop, std::weak_ptr<std::function<void(Status)>> done)
      : loop_(loop), done_(std::move(done)) {}

  void OnMessage(rpc::Call& call, SliceList message) override {
    const StatusOr<route::Envelope> envelope =
        route::OpenMessage(std::move(message), route::Framing::kEnvelope);
    if (!envelope.ok()) {
      error_ = Internal("its answer is broken: " + envelope.status().message());
    } else if (IsError(envelope->kind)) {
      error_ = Unavailable("it ended with an error: " + ErrorText(*envelope));
    }
    answered_ = true;
  }
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override {
    Status status = end.status.ok() ? error_ : end.status;
    if (status.ok() && !answered_) status = Internal("it ended without an answer");
    loop_->Post([done = done_, status = std::move(status)] {
      if (const auto alive = done.lock()) (*alive)(status);
    });
    delete this;
  }

 private:
  Loop* const loop_;
  const std::weak_ptr<std::function<void(Status)>> done_;
  bool answered_ = false;
  Status error_;
};

HealthCall::HealthCall(Loop* loop, std::unique_ptr<rpc::Channel> channel, const std::string& url,
                       int64_t deadline_ns, std::function<void(Status)> done)
    : channel_(std::move(channel)),
      done_(std::make_shared<std::function<void(Status)>>(std::move(done))) {
  rpc::HeaderList headers;
  headers.Add(route::kProtoHeader, route::kProtoVersion);
  headers.Add(route::kUrlHeader, url);
  rpc::CallOptions options;
  options.path = route::kInvokePath;
  options.deadline_ns = deadline_ns;
  options.headers = &headers;
  options.initial_credit_messages = 1;
  rpc::Call* call = channel_->StartCall(options, new Answer(loop, done_));
  SliceList arguments;
  arguments.push_back(Slice::Copy(kNoArguments));
  call->Write(route::WriteEnvelope(route::Kind::kValue, std::move(arguments)));
  call->CloseSend();
}

StatusOr<std::unique_ptr<HealthCall>> HealthCall::Over(Loop* loop, UniqueFd socket,
                                                       const std::string& url, int64_t deadline_ns,
                                                       std::function<void(Status)> done) {
  LEVER_ASSIGN_OR_RETURN(auto channel, rpc::Channel::Over(loop, std::move(socket)));
  return std::unique_ptr<HealthCall>(
      new HealthCall(loop, std::move(channel), url, deadline_ns, std::move(done)));
}

StatusOr<std::unique_ptr<HealthCall>> HealthCall::To(Loop* loop, const std::string& address,
                                                     const std::string& url, int64_t deadline_ns,
                                                     std::function<void(Status)> done) {
  LEVER_ASSIGN_OR_RETURN(rpc::Endpoint endpoint, rpc::Endpoint::Parse(address));
  return std::unique_ptr<HealthCall>(
      new HealthCall(loop, rpc::Channel::To(loop, endpoint), url, deadline_ns, std::move(done)));
}

}  // namespace lever::scale
