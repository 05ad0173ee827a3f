// From a manifest and the bytes of a bundle to a version that serves; the environments that
// services are in; and what a host starts with.
//
//   Begin()            manifest and environment are checked, the service is taken for this deploy
//   Upload::Append()   the bytes, one piece after the other
//   Upload::Finish()   bundle durable -> version durable -> the control plane starts it
//
// Threads. Begin(), Remove(), an Upload's functions and those of environments may be called from
// the loop that their answers come back on (any loop of the host); LoadAll() from the control loop.
// The deciding is done on the control loop, whatever waits on a disk on the host's pool. The
// registry's completions must run on the control loop. Make() gives a shared pointer because work
// under way holds it; the loops, the registry, the store and the control plane outlive the last
// task that runs.
//
// Invariants
//  1. One deploy or removal of a service at a time: a second is ABORTED at once, unexecuted. So is
//  one
//     of a service whose environment is being made or removed, and the other way round.
//  2. The version is durable before the control plane hears of it. If its first instance never
//  becomes
//     ready, the registry names the version before it again, and that one goes on.
//  3. Numbers rise by one a deploy or a change of settings, and a number is not given twice in the
//  life
//     of a service. Going back to a version gives no number.
//  4. The same content as the version that serves is `unchanged`, and starts nothing.
//  5. Old versions are kept as policy/versions_kept.h says, with their bundles.
//  6. A version that took over from another is watched (scale::Control::Watch()), but for one that
//     was gone back to. If it is taken back, the registry names the version before again, and its
//     own is forgotten. The next change of the service ends the watch: the version is kept.
//  7. A canary gets its share beside the version that serves. While there is one it can be given
//     another share, promoted or given up; nothing else changes the service, but for its removal.
//  8. A deploy that fails, or is broken off, leaves no file (see collector.h).
#ifndef LIBLEVER_HOST_DEPLOY_DEPLOYER_H_
#define LIBLEVER_HOST_DEPLOY_DEPLOYER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/host/deploy/bundle_store.h"
#include "liblever/host/deploy/collector.h"
#include "liblever/host/deploy/manifest.h"
#include "liblever/host/deploy/service_record.h"
#include "liblever/host/deploy/worker.h"
#include "liblever/host/registry/registry.h"
#include "liblever/host/scale/control.h"

namespace lever::deploy {

struct DeployerOptions {
  scale::Control* control = nullptr;
  registry::Registry* registry = nullptr;
  BundleStore* store = nullptr;
  const SecretBox* secrets = nullptr;
  Execute execute;
  // Whether this host can run such a version at all, asked before the first byte comes; from any
  // thread. None: it can run all.
  std::function<Status(const scale::ServiceSpec&)> runnable;
};

struct VersionInfo {
  uint64_t version = 0;
  bool current = false;
  scale::CanaryTerms canary;  // share 0: it is none
  int64_t deployed_unix_ns = 0;
  std::string bundle;
  std::string reason;
};

// What a service is set to; no secret's value.
struct SettingsInfo {
  uint64_t version = 0;
  std::string config_json;  // as the service gets it
  std::vector<std::string> config_set;
  std::vector<std::string> secrets;
};

struct EnvironmentInfo {
  std::string environment;
  uint32_t services = 0;  // that are deployed
};

enum class Force : uint8_t { kNo, kYes };

// What a deploy does about the watch of its version.
enum class WatchMode : uint8_t {
  kAwait,   // its answer comes when the watch is over, if there is something to watch
  kDetach,  // its answer comes as soon as the version serves
  kOff,     // the version is not watched
};

enum class DeployStep : uint8_t {
  kStored,    // bundle and version are durable
  kStarting,  // the first instance of the new version is awaited
  kWatching,  // it serves, and is watched
};

struct DeployResult {
  std::string environment;
  std::string service;
  uint64_t version = 0;
  bool unchanged = false;
  uint32_t canary_share = 0;  // of a version that is a canary
  std::vector<std::string> notes;  // what the user should know, a line each
};

class Deployer : public std::enable_shared_from_this<Deployer> {
 public:
  // Uploads that are open at a time: each may hold packed_bytes_max on the disk.
  static constexpr size_t kDeploysMax = 16;

  class Upload;

  static std::shared_ptr<Deployer> Make(DeployerOptions options);
  Deployer(const Deployer&) = delete;
  Deployer& operator=(const Deployer&) = delete;

  // NOT_FOUND: there is no such environment. INVALID_ARGUMENT: what is wrong with the manifest.
  // What DeployerOptions::runnable says of it.
  // `done` runs on `loop`, which is the upload's from then on.
  void Begin(std::string environment, std::string manifest_json, Loop* loop,
             std::function<void(StatusOr<std::unique_ptr<Upload>>)> done);
  // OK when the registry has forgotten the service and its instances have begun to drain.
  void Remove(std::string environment, std::string service, Loop* loop,
              std::function<void(Status)> done);
  // A new version of the same bundle that is set otherwise; it takes over as one that was deployed.
  // `unchanged`: it was set so already. NOT_FOUND: there is no such service.
  void ChangeSettings(std::string environment, std::string service, SettingsChange change,
                      Loop* loop, std::function<void(StatusOr<DeployResult>)> done);
  // Back (or forward) to a version that is kept; 0: the highest one below the current. While there is
  // a canary, 0 and the version that serves give that up, and no other is gone to.
  void Rollback(std::string environment, std::string service, uint64_t version, Loop* loop,
                std::function<void(StatusOr<DeployResult>)> done);
  // The canary takes over. FAILED_PRECONDITION: there is none.
  void Promote(std::string environment, std::string service, Loop* loop,
               std::function<void(StatusOr<DeployResult>)> done);
  void ListVersions(std::string environment, std::string service, Loop* loop,
                    std::function<void(StatusOr<std::vector<VersionInfo>>)> done);
  void ListSettings(std::string environment, std::string service, Loop* loop,
                    std::function<void(StatusOr<SettingsInfo>)> done);

  // How many services were copied. ALREADY_EXISTS; NOT_FOUND: there is no `copy_from` (empty: a new
  // environment is empty). The copies serve before `done`.
  void CreateEnvironment(std::string environment, std::string copy_from, Loop* loop,
                         std::function<void(StatusOr<uint32_t>)> done);
  // How many services were removed with it. FAILED_PRECONDITION: services are there, and no force;
  // or programs are attached; or it is the default one.
  void DeleteEnvironment(std::string environment, Force force, Loop* loop,
                         std::function<void(StatusOr<uint32_t>)> done);
  void ListEnvironments(Loop* loop,
                        std::function<void(StatusOr<std::vector<EnvironmentInfo>>)> done);
  // Hands what the registry knows, environments and services, to the control plane. A service whose
  // record is damaged is logged and left out.
  void LoadAll(std::function<void(Status)> done);

 private:
  using Name = std::pair<std::string, std::string>;  // environment, service
  struct Job;
  enum class Started : uint8_t { kNo, kYes };
  struct Loading;
  struct Copy {
    std::string service;
    ServiceRecord record;
    VersionRecord version;
  };

  explicit Deployer(DeployerOptions options);
  void Post(std::function<void()> task) { options_.control->loop().Post(std::move(task)); }
  Status Take(const Name& name);
  // Of one that is watched: ABORTED if it is being taken back.
  Status EndWatch(const Name& name);
  void Free(const Name& name) { busy_.erase(name); }
  void CheckEnvironment(const std::string& environment, std::function<void(Status)> done);

  void Store(std::shared_ptr<Job> job);
  void ReadRecord(std::shared_ptr<Job> job);
  void OnRecord(std::shared_ptr<Job> job, const StatusOr<registry::GetResult>& read);
  void OnVersion(std::shared_ptr<Job> job, const StatusOr<registry::GetResult>& read);
  void Unchanged(std::shared_ptr<Job> job);
  void ChooseVersion(std::shared_ptr<Job> job);
  void ReadVersion(std::shared_ptr<Job> job, uint64_t number);
  // Of a service that has a canary, or gets one. False: the job goes the ordinary way.
  bool TakeCanaryWay(const std::shared_ptr<Job>& job);
  void GiveUpCanary(std::shared_ptr<Job> job);
  void FailJob(const std::shared_ptr<Job>& job, std::string why);
  void FixShards(std::shared_ptr<Job> job);
  void ForgetShards(const std::shared_ptr<Job>& job);
  void Commit(std::shared_ptr<Job> job);
  void OnCommitted(std::shared_ptr<Job> job, const StatusOr<registry::TransactionResult>& result);
  void Start(std::shared_ptr<Job> job);
  void OnServing(std::shared_ptr<Job> job, Started started);
  void OnWatched(std::shared_ptr<Job> job, const scale::WatchResult& result);
  void RollBack(std::shared_ptr<Job> job, const Status& why);
  void Answer(Job& job, const Status& status);
  void Finish(std::shared_ptr<Job> job, const Status& status);

  void BeginJob(std::shared_ptr<Job> job, std::string environment, std::string service);
  void Prune(const Name& name, const ServiceRecord& current);
  // A service's record, and that of the version which serves.
  using Current = std::pair<ServiceRecord, VersionRecord>;
  void ReadCurrent(const Name& name, std::function<void(StatusOr<Current>)> done);
  // The same on the control loop, for the names that a caller has given; one of the two is called.
  void WithCurrent(std::string environment, std::string service, std::function<void(Status)> fail,
                   std::function<void(const Name&, const Current&)> use);
  void RemoveTaken(const Name& name, std::function<void(Status)> done);
  void RemoveVersions(const Name& name, const registry::Entry& record,
                      const std::vector<registry::Entry>& versions,
                      std::function<void(Status)> done);

  using EnvironmentDone = std::function<void(StatusOr<uint32_t>)>;
  Status TakeEnvironment(const std::string& environment);
  void WithEnvironment(std::string environment, EnvironmentDone answer,
                       std::function<void(const EnvironmentDone&)> work);
  void TellEnvironments(std::function<void(Status)> done);
  void ReadForCopy(const std::string& environment,
                   std::function<void(StatusOr<std::vector<Copy>>)> done);
  void PutEnvironment(const std::string& environment, std::vector<Copy> copies,
                      std::function<void(StatusOr<uint32_t>)> done);
  void PutCopies(const std::string& environment, std::shared_ptr<std::vector<Copy>> copies,
                 size_t next, std::function<void(StatusOr<uint32_t>)> done);
  void EmptyEnvironment(const std::string& environment, Force force,
                        const std::vector<scale::ServiceStatus>& running,
                        std::function<void(StatusOr<uint32_t>)> done);
  void RemoveAll(const std::string& environment, std::shared_ptr<std::vector<std::string>> services,
                 size_t next, std::function<void(StatusOr<uint32_t>)> done);

  void LoadServices(std::shared_ptr<Loading> loading);
  void LoadVersions(std::shared_ptr<Loading> loading, std::vector<registry::Entry> versions);
  void ServeAtStart(scale::ServiceSpec spec);
  void SetCanaryAtStart(scale::ServiceSpec spec, const CanaryRecord& canary);
  void DropVersions(std::vector<std::string> keys, std::vector<registry::Compare> compares);

  DeployerOptions options_;
  std::shared_ptr<Collector> collector_;
  std::set<Name> busy_;
  std::set<Name> watched_;
  std::set<std::string> busy_environments_;
};

// One bundle that is coming in. Neither copied nor moved; destroying it before Finish() gives the
// deploy up. After Finish() the deploy goes on whatever happens to its caller.
class Deployer::Upload {
 public:
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  // One at a time: the next one after `done`.
  void Append(SliceList bytes, std::function<void(Status)> done);
  int64_t bytes() const { return bytes_; }
  // Before Finish(): the version serves only when its first instance is ready, also where none runs.
  void StartFirst();
  void SetWatch(WatchMode mode);
  // The version does not take over, but becomes the canary, or that gets other terms.
  void SetCanary(scale::CanaryTerms terms);
  // Once, after the last Append() is done. `progress` may come several times before `done`.
  void Finish(std::function<void(DeployStep)> progress,
              std::function<void(StatusOr<DeployResult>)> done);

 private:
  friend class Deployer;
  Upload(std::shared_ptr<Deployer> deployer, std::shared_ptr<Job> job);

  std::shared_ptr<Deployer> deployer_;
  std::shared_ptr<Job> job_;
  int64_t bytes_ = 0;
  bool finished_ = false;
};

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_DEPLOYER_H_
