// Made by tools/make-codes.js from include/lever/status.h. Not to be edited.

/** Names of include/lever/status.h. */
export type StatusCode =
  /** cancelled by the caller */
  | 'CANCELLED'
  /** unknown error */
  | 'UNKNOWN'
  /** invalid argument */
  | 'INVALID_ARGUMENT'
  /** deadline exceeded */
  | 'DEADLINE_EXCEEDED'
  /** not found */
  | 'NOT_FOUND'
  /** already exists */
  | 'ALREADY_EXISTS'
  /** permission denied */
  | 'PERMISSION_DENIED'
  /** a limit was reached */
  | 'RESOURCE_EXHAUSTED'
  /** failed precondition */
  | 'FAILED_PRECONDITION'
  /** aborted */
  | 'ABORTED'
  /** out of range */
  | 'OUT_OF_RANGE'
  /** not implemented */
  | 'UNIMPLEMENTED'
  /** internal error */
  | 'INTERNAL'
  /** unavailable */
  | 'UNAVAILABLE'
  /** data loss */
  | 'DATA_LOSS'
  /** unauthenticated */
  | 'UNAUTHENTICATED'
  /** busy */
  | 'BUSY'
  /** would block */
  | 'WOULD_BLOCK'
  /** the process was forked after this object was made */
  | 'FORKED'
  /** refused before it began */
  | 'REFUSED';
