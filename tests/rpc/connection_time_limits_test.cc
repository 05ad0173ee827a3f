// What a peer has to do in time.
#include "liblever/rpc/counters.h"
#include "tests/rpc/connection_fixture.h"

namespace lever::rpc {
namespace {

std::string Preface() { return std::string(kClientMagic) + Frame(kFrameSettings, 0, 0); }

class ConnectionTimeLimitsTest : public ConnectionClockTest {
 protected:
  void Pass(int64_t time_ns) {
    clock.Advance(time_ns);
    Settle();
  }
  RawPeer ReadyPeer(const ConnectionOptions& options = {}) {
    RawPeer peer = ServerAgainstRaw(options);
    peer.Send(Preface());
    Settle();
    return peer;
  }
};

TEST_F(ConnectionTimeLimitsTest, ASilentClientIsClosedAfterThePrefaceTimeout) {
  RawPeer peer = ServerAgainstRaw();
  peer.Send(kClientMagic);
  Settle();
  clock.Advance(kPrefaceTimeoutNs - 1);
  Settle();
  EXPECT_EQ(server.closed, 0);
  clock.Advance(1);
  Settle();
  EXPECT_EQ(server.closed, 1);
  EXPECT_EQ(server.status.code(), LEVER_UNAVAILABLE);
}

TEST_F(ConnectionTimeLimitsTest, APeerThatDoesNotAnswerAPingIsClosed) {
  RawPeer peer = ClientAgainstRaw();
  peer.Send(Frame(kFrameSettings, 0, 0));
  Settle();
  // Without streams nothing is asked.
  clock.Advance(10 * kKeepaliveTimeNs);
  Settle();
  EXPECT_TRUE(peer.Frames(kFramePing).empty());
  TestStream& call = NewCall();
  Start(&call);
  Settle();
  clock.Advance(kKeepaliveTimeNs - 1);
  Settle();
  EXPECT_TRUE(peer.Frames(kFramePing).empty());
  clock.Advance(1);
  Settle();
  ASSERT_EQ(peer.Frames(kFramePing).size(), 1u);
  // An answer keeps it.
  clock.Advance(kKeepaliveTimeoutNs - 1);
  peer.Send(Frame(kFramePing, kFlagAck, 0, peer.Frames(kFramePing)[0].payload));
  Settle();
  clock.Advance(kKeepaliveTimeNs);
  Settle();
  ASSERT_EQ(peer.Frames(kFramePing).size(), 2u);
  clock.Advance(kKeepaliveTimeoutNs);
  Settle();
  EXPECT_EQ(client.closed, 1);
  EXPECT_EQ(client.status.code(), LEVER_UNAVAILABLE);
  EXPECT_EQ(call.close.connection_status.code(), LEVER_UNAVAILABLE);
}

TEST_F(ConnectionTimeLimitsTest, KeepaliveCanBeTurnedOff) {
  ConnectionOptions options;
  options.keepalive_time_ns = -1;
  RawPeer peer = ClientAgainstRaw(options);
  peer.Send(Frame(kFrameSettings, 0, 0));
  Settle();
  Start(&NewCall());
  Settle();
  for (int i = 0; i < 10; ++i) {
    clock.Advance(kKeepaliveTimeNs);
    Settle();
  }
  EXPECT_TRUE(peer.Frames(kFramePing).empty());
  EXPECT_EQ(client.closed, 0);
}

TEST_F(ConnectionTimeLimitsTest, HeadersThatAreLeftOpenEndTheConnection) {
  const struct {
    const char* name;
    std::string bytes;
  } cases[] = {
      {"no END_HEADERS", Frame(kFrameHeaders, 0, 1, kRequestBlock)},
      {"half a HEADERS frame",
       Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock).substr(0, 12)},
      {"half a CONTINUATION frame",
       Frame(kFrameHeaders, 0, 1, kRequestBlock) +
           Frame(kFrameContinuation, kFlagEndHeaders, 1, "abcdef").substr(0, 10)},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    server = TestEnd();
    const uint64_t before = GlobalCounters().limit_frame_time;
    RawPeer peer = ReadyPeer();
    peer.Send(one.bytes);
    Settle();
    Pass(kHeadersTimeoutNs - 1);
    EXPECT_EQ(server.closed, 0);
    Pass(1);
    EXPECT_EQ(server.closed, 1);
    EXPECT_EQ(server.status.code(), LEVER_UNAVAILABLE);
    EXPECT_EQ(GlobalCounters().limit_frame_time, before + 1);
  }
}

TEST_F(ConnectionTimeLimitsTest, HeadersThatComeWithThePrefaceAndAreLeftOpenEndTheConnection) {
  ConnectionOptions options;
  options.idle_timeout_ns = kIdleTimeoutNs;
  RawPeer peer = ServerAgainstRaw(options);
  peer.Send(Preface() + Frame(kFrameHeaders, 0, 1, kRequestBlock));
  Settle();
  Pass(kHeadersTimeoutNs);
  EXPECT_EQ(server.closed, 1);
}

TEST_F(ConnectionTimeLimitsTest, HeadersThatDripEndTheConnectionAllTheSame) {
  RawPeer peer = ReadyPeer();
  peer.Send(Frame(kFrameHeaders, 0, 1, kRequestBlock));
  const std::string rest = Frame(kFrameContinuation, kFlagEndHeaders, 1, std::string(64, '\x83'));
  size_t sent = 0;
  while (server.closed == 0 && sent < rest.size() - 1) {
    peer.Send(rest.substr(sent++, 1));
    Settle();
    Pass(kNanosPerSecond);
  }
  EXPECT_EQ(server.closed, 1);
  EXPECT_LE(sent, static_cast<size_t>(kHeadersTimeoutNs / kNanosPerSecond));
}

TEST_F(ConnectionTimeLimitsTest, AFrameThatIsLeftOpenEndsTheConnection) {
  for (const size_t size : {5u, 12u}) {  // in its header, in its payload
    SCOPED_TRACE(size);
    server = TestEnd();
    RawPeer peer = ReadyPeer();
    peer.Send(Frame(kFramePing, 0, 0, "12345678").substr(0, size));
    Settle();
    Pass(kFrameTimeoutNs - 1);
    EXPECT_EQ(server.closed, 0);
    Pass(1);
    EXPECT_EQ(server.closed, 1);
  }
}

// Where a frame ends is counted by us, not told by nghttp2: it has to come out even for every kind.
TEST_F(ConnectionTimeLimitsTest, WholeFramesOfEveryKindMayBeFollowedBySilence) {
  const struct {
    const char* name;
    std::string bytes;
  } cases[] = {
      {"PING", Frame(kFramePing, 0, 0, "12345678")},
      {"PING ACK", Frame(kFramePing, kFlagAck, 0, "12345678")},
      {"PRIORITY", Frame(kFramePriority, 0, 1, Number(0) + std::string(1, '\x10'))},
      {"unknown", Frame(static_cast<FrameType>(0x77), 0xff, 5, std::string(300, 'x'))},
      {"WINDOW_UPDATE of a stream that is gone", Frame(kFrameWindowUpdate, 0, 1, Number(5))},
      {"DATA of a stream that is gone", Frame(kFrameData, 0, 1, std::string(100, 'x'))},
      {"HEADERS of a stream that is gone",
       Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 1, kRequestBlock)},
      {"RST_STREAM of a stream that is gone", Frame(kFrameReset, 0, 1, Number(8))},
      {"HEADERS with CONTINUATION",
       Frame(kFrameHeaders, kFlagEndStream, 3, kRequestBlock.substr(0, 2)) +
           Frame(kFrameContinuation, 0, 3, kRequestBlock.substr(2, 1)) +
           Frame(kFrameContinuation, kFlagEndHeaders, 3, kRequestBlock.substr(3))},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    server = TestEnd();
    server.on_request = [](TestStream&, Stream& stream) { stream.Reset(kHttp2Cancel); };
    RawPeer peer = ReadyPeer();
    // Stream 1 has been reset by us.
    peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock));
    Settle();
    ASSERT_EQ(server.requests.size(), 1u);
    // In one piece, and byte by byte.
    peer.Send(one.bytes);
    Settle();
    Pass(3 * kFrameTimeoutNs);
    EXPECT_EQ(server.closed, 0) << server.status.ToString();
    if (one.bytes.size() < 100 && one.bytes[3] != kFrameHeaders) {
      for (const char byte : one.bytes) {
        peer.Send(std::string_view(&byte, 1));
        Settle();
      }
      Pass(3 * kFrameTimeoutNs);
      EXPECT_EQ(server.closed, 0) << server.status.ToString();
    }
    Do([&] { server.connection.reset(); });
  }
}

TEST_F(ConnectionTimeLimitsTest, AnIdleConnectionIsClosedInOrder) {
  ConnectionOptions options;
  options.idle_timeout_ns = 60 * kNanosPerSecond;
  const uint64_t before = GlobalCounters().limit_idle_time;
  RawPeer peer = ReadyPeer(options);
  Pass(options.idle_timeout_ns - 1);
  EXPECT_TRUE(peer.Frames(kFrameGoaway).empty());
  // A PING is no reason to stay.
  peer.Send(Frame(kFramePing, 0, 0, "12345678"));
  Settle();
  Pass(1);
  ASSERT_EQ(peer.Frames(kFrameGoaway).size(), 1u);
  EXPECT_EQ(peer.Frames(kFrameGoaway)[0].payload, Number(INT32_MAX) + Number(kHttp2NoError));
  EXPECT_EQ(GlobalCounters().limit_idle_time, before + 1);
  peer.Send(Frame(kFramePing, kFlagAck, 0, peer.Frames(kFramePing).back().payload));
  Settle();
  EXPECT_EQ(peer.Frames(kFrameGoaway).size(), 2u);
  peer.Close();
  Settle();
  EXPECT_EQ(server.closed, 1);
  EXPECT_TRUE(server.status.ok()) << server.status.ToString();
}

TEST_F(ConnectionTimeLimitsTest, AConnectionWithAStreamIsNotIdle) {
  ConnectionOptions options;
  options.idle_timeout_ns = 60 * kNanosPerSecond;
  options.keepalive_time_ns = -1;
  RawPeer peer = ReadyPeer(options);
  Pass(options.idle_timeout_ns - 1);
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock));
  Settle();
  Pass(10 * options.idle_timeout_ns);
  EXPECT_TRUE(peer.Frames(kFrameGoaway).empty());
  peer.Send(Frame(kFrameReset, 0, 1, Number(kHttp2Cancel)));
  Settle();
  Pass(options.idle_timeout_ns - 1);
  EXPECT_TRUE(peer.Frames(kFrameGoaway).empty());
  Pass(kKeepaliveTimeNs);
  EXPECT_EQ(peer.Frames(kFrameGoaway).size(), 1u);
}

TEST_F(ConnectionTimeLimitsTest, APeerWhoseSocketTakesNothingIsCutOff) {
  const uint64_t before = GlobalCounters().limit_output_time;
  RawPeer peer = ReadyPeer();
  server.on_request = [](TestStream&, Stream& stream) {
    stream.SendHeaders(ResponseHeaders());
    stream.Write(Slice::Copy(std::string(2 * kStreamWindowBytes, 'x')));
  };
  peer.Send(Frame(kFrameWindowUpdate, 0, 0, Number(1 << 30)));
  for (uint32_t id = 1; id <= 19; id += 2) {
    peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, id, kRequestBlock) +
              Frame(kFrameWindowUpdate, 0, id, Number(1 << 30)));
    Settle();
  }
  // It answers PINGs, so that it looks alive.
  for (int64_t passed = 0; passed < kOutputTimeoutNs - kNanosPerSecond; passed += kNanosPerSecond) {
    peer.Send(Frame(kFramePing, 0, 0, "12345678"));
    Pass(kNanosPerSecond);
  }
  EXPECT_EQ(server.closed, 0);
  Pass(kNanosPerSecond);
  EXPECT_EQ(server.closed, 1);
  EXPECT_EQ(GlobalCounters().limit_output_time, before + 1);
}

TEST_F(ConnectionTimeLimitsTest, ACompleteReplyOfWhichNothingIsTakenIsGivenUp) {
  const uint64_t before = GlobalCounters().limit_reply_time;
  RawPeer peer = ServerAgainstRaw();
  // SETTINGS_INITIAL_WINDOW_SIZE 0.
  peer.Send(std::string(kClientMagic) +
            Frame(kFrameSettings, 0, 0, Number(4, 2) + Number(0)));
  Settle();
  const auto keep_alive = [&](int64_t time_ns) {
    for (int64_t passed = 0; passed < time_ns; passed += 5 * kNanosPerSecond) {
      peer.Send(Frame(kFramePing, 0, 0, "12345678"));
      Pass(5 * kNanosPerSecond);
    }
  };
  server.on_request = [&](TestStream&, Stream& stream) {
    stream.SendHeaders(ResponseHeaders());
    stream.Write(Slice::Copy("reply"));
    // The second one's method still runs: how long it waits is its own affair.
    if (server.requests.size() == 1) stream.EndWrite();
  };
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 1, kRequestBlock));
  peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 3, kRequestBlock));
  Settle();
  ASSERT_EQ(server.requests.size(), 2u);
  keep_alive(kReplyTimeoutNs - 5 * kNanosPerSecond);
  EXPECT_EQ(server.requests[0]->closed, 0);
  keep_alive(kReplyTimeoutNs);
  EXPECT_EQ(server.requests[0]->closed, 1);
  EXPECT_EQ(server.requests[1]->closed, 0);
  EXPECT_EQ(server.closed, 0);
  EXPECT_EQ(GlobalCounters().limit_reply_time, before + 1);
}

}  // namespace
}  // namespace lever::rpc
