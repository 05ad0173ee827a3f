// Unary calls through the C ABI: what goes in, what comes out, what is refused.
#include <time.h>

#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

lever_metadata Field(std::string_view name, std::string_view value) {
  return {name.data(), name.size(), value.data(), value.size()};
}

TEST_F(CapiTest, ACallCarriesItsPayloadAndItsUserDataBothWays) {
  int mine = 0;
  const std::string arguments("\x92\x01\xa1x", 4);
  const uint64_t call = client_->Call("/test/echo", {.payload = arguments, .user_data = &mine});
  const Event incoming = AwaitCall();
  EXPECT_EQ(incoming.payload, arguments);
  EXPECT_EQ(incoming.kind, LEVER_KIND_VALUE);
  EXPECT_STREQ(static_cast<const char*>(incoming.method), "echo");
  EXPECT_EQ(incoming.object, service_.get());
  EXPECT_EQ(incoming.caller, "");
  ASSERT_EQ(lever_incoming_begin(queue(), incoming.id), LEVER_OK);
  ASSERT_EQ(Reply(incoming.id, "\x2a"), LEVER_OK);
  const Event done = events_.Await(LEVER_EVENT_CALL_DONE, call);
  EXPECT_EQ(done.status, LEVER_OK);
  EXPECT_EQ(done.executed, LEVER_EXECUTED_YES);
  EXPECT_EQ(done.kind, LEVER_KIND_VALUE);
  EXPECT_EQ(done.payload, "\x2a");
  EXPECT_EQ(done.user_data, &mine);
}

TEST_F(CapiTest, BytesAndTheMethodsOwnErrorsKeepTheirKind) {
  const struct {
    lever_kind kind;
    lever_status status;
  } cases[] = {{LEVER_KIND_RAW, LEVER_OK},
               {LEVER_KIND_ERROR_VALUE, LEVER_METHOD_ERROR},
               {LEVER_KIND_ERROR_RAW, LEVER_METHOD_ERROR}};
  for (const auto& expected : cases) {
    const uint64_t call = client_->Call("/test/echo", {.payload = "abc", .kind = LEVER_KIND_RAW});
    const Event incoming = AwaitCall();
    EXPECT_EQ(incoming.kind, LEVER_KIND_RAW);
    ASSERT_EQ(lever_incoming_begin(queue(), incoming.id), LEVER_OK);
    ASSERT_EQ(Reply(incoming.id, "\x07", expected.kind), LEVER_OK);
    const Event done = events_.Await(LEVER_EVENT_CALL_DONE, call);
    EXPECT_EQ(done.status, expected.status);
    EXPECT_EQ(done.executed, LEVER_EXECUTED_YES);
    EXPECT_EQ(done.kind, expected.kind);
    EXPECT_EQ(done.payload, "\x07");
  }
}

TEST_F(CapiTest, AFailureIsUnexecutedOnlyBeforeTheCallBegan) {
  for (const bool begin : {false, true}) {
    const uint64_t call = client_->Call("/test/echo");
    const uint64_t incoming = AwaitCall().id;
    if (begin) {
      ASSERT_EQ(lever_incoming_begin(queue(), incoming), LEVER_OK);
    }
    ASSERT_EQ(
        lever_incoming_fail(queue(), incoming, LEVER_ABORTED, "no luck", LEVER_NUL_TERMINATED),
        LEVER_OK);
    const Event done = events_.Await(LEVER_EVENT_CALL_DONE, call);
    EXPECT_EQ(done.status, LEVER_ABORTED);
    EXPECT_EQ(done.message, "no luck");
    EXPECT_EQ(done.executed, begin ? LEVER_EXECUTED_UNKNOWN : LEVER_EXECUTED_NO);
  }
}

TEST_F(CapiTest, MetadataAndTrailingMetadataTravelWithoutWhatIsReserved) {
  const std::string bytes("\x00\xff", 2);
  const uint64_t call = client_->Call(
      "/test/echo", {.metadata = {Field("x-tag", "blue"), Field("x-raw-bin", bytes),
                                  Field("lever-url", "/no/thing"), Field("grpc-status", "5")}});
  const Event incoming = AwaitCall();
  EXPECT_EQ(incoming.metadata.at("x-tag"), "blue");
  EXPECT_EQ(incoming.metadata.at("x-raw-bin"), bytes);
  EXPECT_EQ(incoming.metadata.count("lever-url"), 0u);
  EXPECT_EQ(incoming.metadata.count("grpc-status"), 0u);
  ASSERT_EQ(lever_incoming_begin(queue(), incoming.id), LEVER_OK);
  const lever_slice slice = SliceOf("\xc0");
  const lever_metadata trailing[] = {Field("x-took", "3 ms"), Field("lever-executed", "no")};
  ASSERT_EQ(lever_incoming_reply(queue(), incoming.id, LEVER_KIND_VALUE, &slice, 1, trailing, 2),
            LEVER_OK);
  const Event done = events_.Await(LEVER_EVENT_CALL_DONE, call);
  EXPECT_EQ(done.status, LEVER_OK);
  EXPECT_EQ(done.executed, LEVER_EXECUTED_YES);
  EXPECT_EQ(done.metadata, (Metadata{{"x-took", "3 ms"}}));
}

TEST_F(CapiTest, WhatIsNoRequestIsRefusedAtOnceAndHasNoEvent) {
  const CallOptions cases[] = {
      {.payload = "\xc1"},                                // no value
      {.payload = "\x05"},                                // a value that is no array
      {.payload = std::string("\x90\x00", 2)},            // a byte behind it
      {.kind = LEVER_KIND_NONE},                          // no kind
      {.kind = LEVER_KIND_ERROR_VALUE},                   // a request is no error
      {.parent = 12345},                                  // no such call
      {.flags = 1u << 20},                                // no such flag
      {.metadata = {Field("Upper", "x")}},                // not lower-case
      {.metadata = {Field("x-text", "\n")}},              // not printable
      {.metadata = {Field("content-type", "text/html")}}  // HTTP's own
  };
  for (const CallOptions& options : cases) {
    uint64_t id = 7;
    EXPECT_EQ(client_->TryCall("/test/echo", options, &id), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(client_->TryOpen("/test/echoChan", options, &id), LEVER_INVALID_ARGUMENT);
    EXPECT_EQ(id, 7u);
  }
  uint64_t id = 7;
  EXPECT_EQ(client_->TryCall("no address", {}, &id), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(client_->TryCall("", {}, &id), LEVER_INVALID_ARGUMENT);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_CALL_DONE), 0u);
  EXPECT_EQ(events_.Count(LEVER_EVENT_INCOMING_CALL), 0u);
}

TEST_F(CapiTest, AnAnswerThatIsNoValueIsRefusedAndMayBeGivenAgain) {
  const uint64_t call = client_->Call("/test/echo");
  const uint64_t incoming = AwaitCall().id;
  EXPECT_EQ(Reply(incoming), LEVER_FAILED_PRECONDITION) << "it has not begun";
  ASSERT_EQ(lever_incoming_begin(queue(), incoming), LEVER_OK);
  EXPECT_EQ(lever_incoming_begin(queue(), incoming), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(Reply(incoming, "\xc1"), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Reply(incoming, "x", LEVER_KIND_NONE), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Reply(incoming), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
}

TEST_F(CapiTest, ADeadlineEndsTheCallAndCancelsItAtTheOtherSide) {
  const int64_t before_ns = NowNs();
  const uint64_t call = client_->Call("/test/echo", {.timeout_ns = 200'000'000});
  const Event incoming = AwaitCall();
  EXPECT_GT(incoming.deadline_ns, before_ns);
  EXPECT_LE(incoming.deadline_ns, NowNs() + 200'000'000);
  const Event done = events_.Await(LEVER_EVENT_CALL_DONE, call);
  EXPECT_EQ(done.status, LEVER_DEADLINE_EXCEEDED);
  EXPECT_GE(NowNs() - before_ns, 200'000'000);
  events_.Await(LEVER_EVENT_INCOMING_CANCELLED, incoming.id);
  EXPECT_EQ(lever_incoming_begin(queue(), incoming.id), LEVER_REFUSED);
  EXPECT_EQ(lever_incoming_begin(queue(), incoming.id), LEVER_INVALID_ARGUMENT);
}

TEST_F(CapiTest, ACancelledCallIsCancelledAtTheOtherSideWhichMayStillAnswer) {
  const uint64_t call = client_->Call("/test/echo");
  const uint64_t incoming = AwaitCall().id;
  ASSERT_EQ(lever_incoming_begin(queue(), incoming), LEVER_OK);
  EXPECT_EQ(lever_call_cancel(queue(), call), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_CANCELLED);
  events_.Await(LEVER_EVENT_INCOMING_CANCELLED, incoming);
  EXPECT_EQ(Reply(incoming), LEVER_OK) << "what it answers is dropped";
  EXPECT_EQ(Reply(incoming), LEVER_INVALID_ARGUMENT);
}

TEST_F(CapiTest, AChildEndsByItsParentsDeadlineAndWithItsParent) {
  const uint64_t outer = client_->Call("/test/echo", {.timeout_ns = 5'000'000'000});
  const Event parent = AwaitCall();
  ASSERT_EQ(lever_incoming_begin(queue(), parent.id), LEVER_OK);
  const CallOptions within{.timeout_ns = -1, .parent = parent.id};
  const uint64_t call = client_->Call("/test/other", within);
  const Event child = AwaitCall();
  // The time on the wire is rounded, and never up by more than a few milliseconds.
  EXPECT_LE(child.deadline_ns, parent.deadline_ns + 5'000'000);
  const uint64_t stream = client_->Open("/test/echoChan", within);
  const Event incoming = events_.Await(LEVER_EVENT_INCOMING_STREAM);
  EXPECT_LE(incoming.deadline_ns, parent.deadline_ns + 5'000'000);
  ASSERT_EQ(Reply(parent.id), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, outer).status, LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_CANCELLED);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, stream).status, LEVER_CANCELLED);
  events_.Await(LEVER_EVENT_INCOMING_CANCELLED, child.id);
  uint64_t id = 0;
  EXPECT_EQ(client_->TryCall("/test/other", within, &id), LEVER_INVALID_ARGUMENT);
}

TEST_F(CapiTest, CancellingTheParentCancelsItsChildren) {
  const uint64_t outer = client_->Call("/test/echo");
  const uint64_t parent = AwaitCall().id;
  ASSERT_EQ(lever_incoming_begin(queue(), parent), LEVER_OK);
  const uint64_t call = client_->Call("/test/other", {.parent = parent});
  AwaitCall();
  EXPECT_EQ(lever_call_cancel(queue(), outer), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_CANCELLED);
  events_.Await(LEVER_EVENT_INCOMING_CANCELLED, parent);
  EXPECT_EQ(Reply(parent), LEVER_OK);
}

TEST_F(CapiTest, UnknownMethodsAndKindsOfMethodsAreRefusedUnexecuted) {
  const std::pair<const char*, lever_status> cases[] = {{"/test/nothing", LEVER_NOT_FOUND},
                                                        {"/elsewhere/echo", LEVER_NOT_FOUND},
                                                        {"/test/echoChan", LEVER_UNIMPLEMENTED}};
  for (const auto& [address, status] : cases) {
    const Event done = events_.Await(LEVER_EVENT_CALL_DONE, client_->Call(address));
    EXPECT_EQ(done.status, status) << address;
    EXPECT_EQ(done.executed, LEVER_EXECUTED_NO) << address;
  }
}

TEST_F(CapiTest, AGrpcMethodIsCalledWithItsOwnMessages) {
  // grpc.health.v1.Health/Check of the service "": SERVING is 1.
  const uint64_t call =
      client_->Call("/grpc.health.v1.Health/Check",
                    {.payload = "", .kind = LEVER_KIND_RAW, .flags = LEVER_CALL_GRPC});
  const Event done = events_.Await(LEVER_EVENT_CALL_DONE, call);
  EXPECT_EQ(done.status, LEVER_OK) << done.message;
  EXPECT_EQ(done.kind, LEVER_KIND_RAW);
  EXPECT_EQ(done.payload, std::string("\x08\x01", 2));
  uint64_t id = 0;
  EXPECT_EQ(client_->TryCall("/grpc.health.v1.Health/Check", {.flags = LEVER_CALL_GRPC}, &id),
            LEVER_INVALID_ARGUMENT);
}

TEST_F(CapiTest, TheStatisticsCountCalls) {
  events_.Await(LEVER_EVENT_CALL_DONE, client_->Call("/test/nothing"));
  lever_client_stats stats{};
  stats.size = sizeof(stats);
  ASSERT_EQ(lever_client_get_stats(client_->get(), &stats), LEVER_OK);
  EXPECT_EQ(stats.calls_through_host, 1u);
  EXPECT_EQ(stats.calls_direct, 0u);
  EXPECT_EQ(stats.size, sizeof(stats));
  // A caller that knows less of it gets less.
  lever_client_stats less{};
  less.size = offsetof(lever_client_stats, calls_through_host);
  less.calls_through_host = 99;
  ASSERT_EQ(lever_client_get_stats(client_->get(), &less), LEVER_OK);
  EXPECT_EQ(less.calls_through_host, 99u);
}

TEST(EchoTest, ACallAnswersWithItsArgumentsAndAStreamWithItsMessages) {
  Events events;
  Client client(&events, "");
  const std::string arguments("\x92\x01\x02", 3);
  const Event done =
      events.Await(LEVER_EVENT_CALL_DONE, client.Call("/any/thing", {.payload = arguments}));
  EXPECT_EQ(done.status, LEVER_OK);
  EXPECT_EQ(done.payload, arguments);
  const uint64_t stream = client.Open("/any/chan", {.read_messages = 1});
  for (const char* text : {"\x01", "\x02"}) {
    const lever_slice slice = SliceOf(text);
    ASSERT_EQ(lever_stream_write(events.get(), stream, LEVER_KIND_VALUE, &slice, 1), LEVER_OK);
  }
  EXPECT_EQ(events.Await(LEVER_EVENT_STREAM_MESSAGE, stream).payload, "\x01");
  events.Settle();
  EXPECT_EQ(events.Count(LEVER_EVENT_STREAM_MESSAGE), 0u) << "without credit";
  ASSERT_EQ(lever_stream_read(events.get(), stream, 10, 0), LEVER_OK);
  EXPECT_EQ(events.Await(LEVER_EVENT_STREAM_MESSAGE, stream).payload, "\x02");
  ASSERT_EQ(lever_stream_close_send(events.get(), stream), LEVER_OK);
  EXPECT_EQ(events.Await(LEVER_EVENT_STREAM_END, stream).status, LEVER_OK);
}

}  // namespace
}  // namespace lever_test
