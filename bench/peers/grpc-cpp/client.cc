// gRPC C++, callback API: the client of echo.proto. bench/common/load.h tells how it is driven.
//
//   grpc_client ADDRESS
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bench/common/load.h"
#include "echo.grpc.pb.h"

namespace {

using google::protobuf::BytesValue;
using lever::bench::Command;
using lever::bench::kSecondNs;
using lever::bench::NowNs;

class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// One of the calls that are outstanding: started again as soon as it is done, by the thread that it is done
// on.
struct Slot {
  std::unique_ptr<grpc::ClientContext> context;
  BytesValue request, reply;
  int64_t started_ns = 0;
  std::vector<int64_t> latencies_ns;
  uint64_t calls = 0, errors = 0;
};

class UnaryRun {
 public:
  UnaryRun(bench::Echo::Stub* stub, const Command& command) : stub_(stub), slots_(command.count) {
    const int64_t began_ns = NowNs();
    end_ns_ = began_ns + static_cast<int64_t>(command.seconds * kSecondNs);
    left_ = slots_.size();
    for (Slot& slot : slots_) {
      slot.request.set_value(std::string(lever::bench::kUnaryBytes, '\0'));
      Start(slot);
    }
    done_.Wait();
    const int64_t took_ns = NowNs() - began_ns;
    lever::bench::Latencies latencies;
    uint64_t calls = 0, errors = 0;
    for (const Slot& slot : slots_) {
      calls += slot.calls;
      errors += slot.errors;
      for (const int64_t ns : slot.latencies_ns) latencies.Add(ns);
    }
    lever::bench::AnswerCalls(calls, errors, took_ns, latencies);
  }

 private:
  void Start(Slot& slot) {
    slot.context = std::make_unique<grpc::ClientContext>();
    slot.started_ns = NowNs();
    stub_->async()->Unary(slot.context.get(), &slot.request, &slot.reply,
                          [this, &slot](const grpc::Status& status) { Done(slot, status); });
  }
  void Done(Slot& slot, const grpc::Status& status) {
    const int64_t now_ns = NowNs();
    ++slot.calls;
    if (!status.ok() || slot.reply.value().size() != lever::bench::kUnaryBytes) ++slot.errors;
    slot.latencies_ns.push_back(now_ns - slot.started_ns);
    if (now_ns < end_ns_) {
      Start(slot);
    } else if (left_.fetch_sub(1) == 1) {
      done_.Open();
    }
  }

  bench::Echo::Stub* const stub_;
  std::vector<Slot> slots_;
  int64_t end_ns_ = 0;
  std::atomic<size_t> left_{0};
  Gate done_;
};

// Each message that comes back lets another one go.
class ChatRun final : public grpc::ClientBidiReactor<BytesValue, BytesValue> {
 public:
  ChatRun(bench::Echo::Stub* stub, const Command& command) : owed_(command.count) {
    const int64_t began_ns = NowNs();
    end_ns_ = began_ns + static_cast<int64_t>(command.seconds * kSecondNs);
    write_.set_value(std::string(lever::bench::kMessageBytes, '\0'));
    stub->async()->Chat(&context_, this);
    {
      const std::lock_guard lock(mutex_);
      WriteNext();
      StartRead(&read_);
    }
    StartCall();
    done_.Wait();
    lever::bench::AnswerMessages(received_, failed_, NowNs() - began_ns);
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    const std::lock_guard lock(mutex_);
    ++received_;
    ++owed_;
    if (!ended_ && NowNs() >= end_ns_) ended_ = true;
    if (!writing_) WriteNext();
    StartRead(&read_);
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (ok) WriteNext();
  }
  void OnDone(const grpc::Status& status) override {
    failed_ = !status.ok();
    done_.Open();
  }

 private:
  void WriteNext() {
    if (ended_) {
      if (!writes_done_) StartWritesDone();
      writes_done_ = true;
      return;
    }
    if (owed_ == 0) return;
    writing_ = true;
    --owed_;
    grpc::WriteOptions options;
    if (owed_ > 0) options.set_buffer_hint();
    StartWrite(&write_, options);
  }

  grpc::ClientContext context_;
  std::mutex mutex_;
  BytesValue write_, read_;
  size_t owed_;
  uint64_t received_ = 0;
  int64_t end_ns_ = 0;
  bool writing_ = false, ended_ = false, writes_done_ = false, failed_ = false;
  Gate done_;
};

class SinkRun final : public grpc::ClientWriteReactor<BytesValue> {
 public:
  SinkRun(bench::Echo::Stub* stub, const Command& command) {
    const int64_t began_ns = NowNs();
    end_ns_ = began_ns + static_cast<int64_t>(command.seconds * kSecondNs);
    write_.set_value(std::string(lever::bench::kLargeBytes, '\0'));
    stub->async()->Sink(&context_, &reply_, this);
    StartWrite(&write_);
    StartCall();
    done_.Wait();
    lever::bench::AnswerMessages(sent_, failed_, NowNs() - began_ns);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return;
    ++sent_;
    if (NowNs() < end_ns_) {
      StartWrite(&write_);
    } else {
      StartWritesDone();
    }
  }
  void OnDone(const grpc::Status& status) override {
    failed_ = !status.ok();
    done_.Open();
  }

 private:
  grpc::ClientContext context_;
  BytesValue write_, reply_;
  int64_t end_ns_ = 0;
  uint64_t sent_ = 0;
  bool failed_ = false;
  Gate done_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) lever::bench::Die("usage: grpc_client ADDRESS");
  const auto channel = grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10))) {
    lever::bench::Die(std::string("cannot connect to ") + argv[1]);
  }
  const auto stub = bench::Echo::NewStub(channel);
  lever::bench::Commands commands;
  lever::bench::Commands::Ready();
  Command command;
  while (commands.Next(&command)) {
    if (command.verb == "unary") UnaryRun(stub.get(), command);
    else if (command.verb == "stream") ChatRun(stub.get(), command);
    else if (command.verb == "bytes") SinkRun(stub.get(), command);
    else lever::bench::Die("unknown command: " + command.verb);
  }
  return 0;
}
