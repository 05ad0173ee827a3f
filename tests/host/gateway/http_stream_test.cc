// Streaming methods over HTTP: lines both ways at the same time, over both versions.
#include <gmock/gmock.h>

#include "tests/host/gateway/http_client.h"

namespace lever::gateway {
namespace {

using ::testing::HasSubstr;

// A streaming request that is written and read piece by piece.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void Write(std::string_view bytes) = 0;
  virtual void EndWrite() = 0;
  virtual size_t unsent() = 0;
  // Takes what has come, up to `max` bytes at once.
  virtual void Pull(size_t max = SIZE_MAX) = 0;
  virtual int status() = 0;
  virtual std::string type() = 0;
  virtual const std::string& body() = 0;
  virtual bool ended() = 0;  // in order
  virtual void Leave() = 0;
};

class H1Exchange final : public Exchange {
 public:
  H1Exchange(UniqueFd socket, std::string_view path, const Fields& fields)
      : client_(std::move(socket)) {
    Fields all = fields;
    all.emplace_back("transfer-encoding", "chunked");
    client_.Send(Http1Request("POST", path, all, ""));
  }
  void Write(std::string_view bytes) override {
    char size[32];
    std::snprintf(size, sizeof(size), "%zx\r\n", bytes.size());
    client_.Send(std::string(size).append(bytes).append("\r\n"));
  }
  void EndWrite() override { client_.Send("0\r\n\r\n"); }
  size_t unsent() override {
    client_.Push();
    return client_.unsent();
  }
  void Pull(size_t max) override {
    const size_t before = client_.received().size();
    client_.Pull(max);
    fresh_.append(client_.received(), before);
    Decode();
  }
  int status() override { return status_; }
  std::string type() override { return type_; }
  const std::string& body() override { return body_; }
  bool ended() override { return ended_; }
  void Leave() override { client_.Close(); }

 private:
  void Decode() {
    if (status_ == 0) {
      const size_t end = fresh_.find("\r\n\r\n");
      if (end == std::string::npos) return;
      status_ = std::atoi(fresh_.c_str() + 9);
      const size_t type = fresh_.find("content-type: ");
      if (type < end) type_ = fresh_.substr(type + 14, fresh_.find("\r\n", type) - type - 14);
      chunked_ = fresh_.find("transfer-encoding: chunked") < end;
      const size_t length = fresh_.find("content-length: ");
      if (!chunked_) length_ = std::stoul(fresh_.substr(length + 16));
      at_ = end + 4;
    }
    if (!chunked_) {
      body_ = fresh_.substr(at_);
      ended_ = body_.size() == length_;
      return;
    }
    while (!ended_) {
      const size_t line = fresh_.find("\r\n", at_);
      if (line == std::string::npos) return;
      const size_t size = std::strtoul(fresh_.c_str() + at_, nullptr, 16);
      if (fresh_.size() < line + 2 + size + 2) return;
      body_.append(fresh_, line + 2, size);
      at_ = line + 2 + size + 2;
      ended_ = size == 0;
      if (at_ > 1'000'000) {
        fresh_.erase(0, at_);
        at_ = 0;
      }
    }
  }

  RawClient client_;
  std::string fresh_;
  size_t at_ = 0;
  size_t length_ = 0;
  bool chunked_ = false;
  bool ended_ = false;
  int status_ = 0;
  std::string type_;
  std::string body_;
};

class H2ExchangeClient final : public Exchange {
 public:
  H2ExchangeClient(std::function<void(const std::function<void()>&)> run, H2Client& client,
                   std::string_view path, const Fields& fields)
      : run_(std::move(run)) {
    run_([&] { request_ = &client.Start("POST", path, fields); });
    request_->reads = false;
  }
  void Write(std::string_view bytes) override {
    run_([&] {
      if (request_->stream != nullptr) request_->stream->Write(Slice::Copy(bytes));
    });
  }
  void EndWrite() override {
    run_([&] {
      if (request_->stream != nullptr) request_->stream->EndWrite();
    });
  }
  size_t unsent() override {
    return request_->stream == nullptr ? 0 : request_->stream->queued_bytes();
  }
  void Pull(size_t max) override {
    run_([&] {
      const size_t some = std::min(max, request_->unread);
      if (request_->stream == nullptr || some == 0) return;
      request_->unread -= some;
      request_->stream->Consume(some);
    });
  }
  int status() override { return request_->response.status; }
  std::string type() override { return request_->response.fields["content-type"]; }
  const std::string& body() override { return request_->response.body; }
  bool ended() override { return request_->response.whole; }
  void Leave() override {
    run_([&] { request_->stream->Reset(rpc::kHttp2Cancel); });
  }

 private:
  std::function<void(const std::function<void()>&)> run_;
  H2Request* request_ = nullptr;
};

class HttpStreamTest : public HttpTest, public ::testing::WithParamInterface<Version> {
 protected:
  std::unique_ptr<Exchange> Open(std::string_view path, Fields fields = {}) {
    if (GetParam() == Version::kHttp1) {
      return std::make_unique<H1Exchange>(Connect(), path, fields);
    }
    return std::make_unique<H2ExchangeClient>(
        [this](const std::function<void()>& function) { Do(function); }, OpenH2(), path, fields);
  }
  bool UntilBody(Exchange& exchange, std::string_view body) {
    return Until([&] {
      exchange.Pull();
      return exchange.body() == body;
    });
  }
  // Lets time pass, for replies that come before their request's end.
  bool UntilEnded(Exchange& exchange) {
    return Until([&] {
      clock.Advance(kHttp2LingerTimeoutNs / 20);
      exchange.Pull();
      return exchange.ended();
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Versions, HttpStreamTest,
                         ::testing::Values(Version::kHttp1, Version::kHttp2),
                         [](const auto& info) {
                           return info.param == Version::kHttp1 ? "Http1" : "Http2";
                         });

TEST_P(HttpStreamTest, LinesGoBothWaysAtTheSameTime) {
  TestInstance& instance = Serve();
  auto exchange = Open("/hello/echoChan", {{"content-type", "application/x-ndjson"}});
  exchange->Write("[\"hi\",2]\n");
  // The head goes out as soon as the method has begun.
  ASSERT_TRUE(Until([&] {
    exchange->Pull();
    return exchange->status() == 200;
  }));
  EXPECT_EQ(exchange->type(), "application/x-ndjson");
  EXPECT_EQ(instance.arguments, "[\"hi\",2]");
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    exchange->Write("{\"n\":" + std::to_string(i) + "}\n");
    expected += "{\"n\":" + std::to_string(i) + "}\n";
    ASSERT_TRUE(UntilBody(*exchange, expected)) << "each line is answered before the next is sent";
  }
  exchange->EndWrite();
  EXPECT_TRUE(UntilEnded(*exchange));
  EXPECT_EQ(exchange->body(), expected);
  EXPECT_EQ(instance.half_closed, 1);
}

TEST_P(HttpStreamTest, LinesMayBeCutAndJoinedAnywhere) {
  Serve();
  const std::string body = "[]\n1\r\n\n  \n\"two\"\n{\"$bytes\":\"aGk=\"}\n[3]";
  for (size_t piece = 1; piece <= body.size(); ++piece) {
    auto exchange = Open("/hello/echoChan");
    for (size_t at = 0; at < body.size(); at += piece) {
      exchange->Write(std::string_view(body).substr(at, piece));
      Settle();
    }
    exchange->EndWrite();
    ASSERT_TRUE(UntilEnded(*exchange));
    EXPECT_EQ(exchange->body(), "1\n\"two\"\n{\"$bytes\":\"aGk=\"}\n[3]\n") << piece;
  }
}

TEST_P(HttpStreamTest, NoLineMeansNoArguments) {
  TestInstance& instance = Serve();
  auto exchange = Open("/hello/echoChan");
  exchange->EndWrite();
  ASSERT_TRUE(UntilEnded(*exchange));
  EXPECT_EQ(exchange->status(), 200);
  EXPECT_EQ(exchange->body(), "");
  EXPECT_EQ(instance.arguments, "[]");
}

TEST_P(HttpStreamTest, AMethodsOwnErrorIsTheLastLine) {
  Serve();
  auto exchange = Open("/hello/failChan");
  exchange->Write("[{\"message\":\"no\"}]\n");
  ASSERT_TRUE(UntilEnded(*exchange));
  EXPECT_EQ(exchange->status(), 200);
  EXPECT_EQ(exchange->body(), "{\"$error\":{\"value\":[{\"message\":\"no\"}]}}\n");
}

TEST_P(HttpStreamTest, TroubleBeforeTheMethodBeganIsAnErrorReply) {
  TestInstance& instance = Serve();
  const auto refused = [&](std::string_view path, std::string_view body, int status) {
    auto exchange = Open(path);
    exchange->Write(body);
    EXPECT_TRUE(UntilEnded(*exchange)) << body;
    EXPECT_EQ(exchange->status(), status) << body;
    EXPECT_THAT(exchange->body(), HasSubstr("\"executed\":\"no\"}}"));
  };
  refused("/hello/echoChan", "{}\n", 400);
  refused("/hello/echoChan", "[\n", 400);
  refused("/hello/noChan", "[]\n", 404);
  refused("/nobody/echoChan", "[]\n", 404);
  EXPECT_EQ(instance.streams, 0);
}

TEST_P(HttpStreamTest, ALineThatMakesNoSenseEndsTheStreamWithALine) {
  TestInstance& instance = Serve();
  auto exchange = Open("/hello/echoChan");
  exchange->Write("[]\n1\n");
  ASSERT_TRUE(UntilBody(*exchange, "1\n"));
  exchange->Write("{]\n2\n");
  ASSERT_TRUE(UntilEnded(*exchange));
  EXPECT_THAT(exchange->body(), HasSubstr("1\n{\"$error\":{\"code\":\"INVALID_ARGUMENT\""));
  EXPECT_THAT(exchange->body(), HasSubstr("\"executed\":\"unknown\"}}\n"));
  EXPECT_TRUE(Until([&] { return instance.ends.size() == 1; }));
}

TEST_P(HttpStreamTest, APlatformsTroubleInTheMiddleIsTheLastLine) {
  TestInstance& instance = Serve();
  auto exchange = Open("/hello/echoChan");
  exchange->Write("[]\n1\n");
  ASSERT_TRUE(UntilBody(*exchange, "1\n"));
  Do([&] { instance.open[0]->Cancel(Unavailable("the instance had to stop")); });
  ASSERT_TRUE(UntilEnded(*exchange));
  EXPECT_EQ(exchange->body(),
            "1\n{\"$error\":{\"code\":\"UNAVAILABLE\",\"message\":\"the instance had to stop\","
            "\"executed\":\"unknown\"}}\n");
}

TEST_P(HttpStreamTest, AStreamHasNoDeadlineUnlessItIsGivenOne) {
  TestInstance& instance = Serve();
  auto patient = Open("/hello/hangChan");
  patient->Write("[]\n");
  ASSERT_TRUE(Until([&] { return instance.streams == 1; }));
  auto exchange = Open("/hello/hangChan", {{"lever-timeout", "500ms"}});
  exchange->Write("[]\n");
  ASSERT_TRUE(Until([&] { return instance.streams == 2; }));
  Settle();
  Advance(kNanosPerSecond / 2);
  ASSERT_TRUE(UntilEnded(*exchange));
  EXPECT_THAT(exchange->body(), HasSubstr("DEADLINE_EXCEEDED"));
  // Half an hour; the connection is alive.
  for (int i = 0; i < 30; ++i) Advance(kNanosPerSecond);
  EXPECT_EQ(instance.open.size(), 1u);
  EXPECT_FALSE(patient->ended());
}

TEST_P(HttpStreamTest, ALineBeyondTheLimitIs413OrTheLastLine) {
  Serve();
  auto first = Open("/hello/echoChan");
  first->Write("[\"" + std::string(kHttpBodyBytesMax, 'x'));
  ASSERT_TRUE(UntilEnded(*first));
  EXPECT_EQ(first->status(), 413);
  auto later = Open("/hello/echoChan");
  later->Write("[]\n\"" + std::string(kHttpBodyBytesMax, 'x'));
  ASSERT_TRUE(UntilEnded(*later));
  EXPECT_EQ(later->status(), 200);
  EXPECT_THAT(later->body(), HasSubstr("RESOURCE_EXHAUSTED"));
}

TEST_P(HttpStreamTest, ALargeLineCrossesTheWindow) {
  Serve();
  auto exchange = Open("/hello/echoChan");
  const std::string line = "\"" + std::string(3 * 1024 * 1024, 'x') + "\"\n";
  exchange->Write("[]\n");
  exchange->Write(line);
  exchange->EndWrite();
  ASSERT_TRUE(UntilEnded(*exchange));
  EXPECT_EQ(exchange->body(), line);
}

TEST_P(HttpStreamTest, AMethodThatEndsFirstEndsTheReply) {
  TestInstance& instance = Serve();
  instance.on_message = [](route::MessageStream& stream, const SliceList&) { stream.CloseSend(); };
  auto exchange = Open("/hello/echoChan");
  exchange->Write("[]\n1\n2\n");
  ASSERT_TRUE(UntilEnded(*exchange));
  EXPECT_EQ(exchange->body(), "");
}

TEST_P(HttpStreamTest, AClientThatGoesCancelsTheStream) {
  TestInstance& instance = Serve();
  auto exchange = Open("/hello/hangChan");
  exchange->Write("[]\n1\n");
  ASSERT_TRUE(Until([&] { return instance.open.size() == 1; }));
  exchange->Leave();
  ASSERT_TRUE(Until([&] { return instance.ends.size() == 1; }));
  EXPECT_EQ(instance.ends[0].code(), LEVER_CANCELLED);
}

TEST_P(HttpStreamTest, AClientThatGoesBehindAFullPipeCancelsTheStream) {
  TestInstance& instance = Serve();
  auto exchange = Open("/hello/hangChan");
  exchange->Write("[]\n");
  ASSERT_TRUE(Until([&] { return instance.open.size() == 1; }));
  const std::string line = "\"" + std::string(10'000, 'x') + "\"\n";
  for (int i = 0; i < 300; ++i) exchange->Write(line);
  Settle();
  EXPECT_GT(exchange->unsent(), 0u);
  exchange->Leave();
  EXPECT_TRUE(Until([&] { return instance.ends.size() == 1; }));
}

// What is on its way between a writer and a reader that does not read: the client's socket, the
// request's window, what the call has queued, the instance's window.
constexpr size_t kInFlightMax = 4 * rpc::kStreamWindowBytes + 1024 * 1024;

TEST_P(HttpStreamTest, AMethodThatDoesNotReadStopsTheWriter) {
  TestInstance& instance = Serve();
  auto exchange = Open("/hello/hangChan");
  exchange->Write("[]\n");
  ASSERT_TRUE(Until([&] { return instance.open.size() == 1; }));
  const std::string line = "\"" + std::string(997, 'x') + "\"\n";
  size_t written = 0;
  while (exchange->unsent() == 0 || written - exchange->unsent() < kInFlightMax) {
    if (exchange->unsent() < 100'000) {
      for (int i = 0; i < 100; ++i) exchange->Write(line);
      written += 100 * line.size();
    }
    const size_t before = exchange->unsent();
    Settle();
    if (exchange->unsent() == before && before > 0) break;
  }
  const size_t taken = written - exchange->unsent();
  RecordProperty("taken_bytes", static_cast<int>(taken));
  EXPECT_LT(taken, kInFlightMax);
  // It goes on when the method reads.
  instance.on_message = [](route::MessageStream&, const SliceList&) {};
  Do([&] { instance.open[0]->Read(UINT32_MAX, 0); });
  exchange->EndWrite();
  EXPECT_TRUE(Until([&] { return exchange->unsent() == 0 && instance.half_closed == 1; }));
  EXPECT_EQ(instance.messages, written / line.size());
}

TEST_P(HttpStreamTest, AClientThatDoesNotReadStopsTheMethod) {
  TestInstance& instance = Serve();
  const std::string text(997, 'x');
  size_t written = 0;
  const auto write = [&](route::MessageStream& stream) {
    while (stream.Writable() && written < 40'000) {
      ASSERT_TRUE(stream.Write(Kind::kValue, Json("\"" + text + "\"")).ok());
      ++written;
    }
    if (written < 40'000) {
      stream.WantWritable();
    } else {
      stream.CloseSend();
    }
  };
  instance.on_writable = write;
  instance.on_stream = [&](IncomingStream& stream) {
    if (!stream.Begin()) return;
    write(stream);
  };
  auto exchange = Open("/hello/echoChan");
  exchange->Write("[]\n");
  size_t before = 1;
  while (written != before) {
    before = written;
    Settle();
  }
  RecordProperty("written_bytes", static_cast<int>(written * 1000));
  EXPECT_GT(written, 100u);
  EXPECT_LT(written * 1000, kInFlightMax);
  ASSERT_TRUE(UntilEnded(*exchange));
  EXPECT_EQ(written, 40'000u);
  EXPECT_EQ(exchange->body().size(), 40'000u * 1000);
}

TEST_P(HttpStreamTest, ASlowReaderAndASlowWriterLoseNothing) {
  TestInstance& instance = Serve();
  auto exchange = Open("/hello/echoChan");
  exchange->Write("[]\n");
  std::string expected;
  size_t written = 0;
  bool ended = false;
  ASSERT_TRUE(Until([&] {
    if (exchange->unsent() < 50'000 && written < 3'000) {
      const std::string line =
          "[" + std::to_string(written) + ",\"" + std::string(written % 700, 'y') + "\"]\n";
      expected += line;
      ++written;
      exchange->Write(line);
    } else if (written == 3'000 && !ended) {
      ended = true;
      exchange->EndWrite();
    }
    exchange->Pull(1'000);
    return exchange->ended();
  }));
  EXPECT_EQ(exchange->body(), expected);
  EXPECT_EQ(instance.messages, 3'000u);
}

TEST_P(HttpStreamTest, AStreamThatSurelyDidNotRunIsBegunAgain) {
  TestInstance& instance = Serve();
  int refusals = 1;
  instance.on_stream = [&](IncomingStream& stream) {
    if (refusals-- > 0) return stream.Cancel(Unavailable("draining"));
    if (!stream.Begin()) return;
    instance.open.push_back(&stream);
    instance.arguments = ToJson(stream.payload());
    stream.Read(UINT32_MAX, 0);
  };
  auto exchange = Open("/hello/echoChan");
  exchange->Write("[7]\n1\n2\n");
  EXPECT_TRUE(UntilBody(*exchange, "1\n2\n"));
  EXPECT_EQ(instance.arguments, "[7]");
  EXPECT_EQ(counters.resends.load(), 1u);
  exchange->EndWrite();
  EXPECT_TRUE(UntilEnded(*exchange));
}

}  // namespace
}  // namespace lever::gateway
