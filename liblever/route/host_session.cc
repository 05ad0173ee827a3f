#include "liblever/route/host_session.h"

#include <utility>

#include "liblever/base/random.h"
#include "liblever/policy/backoff.h"
#include "liblever/rpc/channel.h"

namespace lever::route {

// The gRPC stream of one opening. It lives until its own OnEnd(), which may come after the session has
// let go of it.
class HostSession::StreamCall final : public rpc::CallHandler {
 public:
  explicit StreamCall(HostSession* session) : session_(session) {}

  void set_call(rpc::Call* call) { call_ = call; }
  void LetGo() { session_ = nullptr; }
  void Send(std::string_view message) {
    SliceList slices;
    slices.push_back(Slice::Copy(message));
    call_->Write(std::move(slices));
  }
  void CloseSend() { call_->CloseSend(); }
  void Cancel(const Status& status) { call_->Cancel(status); }

  void OnMessage(rpc::Call& call, SliceList message) override {
    if (session_ == nullptr) return;
    call.Read(1);
    const Slice flat = Flatten(message);
    session_->handler_->OnSessionMessage(flat.view());
  }

  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override {
    if (session_ != nullptr) session_->OnEnd(end.status);
    delete this;
  }

 private:
  HostSession* session_;  // null when it has let go
  rpc::Call* call_ = nullptr;
};

HostSession::HostSession(Loop* loop, rpc::Channel* channel, std::string_view path, Random* random,
                         HostSessionHandler* handler)
    : loop_(loop), channel_(channel), path_(path), random_(random), handler_(handler) {}

HostSession::~HostSession() { Stop(); }

void HostSession::Start() {
  if (call_ == nullptr && !armed()) Open();
}

void HostSession::Open() {
  rpc::CallOptions options;
  options.path = path_;
  options.initial_credit_messages = 1;
  call_ = new StreamCall(this);
  call_->set_call(channel_->StartCall(options, call_));
  handler_->OnSessionOpen();
}

void HostSession::Send(std::string_view message) {
  if (call_ != nullptr) call_->Send(message);
}

void HostSession::Fail(const Status& status) {
  if (call_ != nullptr) call_->Cancel(status);
}

void HostSession::Finish() {
  finishing_ = true;
  loop_->Disarm(this);
  if (call_ != nullptr) call_->CloseSend();
}

void HostSession::Stop() {
  loop_->Disarm(this);
  StreamCall* call = std::exchange(call_, nullptr);
  if (call == nullptr) return;
  call->LetGo();
  call->Cancel(Cancelled("the session was closed"));
}

void HostSession::OnEnd(const Status& status) {
  call_ = nullptr;
  const bool final = finishing_ || channel_->state() == rpc::Channel::State::kClosed;
  if (!final) loop_->Arm(this, DeadlineAfter(loop_->now_ns(), NextWaitNs(status)));
  // A session that ends in order is as good as broken to whoever wants it up.
  handler_->OnSessionEnd(status.ok() ? Unavailable("the host has ended the session") : status,
                         final);
}

void HostSession::OnTimer() { Open(); }

int64_t HostSession::NextWaitNs(const Status& status) {
  int64_t wait_ns = policy::BackoffNs(rpc::kReconnectMinNs, failures_++, rpc::kReconnectMaxNs);
  if (status.code() == LEVER_UNIMPLEMENTED) wait_ns = kUnknownSessionWaitNs;
  return static_cast<int64_t>(static_cast<double>(wait_ns) * (0.8 + 0.4 * random_->NextDouble()));
}

}  // namespace lever::route
