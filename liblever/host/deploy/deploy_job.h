// The state of one deploy, change of settings or rollback, shared by the files that carry it out
// (deployer.cc, deployer_steps.cc, deployer_versions.cc).
//
// Threads: before Finish() the loop of its upload's, afterwards the control loop. `file` is touched
// by one pool task at a time.
#ifndef LIBLEVER_HOST_DEPLOY_DEPLOY_JOB_H_
#define LIBLEVER_HOST_DEPLOY_DEPLOY_JOB_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "liblever/host/deploy/deployer.h"

namespace lever::deploy {

struct Deployer::Job {
  enum class Kind : uint8_t { kUpload, kSettings, kRollback, kPromote };

  Kind kind = Kind::kUpload;
  Name name;
  Manifest manifest;
  bool start_first = false;
  WatchMode watch = WatchMode::kDetach;
  std::optional<scale::CanaryTerms> canary;  // kUpload: it does not take over
  std::shared_ptr<BundleStore::Upload> file;
  Loop* loop = nullptr;  // where the answers go
  std::function<void(DeployStep)> progress;
  std::function<void(StatusOr<DeployResult>)> done;

  int64_t packed_bytes = 0;
  SettingsChange change;  // kSettings
  uint64_t wanted = 0;    // the number of a version that there is
  bool exists = false;    // `wanted` is chosen: no new version is made
  std::string bundle;     // kUpload: what was uploaded
  VersionRecord version;  // that is to serve
  scale::ServiceSpec spec;
  registry::Revision read_revision = 0;  // of the service's record
  std::optional<ServiceRecord> before;  // nullopt: the service is new
  ServiceRecord now;
  uint64_t number = 0;              // of the version that was made or chosen
  registry::Revision revision = 0;  // of `now` in the registry
  bool entered = false;             // keeps the collector away
  bool fixes_shards = false;        // its name has no number of shards yet
  DeployResult result;
  bool serving = false;  // it did take over
  bool answered = false;

  // "lever://dev.lever/hello"
  std::string ServiceText() const {
    return scale::ServiceName{name.first, name.second}.ToString();
  }
  void Tell(DeployStep step) const {
    if (!progress) return;
    loop->Post([progress = progress, step] { progress(step); });
  }
};

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_DEPLOY_JOB_H_
