// The ends of ids and objects: after its end an id is nothing, a close completes what is in flight,
// a destroy before the last event does nothing.
#include <algorithm>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

// Every function that takes the id of a call, a stream, or an incoming request.
void ExpectOver(lever_queue* queue, uint64_t id) {
  const lever_slice slice = SliceOf("\xc0");
  lever_result result{};
  result.size = sizeof(result);
  EXPECT_EQ(lever_call_cancel(queue, id), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_call_wait(queue, id, 0, &result), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_write(queue, id, LEVER_KIND_VALUE, &slice, 1), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_read(queue, id, 1, 0), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_close_send(queue, id), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_fail(queue, id, LEVER_KIND_ERROR_VALUE, &slice, 1),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_cancel(queue, id, LEVER_CANCELLED, nullptr, 0), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_incoming_begin(queue, id), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_incoming_reply(queue, id, LEVER_KIND_VALUE, &slice, 1, nullptr, 0),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_incoming_fail(queue, id, LEVER_ABORTED, nullptr, 0), LEVER_INVALID_ARGUMENT);
}

TEST_F(CapiTest, AnIdThatNeverWasIsNone) {
  for (const uint64_t id : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32, UINT64_MAX,
                            uint64_t{1} << 32 | 1, uint64_t{1} << 32 | UINT32_MAX}) {
    ExpectOver(queue(), id);
  }
}

TEST_F(CapiTest, AnIdOfAnotherKindIsNone) {
  const uint64_t call = client_->Call("/test/echo");
  const uint64_t incoming = AwaitCall().id;
  const auto [ours, theirs] = OpenStream();
  const lever_slice slice = SliceOf("\xc0");
  EXPECT_EQ(lever_stream_read(queue(), call, 1, 0), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_read(queue(), incoming, 1, 0), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_incoming_begin(queue(), call), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_incoming_begin(queue(), ours), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_call_cancel(queue(), ours), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_call_cancel(queue(), incoming), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_incoming_reply(queue(), theirs, LEVER_KIND_VALUE, &slice, 1, nullptr, 0),
            LEVER_INVALID_ARGUMENT);
}

TEST_F(CapiTest, AfterItsEndAnIdIsOverAlsoWhenItsSlotIsUsedAgain) {
  std::vector<uint64_t> over;
  for (int i = 0; i < 300; ++i) {
    const uint64_t call = client_->Call("/test/echo");
    const uint64_t incoming = AwaitCall().id;
    ASSERT_EQ(lever_incoming_begin(queue(), incoming), LEVER_OK);
    ASSERT_EQ(Reply(incoming), LEVER_OK);
    ASSERT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
    const auto [ours, theirs] = OpenStream();
    ASSERT_EQ(lever_stream_close_send(queue(), theirs), LEVER_OK);
    events_.Await(LEVER_EVENT_STREAM_END, ours);
    events_.Await(LEVER_EVENT_STREAM_END, theirs);
    over.insert(over.end(), {call, incoming, ours, theirs});
  }
  for (const uint64_t id : over) ExpectOver(queue(), id);
  std::sort(over.begin(), over.end());
  EXPECT_EQ(std::unique(over.begin(), over.end()), over.end()) << "no id was given twice";
}

TEST_F(CapiTest, ClosingAClientCompletesWhatItHasInFlight) {
  std::vector<uint64_t> calls;
  std::vector<uint64_t> streams;
  for (int i = 0; i < 10; ++i) {
    calls.push_back(client_->Call("/test/echo"));
    streams.push_back(client_->Open("/test/echoChan"));
  }
  events_.Await(LEVER_EVENT_INCOMING_STREAM);
  lever_client* client = client_->get();
  EXPECT_EQ(lever_client_destroy(client), LEVER_BUSY);
  ASSERT_EQ(lever_client_close(client), LEVER_OK);
  EXPECT_EQ(lever_client_close(client), LEVER_CANCELLED);
  EXPECT_EQ(lever_client_destroy(client), LEVER_BUSY);
  uint64_t id = 0;
  EXPECT_EQ(client_->TryCall("/test/echo", {}, &id), LEVER_CANCELLED);
  EXPECT_EQ(client_->TryOpen("/test/echoChan", {}, &id), LEVER_CANCELLED);
  const Event closed = events_.Await([client](const Event& event) {
    return event.type == LEVER_EVENT_CLOSED && event.object == client;
  });
  // It is the last one: all others have come before.
  for (const uint64_t call : calls) {
    EXPECT_EQ(std::count_if(events_.seen().begin(), events_.seen().end(),
                            [call](const Event& event) { return event.id == call; }),
              1);
    EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_CANCELLED);
  }
  for (const uint64_t stream : streams) {
    EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, stream).status, LEVER_CANCELLED);
  }
  EXPECT_EQ(lever_queue_destroy(queue()), LEVER_BUSY) << "the client is not destroyed";
  EXPECT_EQ(lever_client_destroy(client_->Release()), LEVER_OK);
}

TEST_F(CapiTest, ClosingAServiceCancelsWhatRunsAndEndsWhatWasNotAnswered) {
  const uint64_t begun_call = client_->Call("/test/echo");
  const uint64_t begun = AwaitCall().id;
  ASSERT_EQ(lever_incoming_begin(queue(), begun), LEVER_OK);
  const uint64_t offered_call = client_->Call("/test/other", {.timeout_ns = 10'000'000'000});
  const uint64_t offered = AwaitCall().id;
  const auto [ours, theirs] = OpenStream();
  EXPECT_EQ(lever_service_destroy(service_.get()), LEVER_BUSY);
  ASSERT_EQ(lever_service_close(service_.get()), LEVER_OK);
  EXPECT_EQ(lever_service_close(service_.get()), LEVER_CANCELLED);
  EXPECT_EQ(lever_service_drain(service_.get()), LEVER_CANCELLED);
  EXPECT_EQ(lever_service_destroy(service_.get()), LEVER_BUSY);
  events_.Await(LEVER_EVENT_INCOMING_CANCELLED, begun);
  events_.Await(LEVER_EVENT_INCOMING_CANCELLED, offered);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, theirs).status, LEVER_CANCELLED);
  events_.Await([this](const Event& event) {
    return event.type == LEVER_EVENT_CLOSED && event.object == service_.get();
  });
  ExpectOver(queue(), begun);
  ExpectOver(queue(), offered);
  ExpectOver(queue(), theirs);
  Event done = events_.Await(LEVER_EVENT_CALL_DONE, begun_call);
  EXPECT_EQ(done.status, LEVER_CANCELLED);
  EXPECT_EQ(done.executed, LEVER_EXECUTED_UNKNOWN);
  done = events_.Await(LEVER_EVENT_CALL_DONE, offered_call);
  EXPECT_EQ(done.executed, LEVER_EXECUTED_NO);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, ours).status, LEVER_CANCELLED);
  EXPECT_EQ(lever_service_destroy(service_.Release()), LEVER_OK);
}

TEST_F(CapiTest, AClosedServiceThatWasNeverStartedClosesToo) {
  Service service(&events_);
  service.Close();
}

TEST_F(CapiTest, ADrainFinishesWhatRunsAndRefusesWhatIsNew) {
  const uint64_t call = client_->Call("/test/echo");
  const uint64_t incoming = AwaitCall().id;
  ASSERT_EQ(lever_incoming_begin(queue(), incoming), LEVER_OK);
  const auto state = [](lever_service_state wanted) {
    return [wanted](const Event& event) {
      return event.type == LEVER_EVENT_SERVICE_STATE && event.service_state == wanted;
    };
  };
  ASSERT_EQ(lever_service_drain(service_.get()), LEVER_OK);
  events_.Await(state(LEVER_SERVICE_DRAINING));
  // Requests are taken for a while still, and refused after that.
  const auto until = std::chrono::steady_clock::now() + kLimit;
  for (;;) {
    const uint64_t late = client_->Call("/test/echo", {.timeout_ns = 200'000'000});
    Event event = events_.Await([late](const Event& event) {
      return event.type == LEVER_EVENT_INCOMING_CALL || event.id == late;
    });
    if (event.type == LEVER_EVENT_CALL_DONE) {
      EXPECT_EQ(event.executed, LEVER_EXECUTED_NO);
      break;
    }
    ASSERT_LT(std::chrono::steady_clock::now(), until);
    // Offered while requests are taken, begun when they are not any more: refused.
    ASSERT_NE(lever_incoming_begin(queue(), event.id), LEVER_INVALID_ARGUMENT);
    Reply(event.id);
    event = events_.Await(LEVER_EVENT_CALL_DONE, late);
  }
  ASSERT_EQ(Reply(incoming), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
  events_.Await(state(LEVER_SERVICE_DRAINED));
}

TEST_F(CapiTest, MethodsAreSettledBeforeTheServiceStarts) {
  Service service(&events_);
  const auto add = [&](const char* name) {
    return lever_service_add_method(service.get(), name, LEVER_NUL_TERMINATED, nullptr);
  };
  EXPECT_EQ(add("echo"), LEVER_ALREADY_EXISTS);
  EXPECT_EQ(add("not a name"), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(add(""), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(add("fine"), LEVER_OK);
  service.Start();
  EXPECT_EQ(add("late"), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(lever_service_start(service.get(), nullptr), LEVER_FAILED_PRECONDITION);
}

TEST_F(CapiTest, AnErrorSaysWhatIsWrong) {
  lever_service_options options{};
  options.size = sizeof(options);
  lever_service* service = nullptr;
  lever_error* error = nullptr;
  // No name, and no host has started this process.
  ASSERT_EQ(lever_service_create(queue(), &options, &service, &error), LEVER_FAILED_PRECONDITION);
  ASSERT_NE(error, nullptr);
  EXPECT_EQ(lever_error_status(error), LEVER_FAILED_PRECONDITION);
  EXPECT_NE(std::string(lever_error_message(error)).find("name"), std::string::npos);
  lever_error_destroy(error);
  lever_error_destroy(nullptr);
  options.name = "test";
  options.name_size = 4;
  ASSERT_EQ(lever_service_create(queue(), &options, &service, &error), LEVER_OK);
  EXPECT_EQ(error, nullptr) << "it is set to NULL on success";
  ASSERT_EQ(lever_service_close(service), LEVER_OK);
  events_.Await(LEVER_EVENT_CLOSED);
  EXPECT_EQ(lever_service_destroy(service), LEVER_OK);
}

TEST(ObjectsTest, WhatIsNoObjectOfThisLibraryIsRefused) {
  EXPECT_EQ(lever_queue_destroy(nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_client_close(nullptr), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_queue_fd(nullptr), -1);
  uint64_t memory[64] = {};
  auto* queue = reinterpret_cast<lever_queue*>(memory);
  auto* client = reinterpret_cast<lever_client*>(memory);
  auto* service = reinterpret_cast<lever_service*>(memory);
  EXPECT_EQ(lever_queue_destroy(queue), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_queue_wake(queue), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_client_destroy(client), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_service_start(service, nullptr), LEVER_INVALID_ARGUMENT);
  // An object of one kind is none of another.
  Events events;
  Client real(&events, "");
  EXPECT_EQ(lever_service_close(reinterpret_cast<lever_service*>(real.get())),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_queue_wake(reinterpret_cast<lever_queue*>(real.get())), LEVER_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace lever_test
