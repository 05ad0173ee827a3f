#include "liblever/rpc/channel.h"

#include <algorithm>
#include <cassert>
#include <list>
#include <optional>
#include <utility>

#include "liblever/base/ids.h"
#include "liblever/rpc/backoff.h"
#include "liblever/rpc/byte_stream.h"
#include "liblever/rpc/call_impl.h"
#include "liblever/rpc/connector.h"
#include "liblever/rpc/tls_handshake.h"

namespace lever::rpc {
namespace {

class ChannelImpl final : public Channel,
                          private CallOwner,
                          private ConnectionHandler,
                          private Timer,
                          private TurnEnd {
 public:
  enum class Connections : bool { kOne, kMany };
  // Without an endpoint it has the one connection that it is given.
  ChannelImpl(Loop* loop, std::optional<Endpoint> endpoint, Connections connections,
              const ConnectionOptions& options, uint64_t jitter_seed,
              std::shared_ptr<TlsClientContext> tls);
  ~ChannelImpl() override;

  // The one connection, for a channel without an endpoint.
  Status TakeOnly(UniqueFd socket);

  State state() const override { return state_; }
  void OnStateChange(std::function<void(State, const Status&)> callback) override {
    callback_ = std::move(callback);
  }
  Call* StartCall(const CallOptions& options, CallHandler* handler) override;
  Connection* ready_connection() const override {
    return state_ == State::kReady ? current_ : nullptr;
  }
  void Connect() override;
  void ConnectSoon() override;
  size_t open_calls() const override { return open_calls_; }
  void Drain() override;
  void Close(const Status& status) override;

 private:
  void OnCallGone() override;
  Status NoConnection() const override;

  void OnRequest(Stream& stream) override { stream.Reset(kHttp2ProtocolError); }
  void OnReady(Connection& connection) override;
  void OnDraining(Connection& connection) override;
  void OnClosed(Connection& connection, const Status& status) override;

  void OnTimer() override;
  void OnTurnEnd() override;

  void ConnectWhenAllowed();
  void BeginAttempt();
  Status Take(std::unique_ptr<ByteStream> socket);
  Status Shake(std::unique_ptr<ByteStream> socket);
  void OnConnected(StatusOr<UniqueFd> socket);
  void AttemptFailed(Status status);
  void BackOff(const Status& status);
  void StartWaiting();
  void EndWaiting(const Status& status);
  void LoseCurrent(const Status& why);
  void SetState(State state, const Status& status = Status::Ok());
  Status NoNewCalls() const;

  Loop* const loop_;
  const std::optional<Endpoint> endpoint_;
  const bool reconnects_;
  ConnectionOptions options_;
  const std::shared_ptr<TlsClientContext> tls_;
  const std::string name_;  // for messages
  const std::string authority_;
  Backoff backoff_;
  State state_ = State::kIdle;
  std::function<void(State, const Status&)> callback_;

  CallList open_;     // those with a stream, and those that are ending
  CallList waiting_;  // in the order of their coming
  size_t open_calls_ = 0;

  std::unique_ptr<Connector> connector_;
  std::unique_ptr<TlsHandshake> handshake_;
  Connection* current_ = nullptr;  // connecting or ready; those before it finish what they have
  std::list<std::unique_ptr<Connection>> connections_;
  int64_t next_attempt_ns_ = 0;
  Status last_error_;
  bool draining_ = false;
};

std::string AuthorityOf(const std::optional<Endpoint>& endpoint, const TlsClientContext* tls) {
  if (tls != nullptr && !tls->options().server_name.empty()) return tls->options().server_name;
  if (!endpoint.has_value() || endpoint->kind != Endpoint::Kind::kTcp) return "localhost";
  Endpoint plain = *endpoint;
  plain.tls = false;
  return plain.ToString();
}

ChannelImpl::ChannelImpl(Loop* loop, std::optional<Endpoint> endpoint, Connections connections,
                         const ConnectionOptions& options, uint64_t jitter_seed,
                         std::shared_ptr<TlsClientContext> tls)
    : loop_(loop),
      endpoint_(std::move(endpoint)),
      reconnects_(connections == Connections::kMany),
      options_(options),
      tls_(std::move(tls)),
      name_(endpoint_.has_value() ? endpoint_->ToString() : "the connection handed in"),
      authority_(AuthorityOf(endpoint_, tls_.get())),
      backoff_(jitter_seed != 0 ? jitter_seed : RandomSeed()) {
  options_.role = Role::kClient;
}

ChannelImpl::~ChannelImpl() {
  const Status status = Cancelled("the channel to " + name_ + " was destroyed");
  open_.splice(open_.end(), waiting_);
  while (!open_.empty()) {
    CallImpl& call = open_.front();
    open_.pop_front();
    call.ForgetOwner();
    call.EndWithoutStream(status);
  }
}

Status ChannelImpl::TakeOnly(UniqueFd socket) {
  LEVER_RETURN_IF_ERROR(Take(SocketStream(std::move(socket))));
  state_ = State::kConnecting;
  loop_->Arm(this, loop_->clock().NowNs() + kConnectTimeoutNs);
  return Status::Ok();
}

Status ChannelImpl::Take(std::unique_ptr<ByteStream> socket) {
  LEVER_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                         Connection::Over(loop_, std::move(socket), options_, this));
  current_ = connection.get();
  connections_.push_back(std::move(connection));
  return Status::Ok();
}

void ChannelImpl::SetState(State state, const Status& status) {
  if (state_ == state) return;
  state_ = state;
  if (callback_) callback_(state, status);
}

// ---- Calls ----

Call* ChannelImpl::StartCall(const CallOptions& options, CallHandler* handler) {
  CallOptions with_authority = options;
  if (options.authority.empty()) with_authority.authority = authority_;
  if (tls_ != nullptr) with_authority.scheme = "https";
  CallImpl* call = CallImpl::NewClient(loop_, with_authority, handler, this);
  ++open_calls_;
  if (const Status refused = NoNewCalls(); !refused.ok()) call->EndLater(refused);
  if (call->waiting() && state_ == State::kReady && !call->Attach(current_)) {
    // Its stream ids are used up, or OnDraining() is on its way.
    LoseCurrent(Status::Ok());
    // Perhaps there is no next connection.
    if (const Status refused = NoNewCalls(); !refused.ok()) call->EndLater(refused);
  }
  if (!call->waiting()) {
    open_.push_back(*call);
    return call;
  }
  waiting_.push_back(*call);
  if (state_ == State::kIdle) ConnectWhenAllowed();
  return call;
}

Status ChannelImpl::NoNewCalls() const {
  if (state_ == State::kClosed || draining_) {
    const std::string message = "the channel to " + name_ + " is closed";
    return Unavailable(last_error_.ok() ? message : message + ": " + last_error_.message());
  }
  if (state_ != State::kReady && open_calls_ > kWaitingCallsMax) {
    return ResourceExhausted("more than " + std::to_string(kWaitingCallsMax) +
                             " calls wait for a connection to " + name_);
  }
  return Status::Ok();
}

Status ChannelImpl::NoConnection() const {
  const std::string message = "no connection to " + name_ + " within the deadline";
  return Unavailable(last_error_.ok() ? message : message + ": " + last_error_.message());
}

void ChannelImpl::OnCallGone() {
  assert(open_calls_ > 0);
  --open_calls_;
  if (draining_ && open_calls_ == 0) loop_->AtTurnEnd(this);
}

void ChannelImpl::StartWaiting() {
  while (!waiting_.empty() && state_ == State::kReady) {
    CallImpl& call = waiting_.front();
    if (call.waiting() && !call.Attach(current_)) return LoseCurrent(Status::Ok());
    waiting_.pop_front();
    open_.push_back(call);
  }
}

void ChannelImpl::EndWaiting(const Status& status) {
  for (CallImpl& call : waiting_) call.EndLater(status);
  open_.splice(open_.end(), waiting_);
}

// ---- Connecting ----

void ChannelImpl::Connect() {
  if (state_ == State::kIdle || state_ == State::kBackoff) BeginAttempt();
}

void ChannelImpl::ConnectSoon() {
  if (state_ == State::kIdle) ConnectWhenAllowed();
}

void ChannelImpl::ConnectWhenAllowed() {
  if (!endpoint_.has_value()) return;
  if (loop_->clock().NowNs() >= next_attempt_ns_) return BeginAttempt();
  BackOff(last_error_);
}

void ChannelImpl::BackOff(const Status& status) {
  loop_->Arm(this, next_attempt_ns_);
  SetState(State::kBackoff, status);
}

void ChannelImpl::BeginAttempt() {
  if (!endpoint_.has_value()) return;
  const int64_t now_ns = loop_->clock().NowNs();
  next_attempt_ns_ = now_ns + backoff_.NextNs();
  loop_->Arm(this, now_ns + kConnectTimeoutNs);
  SetState(State::kConnecting);
  if (endpoint_->tls && tls_ == nullptr) {
    // Not from inside StartCall().
    loop_->Arm(this, now_ns);
    return;
  }
  connector_ = std::make_unique<Connector>(
      loop_, *endpoint_, now_ns + kConnectTimeoutNs,
      [this](StatusOr<UniqueFd> socket) { OnConnected(std::move(socket)); });
  connector_->Start();
}

void ChannelImpl::OnConnected(StatusOr<UniqueFd> socket) {
  connector_.reset();
  if (!socket.ok()) return AttemptFailed(std::move(socket).status());
  std::unique_ptr<ByteStream> stream = SocketStream(std::move(socket).value());
  const Status taken = tls_ == nullptr ? Take(std::move(stream)) : Shake(std::move(stream));
  if (!taken.ok()) AttemptFailed(taken);
}

Status ChannelImpl::Shake(std::unique_ptr<ByteStream> socket) {
  const bool tcp = endpoint_->kind == Endpoint::Kind::kTcp;
  LEVER_ASSIGN_OR_RETURN(
      handshake_,
      TlsHandshake::Connect(
          loop_, std::move(socket), *tls_, tcp ? endpoint_->host_or_path : "localhost",
          [this](StatusOr<std::unique_ptr<TlsStream>> stream) {
            const std::unique_ptr<TlsHandshake> done = std::move(handshake_);
            const Status taken = stream.ok() ? Take(std::move(stream).value())
                                             : std::move(stream).status();
            if (taken.ok()) return;
            AttemptFailed(Unavailable("no TLS connection to " + name_ + ": " + taken.message()));
          }));
  return Status::Ok();
}

void ChannelImpl::AttemptFailed(Status status) {
  last_error_ = std::move(status).WithExecuted(LEVER_EXECUTED_NO);
  EndWaiting(last_error_);
  if (reconnects_) return BackOff(last_error_);
  SetState(State::kClosed, last_error_);
}

void ChannelImpl::OnTimer() {
  if (state_ == State::kConnecting) {
    connector_.reset();
    handshake_.reset();
    if (endpoint_.has_value() && endpoint_->tls && tls_ == nullptr) {
      return AttemptFailed(Unavailable(name_ + " is not connected to without TLS"));
    }
    if (current_ != nullptr) std::exchange(current_, nullptr)->Close(Cancelled("too slow"));
    return AttemptFailed(Unavailable("no HTTP/2 connection to " + name_ + " in time"));
  }
  if (state_ != State::kBackoff) return;
  if (waiting_.empty()) return SetState(State::kIdle);
  BeginAttempt();
}

void ChannelImpl::OnReady(Connection& connection) {
  if (&connection != current_) return;
  loop_->Disarm(this);
  backoff_.Reset();
  last_error_ = Status::Ok();
  SetState(State::kReady);
  StartWaiting();
  if (draining_) connection.Drain();
}

// The connection takes no new calls: the next one makes a new one.
void ChannelImpl::LoseCurrent(const Status& why) {
  current_ = nullptr;
  last_error_ = why;
  SetState(reconnects_ ? State::kIdle : State::kClosed, why);
  if (state_ == State::kClosed) return EndWaiting(NoNewCalls());
  if (state_ == State::kIdle && !waiting_.empty()) ConnectWhenAllowed();
}

void ChannelImpl::OnDraining(Connection& connection) {
  if (&connection == current_ && state_ == State::kReady) LoseCurrent(Status::Ok());
}

void ChannelImpl::OnClosed(Connection& connection, const Status& status) {
  if (&connection == current_) {
    if (state_ == State::kReady) {
      LoseCurrent(status);
    } else {
      current_ = nullptr;
      loop_->Disarm(this);
      const std::string reason = status.ok() ? "it was closed" : status.message();
      AttemptFailed(Unavailable("no HTTP/2 connection to " + name_ + ": " + reason));
    }
  }
  std::erase_if(connections_, [&](const auto& owned) { return owned.get() == &connection; });
  if (draining_) loop_->AtTurnEnd(this);
}

// ---- The end ----

void ChannelImpl::OnTurnEnd() {
  if (!draining_ || open_calls_ > 0 || state_ == State::kClosed) return;
  // What it was connecting for has ended.
  connector_.reset();
  handshake_.reset();
  if (current_ != nullptr) std::exchange(current_, nullptr)->Drain();
  if (connections_.empty()) {
    loop_->Disarm(this);
    SetState(State::kClosed);
  }
}

void ChannelImpl::Drain() {
  if (draining_ || state_ == State::kClosed) return;
  draining_ = true;
  if (state_ == State::kReady && waiting_.empty()) current_->Drain();
  loop_->AtTurnEnd(this);
}

void ChannelImpl::Close(const Status& status) {
  if (state_ == State::kClosed && open_calls_ == 0) return;
  connector_.reset();
  handshake_.reset();
  loop_->Disarm(this);
  current_ = nullptr;
  last_error_ = status;
  EndWaiting(status);
  for (CallImpl& call : open_) call.EndWithConnection(status);
  for (const auto& connection : connections_) connection->Close(status);
  SetState(State::kClosed, status);
}

}  // namespace

std::unique_ptr<Channel> Channel::To(Loop* loop, Endpoint endpoint,
                                     const ConnectionOptions& options, uint64_t jitter_seed,
                                     std::shared_ptr<TlsClientContext> tls) {
  return std::make_unique<ChannelImpl>(loop, std::move(endpoint), ChannelImpl::Connections::kMany,
                                       options, jitter_seed, std::move(tls));
}

std::unique_ptr<Channel> Channel::Once(Loop* loop, Endpoint endpoint,
                                       const ConnectionOptions& options,
                                       std::shared_ptr<TlsClientContext> tls) {
  auto channel = std::make_unique<ChannelImpl>(
      loop, std::move(endpoint), ChannelImpl::Connections::kOne, options, 0, std::move(tls));
  channel->Connect();
  return channel;
}

StatusOr<std::unique_ptr<Channel>> Channel::Over(Loop* loop, UniqueFd socket,
                                                 const ConnectionOptions& options) {
  auto channel = std::make_unique<ChannelImpl>(
      loop, std::nullopt, ChannelImpl::Connections::kOne, options, 1, nullptr);
  LEVER_RETURN_IF_ERROR(channel->TakeOnly(std::move(socket)));
  return StatusOr<std::unique_ptr<Channel>>(std::move(channel));
}

}  // namespace lever::rpc
