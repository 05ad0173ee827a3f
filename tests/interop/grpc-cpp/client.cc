// Interop client on gRPC C++'s blocking API. Flags as grpc-go's; --test_case may be a list with
// commas.
//
// Prints `case NAME: ok` or `case NAME: FAILED why` a case; the exit code is 0 if all have passed.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/interop/grpc-cpp/service.h"

namespace interop {
namespace {

using grpc::ClientContext;
using grpc::Status;
using grpc::StatusCode;
using grpc::testing::Empty;
using grpc::testing::SimpleRequest;
using grpc::testing::SimpleResponse;
using grpc::testing::StreamingInputCallRequest;
using grpc::testing::StreamingInputCallResponse;
using grpc::testing::StreamingOutputCallRequest;
using grpc::testing::StreamingOutputCallResponse;
using grpc::testing::TestService;
using Duplex = grpc::ClientReaderWriter<StreamingOutputCallRequest, StreamingOutputCallResponse>;
using Clock = std::chrono::steady_clock;

constexpr int kRequestSizes[] = {27182, 8, 1828, 45904};
constexpr int kResponseSizes[] = {31415, 9, 2653, 58979};
constexpr int kLargeRequest = 271828;
constexpr int kLargeResponse = 314159;
constexpr char kSpecialMessage[] =
    "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP \xf0\x9f\x98\x88\t\n";
constexpr std::chrono::seconds kCallTime(10);

void ExpectStatus(const Status& status, StatusCode wanted) {
  if (status.error_code() == wanted) return;
  throw Failed("the status is " + std::to_string(status.error_code()) + " (" +
               status.error_message() + "), not " + std::to_string(wanted));
}

void ExpectOk(const Status& status) { ExpectStatus(status, StatusCode::OK); }

template <typename Message>
void ExpectSize(const Message& message, int wanted) {
  Expect("the payload's size", message.payload().body().size(), static_cast<size_t>(wanted));
}

std::unique_ptr<ClientContext> NewContext() {
  auto context = std::make_unique<ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + kCallTime);
  return context;
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

void Write(Duplex& stream, const StreamingOutputCallRequest& request) {
  if (!stream.Write(request)) {
    throw Failed("a request was not taken: " + stream.Finish().error_message());
  }
}

void ReadSize(Duplex& stream, int wanted) {
  StreamingOutputCallResponse response;
  if (!stream.Read(&response)) {
    throw Failed("a response did not come: " + stream.Finish().error_message());
  }
  ExpectSize(response, wanted);
}

void ExpectNoMore(Duplex& stream) {
  StreamingOutputCallResponse response;
  Expect("a further response", stream.Read(&response), false);
}

void AddEchoedMetadata(ClientContext& context) {
  context.AddMetadata(kInitialKey, "test_initial_metadata_value");
  context.AddMetadata(kTrailingKey, "\xab\xab\xab");
}

void ExpectEchoedMetadata(const ClientContext& context) {
  const auto find = [](const auto& metadata, const char* key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string("missing")
                                   : std::string(found->second.data(), found->second.size());
  };
  Expect("the initial metadata", find(context.GetServerInitialMetadata(), kInitialKey),
         "test_initial_metadata_value");
  Expect("the trailing metadata", find(context.GetServerTrailingMetadata(), kTrailingKey),
         "\xab\xab\xab");
}

class Cases {
 public:
  explicit Cases(const Flags& flags) : flags_(flags), channel_(Connect(flags)) {
    stub_ = TestService::NewStub(channel_);
  }

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
        {"unimplemented_method", [this] { UnimplementedMethod(); }},
        {"unimplemented_service", [this] { UnimplementedService(); }},
        {"cancel_after_begin", [this] { CancelAfterBegin(); }},
        {"cancel_after_first_response", [this] { CancelAfterFirstResponse(); }},
        {"timeout_on_sleeping_server", [this] { TimeoutOnSleepingServer(); }},
        {"rpc_soak", [this] { RpcSoak(); }},
    };
  }

 private:
  static std::shared_ptr<grpc::Channel> Connect(const Flags& flags) {
    const std::string target =
        flags.Text("server_host", "127.0.0.1") + ":" + flags.Text("server_port");
    if (!flags.Truth("use_tls")) {
      return grpc::CreateChannel(target, grpc::InsecureChannelCredentials());
    }
    grpc::SslCredentialsOptions options;
    if (!flags.Text("ca_file").empty()) options.pem_root_certs = ReadFile(flags.Text("ca_file"));
    grpc::ChannelArguments arguments;
    if (!flags.Text("server_host_override").empty()) {
      arguments.SetSslTargetNameOverride(flags.Text("server_host_override"));
    }
    return grpc::CreateCustomChannel(target, grpc::SslCredentials(options), arguments);
  }

  // One call of UnaryCall with the large sizes. The context says afterwards how the response came.
  void ExchangeLarge(ClientContext& context, const SimpleRequest& request) {
    SimpleResponse response;
    ExpectOk(stub_->UnaryCall(&context, request, &response));
    ExpectSize(response, kLargeResponse);
  }

  void EmptyUnary() {
    Empty response;
    ExpectOk(stub_->EmptyCall(NewContext().get(), Empty(), &response));
    Expect("the response's size", response.ByteSizeLong(), 0u);
  }

  void LargeUnary() { ExchangeLarge(*NewContext(), LargeRequest()); }

  void ClientStreaming() {
    const auto context = NewContext();
    StreamingInputCallResponse response;
    const auto writer = stub_->StreamingInputCall(context.get(), &response);
    for (const int size : kRequestSizes) writer->Write(WithZeros<StreamingInputCallRequest>(size));
    writer->WritesDone();
    ExpectOk(writer->Finish());
    Expect("the sum", response.aggregated_payload_size(), 74922);
  }

  void ServerStreaming() {
    const auto context = NewContext();
    StreamingOutputCallRequest request;
    for (const int size : kResponseSizes) request.add_response_parameters()->set_size(size);
    const auto reader = stub_->StreamingOutputCall(context.get(), request);
    StreamingOutputCallResponse response;
    size_t count = 0;
    for (; reader->Read(&response); count++) {
      if (count < std::size(kResponseSizes)) ExpectSize(response, kResponseSizes[count]);
    }
    ExpectOk(reader->Finish());
    Expect("the number of responses", count, std::size(kResponseSizes));
  }

  void PingPong() {
    const auto context = NewContext();
    const auto stream = stub_->FullDuplexCall(context.get());
    for (size_t i = 0; i < std::size(kRequestSizes); i++) {
      Write(*stream, Ping(kRequestSizes[i], kResponseSizes[i]));
      ReadSize(*stream, kResponseSizes[i]);
    }
    stream->WritesDone();
    ExpectNoMore(*stream);
    ExpectOk(stream->Finish());
  }

  void EmptyStream() {
    const auto context = NewContext();
    const auto stream = stub_->FullDuplexCall(context.get());
    stream->WritesDone();
    ExpectNoMore(*stream);
    ExpectOk(stream->Finish());
  }

  void ClientCompressedUnary() {
    SimpleRequest request = LargeRequest();
    request.mutable_expect_compressed()->set_value(true);
    SimpleResponse response;
    ExpectStatus(stub_->UnaryCall(NewContext().get(), request, &response),
                 StatusCode::INVALID_ARGUMENT);
    const auto context = NewContext();
    context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    ExchangeLarge(*context, request);
    request.mutable_expect_compressed()->set_value(false);
    ExchangeLarge(*NewContext(), request);
  }

  void ClientCompressedStreaming() {
    auto first = WithZeros<StreamingInputCallRequest>(27182);
    first.mutable_expect_compressed()->set_value(true);
    auto second = WithZeros<StreamingInputCallRequest>(45904);
    second.mutable_expect_compressed()->set_value(false);
    const grpc::WriteOptions uncompressed = grpc::WriteOptions().set_no_compression();
    StreamingInputCallResponse response;

    const auto probe_context = NewContext();
    probe_context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    const auto probe = stub_->StreamingInputCall(probe_context.get(), &response);
    probe->Write(first, uncompressed);
    probe->WritesDone();
    ExpectStatus(probe->Finish(), StatusCode::INVALID_ARGUMENT);

    const auto context = NewContext();
    context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    const auto writer = stub_->StreamingInputCall(context.get(), &response);
    writer->Write(first);
    writer->Write(second, uncompressed);
    writer->WritesDone();
    ExpectOk(writer->Finish());
    Expect("the sum", response.aggregated_payload_size(), 73086);
  }

  void ServerCompressedUnary() {
    for (const bool wanted : {true, false}) {
      SimpleRequest request = LargeRequest();
      request.mutable_response_compressed()->set_value(wanted);
      const auto context = NewContext();
      ExchangeLarge(*context, request);
      Expect("that the response came compressed",
             grpc::testing::InteropClientContextInspector::CameCompressed(*context), wanted);
    }
  }

  void ServerCompressedStreaming() {
    const std::vector<std::pair<int, bool>> wanted = {{31415, true}, {92653, false}};
    StreamingOutputCallRequest request;
    for (const auto& [size, compressed] : wanted) {
      auto* parameters = request.add_response_parameters();
      parameters->set_size(size);
      parameters->mutable_compressed()->set_value(compressed);
    }
    const auto context = NewContext();
    const auto reader = stub_->StreamingOutputCall(context.get(), request);
    StreamingOutputCallResponse response;
    size_t count = 0;
    for (; reader->Read(&response); count++) {
      if (count >= wanted.size()) continue;
      ExpectSize(response, wanted[count].first);
      Expect("that the response came compressed",
             grpc::testing::InteropClientContextInspector::CameCompressed(*context),
             wanted[count].second);
    }
    ExpectOk(reader->Finish());
    Expect("the number of responses", count, wanted.size());
  }

  void CustomMetadata() {
    const auto unary = NewContext();
    AddEchoedMetadata(*unary);
    ExchangeLarge(*unary, LargeRequest());
    ExpectEchoedMetadata(*unary);

    const auto duplex = NewContext();
    AddEchoedMetadata(*duplex);
    const auto stream = stub_->FullDuplexCall(duplex.get());
    Write(*stream, Ping(kLargeRequest, kLargeResponse));
    stream->WritesDone();
    ReadSize(*stream, kLargeResponse);
    ExpectNoMore(*stream);
    ExpectOk(stream->Finish());
    ExpectEchoedMetadata(*duplex);
  }

  template <typename Request>
  static Request AskingForStatus(const std::string& message) {
    Request request;
    request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
    request.mutable_response_status()->set_message(message);
    return request;
  }

  static void ExpectUnknown(const Status& status, const std::string& message) {
    ExpectStatus(status, StatusCode::UNKNOWN);
    Expect("the message", status.error_message(), message);
  }

  Status UnaryStatus(const std::string& message) {
    SimpleResponse response;
    return stub_->UnaryCall(NewContext().get(), AskingForStatus<SimpleRequest>(message), &response);
  }

  void StatusCodeAndMessage() {
    const std::string message = "test status message";
    ExpectUnknown(UnaryStatus(message), message);
    const auto context = NewContext();
    const auto stream = stub_->FullDuplexCall(context.get());
    Write(*stream, AskingForStatus<StreamingOutputCallRequest>(message));
    stream->WritesDone();
    ExpectNoMore(*stream);
    ExpectUnknown(stream->Finish(), message);
  }

  void SpecialStatusMessage() { ExpectUnknown(UnaryStatus(kSpecialMessage), kSpecialMessage); }

  void UnimplementedMethod() {
    Empty response;
    ExpectStatus(stub_->UnimplementedCall(NewContext().get(), Empty(), &response),
                 StatusCode::UNIMPLEMENTED);
  }

  void UnimplementedService() {
    const auto stub = grpc::testing::UnimplementedService::NewStub(channel_);
    Empty response;
    ExpectStatus(stub->UnimplementedCall(NewContext().get(), Empty(), &response),
                 StatusCode::UNIMPLEMENTED);
  }

  void CancelAfterBegin() {
    const auto context = NewContext();
    StreamingInputCallResponse response;
    const auto writer = stub_->StreamingInputCall(context.get(), &response);
    context->TryCancel();
    ExpectStatus(writer->Finish(), StatusCode::CANCELLED);
  }

  void CancelAfterFirstResponse() {
    const auto context = NewContext();
    const auto stream = stub_->FullDuplexCall(context.get());
    Write(*stream, Ping(27182, 31415));
    ReadSize(*stream, 31415);
    context->TryCancel();
    ExpectStatus(stream->Finish(), StatusCode::CANCELLED);
  }

  void TimeoutOnSleepingServer() {
    ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1));
    const auto stream = stub_->FullDuplexCall(&context);
    stream->Write(WithZeros<StreamingOutputCallRequest>(27182));  // may be too late by now
    ExpectNoMore(*stream);
    ExpectStatus(stream->Finish(), StatusCode::DEADLINE_EXCEEDED);
  }

  void RpcSoak() {
    const int iterations = flags_.Number("soak_iterations", 10);
    const std::chrono::seconds overall(flags_.Number("soak_overall_timeout_seconds", 10));
    const std::chrono::milliseconds latency_max(
        flags_.Number("soak_per_iteration_max_acceptable_latency_ms", 1000));
    const Clock::time_point started = Clock::now();
    int failures = 0;
    std::string last;
    for (int i = 0; i < iterations; i++) {
      const Clock::time_point before = Clock::now();
      if (before - started >= overall) {
        throw Failed("only " + std::to_string(i) + " calls were made in time");
      }
      try {
        LargeUnary();
        if (Clock::now() - before > latency_max) throw Failed("a call took too long");
      } catch (const Failed& failed) {
        failures++;
        last = failed.what();
      }
    }
    if (failures > flags_.Number("soak_max_failures", 0)) {
      throw Failed(std::to_string(failures) + " calls failed, the last: " + last);
    }
  }

  const Flags& flags_;
  const std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<TestService::Stub> stub_;
};

}  // namespace
}  // namespace interop

int main(int argc, char** argv) {
  const interop::Flags flags(argc, argv);
  interop::Cases cases(flags);
  return interop::RunCases(flags, cases.Table()) ? 0 : 1;
}
