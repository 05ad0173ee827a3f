/* The one list of status codes of Lever.
 *
 * The C enum, the C++ classes, the gRPC and HTTP statuses, the exit codes of the `lever` command and
 * the error names of every binding are generated from LEVER_STATUS_MAP. Numbers 0 to 16 are gRPC's
 * own codes, so that a status crosses the wire without a table; numbers from 32 are Lever's and never
 * cross it.
 */
#ifndef LEVER_STATUS_H_
#define LEVER_STATUS_H_

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, number, gRPC status, HTTP status, exit code of the CLI, text)
 *
 * Exit codes: 0 done; 1 the method's own error; 2 usage; 3 not found; 4 unavailable;
 * 5 deadline exceeded; 6 refused by a limit or by permission; 7 internal; 130 cancelled. */
#define LEVER_STATUS_MAP(X)                                                                       \
  X(OK, 0, 0, 200, 0, "ok")                                                                       \
  X(CANCELLED, 1, 1, 499, 130, "cancelled by the caller")                                         \
  X(UNKNOWN, 2, 2, 500, 7, "unknown error")                                                       \
  X(INVALID_ARGUMENT, 3, 3, 400, 2, "invalid argument")                                           \
  X(DEADLINE_EXCEEDED, 4, 4, 504, 5, "deadline exceeded")                                         \
  X(NOT_FOUND, 5, 5, 404, 3, "not found")                                                         \
  X(ALREADY_EXISTS, 6, 6, 409, 6, "already exists")                                               \
  X(PERMISSION_DENIED, 7, 7, 403, 6, "permission denied")                                         \
  X(RESOURCE_EXHAUSTED, 8, 8, 429, 6, "a limit was reached")                                      \
  X(FAILED_PRECONDITION, 9, 9, 400, 6, "failed precondition")                                     \
  X(ABORTED, 10, 10, 409, 6, "aborted")                                                           \
  X(OUT_OF_RANGE, 11, 11, 400, 2, "out of range")                                                 \
  X(UNIMPLEMENTED, 12, 12, 501, 3, "not implemented")                                             \
  X(INTERNAL, 13, 13, 500, 7, "internal error")                                                   \
  X(UNAVAILABLE, 14, 14, 503, 4, "unavailable")                                                   \
  X(DATA_LOSS, 15, 15, 500, 7, "data loss")                                                       \
  X(UNAUTHENTICATED, 16, 16, 401, 6, "unauthenticated")                                           \
  /* The method itself answered with an error; its value is the payload. */                       \
  X(METHOD_ERROR, 32, 0, 500, 1, "the method answered with an error")                             \
  /* A close has not completed, or another thread is inside: nothing was done. */                 \
  X(BUSY, 33, 14, 503, 4, "busy")                                                                 \
  /* The stream's queue is full: LEVER_EVENT_WRITABLE follows once. */                            \
  X(WOULD_BLOCK, 34, 8, 429, 6, "would block")                                                    \
  /* The object was made before a fork, in another process. */                                    \
  X(FORKED, 35, 9, 500, 7, "the process was forked after this object was made")                   \
  /* lever_incoming_begin: the call was refused by the library; user code must not run. */        \
  X(REFUSED, 36, 14, 503, 4, "refused before it began")

typedef enum lever_status {
#define LEVER_STATUS_ENUM_(name, number, grpc, http, exit_code, text) LEVER_##name = number,
  LEVER_STATUS_MAP(LEVER_STATUS_ENUM_)
#undef LEVER_STATUS_ENUM_
} lever_status;

/* Whether a method ran, as far as the caller can know. */
typedef enum lever_executed {
  LEVER_EXECUTED_UNKNOWN = 0, /* it may have run, wholly or in part */
  LEVER_EXECUTED_NO = 1,      /* it surely did not run: safe to send again */
  LEVER_EXECUTED_YES = 2      /* it ran and answered, with a value or with its own error */
} lever_executed;

#ifdef __cplusplus
}
#endif
#endif /* LEVER_STATUS_H_ */
