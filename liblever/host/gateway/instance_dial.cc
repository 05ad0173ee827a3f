#include "liblever/host/gateway/instance_dial.h"

#include <utility>

#include "liblever/route/token_call.h"
#include "liblever/rpc/endpoint.h"

namespace lever::gateway {

InstanceDial::InstanceDial(Loop* loop, route::AddressWay way, rpc::ConnectionHandler* handler,
                           Done done)
    : loop_(loop), way_(std::move(way)), handler_(handler), done_(std::move(done)) {}

InstanceDial::~InstanceDial() { loop_->Disarm(this); }

void InstanceDial::Start() {
  if (const Status begun = Begin(); !begun.ok()) Fail(begun);
}

Status InstanceDial::Begin() {
  LEVER_ASSIGN_OR_RETURN(rpc::Endpoint endpoint, rpc::Endpoint::Parse(way_.address));
  host_ = endpoint.host_or_path;
  if (endpoint.tls) {
    LEVER_ASSIGN_OR_RETURN(tls_, rpc::TlsClientContext::OpenForKey(way_.key_hash));
  }
  const int64_t deadline_ns = DeadlineAfter(loop_->now_ns(), kInstanceDialTimeoutNs);
  loop_->Arm(this, deadline_ns);
  connector_ = std::make_unique<rpc::Connector>(
      loop_, std::move(endpoint), deadline_ns,
      [this](StatusOr<UniqueFd> socket) { OnConnected(std::move(socket)); });
  connector_->Start();
  return Status::Ok();
}

void InstanceDial::OnConnected(StatusOr<UniqueFd> socket) {
  if (!socket.ok()) return Fail(socket.status());
  if (tls_ == nullptr) return Finish(Open(rpc::SocketStream(std::move(socket).value())));
  if (const Status begun = Shake(std::move(socket).value()); !begun.ok()) Fail(begun);
}

Status InstanceDial::Shake(UniqueFd socket) {
  LEVER_ASSIGN_OR_RETURN(
      handshake_, rpc::TlsHandshake::Connect(
                      loop_, rpc::SocketStream(std::move(socket)), *tls_, host_,
                      [this](StatusOr<std::unique_ptr<rpc::TlsStream>> stream) {
                        OnSecured(std::move(stream));
                      }));
  return Status::Ok();
}

void InstanceDial::OnSecured(StatusOr<std::unique_ptr<rpc::TlsStream>> stream) {
  Status shown = stream.status();
  if (stream.ok()) shown = ShowToken(std::move(stream).value());
  if (!shown.ok()) Fail(shown);
}

Status InstanceDial::ShowToken(std::unique_ptr<rpc::ByteStream> stream) {
  LEVER_ASSIGN_OR_RETURN(connection_, Open(std::move(stream)));
  const bool asked = route::ShowToken(
      loop_, connection_.get(), way_.token,
      [this, alive = std::weak_ptr<const bool>(alive_)](const Status& taken) {
        if (alive.expired()) return;
        if (!taken.ok()) return Fail(taken);
        Finish(std::move(connection_));
      });
  return asked ? Status::Ok() : Unavailable("the connection has ended");
}

StatusOr<std::unique_ptr<rpc::Connection>> InstanceDial::Open(
    std::unique_ptr<rpc::ByteStream> stream) {
  rpc::ConnectionOptions options;
  options.role = rpc::Role::kClient;
  return rpc::Connection::Over(loop_, std::move(stream), options, handler_);
}

void InstanceDial::OnTimer() {
  Fail(Unavailable("it took too long"));
}

// Whatever it was, another instance may do.
void InstanceDial::Fail(const Status& why) {
  Finish(Unavailable("no connection to the instance at " + way_.address + ": " + why.message()));
}

void InstanceDial::Finish(StatusOr<std::unique_ptr<rpc::Connection>> result) {
  loop_->Disarm(this);
  if (const Done done = std::exchange(done_, nullptr)) done(std::move(result));
}

}  // namespace lever::gateway
