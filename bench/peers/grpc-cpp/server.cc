// gRPC C++, callback API: the service of echo.proto.
//
//   grpc_server
#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "bench/common/load.h"
#include "echo.grpc.pb.h"

namespace {

using google::protobuf::BytesValue;

// Reads ahead of what it writes, so that both directions go on at the same time.
class Chat final : public grpc::ServerBidiReactor<BytesValue, BytesValue> {
 public:
  Chat() { StartRead(&read_); }
  void OnReadDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    if (!ok) {
      read_ended_ = true;
      FinishIfDone();
      return;
    }
    waiting_.push_back(std::move(read_));
    if (!writing_) WriteNext();
    StartRead(&read_);
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    waiting_.pop_front();
    if (ok && !waiting_.empty()) WriteNext();
    FinishIfDone();
  }
  void OnDone() override { delete this; }

 private:
  void WriteNext() {
    writing_ = true;
    // More follows at once: gRPC need not write each message by itself.
    grpc::WriteOptions options;
    if (waiting_.size() > 1) options.set_buffer_hint();
    StartWrite(&waiting_.front(), options);
  }
  void FinishIfDone() {
    if (!read_ended_ || writing_ || finished_) return;
    finished_ = true;
    Finish(grpc::Status::OK);
  }

  std::mutex mutex_;
  BytesValue read_;
  std::deque<BytesValue> waiting_;
  bool writing_ = false;
  bool read_ended_ = false;
  bool finished_ = false;
};

class Sink final : public grpc::ServerReadReactor<BytesValue> {
 public:
  explicit Sink(BytesValue* reply) : reply_(reply) { StartRead(&read_); }
  void OnReadDone(bool ok) override {
    if (ok) {
      StartRead(&read_);
      return;
    }
    reply_->set_value("done");
    Finish(grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  BytesValue* const reply_;
  BytesValue read_;
};

class Service final : public bench::Echo::CallbackService {
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const BytesValue* request,
                                  BytesValue* reply) override {
    *reply = *request;
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerBidiReactor<BytesValue, BytesValue>* Chat(grpc::CallbackServerContext*) override {
    return new class Chat;
  }
  grpc::ServerReadReactor<BytesValue>* Sink(grpc::CallbackServerContext*,
                                            BytesValue* reply) override {
    return new class Sink(reply);
  }
};

}  // namespace

int main() {
  Service service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) lever::bench::Die("cannot listen");
  lever::bench::Commands::Print("listening 127.0.0.1:" + std::to_string(port) + "\n");
  lever::bench::ExitWithInput();
  server->Wait();
  return 0;
}
