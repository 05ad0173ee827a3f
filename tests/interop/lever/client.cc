// Interop client on liblever/rpc. Flags as grpc-go's; --test_case may be a list with commas.
//
// Prints `case NAME: ok` or `case NAME: FAILED why` a case; the exit code is 0 if all have passed.

#include <array>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "empty.pb.h"
#include "liblever/base/loop.h"
#include "liblever/rpc/channel.h"
#include "tests/interop/flags.h"
#include "tests/interop/lever/service.h"

namespace interop {
namespace {

using grpc::testing::SimpleRequest;
using grpc::testing::SimpleResponse;
using grpc::testing::StreamingInputCallRequest;
using grpc::testing::StreamingInputCallResponse;
using grpc::testing::StreamingOutputCallRequest;
using grpc::testing::StreamingOutputCallResponse;
using lever::kNanosPerMilli;
using lever::kNanosPerSecond;
using lever::Status;
using lever::rpc::Call;
using lever::rpc::CallEnd;
using lever::rpc::CallOptions;
using lever::rpc::Compress;
using lever::rpc::Compression;
using lever::rpc::HeaderList;

constexpr std::array kRequestSizes = {27182, 8, 1828, 45904};
constexpr std::array kResponseSizes = {31415, 9, 2653, 58979};
constexpr int kLargeRequest = 271828;
constexpr int kLargeResponse = 314159;
constexpr char kSpecialMessage[] =
    "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP \xf0\x9f\x98\x88\t\n";
constexpr int64_t kCallNs = 10 * kNanosPerSecond;

// One call, as a case sees it: what has come so far, and waiting for more.
class TestedCall : public lever::rpc::CallHandler {
 public:
  TestedCall(lever::Loop* loop, lever::rpc::Channel* channel, const std::string& path,
             CallOptions options = {})
      : loop_(loop) {
    options.path = path;
    if (options.deadline_ns == lever::kNever) options.deadline_ns = loop->clock().NowNs() + kCallNs;
    options.initial_credit_messages = UINT64_MAX;
    Act([&] { call_ = channel->StartCall(options, this); });
  }
  TestedCall(const TestedCall&) = delete;
  TestedCall& operator=(const TestedCall&) = delete;
  ~TestedCall() override {
    if (call_ != nullptr) Cancel();
    Until([this] { return ended_; });
  }

  void Send(const google::protobuf::Message& message, Compress compress = Compress::kAsTheCall) {
    Act([&] {
      if (call_ != nullptr) call_->Write(ToSlices(message), compress);
    });
  }
  void CloseSend() {
    Act([&] {
      if (call_ != nullptr) call_->CloseSend();
    });
  }
  void Cancel() {
    Act([&] {
      if (call_ != nullptr) call_->Cancel(lever::Cancelled("cancelled by the case"));
    });
  }

  // The next response. Fails if the call ends before it.
  template <typename Message>
  Message Next() {
    Until([this] { return read_ < messages_.size() || ended_; });
    if (read_ == messages_.size()) throw Failed("no response: " + end_.ToString());
    Message message;
    if (!message.ParseFromString(messages_[read_++].bytes)) {
      throw Failed("a response cannot be parsed");
    }
    return message;
  }
  // Whether what Next() gave came compressed.
  bool CameCompressed() const { return messages_[read_ - 1].compressed; }
  // The status with which the call ended. Fails if a response came that nobody has read.
  const Status& End() {
    Until([this] { return ended_; });
    if (!ignores_) Expect("the number of responses", messages_.size(), read_);
    return end_;
  }
  // Responses need not be read.
  void IgnoreMessages() { ignores_ = true; }
  void ExpectEnd(lever_status wanted) {
    if (End().code() != wanted) {
      throw Failed("the status is " + end_.ToString() + ", not " +
                   std::string(lever::StatusName(wanted)));
    }
  }

  // "missing" without it.
  std::string Initial(const char* name) const { return Value(initial_, name); }
  std::string Trailing(const char* name) const { return Value(trailing_, name); }

 private:
  struct Received {
    std::string bytes;
    bool compressed;
  };

  void OnHeaders(Call& call) override { initial_ = call.headers(); }
  void OnMessage(Call& call, lever::SliceList message) override {
    messages_.push_back({lever::Concat(message), call.message_was_compressed()});
  }
  void OnEnd(Call&, const CallEnd& end) override {
    call_ = nullptr;
    ended_ = true;
    end_ = end.status;
    if (end.trailers != nullptr) trailing_ = *end.trailers;
  }

  static std::string Value(const HeaderList& list, const char* name) {
    return std::string(list.Find(name).value_or("missing"));
  }
  void Act(const std::function<void()>& action) {
    const lever::LoopHold hold(loop_);
    action();
  }
  // The call's deadline ends what does not come.
  void Until(const std::function<bool()>& condition) {
    while (!condition()) {
      if (const auto turn = loop_->Turn(-1); !turn.ok()) throw Failed(turn.status().ToString());
    }
  }

  lever::Loop* const loop_;
  Call* call_ = nullptr;
  std::vector<Received> messages_;
  size_t read_ = 0;
  bool ignores_ = false;
  HeaderList initial_;
  HeaderList trailing_;
  bool ended_ = false;
  Status end_;
};

template <typename Message>
void ExpectSize(const Message& message, int wanted) {
  Expect("the payload's size", message.payload().body().size(), static_cast<size_t>(wanted));
}

SimpleRequest LargeRequest() {
  SimpleRequest request = WithZeros<SimpleRequest>(kLargeRequest);
  request.set_response_size(kLargeResponse);
  return request;
}

StreamingOutputCallRequest Ping(int size, int answer) {
  auto request = WithZeros<StreamingOutputCallRequest>(size);
  request.add_response_parameters()->set_size(answer);
  return request;
}

template <typename Request>
Request AskingForStatus(const std::string& message) {
  Request request;
  request.mutable_response_status()->set_code(2);
  request.mutable_response_status()->set_message(message);
  return request;
}

void ExpectUnknown(TestedCall& call, const std::string& message) {
  call.ExpectEnd(LEVER_UNKNOWN);
  Expect("the message", call.End().message(), message);
}

HeaderList EchoedMetadata() {
  HeaderList metadata;
  metadata.Add(kInitialKey, "test_initial_metadata_value");
  metadata.Add(kTrailingKey, "\xab\xab\xab");
  return metadata;
}

void ExpectEchoedMetadata(TestedCall& call) {
  call.ExpectEnd(LEVER_OK);
  Expect("the initial metadata", call.Initial(kInitialKey), "test_initial_metadata_value");
  Expect("the trailing metadata", call.Trailing(kTrailingKey), "\xab\xab\xab");
}

class Cases {
 public:
  Cases(const Flags& flags, lever::Loop* loop, lever::rpc::Channel* channel)
      : flags_(flags), loop_(loop), channel_(channel) {}

  std::map<std::string, std::function<void()>> Table() {
    return {
        {"empty_unary", [this] { EmptyUnary(); }},
        {"large_unary", [this] { LargeUnary(); }},
        {"client_streaming", [this] { ClientStreaming(); }},
        {"server_streaming", [this] { ServerStreaming(); }},
        {"ping_pong", [this] { PingPong(); }},
        {"empty_stream", [this] { EmptyStream(); }},
        {"client_compressed_unary", [this] { ClientCompressedUnary(); }},
        {"client_compressed_streaming", [this] { ClientCompressedStreaming(); }},
        {"server_compressed_unary", [this] { ServerCompressedUnary(); }},
        {"server_compressed_streaming", [this] { ServerCompressedStreaming(); }},
        {"custom_metadata", [this] { CustomMetadata(); }},
        {"status_code_and_message", [this] { StatusCodeAndMessage(); }},
        {"special_status_message", [this] { SpecialStatusMessage(); }},
        {"unimplemented_method",
         [this] { Unimplemented("/grpc.testing.TestService/UnimplementedCall"); }},
        {"unimplemented_service",
         [this] { Unimplemented("/grpc.testing.UnimplementedService/UnimplementedCall"); }},
        {"cancel_after_begin", [this] { CancelAfterBegin(); }},
        {"cancel_after_first_response", [this] { CancelAfterFirstResponse(); }},
        {"timeout_on_sleeping_server", [this] { TimeoutOnSleepingServer(); }},
        {"rpc_soak", [this] { RpcSoak(); }},
        // Against servers that misbehave: http2_negative/.
        {"goaway", [this] { Goaway(); }},
        {"rst_after_header", [this] { BrokenOff(); }},
        {"rst_during_data", [this] { BrokenOff(); }},
        {"rst_after_data", [this] { BrokenOff(); }},
        {"ping", [this] { LargeUnary(); }},
        {"max_streams", [this] { MaxStreams(); }},
        {"data_frame_padding", [this] { LargeUnary(); }},
        {"no_df_padding_sanity_test", [this] { LargeUnary(); }},
    };
  }

 private:
  static CallOptions Gzip() {
    CallOptions options;
    options.compression = Compression::kGzip;
    return options;
  }
  static CallOptions With(const HeaderList* metadata) {
    CallOptions options;
    options.metadata = metadata;
    return options;
  }
  std::unique_ptr<TestedCall> Start(const char* method, const CallOptions& options = {}) {
    return std::make_unique<TestedCall>(loop_, channel_, std::string(kTestService) + method,
                                        options);
  }
  std::unique_ptr<TestedCall> Unary(const char* method, const google::protobuf::Message& request,
                                    const CallOptions& options = {}) {
    auto call = Start(method, options);
    call->Send(request);
    call->CloseSend();
    return call;
  }

  // One call of UnaryCall with the large sizes.
  std::unique_ptr<TestedCall> ExchangeLarge(const SimpleRequest& request,
                                            const CallOptions& options) {
    auto call = Unary("UnaryCall", request, options);
    ExpectSize(call->Next<SimpleResponse>(), kLargeResponse);
    call->ExpectEnd(LEVER_OK);
    return call;
  }

  void EmptyUnary() {
    const auto call = Unary("EmptyCall", grpc::testing::Empty());
    Expect("the response's size", call->Next<grpc::testing::Empty>().ByteSizeLong(), 0u);
    call->ExpectEnd(LEVER_OK);
  }

  void LargeUnary() { ExchangeLarge(LargeRequest(), {}); }

  void ClientStreaming() {
    const auto call = Start("StreamingInputCall");
    for (const int size : kRequestSizes) call->Send(WithZeros<StreamingInputCallRequest>(size));
    call->CloseSend();
    Expect("the sum", call->Next<StreamingInputCallResponse>().aggregated_payload_size(), 74922);
    call->ExpectEnd(LEVER_OK);
  }

  void ServerStreaming() {
    StreamingOutputCallRequest request;
    for (const int size : kResponseSizes) request.add_response_parameters()->set_size(size);
    const auto call = Unary("StreamingOutputCall", request);
    for (const int size : kResponseSizes) {
      ExpectSize(call->Next<StreamingOutputCallResponse>(), size);
    }
    call->ExpectEnd(LEVER_OK);
  }

  void PingPong() {
    const auto call = Start("FullDuplexCall");
    for (size_t i = 0; i < kRequestSizes.size(); i++) {
      call->Send(Ping(kRequestSizes[i], kResponseSizes[i]));
      ExpectSize(call->Next<StreamingOutputCallResponse>(), kResponseSizes[i]);
    }
    call->CloseSend();
    call->ExpectEnd(LEVER_OK);
  }

  void EmptyStream() {
    const auto call = Start("FullDuplexCall");
    call->CloseSend();
    call->ExpectEnd(LEVER_OK);
  }

  void ClientCompressedUnary() {
    SimpleRequest request = LargeRequest();
    request.mutable_expect_compressed()->set_value(true);
    Unary("UnaryCall", request)->ExpectEnd(LEVER_INVALID_ARGUMENT);
    ExchangeLarge(request, Gzip());
    request.mutable_expect_compressed()->set_value(false);
    ExchangeLarge(request, {});
  }

  void ClientCompressedStreaming() {
    auto first = WithZeros<StreamingInputCallRequest>(27182);
    first.mutable_expect_compressed()->set_value(true);
    auto second = WithZeros<StreamingInputCallRequest>(45904);
    second.mutable_expect_compressed()->set_value(false);
    const auto probe = Start("StreamingInputCall", Gzip());
    probe->Send(first, Compress::kNo);
    probe->CloseSend();
    probe->ExpectEnd(LEVER_INVALID_ARGUMENT);
    const auto call = Start("StreamingInputCall", Gzip());
    call->Send(first);
    call->Send(second, Compress::kNo);
    call->CloseSend();
    Expect("the sum", call->Next<StreamingInputCallResponse>().aggregated_payload_size(), 73086);
    call->ExpectEnd(LEVER_OK);
  }

  void ServerCompressedUnary() {
    for (const bool wanted : {true, false}) {
      SimpleRequest request = LargeRequest();
      request.mutable_response_compressed()->set_value(wanted);
      const auto call = ExchangeLarge(request, {});
      Expect("that the response came compressed", call->CameCompressed(), wanted);
    }
  }

  void ServerCompressedStreaming() {
    const std::pair<int, bool> asked[] = {{31415, true}, {92653, false}};
    StreamingOutputCallRequest request;
    for (const auto& [size, compressed] : asked) {
      auto* parameters = request.add_response_parameters();
      parameters->set_size(size);
      parameters->mutable_compressed()->set_value(compressed);
    }
    const auto call = Unary("StreamingOutputCall", request);
    for (const auto& [size, compressed] : asked) {
      ExpectSize(call->Next<StreamingOutputCallResponse>(), size);
      Expect("that the response came compressed", call->CameCompressed(), compressed);
    }
    call->ExpectEnd(LEVER_OK);
  }

  void CustomMetadata() {
    const HeaderList metadata = EchoedMetadata();
    ExpectEchoedMetadata(*ExchangeLarge(LargeRequest(), With(&metadata)));
    const auto duplex =
        Unary("FullDuplexCall", Ping(kLargeRequest, kLargeResponse), With(&metadata));
    ExpectSize(duplex->Next<StreamingOutputCallResponse>(), kLargeResponse);
    ExpectEchoedMetadata(*duplex);
  }

  void StatusCodeAndMessage() {
    const std::string message = "test status message";
    ExpectUnknown(*Unary("UnaryCall", AskingForStatus<SimpleRequest>(message)), message);
    ExpectUnknown(*Unary("FullDuplexCall", AskingForStatus<StreamingOutputCallRequest>(message)),
                  message);
  }

  void SpecialStatusMessage() {
    ExpectUnknown(*Unary("UnaryCall", AskingForStatus<SimpleRequest>(kSpecialMessage)),
                  kSpecialMessage);
  }

  void Unimplemented(const char* path) {
    TestedCall call(loop_, channel_, path);
    call.Send(grpc::testing::Empty());
    call.CloseSend();
    call.ExpectEnd(LEVER_UNIMPLEMENTED);
  }

  void CancelAfterBegin() {
    const auto call = Start("StreamingInputCall");
    call->Cancel();
    call->ExpectEnd(LEVER_CANCELLED);
  }

  void CancelAfterFirstResponse() {
    const auto call = Start("FullDuplexCall");
    call->Send(Ping(27182, 31415));
    ExpectSize(call->Next<StreamingOutputCallResponse>(), 31415);
    call->Cancel();
    call->ExpectEnd(LEVER_CANCELLED);
  }

  void TimeoutOnSleepingServer() {
    CallOptions options;
    options.deadline_ns = loop_->clock().NowNs() + kNanosPerMilli;
    const auto call = Start("FullDuplexCall", options);
    call->Send(WithZeros<StreamingOutputCallRequest>(27182));
    call->ExpectEnd(LEVER_DEADLINE_EXCEEDED);
  }

  void RpcSoak() {
    const int iterations = flags_.Number("soak_iterations", 10);
    const int64_t overall_ns = flags_.Number("soak_overall_timeout_seconds", 10) * kNanosPerSecond;
    const int64_t latency_max_ns =
        flags_.Number("soak_per_iteration_max_acceptable_latency_ms", 1000) * kNanosPerMilli;
    const int64_t started_ns = loop_->clock().NowNs();
    int failures = 0;
    std::string last;
    for (int i = 0; i < iterations; i++) {
      const int64_t before_ns = loop_->clock().NowNs();
      if (before_ns - started_ns >= overall_ns) {
        throw Failed("only " + std::to_string(i) + " calls were made in time");
      }
      try {
        LargeUnary();
        const int64_t took_ns = loop_->clock().NowNs() - before_ns;
        if (took_ns > latency_max_ns) throw Failed("a call took too long");
      } catch (const Failed& failed) {
        failures++;
        last = failed.what();
      }
    }
    if (failures > flags_.Number("soak_max_failures", 0)) {
      throw Failed(std::to_string(failures) + " calls failed, the last: " + last);
    }
  }

  // Between the calls the server sends GOAWAY; the second goes to a connection of its own.
  void Goaway() {
    LargeUnary();
    const int64_t until_ns = loop_->clock().NowNs() + kNanosPerSecond;
    for (int64_t left_ns = kNanosPerSecond; left_ns > 0;) {
      if (const auto turn = loop_->Turn(left_ns); !turn.ok()) throw Failed(turn.status().ToString());
      left_ns = until_ns - loop_->clock().NowNs();
    }
    LargeUnary();
  }

  // Whatever of the response came: a call that was reset has failed, and may have run.
  void BrokenOff() {
    const auto call = Unary("UnaryCall", LargeRequest());
    call->IgnoreMessages();
    const Status& end = call->End();
    if (end.ok()) throw Failed("a call that was reset counts as done");
    if (end.code() != LEVER_INTERNAL && end.code() != LEVER_UNAVAILABLE) {
      throw Failed("the status is " + end.ToString());
    }
    if (end.executed() == LEVER_EXECUTED_NO) throw Failed("it says that it surely did not run");
  }

  // After the first response the server takes one stream at a time.
  void MaxStreams() {
    LargeUnary();
    std::vector<std::unique_ptr<TestedCall>> calls;
    for (int i = 0; i < 10; i++) calls.push_back(Unary("UnaryCall", LargeRequest()));
    for (const auto& call : calls) {
      ExpectSize(call->Next<SimpleResponse>(), kLargeResponse);
      call->ExpectEnd(LEVER_OK);
    }
  }

  const Flags& flags_;
  lever::Loop* const loop_;
  lever::rpc::Channel* const channel_;
};

lever::StatusOr<bool> Run(const Flags& flags) {
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<lever::Loop> loop, lever::Loop::Open());
  LEVER_ASSIGN_OR_RETURN(
      const lever::rpc::Endpoint endpoint,
      lever::rpc::Endpoint::Parse(flags.Text("server_host", "127.0.0.1") + ":" +
                                  flags.Text("server_port")));
  std::shared_ptr<lever::rpc::TlsClientContext> tls;
  if (flags.Truth("use_tls")) {
    lever::rpc::TlsClientOptions options;
    options.roots_file = flags.Text("ca_file");
    options.server_name = flags.Text("server_host_override");
    LEVER_ASSIGN_OR_RETURN(tls, lever::rpc::TlsClientContext::Open(options));
  }
  const auto channel = lever::rpc::Channel::To(loop.get(), endpoint, {}, 0, std::move(tls));
  Cases cases(flags, loop.get(), channel.get());
  return RunCases(flags, cases.Table());
}

}  // namespace
}  // namespace interop

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  const auto passed = interop::Run(interop::Flags(argc, argv));
  if (!passed.ok()) {
    std::cerr << passed.status().ToString() << "\n";
    return 1;
  }
  return *passed ? 0 : 1;
}
