// A completion: one event that a program has not fetched yet, or that it looks at now.
//
// Completions are pooled by their queue and keep their memory, so that a warm one costs no
// allocation.
//
// Threads: those of the queue; what a program looks at is not changed until it asks for the next.
#ifndef LIBLEVER_CAPI_COMPLETION_H_
#define LIBLEVER_CAPI_COMPLETION_H_

#include <boost/container/small_vector.hpp>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <string>

#include "lever/lever.h"
#include "liblever/base/slice.h"
#include "liblever/route/envelope.h"
#include "liblever/route/resumption.h"
#include "liblever/rpc/headers.h"

namespace lever::capi {

struct Slot;

using SliceViews = boost::container::small_vector<lever_slice, 2>;

struct Completion : public boost::intrusive::list_base_hook<
                        boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  lever_event_type type = LEVER_EVENT_NONE;
  lever_status status = LEVER_OK;
  lever_executed executed = LEVER_EXECUTED_UNKNOWN;
  route::Kind kind = route::Kind::kNone;
  lever_service_state service_state = LEVER_SERVICE_STARTING;
  uint64_t id = 0;
  Slot* slot = nullptr;  // of `id`; null for events of a client or service
  void* user_data = nullptr;
  void* object = nullptr;
  void* method = nullptr;
  SliceList payload;
  std::string message;
  std::string caller;
  rpc::HeaderList metadata;
  int64_t deadline_ns = 0;
  uint64_t resource = 0;
  uint64_t generation = 0;
  std::string resource_name;
  lever_resource_origin origin = LEVER_RESOURCE_NEW;
  lever_close_reason close_reason = LEVER_CLOSE_IDLE;
  bool resumed = false;
  std::string resume_token;
  uint64_t resume_received = 0;

  // Views of the above, as the event shows them.
  SliceViews slices;
  boost::container::small_vector<lever_metadata, 4> fields;

  // A stream that was, or could be, resumed there; null: it is not such a one.
  void ResumedAt(const route::ResumePoint* point);
  // What the program is told; points into this object.
  void Describe(lever_event* event);
  void Recycle();
};

using CompletionList =
    boost::intrusive::list<Completion, boost::intrusive::constant_time_size<false>>;

// Views of the pieces of a payload.
void ViewSlices(const SliceList& payload, SliceViews* views);

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_COMPLETION_H_
