#include "liblever/host/gateway/http_rules.h"

#include <gtest/gtest.h>

#include "liblever/host/gateway/http_reply.h"
#include "liblever/host/gateway/http_request.h"
#include "liblever/rpc/endpoint.h"

namespace lever::gateway {
namespace {

TEST(HttpRules, AuthoritiesAreReadAndNonsenseIsNot) {
  EXPECT_EQ(ParseAuthority("LocalHost:80")->host, "localhost");
  EXPECT_EQ(ParseAuthority("localhost:80")->port, 80);
  EXPECT_EQ(ParseAuthority("[::1]:8080")->host, "::1");
  EXPECT_EQ(ParseAuthority("[::1]")->port, std::nullopt);
  EXPECT_EQ(ParseAuthority("a:")->port, std::nullopt);
  for (const char* text : {"", ":80", "a:b", "a:65536", "a:-1", "[::1", "[::1]x", "[x]", "a b", "a@b",
                           "a/b", "::1", "a:1:2", "a\x80", "[127.0.0.1]", "[]"}) {
    EXPECT_FALSE(ParseAuthority(text)) << text;
  }
  using namespace std::string_view_literals;
  for (const std::string_view text : {"[::1\0]"sv, "[::1\0.example]:80"sv, "127.0.0.1\0"sv}) {
    EXPECT_FALSE(ParseAuthority(text)) << text;
    EXPECT_FALSE(rpc::IsIpAddress(text.substr(text.front() == '[', text.find(']') - 1))) << text;
  }
}

TEST(HttpRules, OnlyLoopbackAsksForAHostOfItsOwn) {
  const HttpOptions options{.cors_origins = {}, .http_hosts = {"Lever.internal"}};
  EXPECT_TRUE(HostAllowed("localhost", CameOver::kLoopback, options));
  EXPECT_TRUE(HostAllowed("10.0.0.1:80", CameOver::kLoopback, options));
  EXPECT_TRUE(HostAllowed("[fe80::1]", CameOver::kLoopback, options));
  EXPECT_TRUE(HostAllowed("lever.Internal:1", CameOver::kLoopback, options));
  EXPECT_FALSE(HostAllowed("evil.example", CameOver::kLoopback, options));
  EXPECT_FALSE(HostAllowed("127.0.0.1.nip.example", CameOver::kLoopback, options));
  EXPECT_FALSE(HostAllowed("x.localhost", CameOver::kLoopback, options));
  EXPECT_FALSE(HostAllowed("0x7f.1", CameOver::kLoopback, options));
  EXPECT_FALSE(HostAllowed("", CameOver::kLoopback, options));
  EXPECT_TRUE(HostAllowed("evil.example", CameOver::kNetwork, options));
  EXPECT_TRUE(HostAllowed("", CameOver::kUnixSocket, options));
}

TEST(HttpRules, OverTlsOnlyAnHttpsPageIsTheHostsOwn) {
  const HttpOptions options{.cors_origins = {"http://a.example"}, .http_hosts = {}};
  const auto judge = [&](std::string_view origin, std::string_view host) {
    return JudgeOrigin(origin, host, Encrypted::kYes, options);
  };
  EXPECT_EQ(judge("https://x.example:8443", "x.example:8443"), OriginVerdict::kOwn);
  EXPECT_EQ(judge("https://x.example", "x.example"), OriginVerdict::kOwn);
  EXPECT_EQ(judge("https://x.example", "x.example:8443"), OriginVerdict::kForeign);
  EXPECT_EQ(judge("http://x.example:8443", "x.example:8443"), OriginVerdict::kForeign);
  EXPECT_EQ(judge("http://x.example", "x.example"), OriginVerdict::kForeign);
  EXPECT_EQ(judge("http://a.example", "x.example"), OriginVerdict::kListed);
}

TEST(HttpRules, AnOriginIsOwnListedOrForeign) {
  const HttpOptions options{.cors_origins = {"https://App.example", "http://a.example:3000"},
                            .http_hosts = {}};
  const auto judge = [&](std::string_view origin, std::string_view host = "localhost:8080") {
    return JudgeOrigin(origin, host, Encrypted::kNo, options);
  };
  EXPECT_EQ(JudgeOrigin(std::nullopt, "localhost", Encrypted::kNo, options), OriginVerdict::kNone);
  EXPECT_EQ(judge("http://localhost:8080"), OriginVerdict::kOwn);
  EXPECT_EQ(judge("https://localhost:8080"), OriginVerdict::kOwn);
  EXPECT_EQ(judge("http://LOCALHOST:8080"), OriginVerdict::kOwn);
  EXPECT_EQ(judge("http://[::1]", "[::1]:80"), OriginVerdict::kOwn);
  EXPECT_EQ(judge("https://x.example", "x.example"), OriginVerdict::kOwn);
  EXPECT_EQ(judge("https://app.example"), OriginVerdict::kListed);
  EXPECT_EQ(judge("https://app.example:443"), OriginVerdict::kListed);
  EXPECT_EQ(judge("http://a.example:3000"), OriginVerdict::kListed);
  for (const char* origin :
       {"http://localhost", "http://localhost:8081", "http://127.0.0.1:8080", "http://app.example",
        "https://app.example:444", "https://app.example.evil", "https://evil.app.example",
        "http://a.example", "null", "", "localhost:8080", "file://", "http://", "*",
        "http://localhost:8080/", "http://x@localhost:8080"}) {
    EXPECT_EQ(judge(origin), OriginVerdict::kForeign) << origin;
  }
  const HttpOptions any{.cors_origins = {"*"}, .http_hosts = {}};
  EXPECT_EQ(JudgeOrigin("https://evil.example", "localhost", Encrypted::kNo, any), OriginVerdict::kListed);
}

TEST(HttpRules, OptionsThatAreNoneAreNamed) {
  EXPECT_TRUE(CheckHttpOptions({{"*", "https://a.example", "http://[::1]:80"}, {"a", "a.b"}}).ok());
  EXPECT_NE(CheckHttpOptions({{"a.example"}, {}}).message().find("'a.example'"), std::string::npos);
  EXPECT_FALSE(CheckHttpOptions({{"https://a.example/"}, {}}).ok());
  EXPECT_NE(CheckHttpOptions({{}, {"a:80"}}).message().find("'a:80'"), std::string::npos);
  EXPECT_FALSE(CheckHttpOptions({{}, {"http://a"}}).ok());
}

TEST(HttpRules, ContentTypesAreToldApart) {
  EXPECT_EQ(ClassifyBody(std::nullopt), BodyType::kNone);
  EXPECT_EQ(ClassifyBody(" "), BodyType::kNone);
  EXPECT_EQ(ClassifyBody("application/json;charset=utf-8"), BodyType::kJson);
  EXPECT_EQ(ClassifyBody("APPLICATION/X-NDJSON"), BodyType::kLines);
  EXPECT_EQ(ClassifyBody("application/octet-stream"), BodyType::kBytes);
  EXPECT_EQ(ClassifyBody("application/x-www-form-urlencoded"), BodyType::kForm);
  EXPECT_EQ(ClassifyBody("application/grpc-web-text"), BodyType::kGrpc);
  EXPECT_EQ(ClassifyBody("application/jsonx"), BodyType::kOther);
  EXPECT_TRUE(AcceptsBytes("text/html, Application/Octet-Stream;q=0.5"));
  EXPECT_FALSE(AcceptsBytes("*/*"));
}

TEST(HttpRules, AQueryIsReadOnceAndDecodedOnce) {
  EXPECT_EQ(**QueryParameter("a=b&env=x%2Fy%2520", "env"), "x/y%20");
  EXPECT_EQ(**QueryParameter("env", "env"), "");
  EXPECT_EQ(*QueryParameter("environment=x&&=&envx", "env"), std::nullopt);
  EXPECT_FALSE(QueryParameter("env=%2", "env").ok());
  EXPECT_FALSE(QueryParameter("env=a&env=a", "env").ok());
}

TEST(HttpReply, UnavailableInvitesToTryAgainOnlyWhereItSurelyDidNotRun) {
  EXPECT_EQ(HttpStatusOf(Unavailable("x").WithExecuted(LEVER_EXECUTED_NO)), 503);
  EXPECT_EQ(HttpStatusOf(Unavailable("x")), 502);
  EXPECT_EQ(HttpStatusOf(Internal("x")), 500);
}

TEST(HttpReply, ErrorsAreJsonWhateverTheMessage) {
  EXPECT_EQ(ErrorBody(NotFound("no \"x\"\n").WithExecuted(LEVER_EXECUTED_NO)),
            R"({"error":{"code":"NOT_FOUND","message":"no \"x\"\n","executed":"no"}})");
  EXPECT_EQ(ErrorBody(Internal("a\xff")),
            R"({"error":{"code":"INTERNAL","message":"a?","executed":"unknown"}})");
  EXPECT_EQ(ErrorLine(Internal("a")),
            "{\"$error\":{\"code\":\"INTERNAL\",\"message\":\"a\",\"executed\":\"unknown\"}}\n");
  EXPECT_EQ(MethodErrorLine("[1]"), "{\"$error\":{\"value\":[1]}}\n");
}

TEST(HttpReply, TheDateHasItsFixedForm) {
  const std::string_view date = HttpDate();
  EXPECT_EQ(date.size(), std::string_view("Sun, 06 Nov 1994 08:49:37 GMT").size());
  EXPECT_EQ(date.substr(date.size() - 4), " GMT");
}

TEST(HttpRequest, ContentLengthsAreNumbers) {
  const auto length = [](std::string_view text) {
    rpc::HeaderList list;
    list.Add("content-length", text);
    return ContentLength(list);
  };
  EXPECT_EQ(length("12"), 12u);
  EXPECT_EQ(length("99999999999999999999"), UINT64_MAX);
  EXPECT_EQ(length("1x"), std::nullopt);
  EXPECT_EQ(ContentLength(rpc::HeaderList()), std::nullopt);
}

}  // namespace
}  // namespace lever::gateway
