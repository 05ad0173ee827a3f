/* policy.h: the C ABI over the pure parts of Lever: addresses, shards, which instance gets a call,
 * whether a call is sent again, how many instances there should be. Bindings, tests and simulators
 * decide with the same code as the library and the host.
 *
 * Conventions, beside those of lever.h
 *
 *  1. Every function is pure: what it returns depends on its arguments only. No I/O, no clock, no
 *     randomness of its own: time and random bits are passed in, so that a simulation replays.
 *  2. All of them may be called from any thread, at any time, also in a forked child. None of them
 *     keeps a pointer, and none leaves memory behind but an error.
 *  3. Structs begin with `size`, set by the caller to sizeof(the struct), as the option structs of
 *     lever.h do. In a struct that a function fills, `size` is set by the caller, too.
 *  4. Out-parameters are untouched on failure. Times are nanoseconds and not negative.
 */
#ifndef LEVER_POLICY_H_
#define LEVER_POLICY_H_

#include <stddef.h>
#include <stdint.h>

#include "lever/export.h"
#include "lever/lever.h"
#include "lever/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Addresses -------------------------------------------------------------------------------- */

#define LEVER_ENVIRONMENT_BYTES_MAX 63
#define LEVER_SERVICE_BYTES_MAX 63
#define LEVER_METHOD_BYTES_MAX 128
#define LEVER_RESOURCE_BYTES_MAX 512 /* decoded */
/* The longest text of an address, without its NUL. */
#define LEVER_ADDRESS_BYTES_MAX 1801

/* An address in its parts, each ending with a NUL. */
typedef struct lever_address {
  size_t size;
  char environment[LEVER_ENVIRONMENT_BYTES_MAX + 1]; /* "" where the text names none */
  char service[LEVER_SERVICE_BYTES_MAX + 1];
  char method[LEVER_METHOD_BYTES_MAX + 1];
  char resource[LEVER_RESOURCE_BYTES_MAX + 1]; /* decoded */
  int32_t has_resource;
  int32_t streaming; /* whether the method streams, which its name says; not read by format */
} lever_address;

/* Parses "lever://env/service[/resource]/method" or "/service[/resource]/method".
 * INVALID_ARGUMENT says what is wrong. Since 0.1. */
LEVER_API lever_status lever_address_parse(const char* text, size_t size, lever_address* out,
                                           lever_error** error);
/* Writes the canonical text of an address, and a NUL behind it. *out_size is its length without the
 * NUL. INVALID_ARGUMENT: a part is none; OUT_OF_RANGE: `capacity` is too small (LEVER_ADDRESS_BYTES_MAX
 * + 1 is enough always). Since 0.1. */
LEVER_API lever_status lever_address_format(const lever_address* address, char* buffer,
                                            size_t capacity, size_t* out_size,
                                            lever_error** error);

/* ---- Shards ----------------------------------------------------------------------------------- */

/* The shard of a resource (decoded) among `shards`, a power of two up to 65,536. Since 0.1. */
LEVER_API lever_status lever_shard_of(const char* environment, size_t environment_size,
                                      const char* service, size_t service_size,
                                      const char* resource, size_t resource_size, uint32_t shards,
                                      uint32_t* out);
/* Which of `count` instances, given by their ids (each ending with a NUL), a shard prefers by rendezvous
 * hashing: *out is its index. INVALID_ARGUMENT if there are none. Since 0.1. */
LEVER_API lever_status lever_shard_owner(uint32_t shard, const char* const* instances, size_t count,
                                         size_t* out);

/* The shard belongs to nobody. */
#define LEVER_NO_INSTANCE UINT32_MAX

/* Where `shards` shards shall be: consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam,
 * 2016) over rendezvous scores, moving as few as possible. `instances` and `eligible` have `count`
 * elements: ids, and whether the instance may have shards (NULL: all). `loads` is what each shard has in
 * flight (NULL: nothing). `owners` is read and written: the index of each shard's instance, or
 * LEVER_NO_INSTANCE. A placement within the bounds is left as it is. Since 0.1. */
LEVER_API lever_status lever_shards_place(const char* const* instances, const int32_t* eligible,
                                          size_t count, const uint32_t* loads, uint32_t* owners,
                                          size_t shards);

/* ---- The balancer ----------------------------------------------------------------------------- */

/* What a caller knows of one instance. */
typedef struct lever_peer_load {
  size_t size;
  uint32_t in_flight;          /* of the caller's own */
  uint32_t reported_in_flight; /* of all callers, as the instance said last */
  int64_t latency_ns;          /* moving average of the caller's own calls; 0: none yet */
  int64_t reported_latency_ns; /* as the instance said last; 0: never */
  uint32_t load_max;           /* others are preferred from here on; 0: 10 */
  uint32_t concurrency_max;    /* what it refuses above; 0: none */
  int32_t excluded;            /* never picked */
  int32_t reserved;
} lever_peer_load;

/* Power of two choices: two candidates are drawn by `random` (64 random bits), and the better one is
 * taken. *out is its index. `peer_size` is sizeof(lever_peer_load). NOT_FOUND: all are excluded.
 * Since 0.1. */
LEVER_API lever_status lever_pick_peer(const lever_peer_load* peers, size_t peer_size, size_t count,
                                       uint64_t random, size_t* out);

/* ---- Retries ---------------------------------------------------------------------------------- */

/* How an attempt of a call failed. */
typedef struct lever_attempt_failure {
  size_t size;
  int32_t status;        /* lever_status */
  int32_t executed;      /* lever_executed */
  int32_t never_written; /* no byte of it reached a socket */
  int32_t redirected;    /* the refusal named another owner */
  int32_t idempotent;    /* as the caller declared the method */
  int32_t reserved;
} lever_attempt_failure;

/* What one call has used up. Zero (but for `size`) before its first attempt. */
typedef struct lever_retry_state {
  size_t size;
  uint32_t redirects;
  uint32_t retries;
} lever_retry_state;

/* What the calls to one service share: the throttle of gRFC A6. Begins with LEVER_RETRY_TOKENS_MAX
 * tokens; a failure takes one, a success gives LEVER_RETRY_TOKENS_PER_SUCCESS, and there are retries
 * only while more than half of them are left. */
#define LEVER_RETRY_TOKENS_MAX 10.0
#define LEVER_RETRY_TOKENS_PER_SUCCESS 0.1
typedef struct lever_retry_budget {
  size_t size;
  double tokens;
} lever_retry_budget;

typedef enum lever_retry_action {
  LEVER_RETRY_GIVE_UP = 0,
  LEVER_RETRY_REDIRECT = 1, /* at once, outside of the budget */
  LEVER_RETRY_AGAIN = 2     /* after `delay_ns` */
} lever_retry_action;

typedef struct lever_retry_decision {
  size_t size;
  int32_t action; /* lever_retry_action */
  int32_t reserved;
  int64_t delay_ns;
} lever_retry_decision;

/* Whether the call is attempted again. Counts the new attempt in `state` and the failure in `budget`.
 * `deadline_ns` is INT64_MAX without; `random` is in [0, 1). Since 0.1. */
LEVER_API lever_status lever_retry_decide(const lever_attempt_failure* failure, int64_t now_ns,
                                          int64_t deadline_ns, double random,
                                          lever_retry_state* state, lever_retry_budget* budget,
                                          lever_retry_decision* out);
/* A call has succeeded. Since 0.1. */
LEVER_API lever_status lever_retry_success(lever_retry_budget* budget);

/* ---- Scaling ---------------------------------------------------------------------------------- */

/* What lever.json says. */
typedef struct lever_scale_limits {
  size_t size;
  uint32_t instances_min;
  uint32_t instances_max; /* standbys included */
  double load_max;    /* the concurrency that an instance is meant for, above 0 */
  double stream_load; /* what an open stream counts for, beside 1 for a call */
  uint32_t concurrency_max; /* what an instance refuses above; 0: none */
  uint32_t standby; /* instances that are started and get no calls until they are promoted */
  int64_t idle_timeout_ns; /* what a cold start is worth, in time of an idle instance */
} lever_scale_limits;

/* What is seen of the service now. */
typedef struct lever_scale_load {
  size_t size;
  uint32_t instances_starting;
  uint32_t instances_ready; /* standbys not included */
  uint32_t calls;   /* in flight */
  uint32_t streams; /* open */
  uint32_t held_calls; /* that wait for an instance */
  uint32_t instances_standby;
  int64_t latency_ns;       /* of a call; 0: not known */
  int64_t start_ns;         /* what a start takes; 0: not known */
  int64_t last_active_ns;   /* when a call or stream last began or ended; 0: never */
  int64_t last_ready_ns;    /* when an instance last became ready; 0: never */
  int64_t backoff_until_ns; /* no start before, after crashes; 0: none */
} lever_scale_load;

/* What is remembered from one decision to the next: windows of the load, the service's pauses. Zero (but
 * for `size`) before the first decision. A value, to be copied as a whole; what is in it may be another
 * thing in another version. */
#define LEVER_SCALE_MEMORY_WORDS 96
typedef struct lever_scale_memory {
  size_t size;
  uint64_t words[LEVER_SCALE_MEMORY_WORDS];
} lever_scale_memory;

typedef struct lever_scale_decision {
  size_t size;
  uint32_t wanted; /* instances for the load, starting ones included */
  uint32_t start;  /* so many now */
  uint32_t stop;   /* so many ready ones now: those with the least in flight */
  int32_t refuse_held; /* the calls that wait: there is no instance before the back-off is over */
  int64_t wake_at_ns; /* when to decide anew even if nothing changes; INT64_MAX: only on a change */
  uint32_t promote; /* so many standbys now: they are ready ones from now on */
  uint32_t stop_standby; /* so many of the other standbys now */
} lever_scale_decision;

/* How many instances the service should have. To be asked whenever a call begins to wait, an instance
 * comes or goes, the load was measured, and at `wake_at_ns`; `now_ns` never falls. docs/autoscaling.md
 * tells how it is decided. INVALID_ARGUMENT: a number out of its range, or `memory` is not of this
 * version. Since 0.1. */
LEVER_API lever_status lever_scale_decide(const lever_scale_limits* limits,
                                          const lever_scale_load* load, int64_t now_ns,
                                          lever_scale_memory* memory, lever_scale_decision* out);

#ifdef __cplusplus
}
#endif
#endif /* LEVER_POLICY_H_ */
