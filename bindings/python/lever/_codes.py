"""Made by tools/make_codes.py from include/lever/status.h. Not to be edited."""

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16
METHOD_ERROR = 32
BUSY = 33
WOULD_BLOCK = 34
FORKED = 35
REFUSED = 36

# By number.
NAMES = {
    0: "OK",
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
    32: "METHOD_ERROR",
    33: "BUSY",
    34: "WOULD_BLOCK",
    35: "FORKED",
    36: "REFUSED",
}
TEXTS = {
    0: "ok",
    1: "cancelled by the caller",
    2: "unknown error",
    3: "invalid argument",
    4: "deadline exceeded",
    5: "not found",
    6: "already exists",
    7: "permission denied",
    8: "a limit was reached",
    9: "failed precondition",
    10: "aborted",
    11: "out of range",
    12: "not implemented",
    13: "internal error",
    14: "unavailable",
    15: "data loss",
    16: "unauthenticated",
    32: "the method answered with an error",
    33: "busy",
    34: "would block",
    35: "the process was forked after this object was made",
    36: "refused before it began",
}
