// A call or a stream of a resource, as long as ownership decides about it.
//
//   Admit() -> waits for the shard's name or grant -> waits for the resource to open, or for its turn
//           -> Offer(): the program is told -> ... -> Ended()
//
// Threads: used only by who holds the loop's word.
#ifndef LIBLEVER_SERVICE_RESOURCE_REQUEST_H_
#define LIBLEVER_SERVICE_RESOURCE_REQUEST_H_

#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <string>

#include "liblever/base/clock.h"
#include "liblever/base/status.h"

namespace lever::rpc {
class HeaderList;
}  // namespace lever::rpc

namespace lever::service {

struct Resource;

struct WaitingTag;
struct ExpiryTag;
template <typename Tag>
using RequestHook =
    boost::intrusive::list_base_hook<boost::intrusive::tag<Tag>,
                                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

class ResourceRequest : public RequestHook<WaitingTag>, public RequestHook<ExpiryTag> {
 public:
  using Waiting = RequestHook<WaitingTag>;
  using Expiry = RequestHook<ExpiryTag>;

  virtual bool streaming() const = 0;
  // The program is told of it.
  virtual void Offer() = 0;
  // It surely did not run; `trailers` may be null. The request is gone.
  virtual void RefuseUnrun(const Status& status, const rpc::HeaderList* trailers) = 0;
  // Another instance will have the resource. What has not begun is refused with `trailers`; a stream
  // that has is ended, a call that has goes on.
  virtual void MoveAway(const Status& status, const rpc::HeaderList* trailers) = 0;
  // Whatever it does, its caller is told `status`, of unknown outcome if it has begun.
  virtual void CutOff(const Status& status) = 0;

  std::string resource_name;  // empty: not of a resource
  uint32_t shard = 0;
  // What the caller believes (0: nothing), and once it is admitted that under which it runs.
  uint64_t generation = 0;
  size_t waiting_bytes = 0;
  Resource* resource = nullptr;  // from its admission on
  bool offered = false;          // is in flight at `resource`
  bool waiting() const { return counted_; }

 protected:
  ~ResourceRequest() = default;

 private:
  friend class WaitingRoom;
  int64_t expires_ns_ = kNever;
  bool counted_ = false;
  bool for_name_ = false;  // which of the room's lists it is in
};

using WaitingList = boost::intrusive::list<ResourceRequest,
                                           boost::intrusive::base_hook<RequestHook<WaitingTag>>,
                                           boost::intrusive::constant_time_size<false>>;
using ExpiryList = boost::intrusive::list<ResourceRequest,
                                          boost::intrusive::base_hook<RequestHook<ExpiryTag>>,
                                          boost::intrusive::constant_time_size<false>>;

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_RESOURCE_REQUEST_H_
