// The one implementation of Service: dispatch, the attachment, the drain.
//
// Threads: used only by who holds the loop's word.
#ifndef LIBLEVER_SERVICE_SERVICE_IMPL_H_
#define LIBLEVER_SERVICE_SERVICE_IMPL_H_

#include <boost/intrusive/list.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/policy/shard.h"
#include "liblever/route/host_link.h"
#include "liblever/rpc/server.h"
#include "liblever/service/admission.h"
#include "liblever/service/attachment.h"
#include "liblever/service/drain.h"
#include "liblever/service/load_tracker.h"
#include "liblever/service/method_table.h"
#include "liblever/service/ownership.h"
#include "liblever/service/resource_request.h"
#include "liblever/service/service.h"
#include "liblever/service/shard_loads.h"

namespace lever::service {

class IncomingCallImpl;
class IncomingStreamImpl;

// What is known of a request before it is offered to the program.
struct RequestInfo {
  const Method* method = nullptr;
  std::string_view method_name;  // interned by the table's names: valid as long as the service
  int64_t deadline_ns = kNever;
  std::string_view caller;  // valid during the dispatch only
  // Of a resource: its decoded name, its shard, and what the caller believes of that.
  std::string resource;
  policy::ShardGeneration shard;
};

// "sayHello, called by lever://dev.lever/shop, open for 31 s".
std::string DescribeRequest(const RequestInfo& info, int64_t open_ns);

// A request that has not ended: what a drain waits for, and a close ends.
class OpenRequest : public boost::intrusive::list_base_hook<
                        boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  // For the log of what was cut off.
  virtual std::string Describe() const = 0;
  // Ends it with `status`, as far as its caller goes; the program hears of it.
  virtual void Abandon(const Status& status) = 0;
  // Its transport has ended, and the program knows that the handle is over.
  virtual void Discard() = 0;

 protected:
  ~OpenRequest() = default;
};

class ServiceImpl final : public Service,
                          private rpc::CallDispatcher,
                          private route::IncomingAcceptor,
                          private AttachmentHandler,
                          private OwnershipHandler {
 public:
  // Ended unary calls that are kept for the next ones.
  static constexpr size_t kPooledCallsMax = 256;

  ServiceImpl(Loop* loop, ServiceOptions options, std::shared_ptr<route::HostLink> link,
              ServiceHandler* handler);
  ~ServiceImpl() override;

  Status AddMethod(std::string_view name, void* user_data) override;
  Status SetResource(ResourceOptions options) override;
  Status AddResourceMethod(std::string_view name, void* user_data) override;
  Status Start() override;
  void Drain() override;
  void Close() override;
  void ResourceOpened(uint64_t resource, const Status& status) override;
  Status ResourceClosed(uint64_t resource, const Status& status, Kind kind,
                        const SliceList* state) override;
  std::shared_ptr<const GrantView> grants() const override;
  State state() const override { return state_; }
  const Details& details() const override { return details_; }
  const std::shared_ptr<route::HostLink>& link() const override { return link_; }

  // ---- For its requests ----
  Loop* loop() const { return loop_; }
  ServiceHandler* handler() const { return handler_; }
  size_t message_bytes_max() const { return options_.message_bytes_max; }
  // Whether user code may begin now; else how the request is refused.
  Status MayBegin(int64_t deadline_ns) const;
  // Only where a request is of a resource.
  Ownership* ownership() { return ownership_.get(); }
  // `of` is the same one.
  void CallBegan(OpenRequest* request, const ResourceRequest& of);
  void CallEnded(OpenRequest* request, const ResourceRequest& of, int64_t latency_ns);
  // Of a request that the program was given; nothing for one whose caller gave it up.
  void Ended(Ending outcome) { load_.Ended(outcome); }
  void StreamBegan(OpenRequest* request, const ResourceRequest& of);
  void StreamEnded(OpenRequest* request, const ResourceRequest& of);
  void Recycle(IncomingCallImpl* call);

 private:
  enum class CloseStep : uint8_t { kAbandon, kDisconnect, kWait };
  using RequestList =
      boost::intrusive::list<OpenRequest, boost::intrusive::constant_time_size<false>>;

  // rpc::CallDispatcher
  void OnCall(rpc::Call& call) override;
  // Whether it came over a connection that may call; the first one of a connection may say who does.
  Status Admit(rpc::Call& call);
  // Why a request is refused unexecuted, or what it is for.
  StatusOr<RequestInfo> Examine(const rpc::Call& call, bool stream) const;
  void RefuseAsFull(rpc::Call& call);
  StatusOr<const Method*> FindMethod(std::string_view url, const MethodTable& methods,
                                     std::string_view* name) const;
  Status ExamineResource(const rpc::Call& call, std::string_view encoded, RequestInfo* info) const;
  std::string_view CallerOf(const rpc::Call& call) const;

  // route::IncomingAcceptor
  bool OnIncomingConnection(const route::Introduction& introduction, UniqueFd socket) override;

  // AttachmentHandler
  InstanceHello MakeHello() override;
  void OnWelcome(const InstanceWelcome& welcome) override;
  void OnServing() override;
  void OnDrainRequest(const DrainRequest& request) override;
  void OnShardMessage(ToInstance& message) override;
  void OnDetached(const Status& status, bool final) override;

  // OwnershipHandler
  void SendToHost(const std::string& message) override;
  void OnResourceOpen(const ResourceOpening& opening) override;
  void OnResourceClose(uint64_t resource, CloseReason reason) override;
  void OnNothingOwned() override;
  int64_t ReleaseTimeoutNs() const override;

  Status Listen();
  bool Adopt(const route::Introduction& introduction, UniqueFd socket);
  // What was introduced before the service was attached.
  void AdoptParked();
  // Out of the table of the loop's own services, if it is there.
  void LeaveInProcess();
  void SetState(State state, const Status& status = Status::Ok());
  int64_t DrainTimeoutNs() const;
  bool Drained() const;
  void BeginDrain(int64_t timeout_ns);
  void StepDrain();
  void CutOff();
  uint32_t AbandonAll(const Status& status,
                      const std::function<void(const OpenRequest&)>& before);
  void LoadChanged(uint32_t in_flight_before);
  void StepClose();

  Loop* const loop_;
  const ServiceOptions options_;
  const std::shared_ptr<route::HostLink> link_;
  ServiceHandler* const handler_;
  Details details_;
  State state_ = State::kStarting;
  bool started_ = false;
  bool closing_ = false;
  CloseStep close_step_ = CloseStep::kAbandon;
  uint32_t concurrency_max_ = 0;
  int64_t host_drain_timeout_ns_ = 0;
  MethodTable methods_;
  MethodTable resource_methods_;
  std::unique_ptr<Ownership> ownership_;  // null in a service without resources
  LoadTracker load_;
  ShardLoads shard_loads_;
  Attachment attachment_;
  std::unique_ptr<Admission> admission_;  // null unless it listens with TLS
  std::unique_ptr<rpc::Server> server_;
  bool server_drained_ = false;
  // A program that attached itself is attached when calls find it, and has no calls before.
  bool awaits_serving_ = false;
  std::vector<std::pair<route::Introduction, UniqueFd>> parked_;
  service::Drain drain_;
  uint32_t cut_off_ = 0;
  RequestList open_;
  std::vector<std::unique_ptr<IncomingCallImpl>> pool_;
  FunctionTimer drain_timer_{[this] { StepDrain(); }};
  FunctionTimer closed_timer_{[this] { StepClose(); }};
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_SERVICE_IMPL_H_
