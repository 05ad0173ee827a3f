// Streams through the C ABI: messages, credit, back-pressure, the four ways in which one ends.
#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

TEST_F(CapiTest, MessagesGoBothWaysAndKeepTheirBoundariesAndKinds) {
  const auto [ours, theirs] = OpenStream({.read_messages = 100});
  ASSERT_EQ(lever_stream_read(queue(), theirs, 100, 0), LEVER_OK);
  ASSERT_EQ(Write(ours, ""), LEVER_OK);
  ASSERT_EQ(Write(ours, "abc"), LEVER_OK);
  ASSERT_EQ(Write(theirs, "\xa1x", LEVER_KIND_VALUE), LEVER_OK);
  Event event = events_.Await(LEVER_EVENT_STREAM_MESSAGE, theirs);
  EXPECT_EQ(event.payload, "");
  EXPECT_EQ(event.kind, LEVER_KIND_RAW);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_MESSAGE, theirs).payload, "abc");
  event = events_.Await(LEVER_EVENT_STREAM_MESSAGE, ours);
  EXPECT_EQ(event.payload, "\xa1x");
  EXPECT_EQ(event.kind, LEVER_KIND_VALUE);
  ASSERT_EQ(lever_stream_close_send(queue(), ours), LEVER_OK);
  events_.Await(LEVER_EVENT_STREAM_HALF_CLOSED, theirs);
  ASSERT_EQ(lever_stream_close_send(queue(), theirs), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, ours).status, LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, theirs).status, LEVER_OK);
}

TEST_F(CapiTest, AStreamEndsWithTheMethodsOwnError) {
  const auto [ours, theirs] = OpenStream({.read_messages = 1});
  const lever_slice error = SliceOf("\xa2no");
  ASSERT_EQ(lever_stream_fail(queue(), theirs, LEVER_KIND_ERROR_VALUE, &error, 1), LEVER_OK);
  const Event end = events_.Await(LEVER_EVENT_STREAM_END, ours);
  EXPECT_EQ(end.status, LEVER_METHOD_ERROR);
  EXPECT_EQ(end.executed, LEVER_EXECUTED_YES);
  EXPECT_EQ(end.kind, LEVER_KIND_ERROR_VALUE);
  EXPECT_EQ(end.payload, "\xa2no");
  events_.Await(LEVER_EVENT_STREAM_END, theirs);
}

TEST_F(CapiTest, CancellingTellsBothSides) {
  {
    const auto [ours, theirs] = OpenStream();
    ASSERT_EQ(lever_stream_cancel(queue(), theirs, LEVER_ABORTED, "enough", 6), LEVER_OK);
    const Event end = events_.Await(LEVER_EVENT_STREAM_END, ours);
    EXPECT_EQ(end.status, LEVER_ABORTED);
    EXPECT_EQ(end.message, "enough");
    EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, theirs).status, LEVER_ABORTED);
  }
  const auto [ours, theirs] = OpenStream();
  ASSERT_EQ(lever_stream_cancel(queue(), ours, LEVER_CANCELLED, nullptr, 0), LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, ours).status, LEVER_CANCELLED);
  EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, theirs).status, LEVER_CANCELLED);
}

TEST_F(CapiTest, AStreamIsRefusedUnexecutedBeforeItBegan) {
  const uint64_t ours = client_->Open("/test/echoChan");
  const uint64_t theirs = events_.Await(LEVER_EVENT_INCOMING_STREAM).id;
  EXPECT_EQ(Write(theirs, "x"), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(lever_stream_close_send(queue(), theirs), LEVER_FAILED_PRECONDITION);
  ASSERT_EQ(lever_incoming_fail(queue(), theirs, LEVER_PERMISSION_DENIED, "no", 2), LEVER_OK);
  const Event end = events_.Await(LEVER_EVENT_STREAM_END, ours);
  EXPECT_EQ(end.status, LEVER_PERMISSION_DENIED);
  EXPECT_EQ(end.executed, LEVER_EXECUTED_NO);
  events_.Await(LEVER_EVENT_STREAM_END, theirs);
}

TEST_F(CapiTest, AStreamWhoseCallerIsGoneDoesNotBeginAndIsNotHeardOfAgain) {
  const uint64_t ours = client_->Open("/test/echoChan");
  const uint64_t theirs = events_.Await(LEVER_EVENT_INCOMING_STREAM).id;
  ASSERT_EQ(lever_stream_cancel(queue(), ours, LEVER_CANCELLED, nullptr, 0), LEVER_OK);
  // The two ends come one after the other; fetched one at a time, the second lies in the queue.
  while (events_.Fetch(1'000'000'000, 1) == 0) {
  }
  EXPECT_EQ(events_.seen().back().id, ours);
  lever_status begun = lever_incoming_begin(queue(), theirs);
  EXPECT_TRUE(begun == LEVER_REFUSED || begun == LEVER_OK);
  if (begun == LEVER_OK) {
    // The library could not know it yet; the stream's end tells.
    EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_END, theirs).status, LEVER_CANCELLED);
  } else {
    events_.Settle();
    for (const Event& event : events_.seen()) EXPECT_NE(event.id, theirs);
  }
  EXPECT_EQ(lever_incoming_begin(queue(), theirs), LEVER_INVALID_ARGUMENT);
}

TEST_F(CapiTest, WithoutCreditNothingIsDelivered) {
  const auto [ours, theirs] = OpenStream();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(Write(ours, std::string(1000, 'a')), LEVER_OK);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_STREAM_MESSAGE), 0u);
  ASSERT_EQ(lever_stream_read(queue(), theirs, 2, 0), LEVER_OK);
  events_.Await(LEVER_EVENT_STREAM_MESSAGE, theirs);
  events_.Await(LEVER_EVENT_STREAM_MESSAGE, theirs);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_STREAM_MESSAGE), 0u);
}

TEST_F(CapiTest, CreditInBytesLetsOneLargerMessageThroughAndMakesItUpFirst) {
  const auto [ours, theirs] = OpenStream();
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Write(ours, std::string(1000, 'a')), LEVER_OK);
  ASSERT_EQ(lever_stream_read(queue(), theirs, 3, 100), LEVER_OK);
  events_.Await(LEVER_EVENT_STREAM_MESSAGE, theirs);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_STREAM_MESSAGE), 0u) << "900 bytes below zero";
  ASSERT_EQ(lever_stream_read(queue(), theirs, 0, 900), LEVER_OK);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_STREAM_MESSAGE), 0u) << "nothing is left";
  ASSERT_EQ(lever_stream_read(queue(), theirs, 0, 1), LEVER_OK);
  events_.Await(LEVER_EVENT_STREAM_MESSAGE, theirs);
}

TEST_F(CapiTest, AWriterIsRefusedWhenTheReaderDoesNotReadAndToldOnceWhenThereIsRoom) {
  const auto [ours, theirs] = OpenStream();
  const std::string message(16 * 1024, 'a');
  int written = 0;
  const auto write_all = [&] {
    while (Write(ours, message) == LEVER_OK) ++written;
  };
  // Until the windows on the way are full, too: it is told that there is room while there is.
  write_all();
  events_.Settle();
  while (events_.Count(LEVER_EVENT_WRITABLE) > 0) {
    events_.Await(LEVER_EVENT_WRITABLE, ours);
    write_all();
    events_.Settle();
  }
  // One stream window, one message more than 256 KiB queued, and what lies in the socket between.
  EXPECT_LT(written * message.size(), 4u << 20);
  EXPECT_EQ(Write(ours, message), LEVER_WOULD_BLOCK);
  EXPECT_EQ(Write(ours, message), LEVER_WOULD_BLOCK);
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_WRITABLE), 0u);
  ASSERT_EQ(lever_stream_read(queue(), theirs, 1000, 0), LEVER_OK);
  events_.Await(LEVER_EVENT_WRITABLE, ours);
  int received = 0;
  while (received < written) {
    EXPECT_EQ(events_.Await(LEVER_EVENT_STREAM_MESSAGE, theirs).payload, message);
    ++received;
  }
  events_.Settle();
  EXPECT_EQ(events_.Count(LEVER_EVENT_WRITABLE), 0u) << "it comes once";
  EXPECT_EQ(Write(ours, message), LEVER_OK);
}

TEST_F(CapiTest, NothingIsWrittenAfterTheEndOfThisSide) {
  const auto [ours, theirs] = OpenStream();
  ASSERT_EQ(lever_stream_close_send(queue(), ours), LEVER_OK);
  EXPECT_EQ(Write(ours, "x"), LEVER_FAILED_PRECONDITION);
  EXPECT_EQ(lever_stream_close_send(queue(), ours), LEVER_FAILED_PRECONDITION);
  ASSERT_EQ(lever_stream_close_send(queue(), theirs), LEVER_OK);
  EXPECT_EQ(Write(theirs, "x"), LEVER_FAILED_PRECONDITION);
  const lever_slice error = SliceOf("\xc0");
  EXPECT_EQ(lever_stream_fail(queue(), theirs, LEVER_KIND_ERROR_VALUE, &error, 1),
            LEVER_FAILED_PRECONDITION);
  events_.Await(LEVER_EVENT_STREAM_END, ours);
  events_.Await(LEVER_EVENT_STREAM_END, theirs);
}

TEST_F(CapiTest, MessagesThatAreNoneAreRefused) {
  const auto [ours, theirs] = OpenStream();
  EXPECT_EQ(Write(ours, "\xc1", LEVER_KIND_VALUE), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Write(ours, "", LEVER_KIND_VALUE), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Write(ours, "x", LEVER_KIND_NONE), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Write(ours, "\xc0", LEVER_KIND_ERROR_VALUE), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Write(theirs, "\xc0", LEVER_KIND_ERROR_VALUE), LEVER_INVALID_ARGUMENT);
  const lever_slice value = SliceOf("\xc0");
  EXPECT_EQ(lever_stream_fail(queue(), theirs, LEVER_KIND_VALUE, &value, 1),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_fail(queue(), ours, LEVER_KIND_ERROR_VALUE, &value, 1),
            LEVER_INVALID_ARGUMENT)
      << "a caller has no error of its own";
  EXPECT_EQ(lever_stream_write(queue(), ours, LEVER_KIND_RAW, nullptr, 1), LEVER_INVALID_ARGUMENT);
  const lever_slice null{nullptr, 1};
  EXPECT_EQ(lever_stream_write(queue(), ours, LEVER_KIND_RAW, &null, 1), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_cancel(queue(), ours, LEVER_OK, nullptr, 0), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(lever_stream_cancel(queue(), ours, LEVER_BUSY, nullptr, 0), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(Write(ours, "fine"), LEVER_OK);
}

}  // namespace
}  // namespace lever_test
