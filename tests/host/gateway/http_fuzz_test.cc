// Broken requests of HTTP/1.1: each is answered or cut off, none crashes, hangs or leaves anything.
#include <cstdlib>
#include <random>

#include "tests/host/gateway/http_client.h"

namespace lever::gateway {
namespace {

constexpr int kRequests = 10'000;

const char* const kSeeds[] = {
    "POST /hello/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n[\"Ann\",5]",
    "POST /hello/echo?env=dev.lever HTTP/1.1\r\nHost: 127.0.0.1:80\r\nTransfer-Encoding: "
    "chunked\r\nContent-Type: application/json\r\n\r\n3;a=b\r\n[1,\r\n2\r\n2]\r\n0\r\nx: y\r\n\r\n",
    "POST /hello/echoChan HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
    "content-type: application/x-ndjson\r\n\r\n3\r\n[]\n\r\n4\r\n1\n2\n\r\n0\r\n\r\n",
    "POST /hello/fail HTTP/1.1\r\nhost: localhost\r\nlever-timeout: 1s\r\nexpect: 100-continue\r\n"
    "content-length: 4\r\nconnection: keep-alive\r\n\r\n[{}]",
    "GET /-/healthz HTTP/1.1\r\nhost: localhost\r\n\r\nHEAD /-/readyz HTTP/1.0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n\r\n",
};
const char* const kPieces[] = {"\r\n",
                               "\n",
                               "\r",
                               "\r\n\r\n",
                               " ",
                               "\t",
                               ":",
                               "0\r\n\r\n",
                               "ffffffffffffffff",
                               "content-length: 5\r\n",
                               "transfer-encoding: chunked\r\n",
                               "host: x\r\n",
                               "connection: close\r\n",
                               "expect: 100-continue\r\n",
                               "HTTP/1.1",
                               "%00",
                               "?env=",
                               "[",
                               "{\"$error\":1}\n",
                               "\x16\x03",
                               "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};

class HttpFuzzTest : public HttpTest {
 protected:
  std::string Mutate(std::mt19937_64& random) {
    const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
    std::string text = kSeeds[below(std::size(kSeeds))];
    if (below(3) == 0) text += kSeeds[below(std::size(kSeeds))];
    for (size_t count = 1 + below(4); count > 0; --count) {
      const size_t at = below(text.size());
      switch (below(6)) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + below(8)); break;
        case 2: text.insert(at, kPieces[below(std::size(kPieces))]); break;
        case 3: text.insert(at, text.substr(below(text.size()), below(40))); break;
        case 4: text.insert(at, std::string(below(3000), static_cast<char>(random()))); break;
        case 5: text.resize(at); break;
      }
      if (text.empty()) text = "x";
    }
    return text;
  }
};

TEST_F(HttpFuzzTest, TenThousandMutatedRequestsNeitherCrashNorHang) {
  TestInstance& instance = Serve();
  const char* given = std::getenv("LEVER_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 20'240'229;
  std::mt19937_64 random(seed);
  std::map<int, int> statuses;
  for (int i = 0; i < kRequests; ++i) {
    const std::string text = Mutate(random);
    SCOPED_TRACE("LEVER_SEED=" + std::to_string(seed) + " request " + std::to_string(i) + ": " + text);
    auto pair = SocketPair(SOCK_STREAM);
    ASSERT_TRUE(pair.ok());
    Do([&] { front->Take(std::move(pair->second)); });
    RawClient client(std::move(pair->first));
    // In one piece, or in two.
    const size_t cut = random() % 3 == 0 ? random() % text.size() : text.size();
    client.Send(text.substr(0, cut));
    Settle();
    client.Send(text.substr(cut));
    Settle();
    client.Pull();
    ++statuses[client.Next().status];
    // Then it goes, or half goes, or waits for whatever the host waits for.
    if (random() % 2 == 0) client.Shutdown();
    Settle();
    client.Pull();
    client.Close();
    ASSERT_TRUE(Until([&] { return front->connections() == 0; }));
  }
  // The fuzz reaches both what is served and what is refused.
  EXPECT_GT(statuses[200], kRequests / 20);
  EXPECT_GT(statuses[400], kRequests / 20);
  EXPECT_GT(instance.calls, 0);
  ASSERT_TRUE(Until([&] { return instance.open.empty(); }));
  EXPECT_EQ(router->held(), 0u);
  EXPECT_EQ(Post(Version::kHttp1, "/hello/echo", "[1]").body, "[1]");
}

}  // namespace
}  // namespace lever::gateway
