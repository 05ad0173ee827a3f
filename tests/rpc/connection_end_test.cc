// How connections end: drains, GOAWAY, broken peers, and handlers that pull the rug away.
#include "liblever/rpc/counters.h"
#include "tests/rpc/connection_fixture.h"

namespace lever::rpc {
namespace {

TEST_F(ConnectionTest, ADrainLetsOpenStreamsFinishAndEndsInOrder) {
  OpenBoth();
  Echo(&server);
  TestStream& call = NewCall();
  Start(&call, "half", false);
  ASSERT_TRUE(Until([&] { return server.requests.size() == 1; }));
  Do([&] { server.connection->Drain(); });
  ASSERT_TRUE(Until([&] { return client.draining == 1 && server.draining == 1; }));
  Settle();
  Do([&] {
    EXPECT_TRUE(client.connection->draining());
    TestStream& late = NewCall();
    EXPECT_EQ(client.connection->StartStream(RequestHeaders(), Stream::End::kYes, &late), nullptr);
  });
  EXPECT_EQ(client.closed, 0);
  EXPECT_EQ(server.closed, 0);
  Do([&] { call.stream->EndWrite(); });
  ASSERT_TRUE(Until([&] { return client.closed == 1 && server.closed == 1; }));
  EXPECT_EQ(call.body, "half");
  EXPECT_EQ(call.close.error_code, 0u);
  EXPECT_TRUE(client.status.ok()) << client.status.ToString();
  EXPECT_TRUE(server.status.ok()) << server.status.ToString();
}

TEST_F(ConnectionTest, AnIdleConnectionDrainsAtOnce) {
  OpenBoth();
  Settle();
  Do([&] { server.connection->Drain(); });
  ASSERT_TRUE(Until([&] { return client.closed == 1 && server.closed == 1; }));
  EXPECT_TRUE(client.status.ok());
  EXPECT_TRUE(server.status.ok());
}

TEST_F(ConnectionTest, AClientDrainsToo) {
  OpenBoth();
  Echo(&server);
  TestStream& call = NewCall();
  Start(&call, "x", false);
  ASSERT_TRUE(Until([&] { return server.requests.size() == 1; }));
  Do([&] {
    client.connection->Drain();
    TestStream& late = NewCall();
    EXPECT_EQ(client.connection->StartStream(RequestHeaders(), Stream::End::kYes, &late), nullptr);
  });
  Settle();
  EXPECT_EQ(client.closed, 0);
  Do([&] { call.stream->EndWrite(); });
  ASSERT_TRUE(Until([&] { return client.closed == 1 && server.closed == 1; }));
  EXPECT_EQ(call.body, "x");
  EXPECT_TRUE(client.status.ok());
  EXPECT_TRUE(server.status.ok()) << server.status.ToString();
}

TEST_F(ConnectionTest, ADrainSaysGoawayTwiceAndServesWhatCameInBetween) {
  RawPeer peer = ServerAgainstRaw();
  Echo(&server);
  peer.Send(std::string(kClientMagic) + Frame(kFrameSettings, 0, 0));
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 1, kRequestBlock));
  ASSERT_TRUE(Until([&] { return server.requests.size() == 1; }));
  Do([&] { server.connection->Drain(); });
  ASSERT_TRUE(Until([&] { return peer.Frames(kFrameGoaway).size() == 1; }));
  EXPECT_EQ(peer.Frames(kFrameGoaway)[0].payload, Number(0x7fffffff) + Number(0));
  // The server waits for its PING; a request that was on its way is served.
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 3, kRequestBlock));
  ASSERT_TRUE(Until([&] { return server.requests.size() == 2; }));
  ASSERT_EQ(peer.Frames(kFramePing).size(), 1u);
  peer.Send(Frame(kFramePing, kFlagAck, 0, peer.Frames(kFramePing)[0].payload));
  ASSERT_TRUE(Until([&] { return peer.Frames(kFrameGoaway).size() == 2; }));
  EXPECT_EQ(peer.Frames(kFrameGoaway)[1].payload, Number(3) + Number(0));
  // One that comes after it is not.
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 5, kRequestBlock));
  ASSERT_TRUE(Until([&] {
    peer.Read();
    return peer.ended;
  }));
  EXPECT_EQ(server.requests.size(), 2u);
  peer.Close();
  ASSERT_TRUE(Until([&] { return server.closed == 1; }));
  EXPECT_TRUE(server.status.ok());
}

TEST_F(ConnectionClockTest, ADrainGoesOnWithoutTheAnswerToItsPing) {
  RawPeer peer = ServerAgainstRaw();
  peer.Send(std::string(kClientMagic) + Frame(kFrameSettings, 0, 0));
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock));
  ASSERT_TRUE(Until([&] { return server.requests.size() == 1; }));
  Do([&] { server.connection->Drain(); });
  Settle();
  EXPECT_EQ(peer.Frames(kFrameGoaway).size(), 1u);
  clock.Advance(kGoawayPingTimeoutNs);
  Settle();
  EXPECT_EQ(peer.Frames(kFrameGoaway).size(), 2u);
}

TEST_F(ConnectionClockTest, AfterADrainThePeerSeesTheEndAndIsGivenTimeToClose) {
  RawPeer peer = ServerAgainstRaw();
  peer.Send(std::string(kClientMagic) + Frame(kFrameSettings, 0, 0));
  Settle();
  Do([&] { server.connection->Drain(); });
  Settle();
  peer.Send(Frame(kFramePing, kFlagAck, 0, peer.Frames(kFramePing).at(0).payload));
  Settle();
  peer.Read();
  EXPECT_TRUE(peer.ended);
  EXPECT_EQ(peer.Frames(kFrameGoaway).size(), 2u);
  clock.Advance(kLingerTimeoutNs - 1);
  Settle();
  EXPECT_EQ(server.closed, 0);
  clock.Advance(1);
  Settle();
  EXPECT_EQ(server.closed, 1);
  EXPECT_TRUE(server.status.ok());
}

TEST_F(ConnectionTest, StreamsAboveThePeersLastIdAreUnprocessedAndTheOthersGoOn) {
  RawPeer peer = ClientAgainstRaw();
  TestStream& first = NewCall();
  TestStream& second = NewCall();
  Start(&first);
  Start(&second);
  peer.Send(Frame(kFrameSettings, 0, 0));
  ASSERT_TRUE(Until([&] { return client.ready == 1 && second.stream->id() == 3; }));
  peer.Send(Frame(kFrameGoaway, 0, 0, Number(1) + Number(0)));
  ASSERT_TRUE(Until([&] { return second.closed == 1; }));
  EXPECT_TRUE(second.close.unprocessed);
  EXPECT_FALSE(second.close.never_written);
  EXPECT_EQ(second.close.error_code, kHttp2RefusedStream);
  EXPECT_EQ(first.closed, 0);
  EXPECT_EQ(client.draining, 1);
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 1, kResponseBlock));
  ASSERT_TRUE(Until([&] { return client.closed == 1; }));
  EXPECT_EQ(first.log, "HEC");
  EXPECT_EQ(first.close.error_code, 0u);
  EXPECT_TRUE(client.status.ok());
}

// Seen with grpc-go: its clients' GOAWAY names the last stream that they opened themselves.
TEST_F(ConnectionTest, AClientThatIsDoneMayNameItsOwnLastStreamInItsGoaway) {
  const uint64_t errors = GlobalCounters().protocol_errors;
  RawPeer peer = ServerAgainstRaw();
  Echo(&server);
  peer.Send(std::string(kClientMagic) + Frame(kFrameSettings, 0, 0) +
            Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 1, kRequestBlock));
  ASSERT_TRUE(Until([&] { return server.requests.size() == 1 && server.requests[0]->closed == 1; }));
  peer.Send(Frame(kFrameGoaway, 0, 0, Number(1) + Number(0)));
  ASSERT_TRUE(Until([&] { return peer.Frames(kFrameGoaway).size() == 1; }));
  peer.Close();
  ASSERT_TRUE(Until([&] { return server.closed == 1; }));
  EXPECT_TRUE(server.status.ok()) << server.status.ToString();
  EXPECT_EQ(GlobalCounters().protocol_errors - errors, 0u);
}

TEST_F(ConnectionTest, StreamsThatWaitAreGivenBackAtGoaway) {
  RawPeer peer = ClientAgainstRaw();
  // SETTINGS_MAX_CONCURRENT_STREAMS = 1
  peer.Send(Frame(kFrameSettings, 0, 0, Number(3, 2) + Number(1)));
  ASSERT_TRUE(Until([&] { return client.ready == 1; }));
  TestStream& first = NewCall();
  TestStream& waiting = NewCall();
  Start(&first);
  Start(&waiting);
  Settle();
  peer.Send(Frame(kFrameGoaway, 0, 0, Number(0x7fffffff) + Number(0)));
  ASSERT_TRUE(Until([&] { return waiting.closed == 1; }));
  EXPECT_TRUE(waiting.close.never_written);
  EXPECT_TRUE(waiting.close.unprocessed);
  EXPECT_EQ(first.closed, 0);
}

TEST_F(ConnectionTest, WhatThePeerComplainsOfIsInTheStatus) {
  RawPeer peer = ClientAgainstRaw();
  TestStream& call = NewCall();
  Start(&call);
  peer.Send(
      Frame(kFrameSettings, 0, 0) +
      Frame(kFrameGoaway, 0, 0, Number(1) + Number(kHttp2EnhanceYourCalm) + "too_many_pings"));
  ASSERT_TRUE(Until([&] { return client.draining == 1; }));
  peer.Close();
  ASSERT_TRUE(Until([&] { return client.closed == 1; }));
  EXPECT_EQ(client.status.code(), LEVER_UNAVAILABLE);
  EXPECT_NE(client.status.message().find("too_many_pings"), std::string::npos)
      << client.status.message();
  EXPECT_EQ(call.close.connection_status.code(), LEVER_UNAVAILABLE);
  EXPECT_FALSE(call.close.unprocessed);
}

TEST_F(ConnectionTest, ClosingEndsEveryStreamWithTheStatusAndTellsThePeer) {
  OpenBoth();
  TestStream& first = NewCall();
  TestStream& second = NewCall();
  Start(&first, "x", false);
  ASSERT_TRUE(Until([&] { return server.requests.size() == 1; }));
  Do([&] {
    second.stream = client.connection->StartStream(RequestHeaders(), Stream::End::kYes, &second);
    client.connection->Close(Aborted("by the test"));
    EXPECT_EQ(first.closed, 0) << "not from inside Close()";
    EXPECT_EQ(client.connection->StartStream(RequestHeaders(), Stream::End::kYes, &second),
              nullptr);
    client.connection->Close(Internal("once more"));
    client.connection->Drain();
  });
  ASSERT_TRUE(Until([&] { return client.closed == 1 && server.closed == 1; }));
  EXPECT_EQ(client.status.code(), LEVER_ABORTED);
  EXPECT_EQ(client.open_streams_at_close, 0u);
  EXPECT_EQ(first.closed, 1);
  EXPECT_EQ(first.close.connection_status.code(), LEVER_ABORTED);
  EXPECT_FALSE(first.close.never_written);
  EXPECT_TRUE(second.close.never_written);
  EXPECT_EQ(server.requests.size(), 1u);
  EXPECT_EQ(server.requests[0]->closed, 1);
  EXPECT_FALSE(server.requests[0]->close.connection_status.ok());
}

TEST_F(ConnectionTest, DestroyingAConnectionClosesItsStreamsFromInside) {
  OpenBoth();
  TestStream& call = NewCall();
  Start(&call, "x", false);
  ASSERT_TRUE(Until([&] { return server.requests.size() == 1; }));
  Do([&] { client.connection.reset(); });
  EXPECT_EQ(call.closed, 1);
  EXPECT_EQ(call.close.connection_status.code(), LEVER_CANCELLED);
  EXPECT_EQ(client.closed, 0);
  ASSERT_TRUE(Until([&] { return server.closed == 1; }));
  EXPECT_EQ(server.requests[0]->closed, 1);
}

// Ids can be guessed: what was answered is not said to be surely unprocessed, though it was never read.
TEST_F(ConnectionTest, AnAnswerToWhatWasNotWrittenYetIsNotCalledUnwritten) {
  RawPeer peer = ClientAgainstRaw();
  peer.Send(Frame(kFrameSettings, 0, 0, Number(4, 2) + Number(0x7fffffff)) +
            Frame(kFrameWindowUpdate, 0, 0, Number(0x7fff0000)));
  Settle();
  // Fills the socket, from which nobody reads, and not the connection.
  Start(&NewCall(), std::string(kConnectionOutBytesMax * 3 / 4, 'x'));
  Settle();
  TestStream& unread = NewCall();
  Start(&unread);
  TestStream& answered = NewCall();
  Start(&answered);
  Settle();
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 5, kResponseBlock));
  Settle();
  EXPECT_EQ(answered.log, "H");
  peer.Close();
  ASSERT_TRUE(Until([&] { return client.closed == 1; }));
  EXPECT_TRUE(unread.close.never_written);
  EXPECT_FALSE(answered.close.never_written);
  EXPECT_FALSE(answered.close.unprocessed);
}

TEST_F(ConnectionTest, AnAnswerThatCameBeforeThePeerWentIsDelivered) {
  RawPeer peer = ClientAgainstRaw();
  TestStream& call = NewCall();
  Start(&call, "x");
  Settle();
  peer.Send(Frame(kFrameSettings, 0, 0) + Frame(kFrameHeaders, kFlagEndHeaders, 1, kResponseBlock) +
            Frame(kFrameData, kFlagEndStream, 1, "bye"));
  peer.Read();
  peer.Close();
  // Our next write fails, and yet what the peer had said is read.
  TestStream& next = NewCall();
  Start(&next, "y");
  ASSERT_TRUE(Until([&] { return client.closed == 1; }));
  EXPECT_EQ(call.body, "bye");
  EXPECT_EQ(call.close.error_code, 0u);
  EXPECT_EQ(next.closed, 1);
  EXPECT_TRUE(next.close.never_written);
  EXPECT_EQ(next.close.connection_status.code(), LEVER_UNAVAILABLE);
}

TEST_F(ConnectionTest, BytesThatAreNoHttp2EndTheConnectionWithAReason) {
  for (std::string_view bytes :
       {std::string_view("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00", 12),
        std::string_view("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        std::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense nonsense")}) {
    server = TestEnd();
    RawPeer peer = ServerAgainstRaw();
    peer.Send(bytes);
    ASSERT_TRUE(Until([&] { return server.closed == 1; }));
    EXPECT_EQ(server.status.code(), LEVER_UNAVAILABLE);
    EXPECT_FALSE(server.status.message().empty());
  }
}

TEST_F(ConnectionTest, BytesThatWereReadBeforeAreUsed) {
  auto pair = SocketPair(SOCK_STREAM);
  RawPeer peer(std::move(pair->second));
  const std::string early = std::string(kClientMagic) + Frame(kFrameSettings, 0, 0) +
                            Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock) +
                            Frame(kFrameData, 0, 1, "ear");
  Echo(&server);
  Do([&] {
    auto opened =
        Connection::Open(loop.get(), std::move(pair->first), {}, &server,
                         std::span(reinterpret_cast<const uint8_t*>(early.data()), early.size()));
    ASSERT_TRUE(opened.ok());
    EXPECT_TRUE(server.requests.empty()) << "not from inside Open()";
    server.connection = std::move(opened).value();
  });
  peer.Send(Frame(kFrameData, kFlagEndStream, 1, "ly"));
  ASSERT_TRUE(Until([&] { return !peer.Frames(kFrameData).empty(); }));
  EXPECT_EQ(peer.Frames(kFrameData)[0].payload, "early");
}

// ---- Handlers that end things ----

enum class Act { kReset, kClose, kDestroy, kDrain, kResetAll };
constexpr Act kActs[] = {Act::kReset, Act::kClose, Act::kDestroy, Act::kDrain, Act::kResetAll};
constexpr int kMoments = 10;

class HandlersThatEndTest : public ConnectionTest,
                            public ::testing::WithParamInterface<std::tuple<int, Act>> {
 protected:
  void Perform(TestEnd* end, Stream* stream) {
    if (acted_) return;
    acted_ = true;
    switch (std::get<1>(GetParam())) {
      case Act::kReset:
        if (stream != nullptr) stream->Reset(kHttp2Cancel);
        return;
      case Act::kClose:
        end->connection->Close(Aborted("by a handler"));
        return;
      case Act::kDestroy:
        end->connection.reset();
        return;
      case Act::kDrain:
        end->connection->Drain();
        return;
      case Act::kResetAll:
        for (TestStream& call : calls) {
          if (call.stream != nullptr) call.stream->Reset(kHttp2Cancel);
        }
        for (auto& request : server.requests) {
          if (request->stream != nullptr) request->stream->Reset(kHttp2Cancel);
        }
        return;
    }
  }

  bool acted_ = false;
};

TEST_P(HandlersThatEndTest, EverythingIsClosedOnce) {
  const int moment = std::get<0>(GetParam());
  const TestStream::Hook on_client = [this](TestStream&, Stream& stream) {
    Perform(&client, &stream);
  };
  const TestStream::Hook on_server = [this](TestStream&, Stream& stream) {
    Perform(&server, &stream);
  };
  server.on_request = [&](TestStream& request, Stream& stream) {
    stream.SendHeaders(ResponseHeaders());
    if (moment == 7) request.on_data = on_server;
    if (moment == 9) request.on_closed = on_server;
    request.on_end = [&, moment](TestStream& request, Stream& stream) {
      stream.Write(Slice::Copy(std::string(kStreamQueuedBytesMax, 'x')));
      HeaderList trailers;
      trailers.Add("test-status", "0");
      stream.EndWithTrailers(trailers);
      if (moment == 8) on_server(request, stream);
    };
    if (moment == 6) on_server(request, stream);
  };
  OpenBoth();
  if (moment == 0) client.on_ready = [&] { Perform(&client, calls[0].stream); };
  for (int i = 0; i < 4; ++i) {
    TestStream& call = NewCall();
    if (moment == 1) call.on_headers = on_client;
    if (moment == 2) call.on_data = on_client;
    if (moment == 3) call.on_end = on_client;
    if (moment == 4) call.on_closed = on_client;
    if (moment == 5) call.on_writable = on_client;
    Do([&] {
      call.stream = client.connection->StartStream(RequestHeaders(), Stream::End::kNo, &call);
      call.stream->Write(Slice::Copy(std::string(2 * kStreamQueuedBytesMax, 'y')));
      call.stream->EndWrite();
    });
  }
  ASSERT_TRUE(Until([&] {
    for (const TestStream& call : calls) {
      if (call.closed == 0) return false;
    }
    for (const auto& request : server.requests) {
      if (request->closed == 0) return false;
    }
    return acted_;
  }));
  Settle();
  for (const TestStream& call : calls) EXPECT_EQ(call.closed, 1);
  for (const auto& request : server.requests) EXPECT_EQ(request->closed, 1);
  EXPECT_LE(client.closed, 1);
  EXPECT_LE(server.closed, 1);
}

INSTANTIATE_TEST_SUITE_P(All, HandlersThatEndTest,
                         ::testing::Combine(::testing::Range(0, kMoments),
                                            ::testing::ValuesIn(kActs)));

}  // namespace
}  // namespace lever::rpc
