#include "liblever/host/registry/validate.h"

#include <algorithm>

namespace lever::registry {
namespace {

Status Refuse(std::string message) {
  return InvalidArgument("registry: " + std::move(message)).WithExecuted(LEVER_EXECUTED_NO);
}

Status ValidateList(const std::vector<Operation>& operations) {
  if (operations.size() > kTransactionOperationsMax) {
    return Refuse("a transaction has at most " + std::to_string(kTransactionOperationsMax) +
                  " operations");
  }
  std::vector<std::string_view> puts;
  for (const Operation& operation : operations) {
    LEVER_RETURN_IF_ERROR(ValidateKey(operation.key));
    if (operation.kind != Operation::Kind::kPut) continue;
    if (operation.value.size() > kValueBytesMax) {
      return Refuse("a value has at most " + std::to_string(kValueBytesMax) + " bytes");
    }
    if (operation.lease < 0) return Refuse("a lease is a positive number");
    puts.push_back(operation.key);
  }
  std::sort(puts.begin(), puts.end());
  if (std::adjacent_find(puts.begin(), puts.end()) != puts.end()) {
    return Refuse("a transaction puts a key once");
  }
  for (const Operation& operation : operations) {
    const bool whole_prefix = operation.kind == Operation::Kind::kDeletePrefix;
    if (!whole_prefix && operation.kind != Operation::Kind::kDelete) continue;
    const auto put = std::lower_bound(puts.begin(), puts.end(), std::string_view(operation.key));
    if (put == puts.end()) continue;
    if (whole_prefix ? put->starts_with(operation.key) : *put == operation.key) {
      return Refuse("a transaction does not put what it deletes");
    }
  }
  return Status::Ok();
}

size_t ListBytes(const std::vector<Operation>& operations) {
  size_t bytes = 0;
  for (const Operation& operation : operations) {
    bytes += operation.key.size() + operation.value.size();
  }
  return bytes;
}

}  // namespace

Status ValidateKey(std::string_view key) {
  if (key.empty() || key.size() > kKeyBytesMax) {
    return Refuse("a key has 1 to " + std::to_string(kKeyBytesMax) + " bytes");
  }
  return Status::Ok();
}

Status ValidateRange(const RangeRequest& request) {
  if (request.prefix.size() > kKeyBytesMax || request.after.size() > kKeyBytesMax) {
    return Refuse("a prefix has at most " + std::to_string(kKeyBytesMax) + " bytes");
  }
  if (request.limit == 0 || request.limit > kPageEntriesMax) {
    return Refuse("a page has 1 to " + std::to_string(kPageEntriesMax) + " entries");
  }
  if (request.revision < 0) return Refuse("a revision is not negative");
  return Status::Ok();
}

Status ValidateTransaction(const Transaction& transaction) {
  if (transaction.compares.size() > kTransactionOperationsMax) {
    return Refuse("a transaction has at most " + std::to_string(kTransactionOperationsMax) +
                  " compares");
  }
  for (const Compare& compare : transaction.compares) {
    LEVER_RETURN_IF_ERROR(ValidateKey(compare.key));
    if (compare.revision < 0) return Refuse("a revision is not negative");
  }
  LEVER_RETURN_IF_ERROR(ValidateList(transaction.then));
  LEVER_RETURN_IF_ERROR(ValidateList(transaction.otherwise));
  if (TransactionBytes(transaction) > kTransactionBytesMax) {
    return Refuse("a transaction has at most " + std::to_string(kTransactionBytesMax) +
                  " bytes of keys and values");
  }
  return Status::Ok();
}

Status ValidateTtl(int64_t ttl_ns) {
  if (ttl_ns < kLeaseTtlNsMin || ttl_ns > kLeaseTtlNsMax) {
    return Refuse("a lease lives 1 second to 24 hours");
  }
  return Status::Ok();
}

Status ValidateWatch(const WatchRequest& request) {
  if (request.prefix.size() > kKeyBytesMax) {
    return Refuse("a prefix has at most " + std::to_string(kKeyBytesMax) + " bytes");
  }
  if (request.from < 0) return Refuse("a revision is not negative");
  return Status::Ok();
}

size_t TransactionBytes(const Transaction& transaction) {
  size_t bytes = ListBytes(transaction.then) + ListBytes(transaction.otherwise);
  for (const Compare& compare : transaction.compares) {
    bytes += compare.key.size() + compare.value.size();
  }
  return bytes;
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

}  // namespace lever::registry
