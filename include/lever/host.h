/* host.h: the C ABI for embedding a host: all that `leverd` does, inside another program, and a driver
 * of that program's own for starting instances.
 *
 * The conventions of lever.h hold. A program links liblever-host, which also exports lever.h, or
 * liblever, not both. A host owns its threads: callbacks are called on them, must not block, and must
 * not call back into functions that wait (lever_host_wait, lever_host_destroy).
 */
#ifndef LEVER_HOST_H_
#define LEVER_HOST_H_

#include <stddef.h>
#include <stdint.h>

#include "lever/export.h"
#include "lever/lever.h"
#include "lever/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lever_host lever_host;

/* ---- Instance drivers ------------------------------------------------------------------------- */

/* What a driver is to start. All of it is valid during the start callback only. */
typedef struct lever_instance_spec {
  size_t size;
  const char* environment;
  const char* service;
  const char* instance; /* the instance's id, unique in the cluster */
  uint64_t version;
  const char* directory;          /* the unpacked bundle, read-only; "" without */
  const char* const* argv;        /* ends with NULL */
  const char* const* environ_;    /* "NAME=value", ends with NULL: the whole environment */
  uint64_t ram_limit_bytes;       /* 0: none */
  uint32_t uid;                   /* 0: as the host itself */
  uint32_t gid;
  /* The instance's ends of its attach socket and its introduction socket, to be inherited under the
   * numbers that LEVER_FDS in its environment says (3 and 4). The driver owns them from here on: it
   * passes them on or closes them. A driver that answers with an address does not need them. */
  int attach_fd;
  int introduction_fd;
} lever_instance_spec;

typedef enum lever_output { LEVER_OUTPUT_STDOUT = 1, LEVER_OUTPUT_STDERR = 2 } lever_output;

/* An instance driver of the embedding program. The callbacks are called on the host's control thread,
 * at most one at a time. `id` names the instance in everything that is reported about it. */
typedef struct lever_driver {
  size_t size;
  void* context;
  /* Begins to start an instance. OK: exactly one of lever_host_instance_started() and
   * lever_host_instance_failed() follows, now or later, from any thread. Else: refused. */
  lever_status (*start)(void* context, lever_host* host, uint64_t id,
                        const lever_instance_spec* spec);
  /* Ends an instance: asks it to (force 0; the attach session has told it already), or ends it for sure
   * (force 1). lever_host_instance_exited() follows. May come several times. */
  void (*stop)(void* context, lever_host* host, uint64_t id, int force);
} lever_driver;

/* The instance runs. `address`: where it takes calls ("127.0.0.1:9000", "unix:/path") as gRPC, ready at
 * once; NULL: it attaches over the descriptors that it was given, and is ready when it says so. `pid`: 0
 * if it is no process. NOT_FOUND: no such start is pending. */
LEVER_API lever_status lever_host_instance_started(lever_host* host, uint64_t id, int64_t pid,
                                                   const char* address);
LEVER_API lever_status lever_host_instance_failed(lever_host* host, uint64_t id,
                                                  lever_status status, const char* message);
/* Output of the instance, any cut of bytes. RESOURCE_EXHAUSTED: the host has yet to take what came before
 * (1 MiB at most is on its way), and took nothing of this: report it again a little later, and leave the
 * instance's pipe unread meanwhile. */
LEVER_API lever_status lever_host_instance_output(lever_host* host, uint64_t id,
                                                  lever_output stream, const uint8_t* data,
                                                  size_t size);
/* The instance has ended: `exit_code`, or -1 and `signal`. Once, the last report of an id. */
LEVER_API lever_status lever_host_instance_exited(lever_host* host, uint64_t id, int exit_code,
                                                  int signal);

/* ---- Hosts ------------------------------------------------------------------------------------ */

typedef struct lever_host_options {
  size_t size;
  /* Where the host keeps what it must not lose. Made if missing. One host at a time. Required. */
  const char* data_dir;
  /* Addresses to listen on, "127.0.0.1:8080", "[::1]:0", "unix:/path"; default 127.0.0.1:8080. With
   * "tls:" before it an address speaks TLS, and needs the files below. */
  const char* const* listen;
  size_t listen_count;
  /* Allows plain listening beyond loopback; TLS needs no allowance. */
  int32_t insecure;
  /* Queues, each with its thread. Default: the number of cores. */
  uint32_t threads;
  /* Range of user ids for services, if the host is root: "61184-65519". */
  const char* service_uids;
  int32_t allow_root_services;
  const char* node_path;    /* default: node on PATH */
  const char* python_path;  /* default: python3 on PATH */
  const char* runtime_dir;  /* where instances find the runtimes' packages; default beside the library */
  const char* spawner_path; /* default: lever-spawner beside the library or the program */
  /* Origins that browsers may call from, and names that a Host header may have on loopback. */
  const char* const* cors_origins;
  size_t cors_origin_count;
  const char* const* http_hosts;
  size_t http_host_count;
  /* A driver of the program's own; NULL: processes, started by lever-spawner. Copied. */
  const lever_driver* driver;
  /* The host's log, with the output of services in it. Called on the host's threads. */
  lever_log_sink log_sink;
  void* log_context;
  lever_log_level log_least;
  /* gRPC services outside of Lever that are reached through this host, each "SERVICE=ENDPOINT", as
   * "shop.v1.Cart=127.0.0.1:50051": calls whose path names the service are passed on to the address. */
  const char* const* upstreams;
  size_t upstream_count;
  /* For the addresses with "tls:": PEM files of the certificate (with those that lead to a root) and of
   * its key. They are followed: what replaces them is used without a restart. */
  const char* tls_certificate_file;
  const char* tls_key_file;
  /* Not NULL: only clients whose certificate one of these has signed are served there (mutual TLS). */
  const char* tls_client_roots_file;
  /* Whether instances that lever-spawner starts are sandboxed: "auto" (the default: where it works,
   * unless their lever.json says "none"), "required" (the host does not start where it does not work,
   * and runs nothing else) or "none". docs/sandbox.md */
  const char* sandbox;
  /* How many Node and Python processes are started ahead of the services that will run in them, for each
   * of the two, with and without network, as far as services are deployed; 0: none, at most 64. It needs
   * root and sandboxes: without, the log says so. docs/sandbox.md */
  uint32_t runtime_pool;
  /* How much memory instances may reserve together, in MiB, each as much as its lever.json says with
   * "ram"; 0: nine tenths of the machine's, or of what the host's cgroup is limited to. Beyond it none is
   * started: idle ones of other services give way, and calls wait. docs/autoscaling.md */
  uint64_t ram_mib;
  /* How long a token holds that shows an instance, at an address of its own with "tls:", who calls; then the
   * connection is replaced. Seconds, at most 86,400; 0: 300. docs/tls.md */
  uint32_t token_lifetime_s;
} lever_host_options;

/* Starts a host; returns when it takes calls, or has failed to: then the driver's callbacks are over, and
 * the host that they were given must not be used any more. */
LEVER_API lever_status lever_host_start(const lever_host_options* options, lever_host** out,
                                        lever_error** error);
/* The address that the n-th listen entry is bound to, with the port that was chosen; NULL beyond the
 * last. Lives as long as the host. */
LEVER_API const char* lever_host_address(const lever_host* host, size_t index);
/* Begins to end it: drains, then stops its instances. */
LEVER_API lever_status lever_host_close(lever_host* host);
/* Waits until it has ended. DEADLINE_EXCEEDED: not within `timeout_ns` (negative: for ever). */
LEVER_API lever_status lever_host_wait(lever_host* host, int64_t timeout_ns);
/* LEVER_BUSY before it has ended. No other function of the host may be running, reports of a driver
 * included, or be called from then on. */
LEVER_API lever_status lever_host_destroy(lever_host* host);

#ifdef __cplusplus
}
#endif
#endif /* LEVER_HOST_H_ */
