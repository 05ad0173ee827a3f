// Requests and responses, windows and resets, between two connections of ours.
#include <poll.h>

#include <algorithm>
#include <thread>

#include "tests/rpc/connection_fixture.h"

namespace lever::rpc {
namespace {

TEST_F(ConnectionTest, ARequestGetsItsHeadersBodyAndTrailers) {
  OpenBoth();
  Echo(&server);
  TestStream& call = NewCall();
  HeaderList headers = RequestHeaders("/one");
  headers.Add("secret", "s", Indexing::kNever);
  Start(&call, "hello", true, headers);
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_EQ(call.Shape(), "HDEC");
  EXPECT_EQ(call.body, "hello");
  EXPECT_EQ(call.headers.Find(":status"), "200");
  EXPECT_EQ(call.headers.Find("content-type"), "application/test");
  EXPECT_EQ(call.trailers.Find("test-status"), "0");
  EXPECT_EQ(call.close.error_code, 0u);
  EXPECT_FALSE(call.close.unprocessed);
  EXPECT_FALSE(call.close.never_written);
  EXPECT_TRUE(call.close.connection_status.ok());
  ASSERT_EQ(server.requests.size(), 1u);
  const TestStream& request = *server.requests[0];
  EXPECT_EQ(request.Shape(), "DEC");
  EXPECT_EQ(request.headers.Find(":path"), "/one");
  EXPECT_EQ(request.close.error_code, 0u);
  bool seen = false;
  for (size_t i = 0; i < request.headers.size(); ++i) {
    if (request.headers[i].name != "secret") continue;
    seen = true;
    EXPECT_EQ(request.headers[i].indexing, Indexing::kNever);
  }
  EXPECT_TRUE(seen);
  EXPECT_EQ(client.connection->open_streams(), 0u);
  EXPECT_EQ(server.connection->open_streams(), 0u);
  EXPECT_EQ(client.ready, 1);
  EXPECT_EQ(server.ready, 1);
  EXPECT_EQ(client.connection->peer(), "unix");
}

TEST_F(ConnectionTest, ARequestWithoutABodyEndsWithItsHeaders) {
  OpenBoth();
  server.on_request = [](TestStream& request, Stream& stream) {
    EXPECT_FALSE(stream.remote_ended());
    stream.SendHeaders(ResponseHeaders(), Stream::End::kYes);
  };
  TestStream& call = NewCall();
  Start(&call);
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_EQ(call.log, "HEC");
  EXPECT_TRUE(call.trailers.empty());
  EXPECT_EQ(call.close.error_code, 0u);
  ASSERT_EQ(server.requests.size(), 1u);
  EXPECT_EQ(server.requests[0]->log, "EC");
}

TEST_F(ConnectionTest, ABodyMayEndWithoutTrailersAndLater) {
  OpenBoth();
  server.on_request = [](TestStream& request, Stream& stream) {
    stream.SendHeaders(ResponseHeaders());
    stream.Write(Slice::Static("first"));
  };
  TestStream& call = NewCall();
  Start(&call);
  ASSERT_TRUE(Until([&] { return call.body == "first"; }));
  Do([&] { server.requests[0]->stream->Write(Slice::Static("second")); });
  ASSERT_TRUE(Until([&] { return call.body == "firstsecond"; }));
  EXPECT_EQ(call.closed, 0);
  Do([&] { server.requests[0]->stream->EndWrite(); });
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_EQ(call.log, "HDDEC");
}

TEST_F(ConnectionTest, StreamsAreReusedCleanly) {
  OpenBoth();
  Echo(&server);
  for (int i = 0; i < 50; ++i) {
    TestStream& call = NewCall();
    const std::string body(static_cast<size_t>(i), static_cast<char>('a' + i % 26));
    Start(&call, body);
    ASSERT_TRUE(Until([&] { return call.closed == 1; }));
    EXPECT_EQ(call.body, body);
    EXPECT_EQ(call.headers.size(), 2u);
    EXPECT_EQ(call.trailers.size(), 1u);
  }
}

TEST_F(ConnectionTest, ManyStreamsRunTogether) {
  OpenBoth();
  Echo(&server);
  std::vector<TestStream> calls(300);
  Do([&] {
    for (size_t i = 0; i < calls.size(); ++i) {
      Stream* stream =
          client.connection->StartStream(RequestHeaders(), Stream::End::kNo, &calls[i]);
      stream->Write(Slice::Copy(std::to_string(i)));
      stream->EndWrite();
    }
    EXPECT_EQ(client.connection->open_streams(), calls.size());
  });
  ASSERT_TRUE(Until([&] { return client.connection->open_streams() == 0; }));
  for (size_t i = 0; i < calls.size(); ++i) EXPECT_EQ(calls[i].body, std::to_string(i));
}

TEST_F(ConnectionTest, AReaderThatDoesNotConsumeStopsItsWriterAtOneWindowAndNobodyElse) {
  OpenBoth();
  server.on_request = [](TestStream& request, Stream& stream) {
    request.consume = request.headers.Find(":path") != "/slow";
    stream.SendHeaders(ResponseHeaders());
    request.on_end = [](TestStream&, Stream& stream) { stream.EndWrite(); };
  };
  const std::string body(3 * kStreamWindowBytes, 'x');
  TestStream& slow = NewCall();
  Start(&slow, body, true, RequestHeaders("/slow"));
  ASSERT_TRUE(Until([&] {
    return server.requests.size() == 1 && server.requests[0]->bytes == kStreamWindowBytes;
  }));
  Settle();
  EXPECT_EQ(server.requests[0]->bytes, kStreamWindowBytes);

  // More than the connection's window in all goes by it.
  for (uint32_t sent = 0; sent < 2 * kConnectionWindowBytes; sent += body.size()) {
    TestStream& other = NewCall();
    Start(&other, body);
    ASSERT_TRUE(Until([&] { return other.closed == 1; }));
    EXPECT_EQ(server.requests.back()->bytes, body.size());
  }
  EXPECT_EQ(server.requests[0]->bytes, kStreamWindowBytes);

  Do([&] {
    server.requests[0]->consume = true;
    server.requests[0]->stream->Consume(kStreamWindowBytes);
  });
  ASSERT_TRUE(Until([&] { return slow.closed == 1; }));
  EXPECT_EQ(server.requests[0]->bytes, body.size());
}

TEST_F(ConnectionTest, AWriterLearnsOfRoomOnceItsQueueIsBelowHalf) {
  OpenBoth();
  server.on_request = [](TestStream& request, Stream& stream) {
    request.consume = false;
    stream.SendHeaders(ResponseHeaders());
  };
  TestStream& call = NewCall();
  size_t queued_then = SIZE_MAX;
  call.on_writable = [&](TestStream&, Stream& stream) { queued_then = stream.queued_bytes(); };
  Start(&call, std::string(kStreamWindowBytes + kStreamQueuedBytesMax, 'x'), false);
  Settle();
  Do([&] {
    EXPECT_FALSE(call.stream->Writable());
    EXPECT_EQ(call.stream->queued_bytes(), kStreamQueuedBytesMax);
  });
  EXPECT_EQ(call.log, "H");
  Do([&] { server.requests[0]->stream->Consume(kStreamWindowBytes); });
  ASSERT_TRUE(Until([&] { return call.log == "HW"; }));
  EXPECT_LT(queued_then, kStreamQueuedBytesLow);
}

TEST_F(ConnectionTest, ALongWriterLeavesTheOthersTheirTurn) {
  OpenBoth();
  size_t bulk_when_small = SIZE_MAX;
  server.on_request = [&](TestStream& request, Stream&) {
    request.on_end = [&](TestStream& request, Stream&) {
      if (request.body == "small") bulk_when_small = server.requests[0]->bytes;
    };
  };
  ASSERT_TRUE(Until([&] { return client.ready == 1; }));
  TestStream& bulk = NewCall();
  TestStream& small = NewCall();
  Do([&] {
    bulk.stream = client.connection->StartStream(RequestHeaders(), Stream::End::kNo, &bulk);
    bulk.stream->Write(Slice::Copy(std::string(kStreamWindowBytes, 'x')));
    small.stream = client.connection->StartStream(RequestHeaders(), Stream::End::kNo, &small);
    small.stream->Write(Slice::Static("small"));
    small.stream->EndWrite();
  });
  ASSERT_TRUE(Until([&] { return bulk_when_small != SIZE_MAX; }));
  EXPECT_LE(bulk_when_small, kStreamQuantumBytes);
}

TEST_F(ConnectionTest, AClientsResetReachesTheServerAndEndsBoth) {
  OpenBoth();
  server.on_request = [](TestStream&, Stream& stream) { stream.SendHeaders(ResponseHeaders()); };
  TestStream& call = NewCall();
  Start(&call, "x", false);
  ASSERT_TRUE(Until([&] { return call.log == "H"; }));
  Do([&] {
    call.stream->Reset(kHttp2Cancel);
    EXPECT_EQ(call.closed, 0) << "not from inside Reset()";
    call.stream->Write(Slice::Static("ignored"));
    call.stream->EndWrite();
    call.stream->Consume(1);
    call.stream->Reset(kHttp2InternalError);
  });
  ASSERT_TRUE(Until([&] { return call.closed == 1 && server.requests[0]->closed == 1; }));
  EXPECT_EQ(call.close.error_code, kHttp2Cancel);
  EXPECT_FALSE(call.close.never_written);
  EXPECT_FALSE(call.close.unprocessed);
  EXPECT_EQ(server.requests[0]->close.error_code, kHttp2Cancel);
  EXPECT_EQ(server.requests[0]->log, "DC");
}

TEST_F(ConnectionTest, AServersResetReachesTheClient) {
  OpenBoth();
  server.on_request = [](TestStream&, Stream& stream) {
    stream.SendHeaders(ResponseHeaders());
    stream.Write(Slice::Static("dropped"));
    stream.Reset(kHttp2InternalError);
  };
  TestStream& call = NewCall();
  Start(&call, "x", false);
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_EQ(call.close.error_code, kHttp2InternalError);
  EXPECT_FALSE(call.close.unprocessed);
  EXPECT_EQ(call.log, "C");
}

TEST_F(ConnectionTest, AfterAResetNothingThatHasComeIsDelivered) {
  RawPeer peer = ClientAgainstRaw();
  TestStream& call = NewCall();
  Start(&call);
  call.on_data = [](TestStream&, Stream& stream) { stream.Reset(kHttp2Cancel); };
  // All of it comes with one read.
  peer.Send(Frame(kFrameSettings, 0, 0) + Frame(kFrameHeaders, kFlagEndHeaders, 1, kResponseBlock) +
            Frame(kFrameData, 0, 1, "one") + Frame(kFrameData, 0, 1, "two") +
            Frame(kFrameData, kFlagEndStream, 1));
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_EQ(call.log, "HDC");
}

TEST_F(ConnectionTest, RefusedMeansUnprocessed) {
  OpenBoth();
  server.on_request = [](TestStream&, Stream& stream) { stream.Reset(kHttp2RefusedStream); };
  TestStream& call = NewCall();
  Start(&call, "x");
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_EQ(call.close.error_code, kHttp2RefusedStream);
  EXPECT_TRUE(call.close.unprocessed);
  EXPECT_FALSE(call.close.never_written);
}

TEST_F(ConnectionTest, AResponseThatEndsEarlyStopsTheRequestInOrder) {
  OpenBoth();
  server.on_request = [](TestStream&, Stream& stream) {
    stream.SendHeaders(ResponseHeaders());
    stream.EndWrite();
  };
  TestStream& call = NewCall();
  Start(&call, "x", false);
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_EQ(call.log, "HEC");
  EXPECT_EQ(call.close.error_code, 0u);
  EXPECT_EQ(server.requests[0]->close.error_code, 0u);
}

TEST_F(ConnectionTest, AResetThatPrecedesTheFirstWriteLeavesNoTrace) {
  OpenBoth();
  Settle();
  TestStream& call = NewCall();
  Do([&] {
    call.stream = client.connection->StartStream(RequestHeaders(), Stream::End::kYes, &call);
    EXPECT_EQ(call.stream->id(), 0);
    call.stream->Reset(kHttp2Cancel);
  });
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_TRUE(call.close.never_written);
  EXPECT_TRUE(call.close.unprocessed);
  Settle();
  EXPECT_TRUE(server.requests.empty());
}

TEST_F(ConnectionTest, StreamsAboveThePeersLimitWaitTheirTurn) {
  ConnectionOptions options;
  options.streams_max = 2;
  OpenBoth({}, options);
  server.on_request = [](TestStream&, Stream& stream) { stream.SendHeaders(ResponseHeaders()); };
  ASSERT_TRUE(Until([&] { return client.ready == 1; }));
  std::vector<TestStream> calls(6);
  for (TestStream& call : calls) Start(&call);
  Settle();
  EXPECT_EQ(server.requests.size(), 2u);
  EXPECT_EQ(client.connection->open_streams(), 6u);
  // One that waits is given up: nobody hears of it.
  Do([&] { calls[5].stream->Reset(kHttp2Cancel); });
  Settle();
  EXPECT_EQ(calls[5].closed, 1);
  EXPECT_TRUE(calls[5].close.never_written);
  for (size_t ended = 0; ended < 5; ++ended) {
    ASSERT_TRUE(Until([&] { return server.requests.size() > ended; }));
    Do([&] { server.requests[ended]->stream->EndWrite(); });
    Settle();
    EXPECT_EQ(server.requests.size(), std::min<size_t>(ended + 3, 5));
  }
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(calls[i].closed, 1);
    EXPECT_EQ(calls[i].close.error_code, 0u);
  }
}

TEST_F(ConnectionTest, HeadersThatAreTooLargeToSendCloseTheStreamAndNothingElse) {
  OpenBoth();
  Echo(&server);
  HeaderList headers = RequestHeaders();
  headers.Add("large", std::string(kHeaderListBytesMax, 'x'));
  TestStream& call = NewCall();
  Start(&call, {}, true, headers);
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_TRUE(call.close.never_written);
  EXPECT_EQ(call.close.connection_status.code(), LEVER_RESOURCE_EXHAUSTED);
  TestStream& next = NewCall();
  Start(&next, "x");
  ASSERT_TRUE(Until([&] { return next.closed == 1; }));
  EXPECT_EQ(next.body, "x");
}

TEST_F(ConnectionTest, TheLargestHeadersArrive) {
  OpenBoth();
  Echo(&server);
  HeaderList headers = RequestHeaders();
  const size_t room = kHeaderListBytesMax - headers.AccountedBytes() - 32 - 5;
  headers.Add("large", std::string(room, 'x'));
  ASSERT_EQ(headers.AccountedBytes(), kHeaderListBytesMax);
  TestStream& call = NewCall();
  Start(&call, "x", true, headers);
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_EQ(call.body, "x");
  EXPECT_EQ(server.requests[0]->headers.Find("large"), std::string(room, 'x'));
}

TEST_F(ConnectionTest, ManyLargeHeadersInOneTurnAllLeave) {
  OpenBoth();
  Echo(&server);
  HeaderList headers = RequestHeaders();
  headers.Add("large", std::string(60'000, 'x'), Indexing::kNever);
  std::vector<TestStream> calls(100);
  for (TestStream& call : calls) {
    Do([&] { client.connection->StartStream(headers, Stream::End::kYes, &call); });
  }
  ASSERT_TRUE(Until([&] { return client.connection->open_streams() == 0; }));
  for (TestStream& call : calls) EXPECT_EQ(call.close.error_code, 0u);
}

TEST_F(ConnectionTest, ALoopFlushedFromInsideAHandlerKeepsTheOrder) {
  OpenBoth();
  server.on_request = [&](TestStream& request, Stream& stream) {
    stream.SendHeaders(ResponseHeaders());
    request.on_data = [&](TestStream&, Stream& stream) {
      stream.Write(Slice::Static("pong"));
      loop->Flush();
    };
    request.on_end = [](TestStream&, Stream& stream) { stream.EndWrite(); };
  };
  TestStream& call = NewCall();
  Start(&call, "ping");
  ASSERT_TRUE(Until([&] { return call.closed == 1; }));
  EXPECT_EQ(call.body, "pong");
  EXPECT_EQ(server.requests[0]->log, "DEC");
}

TEST(ConnectionThreadsTest, TwoLoopsOnTwoThreadsEcho) {
  auto pair = SocketPair(SOCK_STREAM);
  ASSERT_TRUE(pair.ok());
  std::atomic<bool> stop{false};
  std::atomic<bool> served{false};
  std::thread server_thread([&, socket = std::move(pair->second)]() mutable {
    auto loop = std::move(Loop::Open()).value();
    TestEnd server;
    Echo(&server);
    EXPECT_TRUE(loop->TryEnter());
    server.connection =
        std::move(Connection::Open(loop.get(), std::move(socket), {}, &server)).value();
    loop->Leave();
    while (!stop) {
      EXPECT_TRUE(loop->Turn(kNanosPerMilli).ok());
    }
    EXPECT_TRUE(loop->TryEnter());
    server.connection.reset();
    loop->Leave();
    served = server.requests.size() == 2000;
  });
  auto loop = std::move(Loop::Open()).value();
  TestEnd client;
  ASSERT_TRUE(loop->TryEnter());
  client.connection = std::move(Connection::Open(loop.get(), std::move(pair->first),
                                                 {.role = Role::kClient}, &client))
                          .value();
  loop->Leave();
  std::vector<TestStream> calls(2000);
  for (size_t begin = 0; begin < calls.size(); begin += 100) {
    ASSERT_TRUE(loop->TryEnter());
    for (size_t i = begin; i < begin + 100; ++i) {
      Stream* stream =
          client.connection->StartStream(RequestHeaders(), Stream::End::kNo, &calls[i]);
      stream->Write(Slice::Copy(std::string(i, 'x')));
      stream->EndWrite();
    }
    loop->Leave();
    const int64_t limit = DeadlineAfter(Clock::System().NowNs(), kTestLimitNs);
    while (client.connection->open_streams() > 0 && Clock::System().NowNs() < limit) {
      ASSERT_TRUE(loop->Turn(kNanosPerMilli).ok());
    }
  }
  for (size_t i = 0; i < calls.size(); ++i) EXPECT_EQ(calls[i].body.size(), i);
  stop = true;
  server_thread.join();
  EXPECT_TRUE(served);
  ASSERT_TRUE(loop->TryEnter());
  client.connection.reset();
  loop->Leave();
}

TEST_F(ConnectionTest, APeerThatReadsWakesNobody) {
  auto pair = SocketPair(SOCK_STREAM);
  ASSERT_TRUE(pair.ok());
  OpenServer(std::move(pair->first));
  Settle();
  RawPeer peer(std::move(pair->second));
  // The server's SETTINGS are read: room in its socket, which it has no use for.
  peer.Read();
  ASSERT_FALSE(peer.seen.empty());
  pollfd ready{.fd = loop->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&ready, 1, 0), 0);
}

TEST_F(ConnectionTest, ManyRequestsAtOnceLeaveTheOthersTheirTurn) {
  RawPeer peer = ServerAgainstRaw();
  std::string input = std::string(kClientMagic) + Frame(kFrameSettings, 0, 0);
  constexpr uint32_t kRequests = 900;
  for (uint32_t i = 0; i < kRequests; ++i) {
    input += Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, 2 * i + 1, kRequestBlock);
  }
  ASSERT_EQ(peer.Send(input), static_cast<ssize_t>(input.size()));
  peer.Close();
  // Turn for turn a part of them, and nothing is lost though the peer has gone.
  size_t before = 0;
  int turns = 0;
  std::vector<size_t> seen_at_close;
  server.on_closed = [&] { seen_at_close.push_back(server.requests.size()); };
  while (server.closed == 0) {
    ASSERT_TRUE(loop->Turn(0).ok());
    EXPECT_LE(server.requests.size() - before, size_t{kFrameWorkFirst / kFrameWork});
    before = server.requests.size();
    ASSERT_LT(++turns, 100);
  }
  EXPECT_GE(turns, 3);
  EXPECT_EQ(seen_at_close, std::vector<size_t>{kRequests});
}

// Else the loop does nothing but end relays for a while when a client with many calls goes away.
TEST_F(ConnectionTest, ManyStreamsHearOfTheEndATurnAfterTheOther) {
  RawPeer peer = ServerAgainstRaw();
  peer.Send(std::string(kClientMagic) + Frame(kFrameSettings, 0, 0));
  constexpr uint32_t kRequests = 10 * kStreamEndsPerTurn + 1;
  for (uint32_t i = 0; i < kRequests; ++i) {
    peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, kRequestBlock));
    if (i % 16 == 0) Settle();
  }
  Settle();
  ASSERT_EQ(server.requests.size(), kRequests);
  const auto ended = [&] {
    size_t count = 0;
    for (const auto& request : server.requests) count += static_cast<size_t>(request->closed);
    return count;
  };
  peer.Close();
  size_t before = 0;
  for (int turns = 0; server.closed == 0; ++turns) {
    ASSERT_TRUE(loop->Turn(0).ok());
    EXPECT_LE(ended() - before, kStreamEndsPerTurn);
    before = ended();
    ASSERT_LT(turns, 100);
  }
  EXPECT_EQ(ended(), kRequests);
  EXPECT_EQ(server.open_streams_at_close, 0u);
  for (const auto& request : server.requests) EXPECT_EQ(request->closed, 1);
}

TEST_F(ConnectionTest, WhoGoesWhileStreamsHearOfTheEndTakesTheRestAlong) {
  RawPeer peer = ServerAgainstRaw();
  peer.Send(std::string(kClientMagic) + Frame(kFrameSettings, 0, 0));
  constexpr uint32_t kRequests = 3 * kStreamEndsPerTurn;
  for (uint32_t i = 0; i < kRequests; ++i) {
    peer.Send(Frame(kFrameHeaders, kFlagEndHeaders, 2 * i + 1, kRequestBlock));
    if (i % 16 == 0) Settle();
  }
  Settle();
  ASSERT_EQ(server.requests.size(), kRequests);
  peer.Close();
  while (server.requests[0]->closed == 0) ASSERT_TRUE(loop->Turn(0).ok());
  ASSERT_EQ(server.requests.back()->closed, 0);
  Do([&] { server.connection.reset(); });
  Settle();
  for (const auto& request : server.requests) EXPECT_EQ(request->closed, 1);
  EXPECT_EQ(server.closed, 0);
}

// Requests that one turn takes of many that wait.
TEST_F(ConnectionTest, APeerEarnsItsShareOfATurnByStreamsThatEndInOrder) {
  RawPeer peer = ServerAgainstRaw();
  peer.Send(std::string(kClientMagic) + Frame(kFrameSettings, 0, 0));
  Settle();
  uint32_t next_id = 1;
  const auto most_in_a_turn = [&](const std::string& reset = {}) {
    constexpr uint32_t kRequests = 200;
    std::string input;
    for (uint32_t i = 0; i < kRequests; ++i, next_id += 2) {
      input += Frame(kFrameHeaders, kFlagEndHeaders | kFlagEndStream, next_id, kRequestBlock);
      if (!reset.empty()) input += Frame(kFrameReset, 0, next_id, reset);
    }
    EXPECT_EQ(peer.Send(input), static_cast<ssize_t>(input.size()));
    size_t most = 0;
    for (size_t seen = server.requests.size(), idle = 0; idle < 3;) {
      EXPECT_TRUE(loop->Turn(0).ok());
      const size_t now = server.requests.size();
      most = std::max(most, now - seen);
      idle = now == seen ? idle + 1 : 0;
      seen = now;
    }
    Settle();
    peer.Read();
    peer.seen.clear();
    return most;
  };
  const size_t first = most_in_a_turn();
  EXPECT_LE(first, size_t{kFrameWorkFirst / kFrameWork});
  EXPECT_EQ(most_in_a_turn(), first) << "nothing of it has ended";
  server.on_request = [](TestStream&, Stream& stream) {
    stream.SendHeaders(ResponseHeaders(), Stream::End::kYes);
  };
  most_in_a_turn();
  EXPECT_GT(most_in_a_turn(), 2 * first);
  EXPECT_EQ(most_in_a_turn(Number(kHttp2Cancel)), 0u) << "reset before they were told";
  server.on_request = nullptr;
  EXPECT_EQ(most_in_a_turn(), first);
}

}  // namespace
}  // namespace lever::rpc
