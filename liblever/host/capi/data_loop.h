// One data loop of a host, and everything that lives on it: what it knows of services, the router, and
// the front that serves its connections.
//
// Threads: made and destroyed while its loop is not driven; otherwise those of its loop, but for Take()
// and Adopt(), which any thread may call.
#ifndef LIBLEVER_HOST_CAPI_DATA_LOOP_H_
#define LIBLEVER_HOST_CAPI_DATA_LOOP_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/status.h"
#include "liblever/host/capi/loop_thread.h"
#include "liblever/host/fleet/attach.h"
#include "liblever/host/gateway/front.h"
#include "liblever/host/gateway/http_api.h"
#include "liblever/host/gateway/relay.h"
#include "liblever/host/gateway/router.h"
#include "liblever/host/gateway/upstream.h"
#include "liblever/host/scale/control.h"
#include "liblever/host/scale/directory.h"

namespace lever::host {

class DataLoop {
 public:
  static StatusOr<std::unique_ptr<DataLoop>> Open(size_t index);
  ~DataLoop();

  LoopThread& thread() { return *thread_; }
  Loop* loop() { return thread_->loop(); }
  scale::Directory& directory() { return directory_; }

  // The second half of setting up, once there is a control loop.
  Status Serve(scale::Control* control, const std::string& host_id, uint64_t random_seed,
               const gateway::HttpOptions& http,
               const std::vector<gateway::UpstreamOptions>& upstreams);
  // No new connections; those that are open have `timeout_ns` to finish. Waits: not from a loop.
  void Drain(int64_t timeout_ns);
  // Ends what is open. While the loop is not driven.
  void Close();
  gateway::Front& front() { return *front_; }
  gateway::Router& router() { return *router_; }
  const gateway::RelayCounters& counters() const { return counters_; }

  // Any thread: serves a socket that was accepted (null: plain), or one whose other end is known.
  void Take(UniqueFd socket, std::shared_ptr<rpc::TlsServerContext> tls);
  void Adopt(UniqueFd socket, fleet::Caller caller);

 private:
  explicit DataLoop(std::unique_ptr<LoopThread> thread) : thread_(std::move(thread)) {}

  std::unique_ptr<LoopThread> thread_;
  scale::Directory directory_;
  gateway::RelayCounters counters_;
  std::unique_ptr<gateway::Router> router_;
  std::unique_ptr<gateway::Upstreams> upstreams_;
  // The front's connections use the API and the upstreams, and the first two the router.
  std::unique_ptr<gateway::HttpApi> http_;
  std::unique_ptr<gateway::Front> front_;
};

}  // namespace lever::host

#endif  // LIBLEVER_HOST_CAPI_DATA_LOOP_H_
