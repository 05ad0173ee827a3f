// What of a list of headers is the user's: all but `lever-*` and `grpc-*`.
//
// Functions without state; any thread.
#ifndef LIBLEVER_ROUTE_USER_HEADERS_H_
#define LIBLEVER_ROUTE_USER_HEADERS_H_

#include "liblever/route/wire.h"
#include "liblever/rpc/headers.h"

namespace lever::route {

inline void AddUserHeaders(const rpc::HeaderList& from, rpc::HeaderList* to) {
  for (size_t i = 0; i < from.size(); ++i) {
    const rpc::HeaderView field = from[i];
    if (IsUserHeader(field.name)) to->Add(field.name, field.value, field.indexing);
  }
}

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_USER_HEADERS_H_
