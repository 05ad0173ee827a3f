// lever_tls_options, read and filled in.
#ifndef LIBLEVER_CAPI_TLS_H_
#define LIBLEVER_CAPI_TLS_H_

#include <string_view>

#include "lever/lever.h"
#include "liblever/base/status.h"
#include "liblever/rpc/tls.h"

namespace lever::capi {

// For a connection to `host`. What is not given (null: nothing is) comes from the environment.
StatusOr<rpc::TlsClientOptions> ReadTlsOptions(const lever_tls_options* given,
                                               std::string_view host);

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_TLS_H_
