#include "liblever/host/gateway/http1_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "liblever/host/gateway/http_limits.h"

namespace lever::gateway {
namespace {

using Step = Http1Parser::Step;

struct Parsed {
  Step last = Step::kNeedMore;
  std::string body;
  std::string head;  // "name=value|" for each field
  int status = 0;    // of what is broken
  size_t taken = 0;
};

// Feeds `text` in pieces of at most `piece` bytes, as a connection would.
Parsed Parse(const std::string& text, size_t piece = SIZE_MAX) {
  Http1Parser parser;
  Parsed parsed;
  std::string input;
  for (size_t at = 0; at < text.size();) {
    const size_t size = std::min(piece, text.size() - at);
    input.append(text, at, size);
    at += size;
    for (;;) {
      const Http1Parser::Result result = parser.Next(input);
      parsed.last = result.step;
      parsed.body.append(parser.body());
      input.erase(0, result.taken);
      parsed.taken += result.taken;
      if (result.step == Step::kHead) {
        for (size_t i = 0; i < parser.head().size(); ++i) {
          parsed.head.append(parser.head()[i].name).append("=");
          parsed.head.append(parser.head()[i].value).append("|");
        }
      }
      if (result.step == Step::kBroken) parsed.status = parser.error_http_status();
      if (result.step == Step::kBroken || result.step == Step::kEnd) return parsed;
      if (result.step == Step::kNeedMore) break;
    }
  }
  return parsed;
}

const std::string kHost = "Host: localhost\r\n";

TEST(Http1Parser, ReadsARequestInPiecesOfAnySize) {
  const std::string text =
      "\r\nPOST /a/b?c=d HTTP/1.1\r\nHost: localhost:80\r\nX-Y:  z \r\nTransfer-Encoding: "
      "Chunked\r\n\r\n5;ext=\"a\\\"b\"\r\nhello\r\n1\r\n \r\n06\r\nworld!\r\n0\r\nTrailer: t\r\n\r\nGET ";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    const Parsed parsed = Parse(text, piece);
    EXPECT_EQ(parsed.last, Step::kEnd) << piece;
    EXPECT_EQ(parsed.body, "hello world!") << piece;
    EXPECT_EQ(parsed.taken, text.size() - 4) << piece;
    EXPECT_EQ(parsed.head,
              ":method=POST|:path=/a/b?c=d|x-y=z|transfer-encoding=Chunked|:authority=localhost:80|");
  }
}

TEST(Http1Parser, KnowsNothingOfTheRequestBefore) {
  const std::string before[] = {
      "GET http://other/a HTTP/1.0\r\nx: y\r\n\r\n",
      "POST /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: x\r\n\r\n",
      "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "OPTIONS * HT"};
  const std::string next = "POST /b HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n[]";
  for (const std::string& text : before) {
    Http1Parser parser;
    for (size_t taken = 0;;) {
      const Http1Parser::Result result = parser.Next(std::string_view(text).substr(taken));
      taken += result.taken;
      if (result.step != Step::kHead && result.step != Step::kBody) break;
    }
    parser.Reset();
    EXPECT_FALSE(parser.begun());
    Http1Parser::Result result = parser.Next(next);
    ASSERT_EQ(result.step, Step::kHead) << text;
    EXPECT_EQ(parser.head().size(), 4u);
    EXPECT_EQ(parser.head().Find(":authority"), "b");
    EXPECT_TRUE(parser.keep_alive() && parser.has_body() && !parser.http_1_0());
    result = parser.Next(std::string_view(next).substr(result.taken));
    ASSERT_EQ(result.step, Step::kBody);
    EXPECT_EQ(parser.body(), "[]");
    EXPECT_EQ(parser.Next("").step, Step::kEnd);
  }
}

TEST(Http1Parser, ReadsABodyOfAKnownSize) {
  for (size_t piece = 1; piece < 60; ++piece) {
    const Parsed parsed = Parse("POST / HTTP/1.1\r\n" + kHost + "Content-Length: 3\r\n\r\nabcdef", piece);
    EXPECT_EQ(parsed.last, Step::kEnd);
    EXPECT_EQ(parsed.body, "abc");
  }
  EXPECT_EQ(Parse("POST / HTTP/1.1\r\n" + kHost + "Content-Length: 0\r\n\r\n").last, Step::kEnd);
  EXPECT_EQ(Parse("POST / HTTP/1.1\r\n" + kHost + "\r\nx").body, "");
}

// Two readers of one connection must not see two different requests.
TEST(Http1Parser, RefusesWhateverCanBeReadInTwoWays) {
  const std::vector<std::string> heads = {
      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
      "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
      "Content-Length: 5\r\nContent-Length: 6\r\n",
      "Content-Length: 5\r\nContent-Length: 5\r\n",
      "Content-Length: 5, 5\r\n",
      "Content-Length: +5\r\n",
      "Content-Length: 0x5\r\n",
      "Content-Length: 5 \r\n\tfolded\r\n",
      "Content-Length: \r\n",
      "Content-Length: 99999999999999999999\r\n",
      "Content-Length : 5\r\n",
      "Transfer-Encoding : chunked\r\n",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding: chunked, chunked\r\n",
      "Transfer-Encoding: gzip, chunked\r\n",
      "Transfer-Encoding: identity\r\n",
      "Transfer-Encoding: chunked, identity\r\n",
      "Transfer-Encoding: xchunked\r\n",
      "Transfer-Encoding:\vchunked\r\n",
      "X: y\nContent-Length: 5\r\n",
      "X: y\rContent-Length: 5\r\n",
      "X: y\r\n z\r\n",
      " X: y\r\n",
      "X\r\n",
      ": y\r\n",
      "X y: z\r\n",
      std::string("X: y\0z\r\n", 8),
      "Host: other\r\n",
  };
  for (const std::string& head : heads) {
    for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{7}}) {
      const Parsed parsed = Parse("POST / HTTP/1.1\r\n" + kHost + head + "\r\n5\r\nhello\r\n0\r\n\r\n", piece);
      EXPECT_EQ(parsed.last, Step::kBroken) << head;
      EXPECT_EQ(parsed.status, 400) << head;
      EXPECT_EQ(parsed.body, "") << head;
    }
  }
}

TEST(Http1Parser, RefusesRequestLinesThatAreNone) {
  for (const std::string line :
       {"GET  / HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET /", "GET", "G(T / HTTP/1.1",
        "GET / a HTTP/1.1", "GET / http/1.1", "GET a HTTP/1.1", "GET * HTTP/1.1",
        "CONNECT a:80 HTTP/1.1", "GET ftp://a/ HTTP/1.1"}) {
    const Parsed parsed = Parse(line + "\r\n" + kHost + "\r\n");
    EXPECT_EQ(parsed.last, Step::kBroken) << line;
  }
  EXPECT_EQ(Parse("GET / HTTP/2.0\r\n" + kHost + "\r\n").status, 505);
  EXPECT_EQ(Parse("GET / HTTP/1.1\n" + kHost).status, 400);
  EXPECT_EQ(Parse("GET / HTTP/1.1\r\n\r\n").status, 400) << "without a host";
  EXPECT_EQ(Parse("GET / HTTP/1.0\r\n\r\n").last, Step::kEnd);
  EXPECT_EQ(Parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").status, 400);
  EXPECT_EQ(Parse("OPTIONS * HTTP/1.1\r\n" + kHost + "\r\n").last, Step::kEnd);
}

TEST(Http1Parser, AnAbsoluteTargetNamesTheHost) {
  EXPECT_EQ(Parse("GET http://a:1/b?c HTTP/1.1\r\n" + kHost + "\r\n").head,
            ":method=GET|:path=/b?c|:authority=a:1|");
  EXPECT_EQ(Parse("GET HTTP://a?c HTTP/1.1\r\n" + kHost + "\r\n").head,
            ":method=GET|:path=/?c|:authority=a|");
}

TEST(Http1Parser, RefusesChunksThatMakeNoSense) {
  const std::string head = "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n";
  for (const std::string body :
       {"x\r\n", "-1\r\nabc", "5\nhello\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n",
        "fffffffffffffffff\r\n", " 5\r\nhello\r\n", "5 x\r\nhello\r\n", "5;\r\nhello\r\n0\r\n\r\n",
        "0\r\nContent-Length: 5\r\n\r\n", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\nx\r\n\r\n",
        "\r\n\r\n\r\n", "5;a=\"\r\nhello\r\n0\r\n\r\n"}) {
    for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{2}, size_t{3}}) {
      // What only waits for more is ended by the size of a chunk's head.
      const Parsed parsed = Parse(head + body + std::string(kHttp1ChunkHeadBytesMax, 'z'), piece);
      EXPECT_EQ(parsed.last, Step::kBroken) << body << ' ' << piece;
    }
  }
}

// Beast asserts that five bytes are there when it looks at the last chunk again.
TEST(Http1Parser, TheLastChunkMayComeByteByByte) {
  const std::string head = "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n";
  for (const std::string body : {"0\r\n\r\n", "1\r\nx\r\n0\r\n\r\n", "000\r\na: b\r\n\r\n"}) {
    for (const size_t piece : {1, 2, 3, 4}) {
      EXPECT_EQ(Parse(head + body, piece).last, Step::kEnd) << body << ' ' << piece;
    }
  }
}

TEST(Http1Parser, BoundsWhatItIsGiven) {
  const std::string line = "GET / HTTP/1.1\r\n" + kHost;
  EXPECT_EQ(Parse(line + "X: " + std::string(kHttp1HeadBytesMax, 'x')).status, 431);
  EXPECT_EQ(Parse(line + "X: " + std::string(kHttp1HeadBytesMax, 'x'), 1000).status, 431);
  EXPECT_EQ(Parse(line + "X: " + std::string(kHttp1HeadBytesMax, 'x') + "\r\n\r\n").status, 431);
  std::string many = line;
  for (size_t i = 0; i < kHttp1FieldsMax; ++i) many += "X: y\r\n";
  EXPECT_EQ(Parse(many + "\r\n").status, 431);
  EXPECT_EQ(Parse(std::string(2 * kHttp1HeadBytesMax, 'x')).status, 431);
  EXPECT_EQ(Parse(line + "X: " + std::string(kHttp1HeadBytesMax - 100, 'x') + "\r\n\r\n").last,
            Step::kEnd);
  const std::string chunked = "POST / HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(Parse(chunked + "5;" + std::string(kHttp1ChunkHeadBytesMax, 'x'), 100).status, 400);
  EXPECT_EQ(Parse(chunked + "0\r\nx: " + std::string(kHttp1ChunkHeadBytesMax, 'x'), 100).status, 400);
  // Blank lines, too.
  std::string blank;
  for (size_t i = 0; i < kHttp1BlankBytesMax; ++i) blank += "\r\n";
  EXPECT_EQ(Parse(blank + line + "\r\n").last, Step::kBroken);
}

}  // namespace
}  // namespace lever::gateway
