// The one way by which trouble leaves the C ABI. Any thread.
#ifndef LIBLEVER_CAPI_ERROR_H_
#define LIBLEVER_CAPI_ERROR_H_

#include "lever/lever.h"
#include "liblever/base/status.h"

namespace lever::capi {

// Returns the code of `status`; if `error` is not null, sets it to NULL or to what the caller
// frees.
lever_status Return(const Status& status, lever_error** error);

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_ERROR_H_
