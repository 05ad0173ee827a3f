#include "shim.h"

#define _GNU_SOURCE  // F_DUPFD_CLOEXEC, CLOCK_BOOTTIME

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { METADATA_ON_STACK = 32 };

// ---- Batches ----

// Metadata as it crosses the border: 16 bits and the name, 32 bits and the value, in turn.
static void read_metadata(const char* from, size_t count, lever_metadata* to) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t name_size;
    uint32_t value_size;
    memcpy(&name_size, from, sizeof(name_size));
    from += sizeof(name_size);
    to[i].name = from;
    to[i].name_size = name_size;
    from += name_size;
    memcpy(&value_size, from, sizeof(value_size));
    from += sizeof(value_size);
    to[i].value = from;
    to[i].value_size = value_size;
    from += value_size;
  }
}

static lever_status start(lever_go_record* record, const char* text, const uint8_t* payload,
                          const char* metadata) {
  lever_metadata some[METADATA_ON_STACK];
  lever_metadata* fields = some;
  if (record->metadata_count > METADATA_ON_STACK) {
    fields = malloc(record->metadata_count * sizeof(*fields));
    if (fields == NULL) return LEVER_RESOURCE_EXHAUSTED;
  }
  read_metadata(metadata, record->metadata_count, fields);
  const lever_slice slice = {payload, record->payload_bytes};
  lever_call_options options = {.size = sizeof(options)};
  options.address = text;
  options.address_size = record->text_bytes;
  options.kind = record->kind;
  options.flags = record->flags;
  options.slices = &slice;
  options.slice_count = 1;
  options.timeout_ns = record->timeout_ns;
  options.metadata = fields;
  options.metadata_count = record->metadata_count;
  options.user_data = (void*)(uintptr_t)record->token;
  options.read_messages = record->read_messages;
  options.read_bytes = record->read_bytes;
  options.resume_token = metadata + record->metadata_bytes;
  options.resume_token_size = record->resume_bytes;
  options.resume_received = record->resume_received;
  const lever_status status =
      record->op == LEVER_GO_CALL
          ? lever_call_start(record->client, &options, &record->id, &record->error)
          : lever_stream_open(record->client, &options, &record->id, &record->error);
  if (fields != some) free(fields);
  return status;
}

// Whether there is something to be told at once: a refusal, or the id of a stream.
static int carry_out(lever_queue* queue, void* batch, size_t bytes) {
  char* at = batch;
  char* const end = at + bytes;
  int urgent = 0;
  while (at < end) {
    lever_go_record* record = (lever_go_record*)at;
    const char* text = at + sizeof(*record);
    const uint8_t* payload = (const uint8_t*)text + record->text_bytes;
    const char* metadata = (const char*)payload + record->payload_bytes;
    at += record->bytes;
    record->error = NULL;
    if (record->op == LEVER_GO_REPLY) {
      const lever_slice slice = {payload, record->payload_bytes};
      record->status = lever_incoming_reply(queue, record->id, record->kind, &slice, 1, NULL, 0);
    } else if (record->op == LEVER_GO_FAIL) {
      record->status = lever_incoming_fail(queue, record->id, (lever_status)record->status, text,
                                           record->text_bytes);
    } else {
      record->status = start(record, text, payload, metadata);
    }
    urgent |= record->status != LEVER_OK || record->op == LEVER_GO_OPEN;
  }
  return urgent;
}

void lever_go_submit(lever_queue* queue, void* batch, size_t bytes) {
  carry_out(queue, batch, bytes);
  lever_queue_flush(queue);
}

lever_status lever_go_turn(lever_queue* queue, void* batch, size_t bytes, lever_event* events,
                           size_t capacity, int64_t timeout_ns, size_t* count) {
  if (carry_out(queue, batch, bytes)) timeout_ns = 0;
  return lever_queue_next(queue, events, sizeof(lever_event), capacity, timeout_ns, count);
}

// ---- One by one ----

static lever_status flushed(lever_queue* queue, lever_status status, int flush) {
  if (flush) lever_queue_flush(queue);
  return status;
}

lever_status lever_go_begin(lever_queue* queue, uint64_t incoming) {
  return flushed(queue, lever_incoming_begin(queue, incoming), 1);
}

lever_status lever_go_stream_write(lever_queue* queue, lever_stream stream, int32_t kind,
                                   const void* data, size_t size, int flush) {
  const lever_slice slice = {data, size};
  return flushed(queue, lever_stream_write(queue, stream, kind, &slice, 1), flush);
}

lever_status lever_go_stream_write_resumable(lever_queue* queue, lever_stream stream, int32_t kind,
                                             const void* data, size_t size, const void* token,
                                             size_t token_size, int flush) {
  const lever_slice slice = {data, size};
  return flushed(queue,
                 lever_stream_write_resumable(queue, stream, kind, &slice, 1, token, token_size),
                 flush);
}

lever_status lever_go_stream_moved(lever_queue* queue, lever_stream stream, uint64_t unread,
                                   int flush) {
  return flushed(queue, lever_stream_moved(queue, stream, unread), flush);
}

lever_status lever_go_stream_read(lever_queue* queue, lever_stream stream, uint64_t messages,
                                  uint64_t bytes, int flush) {
  return flushed(queue, lever_stream_read(queue, stream, messages, bytes), flush);
}

lever_status lever_go_stream_close_send(lever_queue* queue, lever_stream stream, int flush) {
  return flushed(queue, lever_stream_close_send(queue, stream), flush);
}

lever_status lever_go_stream_fail(lever_queue* queue, lever_stream stream, int32_t kind,
                                  const void* data, size_t size, int flush) {
  const lever_slice slice = {data, size};
  return flushed(queue, lever_stream_fail(queue, stream, kind, &slice, 1), flush);
}

lever_status lever_go_stream_cancel(lever_queue* queue, lever_stream stream, int flush) {
  return flushed(queue, lever_stream_cancel(queue, stream, LEVER_CANCELLED, NULL, 0), flush);
}

lever_status lever_go_call_cancel(lever_queue* queue, lever_call call, int flush) {
  return flushed(queue, lever_call_cancel(queue, call), flush);
}

// ---- Objects ----

static void set_text(const char* texts, uint32_t offset, const char** to, size_t* size) {
  *to = offset == 0 ? NULL : texts + offset;
  *size = LEVER_NUL_TERMINATED;
}

static const lever_tls_options* set_tls(const char* texts, lever_go_tls from, lever_tls_options* to) {
  if (!from.given) return NULL;
  to->size = sizeof(*to);
  set_text(texts, from.roots, &to->roots_file, &to->roots_file_size);
  set_text(texts, from.certificate, &to->certificate_file, &to->certificate_file_size);
  set_text(texts, from.key, &to->key_file, &to->key_file_size);
  set_text(texts, from.server_name, &to->server_name, &to->server_name_size);
  return to;
}

lever_status lever_go_client_create(lever_queue* queue, lever_service* service, const char* texts,
                                    uint32_t host, uint32_t environment, lever_go_tls tls, int echo,
                                    int only_through_host, int in_process,
                                    size_t message_bytes_max, uint64_t token,
                                    lever_client** out, lever_error** error) {
  lever_tls_options tls_options = {0};
  lever_client_options options = {.size = sizeof(options)};
  set_text(texts, host, &options.host, &options.host_size);
  set_text(texts, environment, &options.environment, &options.environment_size);
  options.service = service;
  options.echo = echo;
  options.only_through_host = only_through_host;
  options.in_process = in_process;
  options.message_bytes_max = message_bytes_max;
  options.user_data = (void*)(uintptr_t)token;
  options.tls = set_tls(texts, tls, &tls_options);
  return flushed(queue, lever_client_create(queue, &options, out, error), 1);
}

lever_status lever_go_service_create(lever_queue* queue, const char* texts, uint32_t name,
                                     uint32_t environment, uint32_t host, uint32_t listen,
                                     int is_private, uint32_t runtime, lever_go_tls tls, uint32_t concurrency_max,
                                     int64_t drain_timeout_ns, int in_process, uint32_t config,
                                     uint32_t secrets, uint64_t token, lever_service** out,
                                     lever_error** error) {
  lever_tls_options tls_options = {0};
  lever_service_options options = {.size = sizeof(options)};
  set_text(texts, name, &options.name, &options.name_size);
  set_text(texts, environment, &options.environment, &options.environment_size);
  set_text(texts, host, &options.host, &options.host_size);
  set_text(texts, listen, &options.listen, &options.listen_size);
  options.is_private = is_private;
  set_text(texts, runtime, &options.runtime, &options.runtime_size);
  options.concurrency_max = concurrency_max;
  options.drain_timeout_ns = drain_timeout_ns;
  options.in_process = in_process;
  set_text(texts, config, &options.config_json, &options.config_json_size);
  set_text(texts, secrets, &options.secrets_json, &options.secrets_json_size);
  options.user_data = (void*)(uintptr_t)token;
  options.tls = set_tls(texts, tls, &tls_options);
  return flushed(queue, lever_service_create(queue, &options, out, error), 1);
}

lever_status lever_go_service_add_method(lever_service* service, const char* name, size_t size,
                                         uint64_t token) {
  return lever_service_add_method(service, name, size, (void*)(uintptr_t)token);
}

lever_status lever_go_service_set_resource(lever_service* service, uint32_t concurrency_max,
                                           int64_t idle_timeout_ns, int resumes,
                                           lever_error** error) {
  lever_resource_options options = {.size = sizeof(options)};
  options.concurrency_max = concurrency_max;
  options.idle_timeout_ns = idle_timeout_ns;
  options.resumes = resumes;
  return lever_service_set_resource(service, &options, error);
}

lever_status lever_go_service_add_resource_method(lever_service* service, const char* name,
                                                  size_t size, uint64_t token) {
  return lever_service_add_resource_method(service, name, size, (void*)(uintptr_t)token);
}

lever_status lever_go_resource_closed(lever_service* service, uint64_t resource, int32_t kind,
                                      const void* data, size_t size) {
  const lever_slice slice = {data, size};
  return lever_resource_closed(service, resource, LEVER_OK, kind, &slice,
                               kind == LEVER_KIND_NONE ? 0 : 1);
}

lever_status lever_go_queue_create(uint32_t events_per_turn, lever_queue** out,
                                   lever_error** error) {
  lever_queue_options options = {.size = sizeof(options)};
  options.flush_explicitly = LEVER_FLUSH_PROMISED;
  options.events_per_turn = events_per_turn;
  return lever_queue_create(&options, out, error);
}

int lever_go_queue_fd(lever_queue* queue) {
  const int fd = fcntl(lever_queue_fd(queue), F_DUPFD_CLOEXEC, 3);
  // Go's poller takes what says of itself that it does not block, as an epoll never does.
  if (fd >= 0) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

int64_t lever_go_now(lever_queue* queue) {
  int64_t now_ns = 0;
  lever_queue_now(queue, &now_ns);
  return now_ns;
}

int64_t lever_go_boottime(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
