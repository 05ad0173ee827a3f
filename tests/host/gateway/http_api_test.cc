// What the HTTP API answers, the same over HTTP/1.1 and HTTP/2.
#include <gmock/gmock.h>

#include "tests/host/gateway/http_client.h"

namespace lever::gateway {
namespace {

using ::testing::HasSubstr;

class HttpApiTest : public HttpTest, public ::testing::WithParamInterface<Version> {
 protected:
  using HttpTest::Ask;
  using HttpTest::Post;
  Response Post(std::string_view path, std::string_view body,
                Fields fields = {{"content-type", "application/json"}}) {
    return HttpTest::Post(GetParam(), path, body, std::move(fields));
  }
  Response Ask(std::string_view verb, std::string_view path, const Fields& fields = {},
               std::string_view body = {}) {
    return HttpTest::Ask(GetParam(), verb, path, fields, body);
  }
  // Trouble of the platform that surely did not run anything.
  void ExpectRefused(const Response& response, int status, const std::string& code) {
    EXPECT_EQ(response.status, status) << response.body;
    EXPECT_EQ(response.fields.at("content-type"), "application/json");
    EXPECT_THAT(response.body, HasSubstr("{\"error\":{\"code\":\"" + code + "\""));
    EXPECT_THAT(response.body, HasSubstr("\"executed\":\"no\"}}"));
    EXPECT_FALSE(response.fields.contains("lever-error"));
  }
};

INSTANTIATE_TEST_SUITE_P(Versions, HttpApiTest,
                         ::testing::Values(Version::kHttp1, Version::kHttp2),
                         [](const auto& info) {
                           return info.param == Version::kHttp1 ? "Http1" : "Http2";
                         });

TEST_P(HttpApiTest, AMethodIsCalledWithAJsonArray) {
  Serve();
  const Response response = Post("/hello/echo", R"(["Ann", 5, 1.0, {"$bytes":"aGk="}])");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.fields.at("content-type"), "application/json");
  EXPECT_EQ(response.body, R"(["Ann",5,1.0,{"$bytes":"aGk="}])");
  EXPECT_EQ(counters.calls.load(), 1u);
}

TEST_P(HttpApiTest, NoBodyMeansNoArguments) {
  Serve();
  EXPECT_EQ(Post("/hello/echo", "").body, "[]");
  EXPECT_EQ(Post("/hello/echo", "", {}).body, "[]");
  EXPECT_EQ(Post("/hello/echo", " \r\n").body, "[]");
}

TEST_P(HttpApiTest, BytesGoInAndComeBackAsTheyAre) {
  Serve();
  const std::string bytes("\0\xff\r\n\r\n{", 7);
  const Response response =
      Post("/hello/echo", bytes, {{"content-type", "application/octet-stream"}});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.fields.at("content-type"), "application/octet-stream");
  EXPECT_EQ(response.body, bytes);
}

TEST_P(HttpApiTest, AnAnswerOfBytesIsJsonUnlessBytesAreAskedFor) {
  TestInstance& instance = Serve();
  instance.on_call = [](const std::string&, IncomingCall& call) {
    if (!call.Begin()) return;
    SliceList bytes;
    bytes.push_back(Slice::Copy(std::string_view("hi")));
    ASSERT_TRUE(call.Reply(Kind::kRaw, std::move(bytes), nullptr).ok());
  };
  EXPECT_EQ(Post("/hello/echo", "[]").body, R"({"$bytes":"aGk="})");
  const Response response = Post("/hello/echo", "[]", {{"accept", "application/octet-stream"}});
  EXPECT_EQ(response.body, "hi");
  // A MessagePack value that is bytes is bytes, too.
  instance.on_call = [](const std::string&, IncomingCall& call) {
    if (!call.Begin()) return;
    ASSERT_TRUE(call.Reply(Kind::kValue, Json(R"({"$bytes":"aGk="})"), nullptr).ok());
  };
  EXPECT_EQ(Post("/hello/echo", "x", {{"content-type", "application/octet-stream"}}).body, "hi");
}

TEST_P(HttpApiTest, AMethodsOwnErrorIs500WithItsValue) {
  Serve();
  const Response response = Post("/hello/fail", R"([{"message":"no"}])");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.fields.at("lever-error"), "method");
  EXPECT_EQ(response.body, R"([{"message":"no"}])");
}

TEST_P(HttpApiTest, WhatDoesNotExistIs404) {
  Serve();
  ExpectRefused(Post("/nobody/echo", "[]"), 404, "NOT_FOUND");
  ExpectRefused(Post("/hello/nothing", "[]"), 404, "NOT_FOUND");
  ExpectRefused(Post("/hello/echo?env=nowhere", "[]"), 404, "NOT_FOUND");
  ExpectRefused(Ask("GET", "/-/nothing"), 404, "NOT_FOUND");
}

TEST_P(HttpApiTest, WhatMakesNoSenseIs400AndReachesNoMethod) {
  TestInstance& instance = Serve();
  for (const std::string body :
       {"[", "5", "{\"a\":1}", "[1,]", "[] []", "[\"\xff\"]", "[1e999]", "[18446744073709551616]",
        R"([{"a":1,"a":2}])", R"([{"$bytes":"!"}])", R"([{"$new":1}])", R"(["\ud800"])"}) {
    ExpectRefused(Post("/hello/echo", body), 400, "INVALID_ARGUMENT");
  }
  ExpectRefused(Post("/hello/echo", std::string(200, '[')), 400, "INVALID_ARGUMENT");
  for (const std::string path :
       {"/", "/hello", "/Hello/echo", "/hello/1echo", "/hello/a/b/echo", "/hello//echo", "/hello/",
        "/hello/..%2f/echo%20", "/hello/echo?env=UPPER", "/hello/echo?env=%zz",
        "/hello/echo?env=a&env=b"}) {
    ExpectRefused(Post(path, "[]"), 400, "INVALID_ARGUMENT");
  }
  ExpectRefused(Post("/hello/echo?env=dev.lever", "[]", {{"lever-env", "staging"}}), 400,
                "INVALID_ARGUMENT");
  ExpectRefused(Post("/hello/echo", "[]", {{"lever-timeout", "soon"}}), 400, "INVALID_ARGUMENT");
  ExpectRefused(Post("/hello/echo", "[]", {{"lever-timeout", "-1s"}}), 400, "INVALID_ARGUMENT");
  ExpectRefused(Post("/hello/echo", "[]", {{"lever-idempotent", "maybe"}}), 400,
                "INVALID_ARGUMENT");
  ExpectRefused(Post("/hello/echo", "[]", {{"x-bin", "!"}}), 400, "INVALID_ARGUMENT");
  EXPECT_EQ(instance.calls, 0);
}

TEST_P(HttpApiTest, TheEnvironmentComesFromQueryOrHeader) {
  Serve();
  EXPECT_EQ(Post("/hello/echo?env=dev.lever", "[1]").status, 200);
  EXPECT_EQ(Post("/hello/echo?x=%&env=dev%2Elever&y", "[1]").status, 200);
  EXPECT_EQ(Post("/hello/echo", "[1]", {{"lever-env", "dev.lever"}}).status, 200);
  ExpectRefused(Post("/hello/echo", "[1]", {{"lever-env", "staging"}}), 404, "NOT_FOUND");
}

TEST_P(HttpApiTest, OtherVerbsAre405AndSayWhichAreAllowed) {
  Serve();
  for (const char* verb : {"GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW"}) {
    const Response response = Ask(verb, "/hello/echo");
    EXPECT_EQ(response.status, 405) << verb;
    EXPECT_EQ(response.fields.at("allow"), "POST, OPTIONS");
  }
  const Response head = Ask("HEAD", "/hello/echo");
  EXPECT_EQ(head.status, 405);
  EXPECT_EQ(head.body, "");
}

TEST_P(HttpApiTest, OtherContentIs415) {
  Serve();
  for (const char* type : {"text/plain", "application/xml", "application/x-ndjson",
                           "application/grpc-web", "application/grpc-web+proto", "multipart/form-data"}) {
    EXPECT_EQ(Post("/hello/echo", "[]", {{"content-type", type}}).status, 415) << type;
  }
  for (const char* type : {"application/json", "application/octet-stream", "text/plain"}) {
    EXPECT_EQ(Post("/hello/echoChan", "[]", {{"content-type", type}}).status, 415) << type;
  }
  ExpectRefused(Post("/hello/echo", "[]", {{"content-encoding", "gzip"}}), 415, "INVALID_ARGUMENT");
  // What curl -d says when it is told nothing.
  EXPECT_EQ(Post("/hello/echo", "[1]", {{"content-type", "application/x-www-form-urlencoded"}}).body,
            "[1]");
  EXPECT_EQ(Post("/hello/echo", "[1]", {{"content-type", "Application/JSON; charset=utf-8"}}).body,
            "[1]");
}

TEST_P(HttpApiTest, AMessageBeyondTheLimitIs413) {
  TestInstance& instance = Serve();
  const std::string most = "[\"" + std::string(rpc::kMessageBytesMax - 20, 'x') + "\"]";
  EXPECT_EQ(Post("/hello/echo", most).body, most);
  ExpectRefused(Post("/hello/echo", "[\"" + std::string(rpc::kMessageBytesMax, 'x') + "\"]"), 413,
                "RESOURCE_EXHAUSTED");
  // As text it fits, as MessagePack (1e0 takes nine bytes) it does not.
  std::string grows = "[1e0";
  while (grows.size() < 3 * 1024 * 1024) grows += ",1e0";
  ExpectRefused(Post("/hello/echo", grows + "]"), 413, "RESOURCE_EXHAUSTED");
  ExpectRefused(Post("/hello/echo", std::string(rpc::kMessageBytesMax, 'x'),
                     {{"content-type", "application/octet-stream"}}),
                413, "RESOURCE_EXHAUSTED");
  EXPECT_EQ(instance.calls, 1);
}

TEST_P(HttpApiTest, AServiceWithoutResourcesHasNoneOfAnyName) {
  TestInstance& instance = Serve();
  ExpectRefused(Post("/hello/room%201/echo", "[]"), 404, "NOT_FOUND");
  EXPECT_EQ(instance.calls, 0);
}

TEST_P(HttpApiTest, APrivateServiceIs403) {
  TestInstance& instance = NewInstance();
  Publish({&instance}, Private::kYes);
  ExpectRefused(Post("/hello/echo", "[]"), 403, "PERMISSION_DENIED");
  EXPECT_EQ(instance.calls, 0);
}

TEST_P(HttpApiTest, TheDeadlineIs504AndTravels) {
  TestInstance& instance = Serve();
  EXPECT_EQ(Post("/hello/echo", "[]", {{"lever-timeout", "5s"}}).status, 200);
  EXPECT_EQ(instance.deadline_ns, clock.NowNs() + 5 * kNanosPerSecond);
  EXPECT_EQ(Post("/hello/echo", "[]").status, 200);
  EXPECT_EQ(instance.deadline_ns, clock.NowNs() + 60 * kNanosPerSecond);

  RawClient client(Connect());
  client.Send(Http1Request("POST", "/hello/hang", {{"lever-timeout", "5s"}}, "[]"));
  ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
  Advance(5 * kNanosPerSecond);
  const Response response = Answer(client);
  EXPECT_EQ(response.status, 504);
  EXPECT_THAT(response.body, HasSubstr("\"executed\":\"unknown\""));
  ASSERT_TRUE(Until([&] { return instance.cancelled == 1; }));
}

TEST_P(HttpApiTest, ABodyThatDoesNotComeBeforeTheDeadlineIs504) {
  Serve();
  RawClient client(Connect());
  client.Send("POST /hello/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n[1");
  Settle();
  Advance(60 * kNanosPerSecond);
  ExpectRefused(Answer(client), 504, "DEADLINE_EXCEEDED");
}

TEST_P(HttpApiTest, AServiceThatDoesNotStartIs503WithItsWordsAndRetryAfter) {
  Publish({});
  RawClient client(Connect());
  client.Send(Http1Request("POST", "/hello/echo", {}, "[]"));
  ASSERT_TRUE(Until([&] { return router->held() == 1; }));
  Do([&] {
    directory.StartFailed({"dev.lever", "hello"}, Unavailable("exit 1: \"caf\xc3\xa9\" \xff\n"));
  });
  const Response response = Answer(client);
  ExpectRefused(response, 503, "UNAVAILABLE");
  EXPECT_EQ(response.fields.at("retry-after"), "1");
  EXPECT_THAT(response.body, HasSubstr(R"(exit 1: \"caf)"));
}

TEST_P(HttpApiTest, AnOutcomeThatIsNotKnownIs502WithoutRetryAfter) {
  TestInstance& instance = Serve();
  instance.on_call = [](const std::string&, IncomingCall& call) {
    if (call.Begin()) call.Fail(Unavailable("broke in the middle"));
  };
  const Response response = Post("/hello/echo", "[]");
  EXPECT_EQ(response.status, 502);
  EXPECT_THAT(response.body, HasSubstr("\"executed\":\"unknown\""));
  EXPECT_FALSE(response.fields.contains("retry-after"));
}

TEST_P(HttpApiTest, TheStatusOfACodeIsThatOfTheList) {
  TestInstance& instance = Serve();
  Status answer;
  instance.on_call = [&](const std::string&, IncomingCall& call) {
    if (call.Begin()) call.Fail(answer);
  };
  const std::vector<std::pair<Status, int>> table = {
      {InvalidArgument("x"), 400},   {Unauthenticated("x"), 401}, {PermissionDenied("x"), 403},
      {NotFound("x"), 404},          {AlreadyExists("x"), 409},   {ResourceExhausted("x"), 429},
      {Cancelled("x"), 499},         {Internal("x"), 500},        {Unknown("x"), 500},
      {Unimplemented("x"), 501},     {DeadlineExceeded("x"), 504}};
  for (const auto& [status, http_status] : table) {
    answer = status;
    const Response response = Post("/hello/echo", "[]");
    EXPECT_EQ(response.status, http_status) << status.ToString();
    EXPECT_THAT(response.body, HasSubstr("\"" + std::string(StatusName(status.code())) + "\""));
    EXPECT_THAT(response.body, HasSubstr("\"executed\":\"unknown\""));
    EXPECT_FALSE(response.fields.contains("lever-error"));
  }
}

TEST_P(HttpApiTest, WhatSurelyDidNotRunIsSentAgain) {
  TestInstance& instance = Serve();
  int refusals = 2;
  std::vector<std::string> attempts;
  instance.on_call = [&](const std::string& name, IncomingCall& call) {
    if (refusals-- > 0) return call.Fail(Unavailable("draining"));
    instance.Serve(name, call);
  };
  RawClient client(Connect());
  client.Send(Http1Request("POST", "/hello/echo", {}, "[1]"));
  Response response;
  ASSERT_TRUE(Until([&] {
    clock.Advance(kNanosPerMilli);
    client.Pull();
    response = client.Next();
    return response.whole;
  }));
  EXPECT_EQ(response.body, "[1]");
  EXPECT_EQ(counters.calls.load(), 1u);
  EXPECT_EQ(counters.resends.load(), 2u);

  // Not for ever.
  refusals = 100;
  client.Send(Http1Request("POST", "/hello/echo", {}, "[1]"));
  ASSERT_TRUE(Until([&] {
    clock.Advance(kNanosPerMilli);
    client.Pull();
    response = client.Next();
    return response.whole;
  }));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(counters.resends.load(), 2u + Relay::kAttemptsMax - 1);

  // And one that always refuses costs a tenth more at most.
  refusals = 1'000'000;
  const uint64_t before = counters.resends;
  constexpr int kRequests = 50;
  for (int i = 0; i < kRequests; ++i) {
    client.Send(Http1Request("POST", "/hello/echo", {}, "[1]"));
    ASSERT_TRUE(Until([&] {
      clock.Advance(kNanosPerMilli);
      client.Pull();
      response = client.Next();
      return response.whole;
    }));
    EXPECT_EQ(response.status, 503);
  }
  EXPECT_LE(counters.resends - before, kRequests / 10);
}

TEST_P(HttpApiTest, OnlyAnIdempotentCallIsSentAgainWhereItMayHaveRun) {
  TestInstance& instance = Serve();
  int failures = 1;
  instance.on_call = [&](const std::string& name, IncomingCall& call) {
    if (failures-- > 0) {
      if (call.Begin()) call.Fail(Unavailable("who knows"));
      return;
    }
    instance.Serve(name, call);
  };
  EXPECT_EQ(Post("/hello/echo", "[1]", {{"lever-idempotent", "true"}}).body, "[1]");
  failures = 1;
  EXPECT_EQ(Post("/hello/echo", "[1]", {{"lever-idempotent", "false"}}).status, 502);
}

TEST_P(HttpApiTest, TraceContextAndTheUsersFieldsArePassedOnAndNothingElse) {
  TestInstance& instance = Serve();
  const Fields fields = {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
                         {"tracestate", "a=1"},
                         {"authorization", "Bearer x"},
                         {"x-request-id", "7"},
                         {"x-data-bin", "aGk="},
                         {"lever-caller", "lever://dev.lever/evil"},
                         {"grpc-timeout", "1n"},
                         {"user-agent", "test"},
                         {"accept-language", "en"}};
  EXPECT_EQ(Post("/hello/echo", "[]", fields).status, 200);
  const rpc::HeaderList& seen = instance.metadata;
  EXPECT_EQ(seen.Find("traceparent"), fields[0].second);
  EXPECT_EQ(seen.Find("tracestate"), "a=1");
  EXPECT_EQ(seen.Find("authorization"), "Bearer x");
  EXPECT_EQ(seen.Find("x-request-id"), "7");
  EXPECT_EQ(seen.Find("x-data-bin"), "hi");
  EXPECT_EQ(seen.Find("accept-language"), std::nullopt);
  EXPECT_EQ(seen.Find("host"), std::nullopt);
  EXPECT_EQ(instance.caller, "");
}

TEST_P(HttpApiTest, AClientThatGoesCancelsItsCall) {
  TestInstance& instance = Serve();
  if (GetParam() == Version::kHttp1) {
    RawClient client(Connect());
    client.Send(Http1Request("POST", "/hello/hang", {}, "[]"));
    ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
    client.Close();
  } else {
    H2Client& client = OpenH2();
    H2Request* request = nullptr;
    Do([&] {
      request = &client.Start("POST", "/hello/hang", {});
      request->stream->EndWrite();
    });
    ASSERT_TRUE(Until([&] { return instance.hanging.size() == 1; }));
    Do([&] { request->stream->Reset(rpc::kHttp2Cancel); });
  }
  EXPECT_TRUE(Until([&] { return instance.cancelled == 1; }));
}

TEST_P(HttpApiTest, AClientThatGoesWhileItsCallIsHeldLeavesNothing) {
  Publish({});
  RawClient client(Connect());
  client.Send(Http1Request("POST", "/hello/echo", {}, "[]"));
  ASSERT_TRUE(Until([&] { return router->held() == 1; }));
  client.Close();
  EXPECT_TRUE(Until([&] { return router->held() == 0; }));
}

TEST_P(HttpApiTest, AForeignOriginIs403BeforeAnythingRuns) {
  TestInstance& instance = Serve();
  ExpectRefused(Post("/hello/echo", "[]", {{"origin", "https://evil.example"}}), 403,
                "PERMISSION_DENIED");
  ExpectRefused(Post("/hello/echo", "[]", {{"origin", "null"}}), 403, "PERMISSION_DENIED");
  ExpectRefused(Ask("GET", "/-/healthz", {{"origin", "http://evil.example"}}), 403,
                "PERMISSION_DENIED");
  ExpectRefused(Ask("OPTIONS", "/hello/echo", {{"origin", "http://evil.example"}}), 403,
                "PERMISSION_DENIED");
  EXPECT_EQ(instance.calls, 0);
  EXPECT_EQ(Post("/hello/echo", "[1]", {{"origin", "http://localhost:8080"}}).body, "[1]");
}

TEST_P(HttpApiTest, AListedOriginIsServedAndTold) {
  Do([&] { Open({.cors_origins = {"https://app.example"}, .http_hosts = {}}); });
  Serve();
  const Response response = Post("/hello/echo", "[1]", {{"origin", "https://app.example"}});
  EXPECT_EQ(response.body, "[1]");
  EXPECT_EQ(response.fields.at("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(response.fields.at("vary"), "origin");
  // Errors are the page's to read, too.
  EXPECT_EQ(Post("/no/echo", "[]", {{"origin", "https://app.example"}})
                .fields.at("access-control-allow-origin"),
            "https://app.example");
  EXPECT_EQ(Post("/hello/echo", "[]", {{"origin", "https://app.example.evil"}}).status, 403);

  const Response preflight = Ask("OPTIONS", "/hello/echo",
                                 {{"origin", "https://app.example"},
                                  {"access-control-request-method", "POST"},
                                  {"access-control-request-headers", "content-type, lever-env"}});
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.fields.at("access-control-allow-methods"), "POST, OPTIONS");
  EXPECT_EQ(preflight.fields.at("access-control-allow-headers"), "content-type, lever-env");
}

TEST_P(HttpApiTest, OverLoopbackTheHostHasToBeNamedAsSuch) {
  Do([&] { Open({.cors_origins = {}, .http_hosts = {"lever.internal"}}); });
  TestInstance& instance = Serve();
  for (const char* host : {"localhost:8080", "127.0.0.1:8080", "[::1]:8080", "lever.internal",
                           "LEVER.internal:8080"}) {
    EXPECT_EQ(Post("/hello/echo", "[1]", {{"host", host}}).status, 200) << host;
  }
  instance.calls = 0;
  for (const char* host : {"evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example",
                           "a b", "::1", ""}) {
    const Response response = Post("/hello/echo", "[1]", {{"host", host}});
    EXPECT_TRUE(response.status == 403 || response.status == 0) << host << ' ' << response.status;
  }
  EXPECT_EQ(instance.calls, 0);
}

TEST_P(HttpApiTest, TheHostsOwnPages) {
  Response response = Ask("GET", "/-/healthz");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "ok\n");
  response = Ask("HEAD", "/-/readyz");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "");
  EXPECT_EQ(response.fields.at("content-length"), "3");
  response = Ask("POST", "/-/healthz");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.fields.at("allow"), "GET, HEAD, OPTIONS");
  Do([&] { http->Drain(); });
  EXPECT_EQ(Ask("GET", "/-/healthz").status, 200);
  EXPECT_EQ(Ask("GET", "/-/readyz").status, 503);
}

TEST_P(HttpApiTest, TooManyHeldBytesAre429) {
  TestInstance& instance = Serve();
  // Requests that have all of their body but its last byte.
  std::deque<RawClient> clients;
  const std::string part(rpc::kMessageBytesMax - 1024, ' ');
  for (size_t held = 0; held + part.size() <= kHttpHeldBytesMax; held += part.size()) {
    clients.emplace_back(Connect());
    clients.back().Send("POST /hello/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: " +
                        std::to_string(part.size() + 1) + "\r\n\r\n" + part);
    ASSERT_TRUE(Until([&] { return clients.back().Push() && clients.back().unsent() == 0; }));
  }
  Settle();
  ExpectRefused(Post("/hello/echo", "[\"" + part + "\"]"), 429, "RESOURCE_EXHAUSTED");
  EXPECT_EQ(instance.calls, 0);
  clients.clear();
  Settle();
  EXPECT_EQ(Post("/hello/echo", "[\"" + part + "\"]").status, 200);
}

// A reset that came right behind the reply would make some clients drop it.
TEST_P(HttpApiTest, OverHttp2AReplyBeforeTheUploadsEndWaitsForIt) {
  Serve();
  H2Client& client = OpenH2();
  H2Request* early = nullptr;
  H2Request* endless = nullptr;
  H2Request* silent = nullptr;
  Do([&] {
    early = &client.Start("POST", "/no/echo", {});
    endless = &client.Start("POST", "/no/echo", {});
    silent = &client.Start("POST", "/no/echo", {});
    early->stream->Write(Slice::Copy(std::string(100'000, 'x')));
  });
  ASSERT_TRUE(Until([&] { return !silent->response.body.empty() && !early->response.body.empty(); }));
  Settle();
  EXPECT_FALSE(early->response.whole);
  Do([&] {
    early->stream->EndWrite();
    endless->stream->Write(Slice::Copy(std::string(kHttp2DiscardBytesMax + 1, 'x')));
  });
  ASSERT_TRUE(Until([&] { return early->stream == nullptr && endless->stream == nullptr; }));
  EXPECT_EQ(early->response.status, 404);
  EXPECT_TRUE(early->response.whole);
  EXPECT_EQ(early->error_code, rpc::kHttp2NoError);
  EXPECT_TRUE(endless->response.whole);
  EXPECT_FALSE(silent->response.whole);
  Advance(kHttp2LingerTimeoutNs);
  EXPECT_TRUE(Until([&] { return silent->response.whole; }));
}

TEST_P(HttpApiTest, AGrpcRequestOverHttp1Is415) {
  Serve();
  EXPECT_EQ(Ask(Version::kHttp1, "POST", "/lever.v1.Lever/Invoke",
                {{"content-type", "application/grpc"}}, "x")
                .status,
            415);
  EXPECT_EQ(Ask(Version::kHttp1, "POST", "/hello/echo", {{"content-type", "application/grpc"}}, "x")
                .status,
            415);
}

}  // namespace
}  // namespace lever::gateway
