// Where the certificates of the authorities are that a client trusts.
//
// Functions without state; any thread.
#ifndef LIBLEVER_RPC_TLS_ROOTS_H_
#define LIBLEVER_RPC_TLS_ROOTS_H_

#include <span>
#include <string>

#include "liblever/base/status.h"

namespace lever::rpc {

// The files of the large distributions, in the order in which they are tried.
std::span<const char* const> KnownRootsFiles();

// The file that SSL_CERT_FILE names, else the first of the known ones that is there. FAILED_PRECONDITION
// says what was looked at.
StatusOr<std::string> FindRootsFile();
// The same with the variable's value (null: not set) and the places given.
StatusOr<std::string> FindRootsFile(const char* ssl_cert_file, std::span<const char* const> places);

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_TLS_ROOTS_H_
