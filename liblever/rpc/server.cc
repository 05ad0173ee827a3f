#include "liblever/rpc/server.h"

#include <cassert>
#include <list>
#include <utility>
#include <vector>

#include "liblever/rpc/byte_stream.h"
#include "liblever/rpc/call_impl.h"
#include "liblever/rpc/counters.h"
#include "liblever/rpc/grpc_status.h"
#include "liblever/rpc/listener.h"
#include "liblever/rpc/tls_handshake.h"

namespace lever::rpc {
namespace {

class ServerImpl final : public Server, private CallOwner, private TurnEnd {
 public:
  ServerImpl(Loop* loop, CallDispatcher* dispatcher, const ConnectionOptions& options);
  ~ServerImpl() override;

  Status Listen(const Endpoint& endpoint, const ListenOptions& options) override;
  const Endpoint& bound() const override { return bound_; }
  Status Adopt(UniqueFd socket, std::shared_ptr<void> tag, Callers callers) override;
  void* connection_tag(const Call& call) const override { return CallImpl::From(call).tag(); }
  void Admit(Call& call, std::shared_ptr<void> tag, int64_t until_ns) override;
  void Serve(Stream& stream, std::shared_ptr<void> tag) override {
    Dispatch(stream, std::move(tag), nullptr);
  }
  size_t open_calls() const override { return open_calls_; }
  size_t open_connections() const override { return peers_.size(); }
  uint64_t refused_connections() const override;
  void Drain(std::function<void()> drained) override;
  void Close(const Status& status) override;

 private:
  // One connection of ours; null while its TLS handshake is going on.
  struct Peer final : public ConnectionHandler, public Timer {
    Peer(ServerImpl* server, std::shared_ptr<void> tag) : server(server), tag(std::move(tag)) {}
    ~Peer() override { server->loop_->Disarm(this); }
    void OnRequest(Stream& stream) override { server->Dispatch(stream, tag, this); }
    void OnClosed(Connection& connection, const Status& status) override { server->Forget(this); }
    // Its admission is over, or never came.
    void OnTimer() override {
      if (admitted) return connection->Drain();
      connection->Close(Unavailable("nobody said in time who calls"));
    }

    ServerImpl* const server;
    std::shared_ptr<void> tag;
    bool admitted = false;
    std::list<Peer>::iterator place;
    std::unique_ptr<TlsHandshake> handshake;
    std::unique_ptr<Connection> connection;
  };

  // `peer` is null where the stream's connection is another's.
  void Dispatch(Stream& stream, std::shared_ptr<void> tag, Peer* peer);
  // A connection that a listener has accepted.
  void Take(UniqueFd socket, const ListenOptions& options);
  void AdoptTls(UniqueFd socket, const ListenOptions& options);
  void AwaitAdmission(Peer* peer, int64_t timeout_ns);
  Status Open(Peer* peer, std::unique_ptr<ByteStream> socket, Callers callers);
  void DropHandshakes();
  bool Full() const;
  void Forget(Peer* peer);
  void CloseListeners();
  void CheckDrained();

  void OnCallGone() override;
  Status NoConnection() const override { return Internal("a server's call does not wait"); }
  void OnTurnEnd() override;

  Loop* const loop_;
  CallDispatcher* const dispatcher_;
  ConnectionOptions options_;
  Endpoint bound_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  uint64_t refused_before_ = 0;  // by listeners that are closed
  std::list<Peer> peers_;
  Peer* asking_ = nullptr;  // whose request was dispatched last
  CallList calls_;
  size_t open_calls_ = 0;
  bool draining_ = false;
  bool closed_ = false;
  std::function<void()> drained_;
};

ServerImpl::ServerImpl(Loop* loop, CallDispatcher* dispatcher, const ConnectionOptions& options)
    : loop_(loop), dispatcher_(dispatcher), options_(options) {
  options_.role = Role::kServer;
}

ServerImpl::~ServerImpl() {
  while (!calls_.empty()) {
    CallImpl& call = calls_.front();
    calls_.pop_front();
    call.ForgetOwner();
    call.EndWithoutStream(Cancelled("the server was destroyed"));
  }
}

// ---- Connections ----

Status ServerImpl::Listen(const Endpoint& endpoint, const ListenOptions& options) {
  if (closed_ || draining_) return FailedPrecondition("the server is closing");
  LEVER_ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener,
                         Listener::Open(loop_, endpoint, options,
                                        [this, options](UniqueFd socket) {
                                          if (!Full()) Take(std::move(socket), options);
                                        }));
  bound_ = listener->bound();
  listeners_.push_back(std::move(listener));
  return Status::Ok();
}

Status ServerImpl::Adopt(UniqueFd socket, std::shared_ptr<void> tag, Callers callers) {
  if (closed_ || draining_) return Unavailable("the server is closing");
  Peer& peer = peers_.emplace_back(this, std::move(tag));
  peer.place = std::prev(peers_.end());
  const Status opened = Open(&peer, SocketStream(std::move(socket)), callers);
  if (!opened.ok()) peers_.pop_back();
  return opened;
}

void ServerImpl::Take(UniqueFd socket, const ListenOptions& options) {
  if (options.tls != nullptr) return AdoptTls(std::move(socket), options);
  // A socket that cannot be used is closed; its peer sees it.
  if (!Adopt(std::move(socket), nullptr, Callers::kOne).ok()) return;
  AwaitAdmission(&peers_.back(), options.admission_timeout_ns);
}

void ServerImpl::AwaitAdmission(Peer* peer, int64_t timeout_ns) {
  if (timeout_ns > 0) loop_->Arm(peer, DeadlineAfter(loop_->now_ns(), timeout_ns));
}

void ServerImpl::Admit(Call& call, std::shared_ptr<void> tag, int64_t until_ns) {
  assert(asking_ != nullptr);
  CallImpl::From(call).set_tag(tag);
  asking_->tag = std::move(tag);
  asking_->admitted = true;
  loop_->Arm(asking_, until_ns);
}

void ServerImpl::AdoptTls(UniqueFd socket, const ListenOptions& options) {
  if (closed_ || draining_) return;
  Peer& peer = peers_.emplace_back(this, nullptr);
  peer.place = std::prev(peers_.end());
  StatusOr<std::unique_ptr<TlsHandshake>> handshake = TlsHandshake::Accept(
      loop_, SocketStream(std::move(socket)), *options.tls, TlsOffer::kHttp2,
      [this, &peer, timeout_ns = options.admission_timeout_ns](StatusOr<std::unique_ptr<TlsStream>> stream) {
        const std::unique_ptr<TlsHandshake> done = std::move(peer.handshake);
        // What failed is logged.
        const bool opened =
            stream.ok() && Open(&peer, std::move(stream).value(), Callers::kOne).ok();
        if (!opened) return Forget(&peer);
        AwaitAdmission(&peer, timeout_ns);
      });
  if (!handshake.ok()) return peers_.pop_back();
  peer.handshake = std::move(handshake).value();
}

Status ServerImpl::Open(Peer* peer, std::unique_ptr<ByteStream> socket, Callers callers) {
  ConnectionOptions options = options_;
  options.callers = callers;
  LEVER_ASSIGN_OR_RETURN(peer->connection,
                         Connection::Over(loop_, std::move(socket), options, peer));
  return Status::Ok();
}

void ServerImpl::DropHandshakes() {
  std::erase_if(peers_, [](const Peer& peer) { return peer.connection == nullptr; });
}

bool ServerImpl::Full() const {
  if (peers_.size() < options_.connections_max) return false;
  Count(LocalCounters().limit_connections);
  return true;
}

void ServerImpl::Forget(Peer* peer) {
  peers_.erase(peer->place);
  CheckDrained();
}

uint64_t ServerImpl::refused_connections() const {
  uint64_t refused = refused_before_;
  for (const auto& listener : listeners_) refused += listener->refused();
  return refused;
}

void ServerImpl::CloseListeners() {
  refused_before_ = refused_connections();
  listeners_.clear();
}

// ---- Calls ----

// Ends a request that is not dispatched. It has no handler to speak of from here on.
void Refuse(Stream& stream, std::string_view http_status) {
  stream.set_handler(IgnoreStream());
  HeaderList headers;
  headers.Add(":status", http_status);
  stream.SendHeaders(headers, Stream::End::kYes);
}

void Refuse(Stream& stream, Status status) {
  stream.set_handler(IgnoreStream());
  SendTrailersOnly(stream, std::move(status).WithExecuted(LEVER_EXECUTED_NO));
}

void ServerImpl::Dispatch(Stream& stream, std::shared_ptr<void> tag, Peer* peer) {
  const HeaderList& headers = stream.headers();
  const std::string_view content_type = headers.Find("content-type").value_or("");
  switch (ClassifyContentType(content_type)) {
    case ContentKind::kOther:
      return Refuse(stream, "415");
    case ContentKind::kGrpcOtherCodec:
      return Refuse(stream, Unimplemented("the content type " + std::string(content_type) +
                                          " is not supported: use application/grpc or +proto"));
    case ContentKind::kGrpc:
      break;
  }
  if (headers.Find(":method") != std::string_view("POST")) return Refuse(stream, "405");
  if (closed_) return Refuse(stream, Unavailable("the server is closed"));
  StatusOr<CallImpl*> call = CallImpl::Accept(loop_, stream, this, std::move(tag));
  if (!call.ok()) return Refuse(stream, std::move(call).status());
  ++open_calls_;
  calls_.push_back(**call);
  asking_ = peer;
  dispatcher_->OnCall(**call);
}

void ServerImpl::OnCallGone() {
  assert(open_calls_ > 0);
  --open_calls_;
  CheckDrained();
}

// ---- The end ----

void ServerImpl::CheckDrained() {
  if (draining_ && peers_.empty() && open_calls_ == 0) loop_->AtTurnEnd(this);
}

void ServerImpl::OnTurnEnd() {
  if (!peers_.empty() || open_calls_ > 0) return;
  if (const auto drained = std::exchange(drained_, nullptr)) drained();
}

void ServerImpl::Drain(std::function<void()> drained) {
  draining_ = true;
  drained_ = std::move(drained);
  CloseListeners();
  DropHandshakes();
  for (Peer& peer : peers_) peer.connection->Drain();
  CheckDrained();
}

void ServerImpl::Close(const Status& status) {
  if (closed_) return;
  closed_ = true;
  CloseListeners();
  DropHandshakes();
  // First, since those that came by Serve() are on connections that live on.
  for (CallImpl& call : calls_) call.Cancel(status);
  for (Peer& peer : peers_) peer.connection->Close(status);
}

}  // namespace

std::unique_ptr<Server> Server::Make(Loop* loop, CallDispatcher* dispatcher,
                                     const ConnectionOptions& options) {
  return std::make_unique<ServerImpl>(loop, dispatcher, options);
}

}  // namespace lever::rpc
