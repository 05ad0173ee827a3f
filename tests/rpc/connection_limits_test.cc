// What a peer can send us, and where it ends.
#include "liblever/rpc/counters.h"
#include "tests/rpc/connection_fixture.h"

namespace lever::rpc {
namespace {

std::string Preface() { return std::string(kClientMagic) + Frame(kFrameSettings, 0, 0); }

class ConnectionLimitsTest : public ConnectionTest {
 protected:
  // Sends `piece(i)` for i = 0.. until the server has closed the connection; how many it took.
  size_t FloodServer(const std::function<std::string(uint32_t)>& piece, size_t most,
                     const ConnectionOptions& options = {}) {
    RawPeer peer = ServerAgainstRaw(options);
    peer.Send(Preface());
    Settle();
    size_t sent = 0;
    while (sent < most && server.closed == 0) {
      peer.Send(piece(static_cast<uint32_t>(sent++)));
      if (sent % 16 == 0) Settle();
      peer.Read();
      peer.seen.clear();
    }
    Settle();
    return sent;
  }
};

TEST_F(ConnectionLimitsTest, OversizedRequestHeadersCostTheirStreamAndHpackStaysRight) {
  ConnectionOptions options;
  options.header_list_bytes_max = 1000;
  OpenBoth({}, options);
  Echo(&server);
  const uint64_t before = GlobalCounters().limit_header_block;
  HeaderList large = RequestHeaders();
  large.Add("early", "enters the table before the limit");
  large.Add("filler", std::string(1000, 'f'));
  large.Add("late", "enters the table after the limit");
  TestStream& refused = NewCall();
  Start(&refused, "x", true, large);
  ASSERT_TRUE(Until([&] { return refused.closed == 1; }));
  EXPECT_EQ(refused.close.error_code, kHttp2EnhanceYourCalm);
  EXPECT_TRUE(server.requests.empty());
  EXPECT_EQ(server.connection->open_streams(), 0u);
  EXPECT_EQ(GlobalCounters().limit_header_block, before + 1);

  HeaderList small = RequestHeaders();
  small.Add("early", "enters the table before the limit");
  small.Add("late", "enters the table after the limit");
  TestStream& next = NewCall();
  Start(&next, "x", true, small);
  ASSERT_TRUE(Until([&] { return next.closed == 1; }));
  EXPECT_EQ(next.body, "x");
  EXPECT_EQ(server.requests[0]->headers.Find("late"), "enters the table after the limit");
}

TEST_F(ConnectionLimitsTest, OversizedResponseHeadersAndTrailersCostTheirStream) {
  ConnectionOptions options;
  options.header_list_bytes_max = 1000;
  OpenBoth(options, {});
  HeaderList large;
  large.Add("large", std::string(1000, 'f'));
  server.on_request = [&](TestStream& request, Stream& stream) {
    HeaderList headers = ResponseHeaders();
    if (request.headers.Find(":path") == "/headers") headers.Add("l", std::string(1000, 'f'));
    stream.SendHeaders(headers);
    stream.EndWithTrailers(large);
  };
  for (const char* path : {"/headers", "/trailers"}) {
    TestStream& call = NewCall();
    Start(&call, "x", true, RequestHeaders(path));
    ASSERT_TRUE(Until([&] { return call.closed == 1; }));
    EXPECT_EQ(call.close.error_code, kHttp2EnhanceYourCalm) << path;
    EXPECT_FALSE(call.close.unprocessed);
  }
  EXPECT_EQ(client.closed, 0);
}

TEST_F(ConnectionLimitsTest, TooManyFieldsCostTheirStream) {
  OpenBoth();
  Echo(&server);
  HeaderList headers = RequestHeaders();
  while (headers.size() < kHeaderFieldsMax) headers.Add("f", "");
  TestStream& most = NewCall();
  Start(&most, "x", true, headers);
  headers.Add("f", "");
  TestStream& refused = NewCall();
  Start(&refused, "x", true, headers);
  ASSERT_TRUE(Until([&] { return refused.closed == 1 && most.closed == 1; }));
  EXPECT_EQ(refused.close.error_code, kHttp2EnhanceYourCalm);
  EXPECT_EQ(most.body, "x");
}

TEST_F(ConnectionLimitsTest, FramesWithoutContentEndTheConnection) {
  const struct {
    const char* name;
    std::function<std::string(uint32_t)> piece;
  } floods[] = {
      {"PING", [](uint32_t) { return Frame(kFramePing, 0, 0, "12345678"); }},
      {"SETTINGS", [](uint32_t) { return Frame(kFrameSettings, 0, 0); }},
      {"PRIORITY",
       [](uint32_t) { return Frame(kFramePriority, 0, 1, Number(0) + std::string(1, '\x10')); }},
      {"WINDOW_UPDATE", [](uint32_t) { return Frame(kFrameWindowUpdate, 0, 0, Number(1)); }},
      {"unknown", [](uint32_t i) { return Frame(static_cast<FrameType>(0x20), 0, i, "x"); }},
      {"PING ACK", [](uint32_t) { return Frame(kFramePing, kFlagAck, 0, "12345678"); }},
      {"DATA of padding",
       [](uint32_t i) {
         return i == 0 ? Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock)
                       : Frame(kFrameData, kFlagPadded, 1, std::string("\x01\x00", 2));
       }},
      {"HEADERS of a stream that is gone",
       [](uint32_t i) {
         if (i > 0) return Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock);
         return Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock) +
                Frame(kFrameReset, 0, 1, Number(kHttp2Cancel));
       }},
      {"empty DATA",
       [](uint32_t i) {
         return i == 0 ? Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock)
                       : Frame(kFrameData, 0, 1);
       }},
  };
  for (const auto& flood : floods) {
    SCOPED_TRACE(flood.name);
    server = TestEnd();
    const uint64_t before = GlobalCounters().limit_control_frames;
    const size_t taken = FloodServer(flood.piece, 20 * kControlFramesBurst);
    EXPECT_EQ(server.closed, 1);
    EXPECT_GE(taken, kControlFramesBurst - 10);
    EXPECT_EQ(server.status.code(), LEVER_UNAVAILABLE);
    EXPECT_EQ(GlobalCounters().limit_control_frames, before + 1);
  }
}

// In one read the limit is hit, and a malformed frame follows: nghttp2, told from its callback to end the
// session, went on and failed an assertion, and the process was gone.
TEST_F(ConnectionLimitsTest, AMalformedFrameBehindTheLimitEndsTheConnectionOnly) {
  const uint64_t before = GlobalCounters().limit_control_frames;
  std::string input = Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock);
  for (size_t i = 0; i < 2 * kControlFramesBurst; ++i) input += Frame(kFrameData, 0, 1);
  input += Frame(kFramePriority, 0, 13, "x");
  FloodServer([&](uint32_t) { return input; }, 2);
  EXPECT_EQ(server.closed, 1);
  EXPECT_EQ(server.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(GlobalCounters().limit_control_frames, before + 1);
}

TEST_F(ConnectionLimitsTest, FramesThatComeWithWorkAreFree) {
  OpenBoth();
  Echo(&server);
  // Each echo of a window costs the client several WINDOW_UPDATE frames.
  const std::string body(kStreamWindowBytes, 'x');
  for (size_t i = 0; i < kControlFramesBurst; ++i) {
    calls.clear();
    server.requests.clear();
    Start(&NewCall(), i % 10 == 0 ? std::string_view(body) : "x");
    ASSERT_TRUE(Until([&] { return calls[0].closed == 1; }));
    ASSERT_EQ(calls[0].close.error_code, 0u);
  }
}

TEST_F(ConnectionLimitsTest, AProxyMayGiveWindowsBackInSmallPieces) {
  RawPeer peer = ServerAgainstRaw();
  // Asks for a body of 16 MiB and reads it through a buffer of 4 KiB, as some do.
  constexpr size_t kBody = 16 * 1024 * 1024;
  constexpr uint32_t kPiece = 4096;
  server.on_request = [&](TestStream&, Stream& stream) {
    stream.SendHeaders(ResponseHeaders());
    stream.Write(Slice::Copy(std::string(kBody, 'x')));
    stream.EndWrite();
  };
  peer.Send(Preface() +
            Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 1, kRequestBlock));
  size_t body = 0;
  size_t given_back = 0;
  ASSERT_TRUE(Until([&] {
    for (const SeenFrame& frame : peer.Frames(kFrameData)) body += frame.payload.size();
    // Whole frames only: what is left of the last one stays.
    const std::vector<SeenFrame> seen = Parse(peer.seen);
    if (!seen.empty()) {
      peer.seen.erase(0, seen.back().offset + 9 + seen.back().payload.size());
    }
    std::string updates;
    for (; given_back + kPiece <= body; given_back += kPiece) {
      updates += Frame(kFrameWindowUpdate, 0, 1, Number(kPiece));
      updates += Frame(kFrameWindowUpdate, 0, 0, Number(kPiece));
    }
    if (!updates.empty()) peer.Send(updates);
    return body == kBody || server.closed > 0;
  }));
  EXPECT_EQ(body, kBody);
  EXPECT_EQ(server.closed, 0);
}

TEST_F(ConnectionLimitsTest, RapidResetsEndTheConnection) {
  const size_t taken = FloodServer(
      [](uint32_t i) {
        return Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, kRequestBlock) +
               Frame(kFrameReset, 0, 2 * i + 1, Number(kHttp2Cancel));
      },
      20 * kResetsBurst);
  EXPECT_EQ(server.closed, 1);
  EXPECT_GE(taken, kResetsBurst - 10);
  for (const auto& request : server.requests) EXPECT_EQ(request->closed, 1);
}

// Seen when a client was cut off again and again: the instance then closed the connection of the
// host that had passed its cancels on, and with it went the calls of all others.
TEST_F(ConnectionLimitsTest, ResetsOfARelayAreNotLimited) {
  ConnectionOptions options;
  options.callers = ConnectionOptions::Callers::kMany;
  const size_t taken = FloodServer(
      [](uint32_t i) {
        return Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, kRequestBlock) +
               Frame(kFrameReset, 0, 2 * i + 1, Number(kHttp2Cancel));
      },
      4 * kResetsBurst, options);
  EXPECT_EQ(taken, 4 * kResetsBurst);
  EXPECT_EQ(server.closed, 0);
}

// Else those of all others wait for a stream, while one caller of a host leaves a thousand calls open.
TEST_F(ConnectionLimitsTest, ARelaysConnectionHasTheStreamsOfManyCallers) {
  ConnectionOptions options;
  options.callers = ConnectionOptions::Callers::kMany;
  options.streams_max = 2;
  RawPeer peer = ServerAgainstRaw(options);
  peer.Send(Preface() + Frame(kFrameSettings, kFlagAck, 0));
  for (uint32_t i = 0; i < 2 * kCallersOfRelay; ++i) {
    peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, kRequestBlock));
  }
  Settle();
  EXPECT_EQ(server.requests.size(), 2 * kCallersOfRelay);
  EXPECT_EQ(server.closed, 0);
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 4 * kCallersOfRelay + 1, kRequestBlock));
  Settle();
  EXPECT_EQ(server.closed, 1);
}

TEST_F(ConnectionLimitsTest, ARequestThatIsResetBeforeItIsToldIsNotBegun) {
  RawPeer peer = ServerAgainstRaw();
  peer.Send(Preface() + Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 1, kRequestBlock) +
            Frame(kFrameReset, 0, 1, Number(kHttp2Cancel)) +
            Frame(kFrameHeaders, kFlagEndHeaders, 3, kRequestBlock));
  Settle();
  ASSERT_EQ(server.requests.size(), 1u);
  EXPECT_EQ(server.requests[0]->stream->id(), 3);
  EXPECT_EQ(server.connection->open_streams(), 1u);
}

TEST_F(ConnectionLimitsTest, ResetsThatThePeerMakesUsSendEndTheConnection) {
  const uint64_t before = GlobalCounters().limit_resets;
  // A window that overflows is an error of its stream.
  const size_t taken = FloodServer(
      [](uint32_t i) {
        return Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, kRequestBlock) +
               Frame(kFrameWindowUpdate, 0, 2 * i + 1, Number(0x7fffffff));
      },
      20 * kResetsBurst);
  EXPECT_EQ(server.closed, 1);
  EXPECT_GE(taken, kResetsBurst - 10);
  EXPECT_EQ(GlobalCounters().limit_resets, before + 1);
}

// As MadeYouReset has it: nghttp2 resets the streams, and calls nobody.
TEST_F(ConnectionLimitsTest, BodiesOfTheWrongLengthEndTheConnection) {
  const uint64_t before = GlobalCounters().limit_resets;
  // content-length: 1, which no DATA follows.
  const std::string block = std::string(kRequestBlock) + std::string("\x0f\x0d\x01\x31", 4);
  const size_t taken = FloodServer(
      [&](uint32_t i) {
        return Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, block) +
               Frame(kFrameData, kFlagEndStream, 2 * i + 1);
      },
      20 * kResetsBurst);
  EXPECT_EQ(server.closed, 1);
  EXPECT_GE(taken, kResetsBurst - 10);
  EXPECT_LE(taken, 2 * kResetsBurst);
  EXPECT_EQ(GlobalCounters().limit_resets, before + 1);
}

TEST_F(ConnectionLimitsTest, RapidResetsAreCounted) {
  const uint64_t before = GlobalCounters().limit_resets;
  FloodServer(
      [](uint32_t i) {
        return Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, kRequestBlock) +
               Frame(kFrameReset, 0, 2 * i + 1, Number(kHttp2Cancel));
      },
      20 * kResetsBurst);
  EXPECT_EQ(GlobalCounters().limit_resets, before + 1);
}

TEST_F(ConnectionLimitsTest, AFrameAboveTheSizeThatWeTakeEndsTheConnection) {
  const Counters before = GlobalCounters();
  RawPeer peer = ServerAgainstRaw();
  peer.Send(Preface() + Frame(kFrameData, 0, 1, std::string(kFrameBytesMax + 1, 'x')));
  Settle();
  EXPECT_EQ(server.closed, 1);
  EXPECT_EQ(GlobalCounters().limit_frame_bytes, before.limit_frame_bytes + 1);
  EXPECT_EQ(GlobalCounters().protocol_errors, before.protocol_errors);
}

TEST_F(ConnectionLimitsTest, NonsenseIsAnErrorOfTheProtocol) {
  const struct {
    const char* name;
    std::string bytes;
  } cases[] = {
      {"no preface", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"},
      {"PUSH_PROMISE from a client",
       Preface() + Frame(static_cast<FrameType>(5), kFlagEndHeaders, 1, Number(2) + "\x82")},
      {"RST_STREAM of a stream that never was",
       Preface() + Frame(kFrameReset, 0, 9, Number(kHttp2Cancel))},
      {"HPACK that makes no sense",
       Preface() + Frame(kFrameHeaders, kFlagEndHeaders, 1, "\xff\xff\xff\xff\xff\xff")},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    server = TestEnd();
    const uint64_t before = GlobalCounters().protocol_errors;
    RawPeer peer = ServerAgainstRaw();
    peer.Send(one.bytes);
    Settle();
    EXPECT_EQ(server.closed, 1);
    EXPECT_EQ(GlobalCounters().protocol_errors, before + 1);
  }
}

TEST_F(ConnectionLimitsTest, AHeaderBlockIsCountedAsItComesToo) {
  const uint64_t before = GlobalCounters().limit_header_block;
  // Each piece changes the size of HPACK's table, which makes no field at all.
  const size_t taken = FloodServer(
      [](uint32_t i) {
        const std::string payload(kFrameBytesMax, '\x20');
        return i == 0 ? Frame(kFrameHeaders, 0, 1, payload)
                      : Frame(kFrameContinuation, 0, 1, payload);
      },
      kContinuationsMax + 1);
  EXPECT_EQ(server.closed, 1);
  EXPECT_LE(taken, kHeaderBlockBytesMax / kFrameBytesMax + 1);
  EXPECT_EQ(GlobalCounters().limit_header_block, before + 1);
}

TEST_F(ConnectionLimitsTest, EndlessContinuationsEndTheConnection) {
  const size_t taken = FloodServer(
      [](uint32_t i) {
        return i == 0
                   ? Frame(kFrameHeaders, 0, 1, kRequestBlock)
                   : Frame(kFrameContinuation, 0, 1, std::string_view("\x00\x01\x61\x01\x62", 5));
      },
      100);
  EXPECT_EQ(server.closed, 1);
  EXPECT_LE(taken, 32u);
  EXPECT_TRUE(server.requests.empty());
}

TEST_F(ConnectionLimitsTest, MoreStreamsThanAllowedAreRefused) {
  ConnectionOptions options;
  options.streams_max = 3;
  RawPeer peer = ServerAgainstRaw(options);
  peer.Send(Preface());
  for (uint32_t i = 0; i < 5; ++i) {
    peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, kRequestBlock));
  }
  Settle();
  EXPECT_EQ(server.requests.size(), 3u);
  const std::vector<SeenFrame> resets = peer.Frames(kFrameReset);
  ASSERT_EQ(resets.size(), 2u);
  EXPECT_EQ(resets[0].payload, Number(kHttp2RefusedStream));
}

TEST_F(ConnectionLimitsTest, APeerThatDoesNotReadIsNotReadFrom) {
  auto pair = SocketPair(SOCK_STREAM);
  RawPeer peer(std::move(pair->second));
  OpenServer(std::move(pair->first));
  const uint64_t before = GlobalCounters().limit_output_stalled;
  HeaderList large = ResponseHeaders();
  large.Add("large", std::string(60'000, 'x'), Indexing::kNever);
  server.on_request = [&](TestStream&, Stream& stream) {
    stream.SendHeaders(large, Stream::End::kYes);
  };
  peer.Send(Preface());
  uint32_t sent = 0;
  // Far more than fit: 200 x 60 kB.
  for (; sent < 200 && GlobalCounters().limit_output_stalled == before; ++sent) {
    peer.Send(Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 2 * sent + 1, kRequestBlock));
    Settle();
  }
  EXPECT_EQ(GlobalCounters().limit_output_stalled, before + 1);
  EXPECT_LT(sent, 100u);
  const size_t requests = server.requests.size();
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 2 * sent + 1, kRequestBlock));
  Settle();
  EXPECT_EQ(server.requests.size(), requests);
  // It reads after all, and everything goes on.
  ASSERT_TRUE(Until([&] { return peer.Frames(kFrameHeaders).size() == requests + 1; }));
  EXPECT_EQ(server.connection->open_streams(), 0u);
}

TEST_F(ConnectionLimitsTest, APeerThatGoesWithoutReadingEndsTheConnection) {
  auto pair = SocketPair(SOCK_STREAM);
  RawPeer peer(std::move(pair->second));
  OpenServer(std::move(pair->first));
  HeaderList large = ResponseHeaders();
  large.Add("large", std::string(60'000, 'x'), Indexing::kNever);
  server.on_request = [&](TestStream&, Stream& stream) { stream.SendHeaders(large); };
  peer.Send(Preface());
  for (uint32_t i = 0; i < 100; ++i) {
    peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, kRequestBlock));
    Settle();
  }
  EXPECT_LT(server.requests.size(), 100u);
  peer.Close();
  ASSERT_TRUE(Until([&] { return server.closed == 1; }));
  for (const auto& request : server.requests) EXPECT_EQ(request->closed, 1);
}

TEST_F(ConnectionLimitsTest, CountersCountWhatHappened) {
  const Counters before = GlobalCounters();
  OpenBoth();
  Echo(&server);
  TestStream& call = NewCall();
  Start(&call, "x");
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  Settle();
  Do([&] {
    client.connection->Close(Status::Ok());
    server.connection.reset();
  });
  Settle();
  const Counters after = GlobalCounters();
  EXPECT_EQ(after.connections_opened, before.connections_opened + 2);
  EXPECT_EQ(after.connections_closed, before.connections_closed + 2);
  EXPECT_EQ(after.streams_opened, before.streams_opened + 2);
  EXPECT_EQ(after.streams_closed, before.streams_closed + 2);
  EXPECT_GT(after.bytes_sent, before.bytes_sent + 100);
  EXPECT_GT(after.bytes_received, before.bytes_received + 100);
}

}  // namespace
}  // namespace lever::rpc
