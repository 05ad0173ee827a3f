// The one implementation of Client: what its calls and streams share.
//
// Threads: used only by who holds the loop's word.
#ifndef LIBLEVER_CLIENT_CLIENT_IMPL_H_
#define LIBLEVER_CLIENT_CLIENT_IMPL_H_

#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/client/client.h"
#include "liblever/client/target.h"
#include "liblever/policy/retry.h"

namespace lever::client {

class UnaryCallImpl;

// Something of a client's that has not ended: a call or a stream.
class Live : public boost::intrusive::list_base_hook<
                 boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  // Ends it with CANCELLED, later.
  virtual void Abandon() = 0;

 protected:
  ~Live() = default;
};

class ClientImpl final : public Client {
 public:
  // Ended unary calls that are kept for the next ones.
  static constexpr size_t kPooledCallsMax = 256;

  ClientImpl(Loop* loop, ClientOptions options, ClientHandler* handler);
  ~ClientImpl() override;

  StatusOr<UnaryCall*> StartCall(Request request, UnaryHandler* handler) override;
  StatusOr<ClientStream*> OpenStream(Request request, StreamHandler* handler) override;
  ClientStats stats() const override;
  const std::string& environment() const override { return options_.environment; }
  void Close() override;

  Loop* loop() const { return loop_; }
  const ClientOptions& options() const { return options_; }
  route::HostLink& link() const { return *options_.link; }
  // Of pass-through calls; all others go by their service.
  policy::RetryBudget& bare_budget() { return bare_budget_; }
  ClientStats& counters() { return stats_; }

  // A call or stream begins, and ends.
  void Add(Live* live) { live_.push_back(*live); }
  void Remove(Live* live);
  void Recycle(UnaryCallImpl* call);

 private:
  using LiveList =
      boost::intrusive::list<Live, boost::intrusive::constant_time_size<false>>;

  // Refuses what is not a request's; the target of what is.
  StatusOr<std::shared_ptr<Target>> Check(const Request& request, bool stream);

  Loop* loop_;
  ClientOptions options_;
  ClientHandler* handler_;
  TargetCache targets_;
  policy::RetryBudget bare_budget_;
  ClientStats stats_;
  LiveList live_;
  std::vector<std::unique_ptr<UnaryCallImpl>> pool_;
  bool closing_ = false;
  FunctionTimer closed_timer_{[this] { handler_->OnClosed(*this); }};
};

}  // namespace lever::client

#endif  // LIBLEVER_CLIENT_CLIENT_IMPL_H_
