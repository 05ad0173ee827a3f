// Interop server on liblever/rpc. Flags as grpc-go's: --port, --use_tls, --tls_cert_file,
// --tls_key_file.

#include <csignal>
#include <deque>
#include <iostream>
#include <memory>
#include <string>

#include "liblever/base/loop.h"
#include "liblever/rpc/server.h"
#include "tests/interop/flags.h"
#include "tests/interop/lever/service.h"

namespace interop {
namespace {

using grpc::testing::ResponseParameters;
using grpc::testing::SimpleRequest;
using grpc::testing::SimpleResponse;
using grpc::testing::StreamingInputCallRequest;
using grpc::testing::StreamingInputCallResponse;
using grpc::testing::StreamingOutputCallRequest;
using grpc::testing::StreamingOutputCallResponse;
using lever::Status;
using lever::rpc::Call;
using lever::rpc::CallEnd;
using lever::rpc::Compress;
using lever::rpc::Compression;
using lever::rpc::HeaderList;

// One call that has come in; it owns itself until its end.
class ServedCall : public lever::rpc::CallHandler {
 public:
  explicit ServedCall(Call& call) {
    if (const auto echoed = call.headers().Find(kInitialKey)) initial_.Add(kInitialKey, *echoed);
    if (const auto echoed = call.headers().Find(kTrailingKey)) trailing_.Add(kTrailingKey, *echoed);
  }

  void OnEnd(Call&, const CallEnd&) override { delete this; }

 protected:
  const HeaderList& initial() const { return initial_; }

  void Finish(Call& call, const Status& status = Status::Ok()) {
    finished_ = true;
    call.Finish(status, &trailing_);
  }
  bool finished() const { return finished_; }

  // The message, if the call is not over and it can be read.
  template <typename Message>
  bool Parse(Call& call, const lever::SliceList& slices, Message* message) {
    if (finished_) return false;
    if (message->ParseFromString(lever::Concat(slices))) return true;
    Finish(call, lever::Internal("the message cannot be parsed"));
    return false;
  }

  // Refuses a message that did not come as the client says that it sent it.
  template <typename Message>
  bool RefuseCompression(Call& call, const Message& request) {
    if (!request.has_expect_compressed()) return false;
    const bool came = call.message_was_compressed();
    if (came == request.expect_compressed().value()) return false;
    Finish(call, lever::InvalidArgument(came ? "the message was compressed"
                                             : "the message was not compressed"));
    return true;
  }

  // What the request's response_status asks for, if it does.
  template <typename Message>
  bool EchoStatus(Call& call, const Message& request) {
    const auto& wanted = request.response_status();
    if (wanted.code() == 0) return false;
    Finish(call, Status(lever::StatusFromGrpc(wanted.code()), wanted.message()));
    return true;
  }

 private:
  HeaderList initial_;
  HeaderList trailing_;
  bool finished_ = false;
};

class EmptyCall : public ServedCall {
 public:
  using ServedCall::ServedCall;
  void OnMessage(Call& call, lever::SliceList) override {
    call.Write({});
    Finish(call);
  }
};

class UnaryCall : public ServedCall {
 public:
  using ServedCall::ServedCall;
  void OnMessage(Call& call, lever::SliceList message) override {
    SimpleRequest request;
    if (!Parse(call, message, &request) || RefuseCompression(call, request)) return;
    if (request.response_compressed().value()) call.set_compression(Compression::kGzip);
    if (!initial().empty()) call.SendHeaders(&initial());
    if (EchoStatus(call, request)) return;
    call.Write(ToSlices(WithZeros<SimpleResponse>(request.response_size())));
    Finish(call);
  }
};

class StreamingInputCall : public ServedCall {
 public:
  using ServedCall::ServedCall;
  void OnMessage(Call& call, lever::SliceList message) override {
    StreamingInputCallRequest request;
    if (!Parse(call, message, &request) || RefuseCompression(call, request)) return;
    total_ += static_cast<int>(request.payload().body().size());
  }
  void OnPeerEnd(Call& call) override {
    if (finished()) return;
    StreamingInputCallResponse response;
    response.set_aggregated_payload_size(total_);
    call.Write(ToSlices(response));
    Finish(call);
  }

 private:
  int total_ = 0;
};

// The three methods that answer with a stream. They differ in when they answer: at once, or when
// the client has sent all.
class OutputCall : public ServedCall {
 public:
  enum class Answers { kAtOnce, kAtTheEnd };

  OutputCall(Call& call, lever::Loop* loop, Answers answers)
      : ServedCall(call), loop_(loop), answers_(answers), call_(call) {
    call.set_compression(Compression::kGzip);  // of those responses that are asked for compressed
    // At once, and not with the first response: the client may wait for them.
    call.SendHeaders(&initial());
  }

  void OnMessage(Call& call, lever::SliceList message) override {
    StreamingOutputCallRequest request;
    if (!Parse(call, message, &request) || EchoStatus(call, request)) return;
    for (const auto& wanted : request.response_parameters()) waiting_.push_back(wanted);
    if (answers_ == Answers::kAtOnce) Respond();
  }
  void OnPeerEnd(Call&) override {
    peer_ended_ = true;
    Respond();
  }

 private:
  // Sends what is due, each response interval_us after the one before it.
  void Respond() {
    while (!finished() && !timer_.armed() && !waiting_.empty()) {
      const ResponseParameters wanted = waiting_.front();
      if (wanted.interval_us() > 0 && !slept_) {
        loop_->Arm(&timer_, loop_->now_ns() + wanted.interval_us() * 1000ll);
        return;
      }
      slept_ = false;
      waiting_.pop_front();
      call_.Write(ToSlices(WithZeros<StreamingOutputCallResponse>(wanted.size())),
                  wanted.compressed().value() ? Compress::kAsTheCall : Compress::kNo);
    }
    if (!finished() && waiting_.empty() && peer_ended_) Finish(call_);
  }

  lever::Loop* const loop_;
  const Answers answers_;
  Call& call_;  // ends with the handler
  std::deque<ResponseParameters> waiting_;
  bool peer_ended_ = false;
  bool slept_ = false;  // before the first of those that wait
  lever::FunctionTimer timer_{[this] {
    slept_ = true;
    Respond();
  }};
};

class Dispatcher : public lever::rpc::CallDispatcher {
 public:
  explicit Dispatcher(lever::Loop* loop) : loop_(loop) {}

  void OnCall(Call& call) override {
    ServedCall* served = New(call);
    if (served == nullptr) {
      call.set_handler(new EmptyCall(call));
      call.Finish(lever::Unimplemented("no such method: " + std::string(call.path())));
      return;
    }
    call.set_handler(served);
    call.Read(UINT64_MAX);
  }

 private:
  ServedCall* New(Call& call) {
    using Answers = OutputCall::Answers;
    if (!call.path().starts_with(kTestService)) return nullptr;
    const std::string_view method = call.path().substr(sizeof(kTestService) - 1);
    if (method == "EmptyCall") return new EmptyCall(call);
    if (method == "UnaryCall") return new UnaryCall(call);
    if (method == "StreamingInputCall") return new StreamingInputCall(call);
    if (method == "StreamingOutputCall") return new OutputCall(call, loop_, Answers::kAtOnce);
    if (method == "FullDuplexCall") return new OutputCall(call, loop_, Answers::kAtOnce);
    if (method == "HalfDuplexCall") return new OutputCall(call, loop_, Answers::kAtTheEnd);
    return nullptr;
  }

  lever::Loop* const loop_;
};

Status Serve(const Flags& flags) {
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<lever::Loop> loop, lever::Loop::Open());
  Dispatcher dispatcher(loop.get());
  const auto server = lever::rpc::Server::Make(loop.get(), &dispatcher);
  LEVER_ASSIGN_OR_RETURN(const lever::rpc::Endpoint endpoint,
                         lever::rpc::Endpoint::Parse("127.0.0.1:" + flags.Text("port")));
  lever::rpc::ListenOptions options;
  if (flags.Truth("use_tls")) {
    lever::rpc::TlsServerOptions tls;
    tls.certificate_file = flags.Text("tls_cert_file");
    tls.key_file = flags.Text("tls_key_file");
    LEVER_ASSIGN_OR_RETURN(options.tls, lever::rpc::TlsServerContext::Open(tls));
  }
  LEVER_RETURN_IF_ERROR(server->Listen(endpoint, options));
  while (true) {  // until a signal ends the program
    LEVER_RETURN_IF_ERROR(loop->Turn(-1).status());
  }
}

}  // namespace
}  // namespace interop

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  const lever::Status status = interop::Serve(interop::Flags(argc, argv));
  std::cerr << status.ToString() << "\n";
  return 1;
}
