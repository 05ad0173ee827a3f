// What Go calls: many requests, or many events, with one crossing of the border.
//
// A batch is a block of Go's memory without pointers into it, so that nothing has to be pinned: records
// one after the other, each a lever_go_record and then its bytes.
#ifndef LEVER_BINDINGS_GO_SHIM_H_
#define LEVER_BINDINGS_GO_SHIM_H_

#include <lever/lever.h>

enum { LEVER_GO_CALL = 1, LEVER_GO_REPLY = 2, LEVER_GO_FAIL = 3, LEVER_GO_OPEN = 4 };

typedef struct lever_go_record {
  uint32_t bytes;  // of all of it; a multiple of 8
  uint32_t op;
  uint64_t id;  // REPLY, FAIL: of what came in. Set by CALL and OPEN
  lever_client* client;
  uint64_t token;  // user_data of CALL and OPEN
  int64_t timeout_ns;
  uint64_t read_messages;
  uint64_t read_bytes;
  uint32_t flags;
  int32_t kind;
  int32_t status;  // FAIL: with which status. Set to what the library has said
  uint32_t text_bytes;  // the address, or FAIL's message
  uint32_t payload_bytes;
  uint32_t metadata_bytes;
  uint32_t metadata_count;
  uint32_t resume_bytes;  // OPEN: of a token, behind the metadata
  uint64_t resume_received;
  lever_error* error;  // set by CALL and OPEN on failure; for the caller to destroy
} lever_go_record;

// Carries a batch out and writes it.
void lever_go_submit(lever_queue* queue, void* batch, size_t bytes);
// Carries a batch out, and runs turns of the queue, as lever_queue_next().
lever_status lever_go_turn(lever_queue* queue, void* batch, size_t bytes, lever_event* events,
                           size_t capacity, int64_t timeout_ns, size_t* count);

// Functions of lever.h that are written before they return if `flush` says so.
lever_status lever_go_begin(lever_queue* queue, uint64_t incoming);
lever_status lever_go_stream_write(lever_queue* queue, lever_stream stream, int32_t kind,
                                   const void* data, size_t size, int flush);
lever_status lever_go_stream_write_resumable(lever_queue* queue, lever_stream stream, int32_t kind,
                                             const void* data, size_t size, const void* token,
                                             size_t token_size, int flush);
lever_status lever_go_stream_moved(lever_queue* queue, lever_stream stream, uint64_t unread,
                                   int flush);
lever_status lever_go_stream_read(lever_queue* queue, lever_stream stream, uint64_t messages,
                                  uint64_t bytes, int flush);
lever_status lever_go_stream_close_send(lever_queue* queue, lever_stream stream, int flush);
lever_status lever_go_stream_fail(lever_queue* queue, lever_stream stream, int32_t kind,
                                  const void* data, size_t size, int flush);
lever_status lever_go_stream_cancel(lever_queue* queue, lever_stream stream, int flush);
lever_status lever_go_call_cancel(lever_queue* queue, lever_call call, int flush);

// Texts of options, each followed by a NUL; offsets from the block's begin, 0 for NULL.
typedef struct lever_go_tls {
  uint32_t given, roots, certificate, key, server_name;
} lever_go_tls;
lever_status lever_go_client_create(lever_queue* queue, lever_service* service, const char* texts,
                                    uint32_t host, uint32_t environment, lever_go_tls tls, int echo,
                                    int only_through_host, int in_process,
                                    size_t message_bytes_max, uint64_t token,
                                    lever_client** out, lever_error** error);
lever_status lever_go_service_create(lever_queue* queue, const char* texts, uint32_t name,
                                     uint32_t environment, uint32_t host, uint32_t listen,
                                     int is_private,
                                     uint32_t runtime, lever_go_tls tls, uint32_t concurrency_max,
                                     int64_t drain_timeout_ns, int in_process, uint32_t config,
                                     uint32_t secrets, uint64_t token, lever_service** out,
                                     lever_error** error);
lever_status lever_go_service_add_method(lever_service* service, const char* name, size_t size,
                                         uint64_t token);
lever_status lever_go_service_set_resource(lever_service* service, uint32_t concurrency_max,
                                           int64_t idle_timeout_ns, int resumes,
                                           lever_error** error);
lever_status lever_go_service_add_resource_method(lever_service* service, const char* name,
                                                  size_t size, uint64_t token);
lever_status lever_go_resource_closed(lever_service* service, uint64_t resource, int32_t kind,
                                      const void* data, size_t size);
lever_status lever_go_queue_create(uint32_t events_per_turn, lever_queue** out, lever_error** error);
// A duplicate of the queue's descriptor, close-on-exec; -1 if there is none to be had.
int lever_go_queue_fd(lever_queue* queue);
// The time on the queue's clock.
int64_t lever_go_now(lever_queue* queue);
// The same where time was never held, without a queue.
int64_t lever_go_boottime(void);

#endif  // LEVER_BINDINGS_GO_SHIM_H_
