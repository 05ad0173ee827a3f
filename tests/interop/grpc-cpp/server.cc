// Interop server on gRPC C++'s blocking API. Flags as grpc-go's: --port, --use_tls,
// --tls_cert_file, --tls_key_file.

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/interop/grpc-cpp/service.h"

namespace interop {
namespace {

using grpc::ServerContext;
using grpc::Status;
using grpc::testing::Empty;
using grpc::testing::SimpleRequest;
using grpc::testing::SimpleResponse;
using grpc::testing::StreamingInputCallRequest;
using grpc::testing::StreamingInputCallResponse;
using grpc::testing::StreamingOutputCallRequest;
using grpc::testing::StreamingOutputCallResponse;
using Duplex = grpc::ServerReaderWriter<StreamingOutputCallResponse, StreamingOutputCallRequest>;

void EchoMetadata(ServerContext* context) {
  for (const auto& [key, value] : context->client_metadata()) {
    const std::string name(key.data(), key.size());
    const std::string text(value.data(), value.size());
    if (name == kInitialKey) context->AddInitialMetadata(name, text);
    if (name == kTrailingKey) context->AddTrailingMetadata(name, text);
  }
}

template <typename Request>
Status EchoStatus(const Request& request) {
  const auto& wanted = request.response_status();
  return Status(static_cast<grpc::StatusCode>(wanted.code()), wanted.message());
}

template <typename Request>
Status CheckCompression(const ServerContext& context, const Request& request) {
  if (!request.has_expect_compressed()) return Status::OK;
  const bool came = grpc::testing::InteropServerContextInspector::CameCompressed(context);
  if (came == request.expect_compressed().value()) return Status::OK;
  return Status(grpc::StatusCode::INVALID_ARGUMENT,
                came ? "the message was compressed" : "the message was not compressed");
}

template <typename Writer>
void SendResponses(const StreamingOutputCallRequest& request, Writer* writer) {
  for (const auto& wanted : request.response_parameters()) {
    std::this_thread::sleep_for(std::chrono::microseconds(wanted.interval_us()));
    grpc::WriteOptions options;
    if (!wanted.compressed().value()) options.set_no_compression();
    if (!writer->Write(WithZeros<StreamingOutputCallResponse>(wanted.size()), options)) return;
  }
}

class TestService : public grpc::testing::TestService::Service {
 public:
  Status EmptyCall(ServerContext*, const Empty*, Empty*) override { return Status::OK; }

  Status UnaryCall(ServerContext* context, const SimpleRequest* request,
                   SimpleResponse* response) override {
    EchoMetadata(context);
    if (const Status status = CheckCompression(*context, *request); !status.ok()) return status;
    if (request->response_compressed().value()) {
      context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    }
    *response = WithZeros<SimpleResponse>(request->response_size());
    return EchoStatus(*request);
  }

  Status StreamingInputCall(ServerContext* context,
                            grpc::ServerReader<StreamingInputCallRequest>* reader,
                            StreamingInputCallResponse* response) override {
    StreamingInputCallRequest request;
    int total = 0;
    while (reader->Read(&request)) {
      if (const Status status = CheckCompression(*context, request); !status.ok()) return status;
      total += static_cast<int>(request.payload().body().size());
    }
    response->set_aggregated_payload_size(total);
    return Status::OK;
  }

  Status StreamingOutputCall(ServerContext* context, const StreamingOutputCallRequest* request,
                             grpc::ServerWriter<StreamingOutputCallResponse>* writer) override {
    EchoMetadata(context);
    context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    SendResponses(*request, writer);
    return EchoStatus(*request);
  }

  Status FullDuplexCall(ServerContext* context, Duplex* stream) override {
    EchoMetadata(context);
    // Now, and not with the first response: the client may wait for it before it sends a request.
    stream->SendInitialMetadata();
    StreamingOutputCallRequest request;
    while (stream->Read(&request)) {
      if (const Status status = EchoStatus(request); !status.ok()) return status;
      SendResponses(request, stream);
    }
    return Status::OK;
  }

  Status HalfDuplexCall(ServerContext*, Duplex* stream) override {
    std::vector<StreamingOutputCallRequest> held;
    StreamingOutputCallRequest request;
    while (stream->Read(&request)) held.push_back(request);
    for (const auto& each : held) SendResponses(each, stream);
    return Status::OK;
  }
};

std::shared_ptr<grpc::ServerCredentials> Credentials(const Flags& flags) {
  if (!flags.Truth("use_tls")) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back(
      {ReadFile(flags.Text("tls_key_file")), ReadFile(flags.Text("tls_cert_file"))});
  return grpc::SslServerCredentials(options);
}

}  // namespace
}  // namespace interop

int main(int argc, char** argv) {
  const interop::Flags flags(argc, argv);
  interop::TestService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + flags.Text("port"), interop::Credentials(flags), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::cerr << "cannot listen at port " << flags.Text("port") << "\n";
    return 1;
  }
  server->Wait();  // until a signal ends the program
}
