// Two copies of Lever in one process: each refuses the objects of the other, and both work.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>

#include "lever/lever.h"

namespace {

// The functions of one library.
class Library {
 public:
  explicit Library(const char* path) : handle_(dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
    EXPECT_NE(handle_, nullptr) << dlerror();
  }
  template <typename Function>
  Function* Get(const char* name, Function*) const {
    void* found = dlsym(handle_, name);
    EXPECT_NE(found, nullptr) << name;
    return reinterpret_cast<Function*>(found);
  }

 private:
  void* handle_;
};
#define CALL(library, function) library.Get(#function, static_cast<decltype(&function)>(nullptr))

// One call in echo mode.
void ExpectWorks(const Library& library, lever_queue* queue, lever_client* client) {
  const uint8_t none = 0x90;
  const lever_slice slice{&none, 1};
  lever_call_options options{};
  options.size = sizeof(options);
  options.address = "/any/thing";
  options.address_size = LEVER_NUL_TERMINATED;
  options.kind = LEVER_KIND_VALUE;
  options.slices = &slice;
  options.slice_count = 1;
  lever_call call = 0;
  ASSERT_EQ(CALL(library, lever_call_start)(client, &options, &call, nullptr), LEVER_OK);
  lever_event event;
  size_t count = 0;
  while (count == 0) {
    ASSERT_EQ(CALL(library, lever_queue_next)(queue, &event, sizeof(event), 1, -1, &count),
              LEVER_OK);
  }
  EXPECT_EQ(event.type, LEVER_EVENT_CALL_DONE);
  EXPECT_EQ(event.status, LEVER_OK);
}

struct Objects {
  explicit Objects(const Library& library) {
    EXPECT_EQ(CALL(library, lever_queue_create)(nullptr, &queue, nullptr), LEVER_OK);
    lever_client_options options{};
    options.size = sizeof(options);
    options.echo = 1;
    EXPECT_EQ(CALL(library, lever_client_create)(queue, &options, &client, nullptr), LEVER_OK);
  }
  void Destroy(const Library& library) {
    EXPECT_EQ(CALL(library, lever_client_close)(client), LEVER_OK);
    lever_event event;
    size_t count = 0;
    while (count == 0) {
      ASSERT_EQ(CALL(library, lever_queue_next)(queue, &event, sizeof(event), 1, -1, &count),
                LEVER_OK);
    }
    EXPECT_EQ(event.type, LEVER_EVENT_CLOSED);
    EXPECT_EQ(CALL(library, lever_client_destroy)(client), LEVER_OK);
    EXPECT_EQ(CALL(library, lever_queue_destroy)(queue), LEVER_OK);
  }
  lever_queue* queue = nullptr;
  lever_client* client = nullptr;
};

void ExpectRefuses(const Library& library, const Objects& foreign) {
  lever_event event;
  size_t count = 0;
  EXPECT_EQ(CALL(library, lever_queue_next)(foreign.queue, &event, sizeof(event), 1, 0, &count),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(CALL(library, lever_queue_fd)(foreign.queue), -1);
  EXPECT_EQ(CALL(library, lever_queue_destroy)(foreign.queue), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(CALL(library, lever_client_close)(foreign.client), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(CALL(library, lever_client_destroy)(foreign.client), LEVER_INVALID_ARGUMENT);
  lever_client* client = nullptr;
  EXPECT_EQ(CALL(library, lever_client_create)(foreign.queue, nullptr, &client, nullptr),
            LEVER_INVALID_ARGUMENT);
}

TEST(TwoLibrariesTest, EachWorksAndRefusesTheObjectsOfTheOther) {
  const Library first(LEVER_LIBRARY);
  const Library second(LEVER_OTHER_LIBRARY);
  Objects ours(first);
  Objects theirs(second);
  ExpectRefuses(first, theirs);
  ExpectRefuses(second, ours);
  // The errors are objects, too.
  lever_error* error = nullptr;
  EXPECT_EQ(CALL(first, lever_queue_create)(nullptr, nullptr, &error), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(CALL(first, lever_error_status)(error), LEVER_INVALID_ARGUMENT);
  EXPECT_NE(std::string(CALL(second, lever_error_message)(error)).find("not an error"),
            std::string::npos);
  CALL(second, lever_error_destroy)(error);  // not its own: nothing happens
  CALL(first, lever_error_destroy)(error);
  ExpectWorks(first, ours.queue, ours.client);
  ExpectWorks(second, theirs.queue, theirs.client);
  ours.Destroy(first);
  theirs.Destroy(second);
}

}  // namespace
