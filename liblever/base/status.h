// A status: one code of the one list (lever/status.h), a text for people, and whether the method ran.
//
// Errors are values everywhere in Lever. `Status` is what a function without a result returns,
// `StatusOr<T>` what one with a result returns. Both are values: copy and move them freely, they
// share nothing.
#ifndef LIBLEVER_BASE_STATUS_H_
#define LIBLEVER_BASE_STATUS_H_

#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "lever/status.h"

namespace lever {

// The name of a code as users read it: "UNAVAILABLE". "UNKNOWN" for a number outside the list.
std::string_view StatusName(lever_status code);
// The short text of a code from the list.
std::string_view StatusText(lever_status code);
int StatusToGrpc(lever_status code);
int StatusToHttp(lever_status code);
int StatusToExitCode(lever_status code);
// A gRPC status number from a peer; anything outside 0..16 is UNKNOWN.
lever_status StatusFromGrpc(int grpc_status);
// The code with that name ("NOT_FOUND"), or nullopt.
std::optional<lever_status> StatusFromName(std::string_view name);

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  Status(lever_status code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return Status(); }

  bool ok() const { return code_ == LEVER_OK; }
  lever_status code() const { return code_; }
  const std::string& message() const { return message_; }

  // Whether the method surely did not run. Meaningful for errors only; unknown unless said.
  lever_executed executed() const { return executed_; }
  // By value: `status = std::move(status).WithExecuted(...)` must not move a status onto itself, which
  // would lose its text.
  Status WithExecuted(lever_executed executed) && {
    executed_ = executed;
    return std::move(*this);
  }
  Status WithExecuted(lever_executed executed) const& {
    Status copy = *this;
    copy.executed_ = executed;
    return copy;
  }

  // "NOT_FOUND: no service hello in dev.lever"
  std::string ToString() const;

 private:
  lever_status code_ = LEVER_OK;
  lever_executed executed_ = LEVER_EXECUTED_UNKNOWN;
  std::string message_;
};

// One constructor a code: `return NotFound("no service hello");`
inline Status Cancelled(std::string message) { return {LEVER_CANCELLED, std::move(message)}; }
inline Status Unknown(std::string message) { return {LEVER_UNKNOWN, std::move(message)}; }
inline Status InvalidArgument(std::string m) { return {LEVER_INVALID_ARGUMENT, std::move(m)}; }
inline Status DeadlineExceeded(std::string m) { return {LEVER_DEADLINE_EXCEEDED, std::move(m)}; }
inline Status NotFound(std::string message) { return {LEVER_NOT_FOUND, std::move(message)}; }
inline Status AlreadyExists(std::string m) { return {LEVER_ALREADY_EXISTS, std::move(m)}; }
inline Status PermissionDenied(std::string m) { return {LEVER_PERMISSION_DENIED, std::move(m)}; }
inline Status ResourceExhausted(std::string m) { return {LEVER_RESOURCE_EXHAUSTED, std::move(m)}; }
inline Status FailedPrecondition(std::string m) { return {LEVER_FAILED_PRECONDITION, std::move(m)}; }
inline Status Aborted(std::string message) { return {LEVER_ABORTED, std::move(message)}; }
inline Status OutOfRange(std::string message) { return {LEVER_OUT_OF_RANGE, std::move(message)}; }
inline Status Unimplemented(std::string m) { return {LEVER_UNIMPLEMENTED, std::move(m)}; }
inline Status Internal(std::string message) { return {LEVER_INTERNAL, std::move(message)}; }
inline Status Unavailable(std::string message) { return {LEVER_UNAVAILABLE, std::move(message)}; }
inline Status DataLoss(std::string message) { return {LEVER_DATA_LOSS, std::move(message)}; }
inline Status Unauthenticated(std::string m) { return {LEVER_UNAUTHENTICATED, std::move(m)}; }

// "open: No such file or directory" with the code that fits the errno (NOT_FOUND, PERMISSION_DENIED,
// ALREADY_EXISTS, RESOURCE_EXHAUSTED for EMFILE, ENFILE, ENOMEM and ENOSPC, else INTERNAL).
Status ErrnoStatus(int error, std::string_view what);

template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(Status status) : status_(std::move(status)) { assert(!status_.ok()); }  // NOLINT
  StatusOr(T value) : value_(std::move(value)) {}                                  // NOLINT

  bool ok() const { return status_.ok(); }
  const Status& status() const& { return status_; }
  Status&& status() && { return std::move(status_); }
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace lever

#define LEVER_CONCAT_INNER_(a, b) a##b
#define LEVER_CONCAT_(a, b) LEVER_CONCAT_INNER_(a, b)
// Returns the status of `expression` to the caller unless it is OK.
#define LEVER_RETURN_IF_ERROR(expression)                       \
  do {                                                          \
    ::lever::Status lever_status_value_ = (expression);         \
    if (!lever_status_value_.ok()) return lever_status_value_;  \
  } while (false)
// Declares `declaration` from a StatusOr, or returns its status to the caller.
#define LEVER_ASSIGN_OR_RETURN(declaration, expression) \
  LEVER_ASSIGN_OR_RETURN_(LEVER_CONCAT_(lever_or_, __LINE__), declaration, expression)
#define LEVER_ASSIGN_OR_RETURN_(temporary, declaration, expression) \
  auto temporary = (expression);                                    \
  if (!temporary.ok()) return std::move(temporary).status();        \
  declaration = std::move(temporary).value()

#endif  // LIBLEVER_BASE_STATUS_H_
