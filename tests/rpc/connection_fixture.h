// Two ends of an HTTP/2 connection over a socketpair, with handlers that record what they are told
// and run what a test hangs into them. Used on one thread, unless a test says otherwise.
#ifndef TESTS_RPC_CONNECTION_FIXTURE_H_
#define TESTS_RPC_CONNECTION_FIXTURE_H_

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/rpc/connection.h"
#include "tests/rpc/connection_raw_peer.h"

namespace lever::rpc {

constexpr int64_t kTestLimitNs = 30 * kNanosPerSecond;

inline HeaderList RequestHeaders(std::string_view path = "/test") {
  HeaderList headers;
  headers.Add(":method", "POST");
  headers.Add(":scheme", "http");
  headers.Add(":path", path);
  headers.Add(":authority", "test");
  headers.Add("te", "trailers");
  return headers;
}

inline HeaderList ResponseHeaders() {
  HeaderList headers;
  headers.Add(":status", "200");
  headers.Add("content-type", "application/test");
  return headers;
}

// Records, and calls a hook after each recording.
class TestStream : public StreamHandler {
 public:
  using Hook = std::function<void(TestStream&, Stream&)>;

  void OnHeaders(Stream& stream) override {
    log += "H";
    headers = stream.headers();
    Run(on_headers, stream);
  }
  void OnData(Stream& stream, Slice data) override {
    log += "D";
    bytes += data.size();
    if (keep_body) body.append(data.view());
    if (consume) stream.Consume(data.size());
    Run(on_data, stream);
  }
  void OnRemoteEnd(Stream& stream) override {
    log += "E";
    trailers = stream.trailers();
    Run(on_end, stream);
  }
  void OnWritable(Stream& stream) override {
    log += "W";
    Run(on_writable, stream);
  }
  void OnClosed(Stream& stream, const StreamClose& how) override {
    log += "C";
    ++closed;
    close = how;
    Run(on_closed, stream);
    this->stream = nullptr;
  }

  // "HDE" without repeated D.
  std::string Shape() const {
    std::string shape;
    for (char c : log) {
      if (c != 'D' || shape.empty() || shape.back() != 'D') shape += c;
    }
    return shape;
  }

  Stream* stream = nullptr;
  bool consume = true;
  bool keep_body = true;
  std::string log;
  std::string body;
  size_t bytes = 0;
  int closed = 0;
  StreamClose close;
  HeaderList headers;
  HeaderList trailers;
  Hook on_headers, on_data, on_end, on_writable, on_closed;

 private:
  void Run(const Hook& hook, Stream& stream) {
    if (hook) hook(*this, stream);
  }
};

// An owner of a connection.
class TestEnd : public ConnectionHandler {
 public:
  void OnRequest(Stream& stream) override {
    auto handler = std::make_unique<TestStream>();
    handler->stream = &stream;
    handler->headers = stream.headers();
    stream.set_handler(handler.get());
    TestStream& request = *handler;
    requests.push_back(std::move(handler));
    if (on_request) on_request(request, stream);
  }
  void OnReady(Connection& connection) override {
    ++ready;
    if (on_ready) on_ready();
  }
  void OnDraining(Connection& connection) override {
    ++draining;
    if (on_draining) on_draining();
  }
  void OnClosed(Connection& closed_connection, const Status& how) override {
    ++closed;
    status = how;
    open_streams_at_close = closed_connection.open_streams();
    if (on_closed) on_closed();
    connection.reset();
  }

  std::unique_ptr<Connection> connection;
  std::vector<std::unique_ptr<TestStream>> requests;  // a server's
  int ready = 0;
  int draining = 0;
  int closed = 0;
  size_t open_streams_at_close = 0;
  Status status;
  TestStream::Hook on_request;
  std::function<void()> on_ready, on_draining, on_closed;
};

// Answers every request with its own body, and a trailer.
inline void Echo(TestEnd* server) {
  server->on_request = [](TestStream& request, Stream& stream) {
    stream.SendHeaders(ResponseHeaders());
    request.on_end = [](TestStream& request, Stream& stream) {
      if (!request.body.empty()) stream.Write(Slice::Copy(request.body));
      HeaderList trailers;
      trailers.Add("test-status", "0");
      stream.EndWithTrailers(trailers);
    };
  };
}

class ConnectionTest : public ::testing::Test {
 protected:
  void SetUp() override { OpenLoop({}); }
  void TearDown() override {
    Do([&] {
      client.connection.reset();
      server.connection.reset();
    });
  }

  void OpenLoop(const LoopOptions& options) {
    auto opened = Loop::Open(options);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    loop = std::move(opened).value();
  }

  // Runs `function` as something that holds the loop's word.
  void Do(const std::function<void()>& function) {
    ASSERT_TRUE(loop->TryEnter());
    function();
    loop->Leave();
  }

  void OpenClient(UniqueFd socket, ConnectionOptions options = {}) {
    options.role = Role::kClient;
    OpenEnd(&client, std::move(socket), options);
  }
  void OpenServer(UniqueFd socket, ConnectionOptions options = {}) {
    options.role = Role::kServer;
    OpenEnd(&server, std::move(socket), options);
  }
  void OpenEnd(TestEnd* end, UniqueFd socket, const ConnectionOptions& options) {
    Do([&] {
      auto opened = Connection::Open(loop.get(), std::move(socket), options, end);
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      end->connection = std::move(opened).value();
    });
  }
  void OpenBoth(ConnectionOptions client_options = {}, ConnectionOptions server_options = {}) {
    auto pair = SocketPair(SOCK_STREAM);
    ASSERT_TRUE(pair.ok());
    OpenClient(std::move(pair->first), client_options);
    OpenServer(std::move(pair->second), server_options);
  }

  // One end of ours against a peer of hand-made frames.
  RawPeer ClientAgainstRaw(const ConnectionOptions& options = {}) {
    auto pair = SocketPair(SOCK_STREAM);
    OpenClient(std::move(pair->first), options);
    return RawPeer(std::move(pair->second));
  }
  RawPeer ServerAgainstRaw(const ConnectionOptions& options = {}) {
    auto pair = SocketPair(SOCK_STREAM);
    OpenServer(std::move(pair->first), options);
    return RawPeer(std::move(pair->second));
  }

  // Turns the loop until `condition` holds; false if it takes too long.
  bool Until(const std::function<bool()>& condition) {
    const int64_t limit = DeadlineAfter(Clock::System().NowNs(), kTestLimitNs);
    while (!condition()) {
      if (Clock::System().NowNs() > limit) return false;
      if (!loop->Turn(kNanosPerMilli).ok()) return false;
    }
    return true;
  }
  // Turns the loop until there is nothing to do any more.
  void Settle() {
    for (int idle = 0; idle < 3;) {
      auto did = loop->Turn(0);
      ASSERT_TRUE(did.ok());
      idle = *did ? 0 : idle + 1;
    }
  }

  // A handler that outlives the connections.
  TestStream& NewCall() { return calls.emplace_back(); }

  // Starts a stream on the client, with a body if there is one.
  Stream* Start(TestStream* handler, std::string_view body = {}, bool end = true,
                const HeaderList& headers = RequestHeaders()) {
    Stream* stream = nullptr;
    Do([&] {
      stream = client.connection->StartStream(
          headers, end && body.empty() ? Stream::End::kYes : Stream::End::kNo, handler);
      handler->stream = stream;
      if (stream == nullptr || body.empty()) return;
      stream->Write(Slice::Copy(body));
      if (end) stream->EndWrite();
    });
    return stream;
  }

  ManualClock clock;  // for fixtures whose SetUp() opens the loop with it
  std::unique_ptr<Loop> loop;
  std::deque<TestStream> calls;
  TestEnd client;
  TestEnd server;
};

// The same with time that stands still unless the test moves it.
class ConnectionClockTest : public ConnectionTest {
 protected:
  void SetUp() override { OpenLoop({.clock = &clock}); }
};

}  // namespace lever::rpc

#endif  // TESTS_RPC_CONNECTION_FIXTURE_H_
