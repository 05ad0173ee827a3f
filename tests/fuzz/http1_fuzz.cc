// HTTP/1.1 in: the parser, whole and in pieces; and connections of a gateway with a real service
// behind it, whose replies must be replies.
#include <gtest/gtest.h>

#include <vector>

#include "liblever/host/gateway/http1_parser.h"
#include "liblever/host/gateway/http_limits.h"
#include "tests/fuzz/fuzz.h"
#include "tests/host/gateway/http_client.h"

namespace lever::gateway {
namespace {

// ---- The parser ----

// What a reader of a connection has understood.
struct Understood {
  struct Request {
    std::vector<std::pair<std::string, std::string>> head;
    std::string body;
    bool keep_alive = false;
    bool operator==(const Request&) const = default;
  };
  std::vector<Request> whole;
  bool begun = false;   // another one, which is not whole
  bool broken = false;  // what follows makes no sense
};

void CheckHead(const rpc::HeaderList& head) {
  const size_t last = head.size() - 1;
  FUZZ_CHECK(head.size() >= 3 && head.size() <= kHttp1FieldsMax + 3, std::to_string(head.size()));
  FUZZ_CHECK(head.AccountedBytes() <= kHttp1HeadBytesMax + 32 * (kHttp1FieldsMax + 4),
             "a large head");
  FUZZ_CHECK(head[0].name == ":method" && head[1].name == ":path", "another order");
  FUZZ_CHECK(head[last].name == ":authority", "another order");
  for (size_t i = 0; i <= last; ++i) {
    const rpc::HeaderView field = head[i];
    const std::string name(field.name);
    if (i > 1 && i < last) FUZZ_CHECK(!name.empty() && name[0] != ':' && name != "host", name);
    for (const char c : name) FUZZ_CHECK(c > 0x20 && c < 0x7f && (c < 'A' || c > 'Z'), name);
    FUZZ_CHECK(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos,
               name);
  }
  FUZZ_CHECK(head[1].value.starts_with('/') || head[1].value == "*", std::string(head[1].value));
}

// Reads `input` as it comes in pieces whose sizes follow from `cuts`.
Understood Read(std::string_view input, uint32_t cuts) {
  Understood understood;
  Understood::Request request;
  Http1Parser parser;
  std::string buffer;
  for (const Slice& piece : fuzz::InSlices(input, cuts)) {
    buffer.append(piece.view());
    for (bool more = true; more;) {
      const Http1Parser::Result result = parser.Next(buffer);
      FUZZ_CHECK(result.taken <= buffer.size(), std::to_string(result.taken));
      switch (result.step) {
        case Http1Parser::Step::kNeedMore:
          more = false;
          break;
        case Http1Parser::Step::kHead:
          CheckHead(parser.head());
          for (size_t i = 0; i < parser.head().size(); ++i) {
            request.head.emplace_back(parser.head()[i].name, parser.head()[i].value);
          }
          request.keep_alive = parser.keep_alive();
          break;
        case Http1Parser::Step::kBody:
          FUZZ_CHECK(!parser.body().empty() && parser.has_body(), "an empty piece");
          request.body += parser.body();
          break;
        case Http1Parser::Step::kEnd:
          understood.whole.push_back(std::exchange(request, {}));
          parser.Reset();
          break;
        case Http1Parser::Step::kBroken:
          FUZZ_CHECK(!parser.error().ok(), "broken, and no error");
          FUZZ_CHECK(parser.error_http_status() >= 400 && parser.error_http_status() < 600,
                     std::to_string(parser.error_http_status()));
          understood.broken = true;
          return understood;
      }
      buffer.erase(0, result.taken);
    }
  }
  understood.begun = parser.begun() || !request.head.empty();
  return understood;
}

void CheckParser(std::string_view input, uint32_t cuts) {
  const Understood whole = Read(input, 0);
  for (const uint32_t how : {cuts, cuts * 77 + 1}) {
    const Understood pieces = Read(input, how);
    FUZZ_CHECK(pieces.whole == whole.whole, std::to_string(pieces.whole.size()) +
                                                " requests in pieces, " +
                                                std::to_string(whole.whole.size()) + " in one");
    FUZZ_CHECK(pieces.broken == whole.broken, std::string(input));
  }
}

// ---- The connection ----

class Gateway final : public HttpTest {
 public:
  Gateway() : instance_(&Serve()) {}
  void Run(fuzz::Input input);

 private:
  void TestBody() override {}
  void CheckReplies(RawClient* client, size_t requests, bool may_be_cut);

  TestInstance* instance_;
  uint32_t inputs_ = 0;
};

// `may_be_cut`: the client went, or the last reply is a stream that broke off.
void Gateway::CheckReplies(RawClient* client, size_t requests, bool may_be_cut) {
  size_t replies = 0;
  for (;;) {
    const Response response = client->Next();
    if (response.status == 0 && client->received().empty()) break;
    if (response.status == 100) break;  // and the reply to follow
    if (!response.whole) {
      FUZZ_CHECK(may_be_cut || response.fields.contains("transfer-encoding"), client->received());
      break;
    }
    FUZZ_CHECK(response.status >= 200 && response.status < 600, std::to_string(response.status));
    ++replies;
  }
  FUZZ_CHECK(replies <= requests + 1,
             std::to_string(replies) + " replies to " + std::to_string(requests));
}

void Gateway::Run(fuzz::Input input) {
  const uint8_t how = input.Byte();
  const uint32_t cuts = input.Byte();
  const std::string text(input.Rest());
  const Understood understood = Read(text, 0);
  auto pair = SocketPair(SOCK_STREAM);
  FUZZ_CHECK(pair.ok(), "no sockets");
  Do([&] { front->Take(std::move(pair->second)); });
  RawClient client(std::move(pair->first));
  for (const Slice& piece : fuzz::InSlices(text, (how & 1) != 0 ? 0 : cuts)) {
    client.Send(piece.view());
    if ((how & 2) != 0) Settle();
  }
  Settle();
  // Then it goes, or half goes, or waits until the host is tired of it.
  if ((how & 12) == 4) client.Shutdown();
  if ((how & 12) == 8) {
    for (int minutes = 0; minutes < 3 && front->connections() > 0; ++minutes) {
      Advance(60 * kNanosPerSecond);
      client.Pull();
    }
  }
  Settle();
  const bool ended = client.Pull();
  // HTTP/2; a body without a size, or a HEAD that is answered as any other, whose end is not seen.
  const bool other = text.starts_with("PRI") || text.find("HEAD") != std::string::npos ||
                     text.find("1.0") != std::string::npos;
  if (!other) CheckReplies(&client, understood.whole.size() + (understood.begun ? 1 : 0), !ended);
  client.Close();
  FUZZ_CHECK(Until([&] { return front->connections() == 0; }), "a connection is left");
  Settle();
  FUZZ_CHECK(router->held() == 0, "a call is held");
  FUZZ_CHECK(Until([&] { return instance_->open.empty() && instance_->hanging.empty(); }),
             "a call is left");
  instance_->ends.clear();
  if (++inputs_ % 256 == 0) {
    FUZZ_CHECK(Post(Version::kHttp1, "/hello/echo", "[1]").body == "[1]",
               "nothing is served any more");
  }
}

}  // namespace
}  // namespace lever::gateway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const gateway = [] {
    // What the fixture asserts ends the process, too.
    GTEST_FLAG_SET(break_on_failure, true);
    return new lever::gateway::Gateway();
  }();
  lever::fuzz::Input input(data, size);
  const uint8_t what = input.Byte();
  if (what % 2 == 0) {
    lever::gateway::CheckParser(input.Rest(), what / 2 + 1);
  } else {
    gateway->Run(input);
  }
  return 0;
}
