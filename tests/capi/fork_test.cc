// In a forked child every function of an object that the parent has made says FORKED, destroy frees
// it, and the parent's connections live on.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

// In the child: the number of the first line that does not hold.
#define HOLDS(condition) \
  if (!(condition)) return __LINE__

struct Ids {
  uint64_t call, stream, incoming, incoming_stream;
};

int AllAreForked(lever_queue* queue, lever_client* client, lever_service* service, const Ids& ids) {
  const lever_slice slice = SliceOf("\x90");
  lever_event event;
  size_t count = 7;
  uint64_t id = 0;
  lever_call_options options{};
  options.size = sizeof(options);
  lever_result result{};
  result.size = sizeof(result);
  lever_client_stats stats{};
  stats.size = sizeof(stats);
  lever_service_details details{};
  details.size = sizeof(details);
  lever_retained retained;
  lever_client* made_client = nullptr;
  lever_service* made_service = nullptr;
  HOLDS(lever_queue_fd(queue) == -1);
  HOLDS(lever_queue_next(queue, &event, sizeof(event), 1, 0, &count) == LEVER_FORKED);
  HOLDS(count == 0);
  HOLDS(lever_queue_wake(queue) == LEVER_FORKED);
  HOLDS(lever_queue_flush(queue) == LEVER_FORKED);
  HOLDS(lever_event_retain(queue, &event, &retained) == LEVER_FORKED);
  HOLDS(lever_client_create(queue, nullptr, &made_client, nullptr) == LEVER_FORKED);
  HOLDS(lever_client_close(client) == LEVER_FORKED);
  HOLDS(lever_client_get_stats(client, &stats) == LEVER_FORKED);
  HOLDS(lever_call_start(client, &options, &id, nullptr) == LEVER_FORKED);
  HOLDS(lever_call_cancel(queue, ids.call) == LEVER_FORKED);
  HOLDS(lever_call_wait(queue, ids.call, -1, &result) == LEVER_FORKED);
  HOLDS(lever_stream_open(client, &options, &id, nullptr) == LEVER_FORKED);
  HOLDS(lever_stream_write(queue, ids.stream, LEVER_KIND_VALUE, &slice, 1) == LEVER_FORKED);
  HOLDS(lever_stream_read(queue, ids.stream, 1, 0) == LEVER_FORKED);
  HOLDS(lever_stream_close_send(queue, ids.stream) == LEVER_FORKED);
  HOLDS(lever_stream_fail(queue, ids.incoming_stream, LEVER_KIND_ERROR_VALUE, &slice, 1) ==
        LEVER_FORKED);
  HOLDS(lever_stream_cancel(queue, ids.stream, LEVER_CANCELLED, nullptr, 0) == LEVER_FORKED);
  HOLDS(lever_service_create(queue, nullptr, &made_service, nullptr) == LEVER_FORKED);
  HOLDS(lever_service_add_method(service, "late", 4, nullptr) == LEVER_FORKED);
  HOLDS(lever_service_start(service, nullptr) == LEVER_FORKED);
  HOLDS(lever_service_drain(service) == LEVER_FORKED);
  HOLDS(lever_service_close(service) == LEVER_FORKED);
  HOLDS(lever_service_get_details(service, &details) == LEVER_FORKED);
  HOLDS(lever_incoming_begin(queue, ids.incoming) == LEVER_FORKED);
  HOLDS(lever_incoming_reply(queue, ids.incoming, LEVER_KIND_VALUE, &slice, 1, nullptr, 0) ==
        LEVER_FORKED);
  HOLDS(lever_incoming_fail(queue, ids.incoming, LEVER_ABORTED, nullptr, 0) == LEVER_FORKED);
  return 0;
}

int DestroyAll(lever_queue* queue, lever_client* client, lever_service* service) {
  const int fd_before = open("/dev/null", O_RDONLY | O_CLOEXEC);
  HOLDS(lever_queue_destroy(queue) == LEVER_BUSY);
  HOLDS(lever_client_destroy(client) == LEVER_OK);
  HOLDS(lever_service_destroy(service) == LEVER_OK);
  HOLDS(lever_queue_destroy(queue) == LEVER_OK);
  // What they had open is closed: a lower descriptor is free.
  const int fd_after = open("/dev/null", O_RDONLY | O_CLOEXEC);
  HOLDS(fd_after < fd_before);
  // And the library works in the child, with objects of its own.
  lever_queue* own = nullptr;
  HOLDS(lever_queue_create(nullptr, &own, nullptr) == LEVER_OK);
  lever_event event;
  size_t count = 0;
  HOLDS(lever_queue_next(own, &event, sizeof(event), 1, 0, &count) == LEVER_OK);
  HOLDS(lever_queue_destroy(own) == LEVER_OK);
  return 0;
}

// Runs `child` in a forked process; 0 or the line that it returned.
int RunForked(const std::function<int()>& child) {
  const pid_t pid = fork();
  if (pid == 0) {
    const int line = child();
    if (line != 0) dprintf(2, "line %d does not hold in the child\n", line);
    _exit(line == 0 ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

TEST_F(CapiTest, InAForkedChildEveryFunctionSaysSoAndTheParentGoesOn) {
  const uint64_t call = client_->Call("/test/echo");
  const uint64_t incoming = AwaitCall().id;
  const auto [ours, theirs] = OpenStream({.read_messages = 10});
  ASSERT_EQ(lever_incoming_begin(queue(), incoming), LEVER_OK);
  const Ids ids{call, ours, incoming, theirs};
  EXPECT_EQ(RunForked([&] { return AllAreForked(queue(), client_->get(), service_.get(), ids); }),
            0);
  EXPECT_EQ(RunForked([&] { return DestroyAll(queue(), client_->get(), service_.get()); }), 0);
  // The child has neither written nor closed anything on the parent's connections.
  ASSERT_EQ(Reply(incoming), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
  ASSERT_EQ(Write(theirs, "still here"), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_MESSAGE, ours).payload, "still here");
}

}  // namespace
}  // namespace lever_test
