// What is held for a peer, in one connection and in the process.
#include "liblever/rpc/counters.h"
#include "liblever/rpc/held_bytes.h"
#include "tests/rpc/connection_fixture.h"

namespace lever::rpc {
namespace {

// With the acknowledgement from which on the window that we have announced is the peer's.
std::string Preface() {
  return std::string(kClientMagic) + Frame(kFrameSettings, 0, 0) +
         Frame(kFrameSettings, kFlagAck, 0);
}

class ConnectionHeldLimitsTest : public ConnectionTest {
 protected:
  void Request(RawPeer* peer, uint32_t id) {
    peer->Send(Frame(kFrameHeaders, kFlagEndHeaders, id, kRequestBlock));
    Settle();
  }
  // What is queued for `id` while the peer gives it no window.
  void Queue(size_t request, size_t bytes) {
    const std::string piece(64 * 1024, 'x');
    Do([&] {
      for (size_t done = 0; done < bytes; done += piece.size()) {
        server.requests[request]->stream->Write(Slice::Copy(piece));
      }
    });
    Settle();
  }
};

TEST_F(ConnectionHeldLimitsTest, AConnectionThatHoldsTooMuchTakesNoMore) {
  const Counters before = GlobalCounters();
  RawPeer peer = ServerAgainstRaw();
  peer.Send(Preface());
  server.on_request = [](TestStream&, Stream& stream) { stream.SendHeaders(ResponseHeaders()); };
  for (uint32_t id = 1; id <= 5; id += 2) Request(&peer, id);
  ASSERT_EQ(server.requests.size(), 3u);
  Queue(0, kConnectionHeldBytesMax - 1024 * 1024);
  Queue(1, 512 * 1024);
  EXPECT_EQ(server.requests[0]->closed + server.requests[1]->closed, 0);
  // The one that grows beyond it ends, and only that.
  Queue(1, 2 * 1024 * 1024);
  EXPECT_EQ(server.requests[0]->closed, 0);
  EXPECT_EQ(server.requests[1]->closed, 1);
  EXPECT_EQ(server.requests[1]->close.error_code, kHttp2EnhanceYourCalm);
  EXPECT_EQ(GlobalCounters().limit_connection_bytes, before.limit_connection_bytes + 1);
  // What it held is free again; a little goes through in any case.
  Queue(0, 1024 * 1024 - 64 * 1024);
  Do([&] { server.requests[2]->stream->Write(Slice::Copy(std::string(kFrameBytesMax, 'x'))); });
  Do([&] { server.requests[2]->stream->Write(Slice::Copy("")); });
  Do([&] { (void)server.requests[0]->stream->SetKept(0); });
  EXPECT_EQ(server.requests[2]->closed, 0);
  // The account goes down with the streams.
  peer.Send(Frame(kFrameReset, 0, 1, Number(kHttp2Cancel)));
  Settle();
  Request(&peer, 7);
  EXPECT_EQ(server.requests.size(), 4u);
}

TEST_F(ConnectionHeldLimitsTest, NewStreamsOfAFullConnectionSurelyDidNotRun) {
  RawPeer peer = ServerAgainstRaw();
  peer.Send(Preface());
  Request(&peer, 1);
  Do([&] { EXPECT_TRUE(server.requests[0]->stream->SetKept(kConnectionHeldBytesMax)); });
  Request(&peer, 3);
  EXPECT_EQ(server.requests.size(), 2u) << "at the limit, not above it";
  // A stream that holds no more than a frame may still say so.
  Do([&] { EXPECT_TRUE(server.requests[1]->stream->SetKept(kFrameBytesMax)); });
  Do([&] { EXPECT_FALSE(server.requests[0]->stream->SetKept(kConnectionHeldBytesMax + 1)); });
  Request(&peer, 5);
  EXPECT_EQ(server.requests.size(), 2u);
  const std::vector<SeenFrame> resets = peer.Frames(kFrameReset);
  ASSERT_EQ(resets.size(), 1u);
  EXPECT_EQ(resets[0].stream, 5u);
  EXPECT_EQ(resets[0].payload, Number(kHttp2RefusedStream));
  Do([&] { EXPECT_TRUE(server.requests[0]->stream->SetKept(0)); });
  Request(&peer, 7);
  EXPECT_EQ(server.requests.size(), 3u);
}

TEST_F(ConnectionHeldLimitsTest, WhatIsReceivedAndNotReadIsHeld) {
  RawPeer peer = ServerAgainstRaw();
  peer.Send(Preface());
  const int64_t before = ProcessHeldBytes().load();
  server.on_request = [](TestStream& request, Stream&) { request.consume = false; };
  Request(&peer, 1);
  for (int i = 0; i < 8; ++i) {
    peer.Send(Frame(kFrameData, 0, 1, std::string(kFrameBytesMax, 'x')));
    Settle();
  }
  EXPECT_EQ(ProcessHeldBytes().load() - before, static_cast<int64_t>(8 * kFrameBytesMax));
  Do([&] { server.requests[0]->stream->Consume(4 * kFrameBytesMax); });
  Settle();
  EXPECT_EQ(ProcessHeldBytes().load() - before, static_cast<int64_t>(4 * kFrameBytesMax));
  // Whatever ends it, nothing stays in the account.
  Do([&] { server.connection.reset(); });
  EXPECT_EQ(ProcessHeldBytes().load(), before);
}

TEST_F(ConnectionHeldLimitsTest, AFullProcessTakesNoMoreOfThoseThatHoldMuch) {
  const Counters before = GlobalCounters();
  RawPeer peer = ServerAgainstRaw();
  peer.Send(Preface());
  server.on_request = [](TestStream&, Stream& stream) { stream.SendHeaders(ResponseHeaders()); };
  Request(&peer, 1);
  const auto others = static_cast<int64_t>(kProcessHeldBytesMax);
  ProcessHeldBytes().fetch_add(others);
  // This one holds little: it goes on.
  Queue(0, kConnectionHeldBytesFree);
  Request(&peer, 3);
  EXPECT_EQ(server.requests.size(), 2u);
  EXPECT_EQ(server.requests[0]->closed, 0);
  Queue(0, kConnectionHeldBytesFree);
  EXPECT_EQ(server.requests[0]->closed, 1);
  EXPECT_EQ(server.requests[0]->close.error_code, kHttp2EnhanceYourCalm);
  EXPECT_EQ(server.requests[1]->closed, 0);
  EXPECT_EQ(GlobalCounters().limit_process_bytes, before.limit_process_bytes + 1);
  EXPECT_EQ(server.closed, 0);
  ProcessHeldBytes().fetch_sub(others);
}

}  // namespace
}  // namespace lever::rpc
