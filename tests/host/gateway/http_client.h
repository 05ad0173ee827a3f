// HTTP clients of both versions that a test drives by hand: bytes over a socket, and streams of
// HTTP/2.
#ifndef TESTS_HOST_GATEWAY_HTTP_CLIENT_H_
#define TESTS_HOST_GATEWAY_HTTP_CLIENT_H_

#include <strings.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/rpc/connection.h"
#include "tests/host/gateway/gateway_fixture.h"

namespace lever::gateway {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct Response {
  int status = 0;
  std::map<std::string, std::string> fields;  // names in small letters
  std::string body;
  bool whole = false;
};

// The other end of an HTTP/1.1 connection.
class RawClient {
 public:
  explicit RawClient(UniqueFd socket) : socket_(std::move(socket)) {}

  // As much of what is to be sent as the socket takes; false once the peer is gone.
  bool Push() {
    while (!unsent_.empty()) {
      const ssize_t sent =
          ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0) return errno == EAGAIN;
      unsent_.erase(0, static_cast<size_t>(sent));
    }
    return true;
  }
  void Send(std::string_view bytes) {
    unsent_.append(bytes);
    Push();
  }
  size_t unsent() const { return unsent_.size(); }
  // Reads what there is, up to `max` bytes; true at the end of the peer's output.
  bool Pull(size_t max = SIZE_MAX) {
    Push();
    char buffer[16384];
    while (!ended_ && max > 0) {
      const ssize_t got =
          ::recv(socket_.get(), buffer, std::min(sizeof(buffer), max), MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) break;
      if (got <= 0) {
        ended_ = true;
        reset_ = got < 0;
        break;
      }
      max -= static_cast<size_t>(got);
      received_.append(buffer, static_cast<size_t>(got));
    }
    return ended_;
  }
  bool ended() const { return ended_; }
  bool reset() const { return reset_; }
  void Shutdown() { ::shutdown(socket_.get(), SHUT_WR); }
  void Close() { socket_.reset(); }
  int fd() const { return socket_.get(); }
  const std::string& received() const { return received_; }

  // The next response, taken off what was received; not whole if it is not there yet. 100 is
  // skipped.
  Response Next() {
    Response response;
    size_t begin = 0;
    size_t head = 0;
    do {
      begin = head;
      head = received_.find("\r\n\r\n", begin);
      if (head == std::string::npos) return response;
      head += 4;
      response.status = std::atoi(received_.c_str() + begin + 9);
      if (response.status == 100) ++continues_;
    } while (response.status == 100);
    ParseFields(received_.substr(begin, head - begin), &response);
    size_t at = head;
    if (response.fields.contains("content-length")) {
      const size_t size = std::stoul(response.fields["content-length"]);
      response.whole = headless_ || received_.size() - at >= size;
      if (!headless_ && response.whole) {
        response.body = received_.substr(at, size);
        at += size;
      }
    } else if (response.fields["transfer-encoding"] == "chunked") {
      response.whole = ParseChunks(&at, &response.body);
    } else {
      response.whole = response.status == 204 || ended_;
      if (response.status != 204) {
        response.body = received_.substr(at);
        at = received_.size();
      }
    }
    if (response.whole) received_.erase(0, at);
    return response;
  }
  void ExpectNoBody() { headless_ = true; }
  int continues() const { return continues_; }

 private:
  static void ParseFields(const std::string& head, Response* response) {
    size_t line = head.find("\r\n") + 2;
    while (line < head.size() - 2) {
      const size_t end = head.find("\r\n", line);
      const size_t colon = head.find(": ", line);
      response->fields[head.substr(line, colon - line)] = head.substr(colon + 2, end - colon - 2);
      line = end + 2;
    }
  }
  bool ParseChunks(size_t* at, std::string* body) {
    for (;;) {
      const size_t line = received_.find("\r\n", *at);
      if (line == std::string::npos) return false;
      const size_t size = std::strtoul(received_.c_str() + *at, nullptr, 16);
      if (received_.size() < line + 2 + size + 2) return false;
      body->append(received_, line + 2, size);
      *at = line + 2 + size + 2;
      if (size == 0) return true;
    }
  }

  UniqueFd socket_;
  std::string unsent_;
  std::string received_;
  bool ended_ = false;
  bool reset_ = false;
  bool headless_ = false;
  int continues_ = 0;
};

// One request over HTTP/2.
class H2Request final : public rpc::StreamHandler {
 public:
  void OnHeaders(rpc::Stream& stream) override {
    response.status = std::atoi(std::string(*stream.headers().Find(":status")).c_str());
    for (size_t i = 0; i < stream.headers().size(); ++i) {
      response.fields[std::string(stream.headers()[i].name)] = stream.headers()[i].value;
    }
  }
  void OnData(rpc::Stream& stream, Slice data) override {
    response.body.append(data.view());
    if (reads) {
      stream.Consume(data.size());
    } else {
      unread += data.size();
    }
  }
  void OnRemoteEnd(rpc::Stream& stream) override {
    response.whole = true;
    for (size_t i = 0; i < stream.trailers().size(); ++i) {
      response.fields[std::string(stream.trailers()[i].name)] = stream.trailers()[i].value;
    }
  }
  void OnClosed(rpc::Stream&, const rpc::StreamClose& close) override {
    stream = nullptr;
    error_code = close.error_code;
  }
  void ReadOn() {
    reads = true;
    if (stream != nullptr) stream->Consume(std::exchange(unread, 0));
  }

  rpc::Stream* stream = nullptr;
  Response response;
  uint32_t error_code = 0;
  bool reads = true;
  size_t unread = 0;
};

class H2Client final : public rpc::ConnectionHandler {
 public:
  H2Client(Loop* loop, UniqueFd socket) {
    rpc::ConnectionOptions options;
    options.role = rpc::Role::kClient;
    connection =
        std::move(rpc::Connection::Open(loop, std::move(socket), options, this)).value();
  }
  void OnRequest(rpc::Stream&) override {}
  void OnClosed(rpc::Connection&, const Status& status) override { closed = true; }

  H2Request& Start(std::string_view verb, std::string_view path, const Fields& fields) {
    H2Request& request = requests.emplace_back();
    rpc::HeaderList headers;
    headers.Add(":method", verb);
    headers.Add(":scheme", "http");
    headers.Add(":path", path);
    bool host = false;
    for (const auto& [name, value] : fields) host = host || name == "host";
    if (!host) headers.Add(":authority", "localhost:8080");
    for (const auto& [name, value] : fields) {
      headers.Add(name == "host" ? ":authority" : name, value);
    }
    request.stream = connection->StartStream(headers, rpc::Stream::End::kNo, &request);
    return request;
  }

  bool closed = false;
  std::deque<H2Request> requests;
  std::unique_ptr<rpc::Connection> connection;  // closes them when it goes
};

enum class Version : uint8_t { kHttp1, kHttp2 };

inline std::string Http1Request(std::string_view verb, std::string_view path, const Fields& fields,
                                std::string_view body) {
  std::string text(verb);
  text.append(" ").append(path).append(" HTTP/1.1\r\n");
  bool host = false;
  bool framed = body.empty();
  for (const auto& [name, value] : fields) {
    host = host || name == "host";
    framed = framed || name == "transfer-encoding" || name == "content-length";
    text.append(name).append(": ").append(value).append("\r\n");
  }
  if (!host) text.append("host: localhost:8080\r\n");
  if (!framed) text.append("content-length: " + std::to_string(body.size()) + "\r\n");
  return text.append("\r\n").append(body);
}

class HttpTest : public GatewayTest {
 protected:
  ~HttpTest() override {
    Do([&] { h2_.clear(); });
  }
  // A request on a connection of its own.
  Response Ask(Version version, std::string_view verb, std::string_view path,
               const Fields& fields = {}, std::string_view body = {}) {
    if (version == Version::kHttp1) {
      RawClient client(Connect());
      if (verb == "HEAD") client.ExpectNoBody();
      client.Send(Http1Request(verb, path, fields, body));
      return Answer(client);
    }
    H2Client& client = OpenH2();
    H2Request* request = nullptr;
    Do([&] {
      request = &client.Start(verb, path, fields);
      if (!body.empty()) request->stream->Write(Slice::Copy(body));
      request->stream->EndWrite();
    });
    EXPECT_TRUE(Until([&] { return request->stream == nullptr; }));
    return request->response;
  }
  Response Post(Version version, std::string_view path, std::string_view body,
                Fields fields = {{"content-type", "application/json"}}) {
    return Ask(version, "POST", path, fields, body);
  }
  Response Answer(RawClient& client) {
    Response response;
    EXPECT_TRUE(Until([&] {
      client.Pull();
      response = client.Next();
      return response.whole || client.ended();
    }));
    return response;
  }
  H2Client& OpenH2() {
    UniqueFd socket = Connect();
    Do([&] { h2_.push_back(std::make_unique<H2Client>(loop.get(), std::move(socket))); });
    return *h2_.back();
  }

 private:
  std::deque<std::unique_ptr<H2Client>> h2_;
};

}  // namespace lever::gateway

#endif  // TESTS_HOST_GATEWAY_HTTP_CLIENT_H_
