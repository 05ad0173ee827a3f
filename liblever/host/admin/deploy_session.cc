#include "liblever/host/admin/deploy_session.h"

#include <utility>

#include "liblever/host/admin/unary_call.h"
#include "liblever/policy/address.h"
#include "liblever/policy/canary.h"

namespace lever::admin {

using lever::v1::DeployProgress;

namespace {

DeployProgress::Step StepOf(deploy::DeployStep step) {
  switch (step) {
    case deploy::DeployStep::kStored:
      return DeployProgress::STORED;
    case deploy::DeployStep::kStarting:
      return DeployProgress::STARTING;
    case deploy::DeployStep::kWatching:
      return DeployProgress::WATCHING;
  }
  return DeployProgress::STEP_UNSPECIFIED;
}

}  // namespace

DeploySession::DeploySession(Loop* loop, std::shared_ptr<deploy::Deployer> deployer,
                             rpc::Call& call)
    : loop_(loop), deployer_(std::move(deployer)), call_(&call), silence_([this] {
        Fail(DeadlineExceeded("deploy: nothing came for a minute").WithExecuted(LEVER_EXECUTED_NO));
      }) {}

DeploySession::~DeploySession() { loop_->Disarm(&silence_); }

void DeploySession::Accept(Loop* loop, std::shared_ptr<deploy::Deployer> deployer,
                           rpc::Call& call) {
  const std::shared_ptr<DeploySession> session(
      new DeploySession(loop, std::move(deployer), call));
  session->self_ = session;
  call.set_handler(session.get());
  call.SendHeaders();
  session->NextPiece();
}

// Waits for the client.
void DeploySession::NextPiece() {
  loop_->Arm(&silence_, loop_->now_ns() + kSilenceNs);
  call_->Read(1);
}

void DeploySession::OnMessage(rpc::Call& call, SliceList message) {
  if (call_ == nullptr) return;
  const std::shared_ptr<DeploySession> self = shared_from_this();
  loop_->Disarm(&silence_);
  lever::v1::DeployRequest request;
  if (!ParseMessage(message, &request)) {
    Fail(InvalidArgument("deploy: a message that is not a lever.v1.DeployRequest"));
    return;
  }
  if (request.has_begin() != (phase_ == Phase::kBegin)) {
    Fail(InvalidArgument("deploy: `begin` must be the first message, and only that"));
    return;
  }
  if (request.has_begin()) {
    Begin(request.begin());
  } else if (request.chunk().size() > kChunkBytesMax) {
    Fail(InvalidArgument("deploy: more than 1 MiB in one message"));
  } else {
    Append(request.chunk());
  }
}

void DeploySession::Begin(const lever::v1::DeployBegin& begin) {
  phase_ = Phase::kBeginning;
  announced_bytes_ = begin.packed_bytes();
  start_first_ = begin.start();
  if (begin.canary_share() >= policy::kShareParts) {
    Fail(InvalidArgument("a canary's share is less than " + std::to_string(policy::kShareParts) +
                         " parts of so many")
             .WithExecuted(LEVER_EXECUTED_NO));
    return;
  }
  if (begin.canary_share() > 0) {
    canary_ = {.share = begin.canary_share(), .sticky = begin.canary_sticky()};
  }
  switch (begin.watch()) {
    case lever::v1::DeployBegin::DETACH:
      watch_ = deploy::WatchMode::kDetach;
      break;
    case lever::v1::DeployBegin::OFF:
      watch_ = deploy::WatchMode::kOff;
      break;
    default:
      watch_ = deploy::WatchMode::kAwait;
  }
  const std::string environment = begin.environment().empty()
                                      ? std::string(policy::kDefaultEnvironment)
                                      : begin.environment();
  deployer_->Begin(environment, begin.manifest_json(), loop_,
                   [self = shared_from_this()](auto upload) { self->OnBegun(std::move(upload)); });
}

void DeploySession::OnBegun(StatusOr<std::unique_ptr<deploy::Deployer::Upload>> upload) {
  if (call_ == nullptr) return;
  if (!upload.ok()) {
    Fail(upload.status());
    return;
  }
  upload_ = std::move(upload).value();
  if (start_first_) upload_->StartFirst();
  upload_->SetWatch(watch_);
  if (canary_) upload_->SetCanary(*canary_);
  phase_ = Phase::kReceiving;
  if (peer_ended_) {
    Deploy();
  } else {
    NextPiece();
  }
}

void DeploySession::Append(const std::string& chunk) {
  phase_ = Phase::kAppending;
  SliceList bytes;
  bytes.push_back(Slice::Copy(chunk));
  upload_->Append(std::move(bytes), [self = shared_from_this()](const Status& status) {
    if (self->call_ == nullptr) {
      // The call ended while its piece was being written.
      self->upload_.reset();
      return;
    }
    if (!status.ok()) {
      self->Fail(status);
      return;
    }
    self->phase_ = Phase::kReceiving;
    if (self->peer_ended_) {
      self->Deploy();
    } else {
      self->NextPiece();
    }
  });
}

void DeploySession::OnPeerEnd(rpc::Call& call) {
  if (call_ == nullptr) return;
  peer_ended_ = true;
  const std::shared_ptr<DeploySession> self = shared_from_this();
  if (phase_ == Phase::kBegin) Fail(InvalidArgument("deploy: the call has no messages"));
  if (phase_ == Phase::kReceiving) Deploy();
}

void DeploySession::Deploy() {
  loop_->Disarm(&silence_);
  phase_ = Phase::kDeploying;
  const auto received = static_cast<uint64_t>(upload_->bytes());
  if (announced_bytes_ != 0 && received != announced_bytes_) {
    Fail(InvalidArgument("deploy: " + std::to_string(received) + " bytes came where " +
                         std::to_string(announced_bytes_) + " were announced"));
    return;
  }
  Tell(DeployProgress::RECEIVED);
  upload_->Finish(
      [self = shared_from_this()](deploy::DeployStep step) { self->Tell(StepOf(step)); },
      [self = shared_from_this()](const StatusOr<deploy::DeployResult>& result) {
        self->OnDone(result);
      });
}

void DeploySession::Tell(DeployProgress::Step step) {
  if (call_ == nullptr) return;
  DeployProgress progress;
  progress.set_step(step);
  progress.set_received_bytes(static_cast<uint64_t>(upload_->bytes()));
  call_->Write(SerializeMessage(progress));
}

void DeploySession::OnDone(const StatusOr<deploy::DeployResult>& result) {
  if (call_ == nullptr) return;
  if (!result.ok()) {
    Fail(result.status());
    return;
  }
  DeployProgress progress;
  progress.set_step(DeployProgress::DONE);
  progress.set_service(result->service);
  progress.set_version(result->version);
  progress.set_unchanged(result->unchanged);
  progress.set_canary_share(result->canary_share);
  progress.set_received_bytes(static_cast<uint64_t>(upload_->bytes()));
  for (const std::string& note : result->notes) progress.add_notes(note);
  rpc::Call* const call = std::exchange(call_, nullptr);
  call->Write(SerializeMessage(progress));
  call->Finish(Status::Ok());
}

void DeploySession::Fail(const Status& status) {
  loop_->Disarm(&silence_);
  if (phase_ != Phase::kAppending) upload_.reset();
  if (call_ != nullptr) std::exchange(call_, nullptr)->Finish(status);
}

void DeploySession::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  loop_->Disarm(&silence_);
  // What is being appended ends first; what has been finished goes on by itself.
  if (phase_ != Phase::kAppending) upload_.reset();
  const std::shared_ptr<DeploySession> last = std::move(self_);
}

}  // namespace lever::admin
