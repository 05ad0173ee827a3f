// One call of lever.v1.Admin/Deploy: begin, the bundle's bytes, progress until it serves.
//
// The next piece is asked for when the one before is in the host's file, so a fast client is held back
// by HTTP/2's flow control and the host holds one piece.
//
// Threads: those of its loop. It owns itself until its call has ended.
#ifndef LIBLEVER_HOST_ADMIN_DEPLOY_SESSION_H_
#define LIBLEVER_HOST_ADMIN_DEPLOY_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lever/v1/admin.pb.h"
#include "liblever/base/loop.h"
#include "liblever/host/deploy/deployer.h"
#include "liblever/rpc/call.h"

namespace lever::admin {

class DeploySession final : public rpc::CallHandler,
                            public std::enable_shared_from_this<DeploySession> {
 public:
  static constexpr size_t kChunkBytesMax = 1024 * 1024;
  // A client that sends nothing for so long keeps the service from being deployed by others.
  static constexpr int64_t kSilenceNs = 60 * kNanosPerSecond;

  static void Accept(Loop* loop, std::shared_ptr<deploy::Deployer> deployer, rpc::Call& call);
  ~DeploySession() override;

  void OnMessage(rpc::Call& call, SliceList message) override;
  void OnPeerEnd(rpc::Call& call) override;
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;

 private:
  enum class Phase : uint8_t { kBegin, kBeginning, kReceiving, kAppending, kDeploying };

  DeploySession(Loop* loop, std::shared_ptr<deploy::Deployer> deployer, rpc::Call& call);
  void Begin(const lever::v1::DeployBegin& begin);
  void OnBegun(StatusOr<std::unique_ptr<deploy::Deployer::Upload>> upload);
  void Append(const std::string& chunk);
  void NextPiece();
  void Deploy();
  void Tell(lever::v1::DeployProgress::Step step);
  void OnDone(const StatusOr<deploy::DeployResult>& result);
  void Fail(const Status& status);

  Loop* loop_;
  std::shared_ptr<deploy::Deployer> deployer_;
  rpc::Call* call_;
  Phase phase_ = Phase::kBegin;
  bool peer_ended_ = false;
  uint64_t announced_bytes_ = 0;
  deploy::WatchMode watch_ = deploy::WatchMode::kAwait;
  bool start_first_ = false;
  std::optional<scale::CanaryTerms> canary_;
  std::unique_ptr<deploy::Deployer::Upload> upload_;
  FunctionTimer silence_;
  std::shared_ptr<DeploySession> self_;
};

}  // namespace lever::admin

#endif  // LIBLEVER_HOST_ADMIN_DEPLOY_SESSION_H_
