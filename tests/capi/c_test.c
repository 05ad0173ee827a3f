/* The headers in C, and a round trip through them: in echo mode, and with a service over loopback. */
#include <lever/host.h>
#include <lever/lever.h>
#include <lever/policy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                    \
    }                                                                             \
  } while (0)

/* [1, "x"] */
static const uint8_t kArguments[] = {0x92, 0x01, 0xa1, 'x'};

/* The next event of that type; others are passed over. */
static lever_event Await(lever_queue* queue, int32_t type) {
  lever_event event;
  int turns;
  for (turns = 0; turns < 1000; ++turns) {
    size_t count = 0;
    CHECK(lever_queue_next(queue, &event, sizeof(event), 1, INT64_C(1000000000), &count) ==
          LEVER_OK);
    if (count == 1 && event.type == type) return event;
  }
  CHECK(!"the event did not come");
  return event;
}

static lever_call Call(lever_client* client, const char* address) {
  lever_slice slices[2];
  lever_call_options options;
  lever_call call = 0;
  lever_error* error = NULL;
  memset(&options, 0, sizeof(options));
  slices[0].data = kArguments;
  slices[0].size = 2;
  slices[1].data = kArguments + 2;
  slices[1].size = sizeof(kArguments) - 2;
  options.size = sizeof(options);
  options.address = address;
  options.address_size = LEVER_NUL_TERMINATED;
  options.kind = LEVER_KIND_VALUE;
  options.slices = slices;
  options.slice_count = 2;
  if (lever_call_start(client, &options, &call, &error) != LEVER_OK) {
    fprintf(stderr, "%s\n", lever_error_message(error));
    exit(1);
  }
  return call;
}

static void ExpectArguments(const lever_event* event) {
  uint8_t bytes[sizeof(kArguments)];
  size_t size = 0;
  size_t i;
  for (i = 0; i < event->slice_count; ++i) {
    CHECK(size + event->slices[i].size <= sizeof(bytes));
    memcpy(bytes + size, event->slices[i].data, event->slices[i].size);
    size += event->slices[i].size;
  }
  CHECK(size == sizeof(kArguments) && memcmp(bytes, kArguments, size) == 0);
}

static lever_client* MakeClient(lever_queue* queue, const char* host) {
  lever_client_options options;
  lever_client* client = NULL;
  memset(&options, 0, sizeof(options));
  options.size = sizeof(options);
  options.echo = host == NULL;
  options.host = host;
  options.host_size = LEVER_NUL_TERMINATED;
  CHECK(lever_client_create(queue, &options, &client, NULL) == LEVER_OK);
  return client;
}

static void EndClient(lever_queue* queue, lever_client* client) {
  CHECK(lever_client_close(client) == LEVER_OK);
  CHECK(Await(queue, LEVER_EVENT_CLOSED).object == client);
  CHECK(lever_client_destroy(client) == LEVER_OK);
}

static void TestEcho(lever_queue* queue) {
  lever_client* client = MakeClient(queue, NULL);
  const lever_call call = Call(client, "/any/thing");
  const lever_event done = Await(queue, LEVER_EVENT_CALL_DONE);
  CHECK(done.id == call && done.status == LEVER_OK && done.message == NULL);
  ExpectArguments(&done);
  EndClient(queue, client);
}

static void TestService(lever_queue* queue) {
  lever_service_options options;
  lever_service_details details;
  lever_service* service = NULL;
  lever_client* client;
  lever_event event;
  lever_call call;
  char method;
  memset(&options, 0, sizeof(options));
  options.size = sizeof(options);
  options.name = "mirror";
  options.name_size = LEVER_NUL_TERMINATED;
  options.host = "127.0.0.1:1"; /* there is none */
  options.host_size = LEVER_NUL_TERMINATED;
  options.listen = "127.0.0.1:0";
  options.listen_size = LEVER_NUL_TERMINATED;
  CHECK(lever_service_create(queue, &options, &service, NULL) == LEVER_OK);
  CHECK(lever_service_add_method(service, "show", LEVER_NUL_TERMINATED, &method) == LEVER_OK);
  CHECK(lever_service_start(service, NULL) == LEVER_OK);
  memset(&details, 0, sizeof(details));
  details.size = sizeof(details);
  CHECK(lever_service_get_details(service, &details) == LEVER_OK);
  CHECK(strcmp(details.name, "mirror") == 0 && strncmp(details.listening, "127.0.0.1:", 10) == 0);

  client = MakeClient(queue, details.listening);
  call = Call(client, "/mirror/show");
  event = Await(queue, LEVER_EVENT_INCOMING_CALL);
  CHECK(event.method == &method);
  ExpectArguments(&event);
  CHECK(lever_incoming_begin(queue, event.id) == LEVER_OK);
  CHECK(lever_incoming_reply(queue, event.id, LEVER_KIND_VALUE, event.slices, event.slice_count,
                             NULL, 0) == LEVER_OK);
  event = Await(queue, LEVER_EVENT_CALL_DONE);
  CHECK(event.id == call && event.status == LEVER_OK && event.executed == LEVER_EXECUTED_YES);
  ExpectArguments(&event);
  EndClient(queue, client);

  CHECK(lever_service_close(service) == LEVER_OK);
  CHECK(Await(queue, LEVER_EVENT_CLOSED).object == service);
  CHECK(lever_service_destroy(service) == LEVER_OK);
}

static void TestValuesAndPolicy(void) {
  lever_slice slice;
  lever_address address;
  char* json = NULL;
  uint8_t* value = NULL;
  size_t size = 0;
  slice.data = kArguments;
  slice.size = sizeof(kArguments);
  CHECK(lever_value_check(&slice, 1, NULL) == LEVER_OK);
  CHECK(lever_value_to_json(&slice, 1, &json, &size, NULL) == LEVER_OK);
  CHECK(size == 7 && strcmp(json, "[1,\"x\"]") == 0);
  CHECK(lever_value_from_json(json, size, &value, &size, NULL) == LEVER_OK);
  CHECK(size == sizeof(kArguments) && memcmp(value, kArguments, size) == 0);
  lever_free(json);
  lever_free(value);
  memset(&address, 0, sizeof(address));
  address.size = sizeof(address);
  CHECK(lever_address_parse("/mirror/show", LEVER_NUL_TERMINATED, &address, NULL) == LEVER_OK);
  CHECK(strcmp(address.service, "mirror") == 0 && strcmp(address.method, "show") == 0);
}

int main(void) {
  lever_queue* queue = NULL;
  CHECK(lever_queue_create(NULL, &queue, NULL) == LEVER_OK);
  TestEcho(queue);
  TestService(queue);
  CHECK(lever_queue_destroy(queue) == LEVER_OK);
  TestValuesAndPolicy();
  return 0;
}
