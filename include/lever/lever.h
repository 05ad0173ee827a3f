/* lever.h: the C ABI of Lever: clients, calls, streams, services, and the queues that drive them.
 *
 * Conventions, for every function below
 *
 *  1. Queues, clients and services are opaque pointers. Calls, streams and incoming calls are 64-bit
 *     ids (a slot and its generation; 0 is never valid) and belong to a queue. An id is over when its
 *     last event was fetched, or when the function that ends it has returned. One that is over, or that
 *     never was, gives LEVER_INVALID_ARGUMENT, always. So does an object that another copy of the
 *     library has made (a process may have loaded two).
 *  2. Every function returns a lever_status. Where it takes a `lever_error** error`, that may be NULL;
 *     otherwise it is set to NULL on success and to an error on failure, which the caller frees with
 *     lever_error_destroy(). Out-parameters are untouched on failure unless it is said otherwise.
 *  3. Option structs begin with `size`, to be set to sizeof(the struct). A larger size than the library
 *     knows is accepted if all bytes beyond its own struct are zero; a smaller one leaves the rest at
 *     its default. Zero is the default of every field.
 *  4. A request is refused at once only for its arguments (LEVER_INVALID_ARGUMENT, or
 *     LEVER_FAILED_PRECONDITION for one that comes at the wrong time), for a closed object
 *     (LEVER_CANCELLED), and for a limit (LEVER_RESOURCE_EXHAUSTED, LEVER_WOULD_BLOCK). What is
 *     accepted completes exactly once, by one event; what is refused has no event. Writes, credit and
 *     cancelling have no completion of their own: a write that is lost shows in the stream's last
 *     event.
 *  5. lever_X_close() starts the end of X: everything of X in flight completes with LEVER_CANCELLED,
 *     then LEVER_EVENT_CLOSED is its last event. A second close returns LEVER_CANCELLED. Incoming
 *     calls that nobody has answered are over then. lever_X_destroy() before that event was fetched
 *     returns LEVER_BUSY and frees nothing. Clients and services are destroyed before their queue.
 *  6. What an event points to (payload, metadata, texts) is valid until the next lever_queue_next() on
 *     that queue, unless it is retained with lever_event_retain().
 *  7. Strings are UTF-8 with an explicit length; a length of LEVER_NUL_TERMINATED means strlen().
 *     Inputs are copied or used before the function returns, and never kept.
 *  8. Times are nanoseconds. Deadlines are on CLOCK_BOOTTIME.
 *  9. Threads. All functions on a queue and on what belongs to it may be called from any thread, and
 *     none of them blocks but lever_queue_next() and lever_call_wait(); creating, starting and
 *     destroying, and the statistics, wait for the thread that is driving, which takes moments. At most
 *     one thread is inside lever_queue_next() on one queue: a second gets LEVER_BUSY.
 * 10. Who finds the queue free acts at once, on his own thread: frames are written before the function
 *     returns. Otherwise the request is handed to the thread that is driving.
 * 11. Whenever no function of the queue is running, its descriptor (lever_queue_fd) is readable if and
 *     only if lever_queue_next(queue, ..., 0, ...) would do something (but see LEVER_FLUSH_PROMISED).
 *     Whoever watches it with an edge-triggered poller calls lever_queue_next() until it returns no
 *     event before he waits again.
 * 12. In a forked child every function returns LEVER_FORKED, and destroy closes descriptors and frees.
 * 13. User code for an incoming call begins only after lever_incoming_begin() said LEVER_OK, called
 *     directly before it.
 */
#ifndef LEVER_LEVER_H_
#define LEVER_LEVER_H_

#include <stddef.h>
#include <stdint.h>

#include "lever/export.h"
#include "lever/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LEVER_NUL_TERMINATED ((size_t)-1)

/* ---- Library ---------------------------------------------------------------------------------- */

/* "0.1.0". Since 0.1. */
LEVER_API const char* lever_version(void);
/* "NOT_FOUND"; "UNKNOWN" for a number that is no status. Lives for ever. */
LEVER_API const char* lever_status_name(lever_status status);
/* A sentence's worth of text for a status. Lives for ever. */
LEVER_API const char* lever_status_text(lever_status status);

typedef struct lever_error lever_error;
LEVER_API lever_status lever_error_status(const lever_error* error);
/* NUL-terminated; lives as long as the error. */
LEVER_API const char* lever_error_message(const lever_error* error);
LEVER_API void lever_error_destroy(lever_error* error); /* NULL is ignored */

/* Lines of the library's own log; nothing is logged without a sink. Called on whatever thread logs; it
 * must not block and must not call the library. NULL takes the sink away. */
typedef enum lever_log_level {
  LEVER_LOG_DEBUG = 0,
  LEVER_LOG_INFO = 1,
  LEVER_LOG_WARNING = 2,
  LEVER_LOG_ERROR = 3
} lever_log_level;
typedef void (*lever_log_sink)(void* context, lever_log_level level, const char* line, size_t size);
LEVER_API void lever_set_log_sink(lever_log_sink sink, void* context, lever_log_level least);

/* ---- Payloads --------------------------------------------------------------------------------- */

typedef struct lever_slice {
  const uint8_t* data;
  size_t size;
} lever_slice;

/* What a payload is. Values are MessagePack: a request's value is the array of its arguments. */
typedef enum lever_kind {
  LEVER_KIND_NONE = 0,
  LEVER_KIND_VALUE = 1,       /* one MessagePack value */
  LEVER_KIND_RAW = 2,         /* bytes */
  LEVER_KIND_ERROR_VALUE = 3, /* a method's own error, as a value */
  LEVER_KIND_ERROR_RAW = 4    /* a method's own error, as bytes */
} lever_kind;

/* One field of metadata. Names are lower-case; a name that ends in "-bin" has bytes as its value.
 * Names that begin with "lever-" or "grpc-" are dropped. */
typedef struct lever_metadata {
  const char* name;
  size_t name_size;
  const char* value;
  size_t value_size;
} lever_metadata;

/* Checks one MessagePack value without allocating: depth, counts, UTF-8, nothing behind it. Every value
 * that crosses the wire is checked by the library; this is for values that come another way. */
LEVER_API lever_status lever_value_check(const lever_slice* slices, size_t count,
                                         lever_error** error);
/* MessagePack to JSON text and back, as docs/wire.md spells it. `*out` is freed with lever_free(). */
LEVER_API lever_status lever_value_to_json(const lever_slice* slices, size_t count, char** out,
                                           size_t* out_size, lever_error** error);
LEVER_API lever_status lever_value_from_json(const char* json, size_t size, uint8_t** out,
                                             size_t* out_size, lever_error** error);
LEVER_API void lever_free(void* memory);

/* ---- Queues ----------------------------------------------------------------------------------- */

typedef struct lever_queue lever_queue;
typedef struct lever_client lever_client;
typedef struct lever_service lever_service;
typedef uint64_t lever_call;     /* a unary call of ours */
typedef uint64_t lever_stream;   /* a stream, ours or incoming */
typedef uint64_t lever_incoming; /* a unary call that came in */

#define LEVER_RESUME_TOKEN_MAX 4096 /* bytes of a token from which a stream is resumed */

enum {
  LEVER_FLUSH_ANNOUNCED = 1,
  LEVER_FLUSH_PROMISED = 2
};

typedef struct lever_queue_options {
  size_t size;
  /* How long lever_queue_next() polls before it sleeps; ignored with a timeout of 0. For machines with
   * cores to spare. Default 0. */
  int64_t spin_ns;
  /* The queue is driven by an event loop that calls lever_queue_flush() at its own end of tick:
   * requests are written then, many with one write, instead of at once.
   * LEVER_FLUSH_ANNOUNCED: what is not flushed yet makes the descriptor readable. LEVER_FLUSH_PROMISED:
   * what was requested on the thread that calls lever_queue_next() does not, which saves two system
   * calls a tick; that thread always flushes before it waits for the descriptor, also after functions
   * that request nothing. */
  int32_t flush_explicitly;
  /* Most calls and streams in flight, ours and incoming together. Default 65,536. */
  uint32_t in_flight_max;
  /* Most requests of other threads waiting for the driver. Default 65,536. */
  uint32_t mailbox_max;
  /* Descriptors handled in one turn. Default 64. */
  uint32_t events_per_turn;
} lever_queue_options;

typedef enum lever_event_type {
  LEVER_EVENT_NONE = 0,
  /* A call of ours has ended: `status`, `executed`, and on LEVER_OK or LEVER_METHOD_ERROR the payload.
   * The id is over. */
  LEVER_EVENT_CALL_DONE = 1,
  /* A message of a stream. */
  LEVER_EVENT_STREAM_MESSAGE = 2,
  /* The other side has sent its last message; it still reads. (Incoming streams only.) */
  LEVER_EVENT_STREAM_HALF_CLOSED = 3,
  /* A write was refused with LEVER_WOULD_BLOCK, and there is room again. */
  LEVER_EVENT_WRITABLE = 4,
  /* A stream has ended: `status`, `executed`; on LEVER_METHOD_ERROR the payload is the method's error.
   * The last event of the stream; the id is over. It comes behind the messages: while these wait for
   * credit, so does the end, and the method's own error, which is the last message, needs credit for
   * one. */
  LEVER_EVENT_STREAM_END = 5,
  /* A unary call has come in: the payload are its arguments, `method` whose it is. To be answered with
   * lever_incoming_begin() and then lever_incoming_reply(). */
  LEVER_EVENT_INCOMING_CALL = 6,
  /* A stream has come in: as above, and `id` is also the id of the stream. After
   * lever_incoming_begin() it is used like any stream, and ended with lever_stream_close_send(),
   * lever_stream_fail() or lever_stream_cancel(). */
  LEVER_EVENT_INCOMING_STREAM = 7,
  /* The caller of an incoming call is gone, or its deadline has passed: what it answers is dropped. The
   * id stays valid until it is answered. (A stream gets LEVER_EVENT_STREAM_END instead.) */
  LEVER_EVENT_INCOMING_CANCELLED = 8,
  /* A service's state has changed: `service_state`, and on DETACHED `status` says why. */
  LEVER_EVENT_SERVICE_STATE = 9,
  /* The last event of a client or service that was closed. */
  LEVER_EVENT_CLOSED = 10,
  /* A resource of a service is to be opened before its first call here: `resource` is the id of this
   * opening, `resource_name` its name, `origin` and the payload what it is opened with. To be answered
   * with lever_resource_opened(). Since 0.1. */
  LEVER_EVENT_RESOURCE_OPEN = 11,
  /* The resource `resource` takes no calls any more and is to be closed, for `close_reason`. To be
   * answered with lever_resource_closed() within 5 s. */
  LEVER_EVENT_RESOURCE_CLOSE = 12,
  /* The resource of an incoming stream moves, and the stream can be resumed: no message comes any more,
   * what is written still goes out, and the method is to return, which lever_stream_moved() tells. */
  LEVER_EVENT_STREAM_MOVING = 13
} lever_event_type;

/* What a resource is opened with. */
typedef enum lever_resource_origin {
  LEVER_RESOURCE_NEW = 0,
  /* What it was closed with by its owner before, which is the payload. */
  LEVER_RESOURCE_CARRIED = 1,
  /* It may have been open elsewhere, and what it was there is gone: its owner died, or did not close it
   * in time. */
  LEVER_RESOURCE_LOST = 2
} lever_resource_origin;

typedef enum lever_close_reason {
  LEVER_CLOSE_IDLE = 0,     /* what it is closed with is dropped */
  LEVER_CLOSE_MOVED = 1,    /* to another instance */
  LEVER_CLOSE_UPGRADE = 2,  /* to an instance of another version */
  LEVER_CLOSE_STOPPING = 3, /* the instance stops */
  LEVER_CLOSE_LOST = 4      /* it is another's already; what it is closed with is dropped */
} lever_close_reason;

typedef enum lever_service_state {
  LEVER_SERVICE_STARTING = 0,
  /* The host knows it, and every call through it from now on finds the service. */
  LEVER_SERVICE_ATTACHED = 1,
  LEVER_SERVICE_DRAINING = 2, /* no new calls; finish what runs */
  LEVER_SERVICE_DRAINED = 3,  /* nothing is left: a started instance may exit now */
  LEVER_SERVICE_DETACHED = 4  /* the host is gone or has refused it; reconnects unless closed */
} lever_service_state;

typedef struct lever_event {
  int32_t type;          /* lever_event_type */
  int32_t status;        /* lever_status */
  uint64_t id;           /* call, stream or incoming */
  void* user_data;       /* of the call or stream; of the client or service for their own events */
  void* object;          /* lever_client or lever_service: CLOSED, SERVICE_STATE, INCOMING_CALL, _STREAM */
  void* method;          /* user_data of the method, for INCOMING_* */
  const lever_slice* slices;
  size_t slice_count;
  int32_t kind;          /* lever_kind of the payload */
  int32_t executed;      /* lever_executed */
  int32_t service_state; /* lever_service_state */
  int32_t reserved;
  const char* message;   /* text of `status`, NUL-terminated; NULL if LEVER_OK */
  const lever_metadata* metadata; /* INCOMING_*: the caller's; CALL_DONE, STREAM_END: trailing */
  size_t metadata_count;
  int64_t deadline_ns;   /* INCOMING_*: on CLOCK_BOOTTIME; INT64_MAX without */
  const char* caller;    /* INCOMING_*: "lever://env/service" of the caller, or "" if outside */
  void* retained;        /* for lever_event_retain() */
  uint64_t resource;     /* RESOURCE_*, and INCOMING_* of a resource: its id; else 0 */
  uint64_t generation;   /* RESOURCE_OPEN, and INCOMING_* of a resource: the fencing token. It only
                            rises for one resource, so that a store which refuses lower ones is
                            written to by the newest owner alone */
  const char* resource_name; /* RESOURCE_OPEN: UTF-8, decoded */
  size_t resource_name_size;
  int32_t origin;        /* RESOURCE_OPEN: lever_resource_origin */
  int32_t close_reason;  /* RESOURCE_CLOSE: lever_close_reason */
  /* INCOMING_STREAM with `resumed` 1: it has run elsewhere before, and goes on here. The token is the
   * last one that its caller has got ("" without), and `resume_received` says how many messages of the
   * method's it has. STREAM_END of a stream of ours that could be resumed: the same, to open it again
   * from there (LEVER_CALL_RESUME); `resumed` 1 says that it could. */
  int32_t resumed;
  int32_t reserved2;
  const void* resume_token;
  size_t resume_token_size;
  uint64_t resume_received;
} lever_event;

LEVER_API lever_status lever_queue_create(const lever_queue_options* options, lever_queue** out,
                                          lever_error** error);
/* LEVER_BUSY while a client or service of it lives. */
LEVER_API lever_status lever_queue_destroy(lever_queue* queue);
/* Non-blocking, close-on-exec, owned by the queue; only to be watched for readability. */
LEVER_API int lever_queue_fd(const lever_queue* queue);
/* Runs turns until there is at least one event or `timeout_ns` is over (0: one turn without waiting;
 * negative: for ever), and writes up to `capacity` events of `event_size` bytes each
 * (sizeof(lever_event)): min(event_size, its own) bytes are written, the rest zeroed. *count is set
 * always. LEVER_OK also without an event, which besides means that a signal handler has interrupted the
 * wait. LEVER_BUSY: another thread is inside. */
LEVER_API lever_status lever_queue_next(lever_queue* queue, lever_event* events, size_t event_size,
                                        size_t capacity, int64_t timeout_ns, size_t* count);
/* Makes the lever_queue_next() that waits now, or else the next one, return. */
LEVER_API lever_status lever_queue_wake(lever_queue* queue);
/* Writes what was requested since the last turn (see flush_explicitly). Where another thread is inside a
 * function of the queue, it is left to that one, or makes the descriptor readable. */
LEVER_API lever_status lever_queue_flush(lever_queue* queue);

/* Time, for tests of what takes long. After lever_queue_hold_time() the queue's time stands still: no
 * timeout, deadline or back-off of it passes. What lever_queue_advance_time() makes due happens in the
 * next lever_queue_next(), which it makes return. lever_queue_resume_time() lets it go on from where it
 * stands. Deadlines in this queue's events are on lever_queue_now(), which is CLOCK_BOOTTIME where time was
 * never held. timeout_ns of lever_queue_next() and lever_call_wait() is real time always. Since 0.1.
 * FAILED_PRECONDITION: advancing what is not held. INVALID_ARGUMENT: advancing by less than nothing. */
LEVER_API lever_status lever_queue_hold_time(lever_queue* queue);
LEVER_API lever_status lever_queue_advance_time(lever_queue* queue, int64_t by_ns);
LEVER_API lever_status lever_queue_resume_time(lever_queue* queue);
LEVER_API lever_status lever_queue_now(lever_queue* queue, int64_t* now_ns);

/* Keeps the payload of `event` beyond the next lever_queue_next(). The slices themselves are copied to
 * *out; all of it is freed with lever_retained_release(), on any thread. */
typedef struct lever_retained {
  const lever_slice* slices;
  size_t slice_count;
  void* opaque;
} lever_retained;
LEVER_API lever_status lever_event_retain(lever_queue* queue, const lever_event* event,
                                          lever_retained* out);
LEVER_API void lever_retained_release(lever_retained* retained);

/* ---- Clients ---------------------------------------------------------------------------------- */

/* How a host with "tls:" before its address is trusted, and what it is shown. PEM files; they are
 * followed: what replaces them is used by the next connection. What is NULL is taken from the
 * environment, also where this struct is not given at all. */
typedef struct lever_tls_options {
  size_t size;
  /* The authorities' certificates. Else $LEVER_TLS_CA, $SSL_CERT_FILE, the system's own. */
  const char* roots_file;
  size_t roots_file_size;
  /* For a host that asks for them (mutual TLS). Else $LEVER_TLS_CERT and $LEVER_TLS_KEY. */
  const char* certificate_file;
  size_t certificate_file_size;
  const char* key_file;
  size_t key_file_size;
  /* The name that the host's certificate must bear; default: the address's host. */
  const char* server_name;
  size_t server_name_size;
} lever_tls_options;

typedef struct lever_client_options {
  size_t size;
  /* "127.0.0.1:8080", "host:8080", "unix:/path", "tls:host:8443"; NULL: the service of this queue,
   * if the process is an instance; else $LEVER_HOST; else 127.0.0.1:8080. */
  const char* host;
  size_t host_size;
  /* NULL: the service's; else $LEVER_ENV; else dev.lever. */
  const char* environment;
  size_t environment_size;
  /* The service whose attachment the client uses. Default: see `host`. */
  lever_service* service;
  /* No network: a call answers with its own arguments, a stream with its own messages. For tests of
   * bindings. */
  int32_t echo;
  /* Calls go through the host always, instead of straight to instances where that can be. */
  int32_t only_through_host;
  size_t message_bytes_max; /* default 4 MiB */
  void* user_data;
  const lever_tls_options* tls; /* for a host with "tls:"; INVALID_ARGUMENT with another. Default NULL */
  /* For tests: no host and no network. Calls go to the in_process services of the same queue by
   * name; those of other services are answered NOT_FOUND. Not together with `host`. A client of an
   * in_process service (`service`) is in_process by itself. */
  int32_t in_process;
} lever_client_options;

LEVER_API lever_status lever_client_create(lever_queue* queue, const lever_client_options* options,
                                           lever_client** out, lever_error** error);
LEVER_API lever_status lever_client_close(lever_client* client);
LEVER_API lever_status lever_client_destroy(lever_client* client);

/* Counters of a client, since it was made. */
typedef struct lever_client_stats {
  size_t size;
  uint64_t calls_direct;       /* calls and streams that went straight to an instance */
  uint64_t calls_through_host;
  uint64_t retries;
  uint64_t direct_connections; /* open now */
} lever_client_stats;
LEVER_API lever_status lever_client_get_stats(lever_client* client, lever_client_stats* out);

enum {
  /* The method may be run twice: an outcome that is not known is sent again, within the budget. */
  LEVER_CALL_IDEMPOTENT = 1,
  /* `address` is a gRPC path ("/package.Service/Method") served by the host or the peer; the payload
   * is the message itself, kind LEVER_KIND_RAW both ways. */
  LEVER_CALL_GRPC = 2,
  /* What the call or stream sends goes compressed (gzip), message by message where that makes it
   * smaller, and a service answers likewise. For slow networks: it costs far more time than the rest of
   * a call. Whatever comes compressed is taken always. */
  LEVER_CALL_COMPRESS = 4,
  /* A stream of a resource that has ended is taken up again: `resume_token` and `resume_received` are
   * what its LEVER_EVENT_STREAM_END had. What the method had read before is not known. */
  LEVER_CALL_RESUME = 8
};

typedef struct lever_call_options {
  size_t size;
  /* "lever://env/service[/resource]/method", or "/service[/resource]/method". */
  const char* address;
  size_t address_size;
  int32_t kind; /* LEVER_KIND_VALUE (an array of arguments) or LEVER_KIND_RAW */
  uint32_t flags;
  const lever_slice* slices;
  size_t slice_count;
  /* 0: 60 s for a call, none for a stream. Negative: none. */
  int64_t timeout_ns;
  /* The incoming call or stream in which this one is made: its deadline bounds this one, its end
   * cancels it. 0 without. */
  uint64_t parent;
  const lever_metadata* metadata;
  size_t metadata_count;
  void* user_data;
  /* Streams: credit for messages from the start, as by lever_stream_read(). */
  uint64_t read_messages;
  uint64_t read_bytes;
  const void* resume_token; /* with LEVER_CALL_RESUME: at most LEVER_RESUME_TOKEN_MAX bytes */
  size_t resume_token_size;
  uint64_t resume_received;
} lever_call_options;

/* Starts a unary call. LEVER_EVENT_CALL_DONE follows. RESOURCE_EXHAUSTED: too many in flight. */
LEVER_API lever_status lever_call_start(lever_client* client, const lever_call_options* options,
                                        lever_call* out, lever_error** error);
/* The call completes with LEVER_CANCELLED unless it has completed already. */
LEVER_API lever_status lever_call_cancel(lever_queue* queue, lever_call call);

/* What a call came to. Freed with lever_result_release(). */
typedef struct lever_result {
  size_t size;
  int32_t status;
  int32_t executed;
  int32_t kind;
  int32_t reserved;
  const lever_slice* slices;
  size_t slice_count;
  const char* message;
  void* opaque;
} lever_result;
/* Blocks until the call is done and takes its completion, which then is no event. Many threads may wait
 * for calls of one queue: one of them drives it and hands the others their results. Events other than
 * the completions waited for stay in the queue. LEVER_DEADLINE_EXCEEDED: `timeout_ns` is over, the call
 * goes on. LEVER_BUSY: another thread waits for it. `out->size` is sizeof(lever_result). */
LEVER_API lever_status lever_call_wait(lever_queue* queue, lever_call call, int64_t timeout_ns,
                                       lever_result* out);
LEVER_API void lever_result_release(lever_result* result);

/* ---- Streams ---------------------------------------------------------------------------------- */

/* Opens a stream; the payload of the options are the arguments. */
LEVER_API lever_status lever_stream_open(lever_client* client, const lever_call_options* options,
                                         lever_stream* out, lever_error** error);
/* Queues one message. LEVER_WOULD_BLOCK: 256 KiB are queued, nothing was taken, LEVER_EVENT_WRITABLE
 * follows once. Empty messages of kind LEVER_KIND_RAW are legal. */
LEVER_API lever_status lever_stream_write(lever_queue* queue, lever_stream stream, int32_t kind,
                                          const lever_slice* slices, size_t count);
/* As lever_stream_write(), on an incoming stream, with a token from which the method could go on once the
 * message has come; see `resumes` of lever_resource_options. INVALID_ARGUMENT: more than
 * LEVER_RESUME_TOKEN_MAX bytes, or a stream of ours. Since 0.1. */
LEVER_API lever_status lever_stream_write_resumable(lever_queue* queue, lever_stream stream,
                                                    int32_t kind, const lever_slice* slices,
                                                    size_t count, const void* token,
                                                    size_t token_size);
/* After LEVER_EVENT_STREAM_MOVING, when the method has returned: the caller goes on at the new owner, where
 * all messages count as read that were delivered here but for the last `unread`. LEVER_EVENT_STREAM_END
 * follows. FAILED_PRECONDITION: it does not move, or this side has ended already. Since 0.1. */
LEVER_API lever_status lever_stream_moved(lever_queue* queue, lever_stream stream, uint64_t unread);
/* Credit for messages, which adds up; bytes 0 means without a bound in bytes. While there is credit for
 * a message at least one is delivered whatever its size: bytes may go below zero and are made up
 * first. On an incoming stream of a resource that resumes, the first credit says how many messages may
 * lie unread, and each later one that as many have been read. */
LEVER_API lever_status lever_stream_read(lever_queue* queue, lever_stream stream, uint64_t messages,
                                         uint64_t bytes);
/* No more messages from this side. Ends an incoming stream with success. FAILED_PRECONDITION: this
 * side has ended already, or an incoming stream has not begun. */
LEVER_API lever_status lever_stream_close_send(lever_queue* queue, lever_stream stream);
/* Ends an incoming stream with the method's own error; kind LEVER_KIND_ERROR_VALUE or _RAW. */
LEVER_API lever_status lever_stream_fail(lever_queue* queue, lever_stream stream, int32_t kind,
                                         const lever_slice* slices, size_t count);
/* Gives the stream up: LEVER_EVENT_STREAM_END follows with `status`, which an incoming stream's caller
 * gets too. `message` may be NULL. */
LEVER_API lever_status lever_stream_cancel(lever_queue* queue, lever_stream stream,
                                           lever_status status, const char* message,
                                           size_t message_size);

/* ---- Services --------------------------------------------------------------------------------- */

typedef struct lever_service_options {
  size_t size;
  /* The service's name. NULL in an instance that a host has started: the host knows. */
  const char* name;
  size_t name_size;
  const char* environment; /* default $LEVER_ENV, else dev.lever */
  size_t environment_size;
  const char* host; /* as for a client; not used in an instance that a host has started */
  size_t host_size;
  /* An address of its own on which it takes calls from anybody, "127.0.0.1:9000" (port 0: any; see
   * lever_service_details). With "tls:" before it, for callers that the host cannot introduce: it tells them
   * the address and gives each a token, and whoever calls without one is refused; it must be one that they
   * reach, not 0.0.0.0. docs/tls.md. Default: none; only connections that the host introduces. */
  const char* listen;
  size_t listen_size;
  uint32_t concurrency_max; /* 0: only the transport's limits */
  int64_t drain_timeout_ns; /* 0: what the host says, else 30 s */
  void* user_data;
  /* What it runs on beside this library, for people who look at what runs: "node 20.20.2". At most 128
   * bytes of UTF-8. Default: nothing. */
  const char* runtime;
  size_t runtime_size;
  const lever_tls_options* tls; /* as for a client */
  /* For tests: no host and no network. It is attached as soon as it is started, and takes calls of
   * the in_process clients of its queue alone. Needs a name; not together with `host`, `listen` and
   * `tls`. ALREADY_EXISTS from lever_service_start(): the queue has such a service of that name. */
  int32_t in_process;
  /* in_process: what lever_service_get_details() gives as config_json. Default "null". */
  const char* config_json;
  size_t config_json_size;
  /* in_process: and as secrets_json. Default "{}". */
  const char* secrets_json;
  size_t secrets_json_size;
  /* 1: calls from outside of its environment are refused, as "private" in lever.json says it of those that a
   * host starts; there it is ignored. Not together with a plain `listen`. Since 0.1. */
  int32_t is_private;
} lever_service_options;

LEVER_API lever_status lever_service_create(lever_queue* queue,
                                            const lever_service_options* options,
                                            lever_service** out, lever_error** error);
/* Before lever_service_start(). Streaming methods are told by their name (…Chan, …_chan, chan).
 * `user_data` comes back as event.method. ALREADY_EXISTS: the name is taken. */
LEVER_API lever_status lever_service_add_method(lever_service* service, const char* name,
                                                size_t size, void* user_data);
/* ---- Resources: named things of a service, each with one owner at a time -----------------------
 *
 * The calls of "/<service>/<resource>/<method>" go to the instance that owns the resource's shard. It is
 * opened there before its first call, and closed when it has had none for a while, when its shard goes to
 * another instance, and when the instance drains. What it is closed with then is what its next owner
 * opens it with; this is for clean moves and no durability: it is gone when a process dies. */

typedef struct lever_resource_options {
  size_t size;
  /* Most unary calls of one resource at a time: 1 makes them one after the other; 0: any number. Others
   * wait. Streams are not counted. */
  uint32_t concurrency_max;
  int64_t idle_timeout_ns; /* until it is closed; 0: 3 minutes */
  /* 1: streams go on where a resource moves to. Their methods are told LEVER_EVENT_STREAM_MOVING and
   * return, and the new owner gets LEVER_EVENT_INCOMING_STREAM with `resumed`. Other streams end
   * UNAVAILABLE then. Since 0.1. */
  int32_t resumes;
} lever_resource_options;

/* The service has resources. Once, before lever_service_start() and before the methods of a resource are
 * added. `options` may be NULL. FAILED_PRECONDITION: at another time. Since 0.1. */
LEVER_API lever_status lever_service_set_resource(lever_service* service,
                                                  const lever_resource_options* options,
                                                  lever_error** error);
/* As lever_service_add_method(), for the methods of resources, which have names of their own. */
LEVER_API lever_status lever_service_add_resource_method(lever_service* service, const char* name,
                                                         size_t size, void* user_data);
/* Answers LEVER_EVENT_RESOURCE_OPEN: LEVER_OK, or why it could not be opened, which those who call it are
 * told (their methods have not run); `message` may be NULL. After LEVER_OK the calls that wait for it
 * come. INVALID_ARGUMENT: it is not being opened. */
LEVER_API lever_status lever_resource_opened(lever_service* service, uint64_t resource,
                                             lever_status status, const char* message,
                                             size_t message_size);
/* Answers LEVER_EVENT_RESOURCE_CLOSE: with what the resource carries to its next owner, of kind
 * LEVER_KIND_VALUE or LEVER_KIND_RAW and less than 1 MiB; LEVER_KIND_NONE: nothing, it is new again there.
 * A `status` that is not LEVER_OK: it could not be closed well, and its next owner is told that it is
 * lost. INVALID_ARGUMENT: it is not being closed, or the value is broken. */
LEVER_API lever_status lever_resource_closed(lever_service* service, uint64_t resource,
                                             lever_status status, int32_t kind,
                                             const lever_slice* slices, size_t count);

/* Attaches to the host and takes calls. LEVER_EVENT_SERVICE_STATE tells how it goes. */
LEVER_API lever_status lever_service_start(lever_service* service, lever_error** error);
/* Out of every route table, finishes what runs, detaches: DRAINING, then DRAINED. */
LEVER_API lever_status lever_service_drain(lever_service* service);
LEVER_API lever_status lever_service_close(lever_service* service);
LEVER_API lever_status lever_service_destroy(lever_service* service);

/* What the host has told of the instance. Strings live as long as the service. */
typedef struct lever_service_details {
  size_t size;
  const char* environment;
  const char* name;
  const char* instance;    /* id */
  uint64_t version;        /* 0: attached without a deploy */
  const char* config_json; /* "null" without */
  const char* listening;   /* the bound address, or "" */
  /* The secrets that the service was set to (`lever secret set`): an object of texts, "{}" without.
   * Not for logs. */
  const char* secrets_json;
} lever_service_details;
LEVER_API lever_status lever_service_get_details(lever_service* service,
                                                 lever_service_details* out);

/* To be called directly before user code runs for an incoming call or stream. LEVER_REFUSED: the
 * library has refused it, unexecuted (drain, deadline, cancelled); the id is over and no event of it
 * follows. */
LEVER_API lever_status lever_incoming_begin(lever_queue* queue, uint64_t incoming);
/* Answers a unary call: kind VALUE or RAW with success, ERROR_VALUE or ERROR_RAW with the method's own
 * error. `trailing` may be NULL. The id is over. */
LEVER_API lever_status lever_incoming_reply(lever_queue* queue, lever_incoming incoming,
                                            int32_t kind, const lever_slice* slices, size_t count,
                                            const lever_metadata* trailing, size_t trailing_count);
/* Answers with a status of the platform (1 to 16) instead. Before lever_incoming_begin(): surely not
 * run. The id is over. For the id of a stream it is lever_stream_cancel(): LEVER_EVENT_STREAM_END
 * follows. */
LEVER_API lever_status lever_incoming_fail(lever_queue* queue, lever_incoming incoming,
                                           lever_status status, const char* message,
                                           size_t message_size);

#ifdef __cplusplus
}
#endif
#endif /* LEVER_LEVER_H_ */
