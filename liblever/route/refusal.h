// How a refusal says that another attempt is worth while.
//
// A function without state; any thread.
#ifndef LIBLEVER_ROUTE_REFUSAL_H_
#define LIBLEVER_ROUTE_REFUSAL_H_

#include "liblever/route/wire.h"
#include "liblever/rpc/call.h"
#include "liblever/rpc/headers.h"

namespace lever::route {

// The instance runs as many calls as it may, and has not run this one.
inline bool RefusedAsFull(const rpc::CallEnd& end) {
  return end.status.code() == LEVER_RESOURCE_EXHAUSTED &&
         end.status.executed() == LEVER_EXECUTED_NO && end.trailers != nullptr &&
         end.trailers->Find(kRefusedTrailer) == kRefusedFull;
}

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_REFUSAL_H_
