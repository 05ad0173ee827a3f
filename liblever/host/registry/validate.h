// The rules that a request keeps, checked in one place, so that every implementation refuses alike.
//
// Pure functions; call them from anywhere. A refusal is INVALID_ARGUMENT, with
// LEVER_EXECUTED_NO, and its text names the limit.
#ifndef LIBLEVER_HOST_REGISTRY_VALIDATE_H_
#define LIBLEVER_HOST_REGISTRY_VALIDATE_H_

#include <string>
#include <string_view>

#include "liblever/host/registry/registry.h"

namespace lever::registry {

Status ValidateKey(std::string_view key);
Status ValidateRange(const RangeRequest& request);
Status ValidateTransaction(const Transaction& transaction);
Status ValidateTtl(int64_t ttl_ns);
Status ValidateWatch(const WatchRequest& request);

// What the transaction's keys and values count for kTransactionBytesMax.
size_t TransactionBytes(const Transaction& transaction);

// The smallest string above all that begin with `prefix`; empty if there is none.
std::string PrefixEnd(std::string_view prefix);

}  // namespace lever::registry

#endif  // LIBLEVER_HOST_REGISTRY_VALIDATE_H_
