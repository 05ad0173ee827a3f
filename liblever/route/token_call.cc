#include "liblever/route/token_call.h"

#include <memory>
#include <utility>

#include "liblever/base/loop.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/call.h"
#include "liblever/rpc/channel.h"
#include "liblever/rpc/connection.h"

namespace lever::route {
namespace {

// Owns itself until its OnEnd().
class TokenCall final : public rpc::CallHandler {
 public:
  TokenCall(Loop* loop, std::string_view token, TokenShown done) : done_(std::move(done)) {
    headers_.Add(kTokenHeader, token, rpc::Indexing::kNever);
    options_.path = kHealthCheckPath;
    options_.headers = &headers_;
    options_.deadline_ns = DeadlineAfter(loop->now_ns(), kTokenCallTimeoutNs);
    options_.initial_credit_messages = 1;
    options_.accept_compressed = false;
  }
  const rpc::CallOptions& options() const { return options_; }
  // The question about the server as a whole: an empty message.
  static void Ask(rpc::Call* call) {
    call->Write({});
    call->CloseSend();
  }

  void OnMessage(rpc::Call& call, SliceList message) override {}
  // What it says of its health does not matter: a server that drains refuses what it does not take.
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override {
    const TokenShown done = std::move(done_);
    const Status status = end.status;
    delete this;
    done(status);
  }

 private:
  TokenShown done_;
  rpc::HeaderList headers_;
  rpc::CallOptions options_;
};

}  // namespace

void ShowToken(Loop* loop, rpc::Channel* channel, std::string_view token, TokenShown done) {
  auto* handler = new TokenCall(loop, token, std::move(done));
  TokenCall::Ask(channel->StartCall(handler->options(), handler));
}

bool ShowToken(Loop* loop, rpc::Connection* connection, std::string_view token, TokenShown done) {
  auto handler = std::make_unique<TokenCall>(loop, token, std::move(done));
  rpc::Call* call = rpc::Call::Start(connection, handler->options(), handler.get());
  if (call == nullptr) return false;
  handler.release();
  TokenCall::Ask(call);
  return true;
}

}  // namespace lever::route
