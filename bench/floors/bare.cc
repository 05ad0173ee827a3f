// The floors below any protocol: what sockets alone cost.
//
//   bare echo ADDRESS     a server that sends back what it reads; epoll, one thread
//   bare sink ADDRESS     a server that reads to the end and answers with one byte; blocking recv()
//   bare http ADDRESS     a server that answers each HTTP/1.1 request with its own body; epoll, keep-alive
//   bare client ADDRESS   `unary SECONDS 1` against echo: epoll, read, write; 32 bytes, one at a time
//                         `bytes SECONDS` against sink: blocking send() of 64 KiB
//   bare http-client ADDRESS PATH BODY   `unary SECONDS OUTSTANDING`: keep-alive connections, one request on
//                         each at a time
#include <fcntl.h>
#include <sys/epoll.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bench/common/load.h"
#include "bench/common/sockets.h"

namespace {

using lever::bench::Command;
using lever::bench::Commands;
using lever::bench::Die;
using lever::bench::kSecondNs;
using lever::bench::NowNs;

void Watch(int epoll, int socket) {
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = socket;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
}

// What comes in is small here, and the sockets' buffers take it.
void SendAll(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return;
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

// Accepts, reads, and hands each connection's bytes to `on_bytes(socket, bytes)`.
template <typename OnBytes, typename OnEnd>
[[noreturn]] void ServeEpoll(const std::string& address, OnBytes on_bytes, OnEnd on_end) {
  const int listener = lever::bench::ListenOn(address);
  lever::bench::ExitWithInput();
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  Watch(epoll, listener);
  std::vector<char> buffer(64 * 1024);
  for (;;) {
    epoll_event events[64];
    const int count = ::epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      const int socket = events[i].data.fd;
      if (socket == listener) {
        const int accepted = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (accepted < 0) continue;
        if (!address.starts_with("unix:")) lever::bench::NoDelay(accepted);
        Watch(epoll, accepted);
        continue;
      }
      const ssize_t size = ::recv(socket, buffer.data(), buffer.size(), 0);
      if (size > 0) {
        on_bytes(socket, std::string_view(buffer.data(), static_cast<size_t>(size)));
      } else if (size == 0 || errno != EAGAIN) {
        on_end(socket);
        ::close(socket);
      }
    }
  }
}

[[noreturn]] void ServeSink(const std::string& address) {
  const int listener = lever::bench::ListenOn(address);
  lever::bench::ExitWithInput();
  std::vector<char> buffer(lever::bench::kLargeBytes);
  for (;;) {
    const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    while (::recv(socket, buffer.data(), buffer.size(), 0) > 0) {
    }
    SendAll(socket, "!");
    ::close(socket);
  }
}

// The size of the head and of the body of the first message in `bytes`; a head of 0 is not complete yet.
struct HttpSizes {
  size_t head = 0;
  size_t body = 0;
};
HttpSizes ReadHead(std::string_view bytes) {
  const size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return {};
  HttpSizes sizes{end + 4, 0};
  const std::string_view head = bytes.substr(0, end);
  for (const std::string_view name : {"\r\ncontent-length: ", "\r\nContent-Length: "}) {
    const size_t at = head.find(name);
    if (at != std::string_view::npos) {
      sizes.body = std::strtoul(std::string(head.substr(at + name.size(), 12)).c_str(), nullptr, 10);
    }
  }
  return sizes;
}

[[noreturn]] void ServeHttp(const std::string& address) {
  std::unordered_map<int, std::string> inputs;
  ServeEpoll(
      address,
      [&](int socket, std::string_view bytes) {
        std::string& input = inputs[socket];
        input.append(bytes);
        std::string reply;
        for (;;) {
          const HttpSizes sizes = ReadHead(input);
          if (sizes.head == 0 || input.size() < sizes.head + sizes.body) break;
          reply += "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " +
                   std::to_string(sizes.body) + "\r\n\r\n" + input.substr(sizes.head, sizes.body);
          input.erase(0, sizes.head + sizes.body);
        }
        SendAll(socket, reply);
      },
      [&](int socket) { inputs.erase(socket); });
}

// One at a time, as the simplest client that does not block a thread on a socket would.
void RunEcho(int socket, const Command& command) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  Watch(epoll, socket);
  lever::bench::Latencies latencies;
  uint64_t calls = 0;
  char bytes[lever::bench::kUnaryBytes] = {};
  const int64_t began_ns = NowNs();
  const int64_t end_ns = began_ns + static_cast<int64_t>(command.seconds * kSecondNs);
  for (int64_t now_ns = began_ns; now_ns < end_ns;) {
    if (::send(socket, bytes, sizeof(bytes), MSG_NOSIGNAL) != sizeof(bytes)) Die("short send");
    for (size_t received = 0; received < sizeof(bytes);) {
      epoll_event event{};
      ::epoll_wait(epoll, &event, 1, -1);
      const ssize_t size = ::recv(socket, bytes, sizeof(bytes), 0);
      if (size <= 0) Die("the echo ended");
      received += static_cast<size_t>(size);
    }
    const int64_t done_ns = NowNs();
    latencies.Add(done_ns - now_ns);
    now_ns = done_ns;
    ++calls;
  }
  ::close(epoll);
  lever::bench::AnswerCalls(calls, 0, NowNs() - began_ns, latencies);
}

void RunSend(const std::string& address, const Command& command) {
  const int socket = lever::bench::ConnectTo(address);
  const std::vector<char> bytes(lever::bench::kLargeBytes);
  const int64_t began_ns = NowNs();
  const int64_t end_ns = began_ns + static_cast<int64_t>(command.seconds * kSecondNs);
  uint64_t sent = 0;
  while (NowNs() < end_ns) {
    SendAll(socket, std::string_view(bytes.data(), bytes.size()));
    ++sent;
  }
  ::shutdown(socket, SHUT_WR);
  char byte;
  const bool confirmed = ::recv(socket, &byte, 1, 0) == 1;
  ::close(socket);
  lever::bench::AnswerMessages(sent, confirmed ? 0 : 1, NowNs() - began_ns);
}

class HttpLoad {
 public:
  HttpLoad(std::string address, const std::string& path, const std::string& body)
      : address_(std::move(address)),
        request_("POST " + path + " HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                 "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + body) {}

  void Run(const Command& command) {
    while (connections_.size() < command.count) Add();
    lever::bench::Latencies latencies;
    uint64_t calls = 0, errors = 0;
    const int64_t began_ns = NowNs();
    const int64_t end_ns = began_ns + static_cast<int64_t>(command.seconds * kSecondNs);
    size_t in_flight = command.count;
    for (size_t i = 0; i < command.count; ++i) Start(*connections_[i]);
    while (in_flight > 0) {
      epoll_event events[64];
      const int count = ::epoll_wait(epoll_, events, 64, -1);
      for (int i = 0; i < count; ++i) {
        auto& connection = *static_cast<Connection*>(events[i].data.ptr);
        char piece[4096];
        const ssize_t size = ::recv(connection.socket, piece, sizeof(piece), 0);
        if (size <= 0) Die("a connection ended");
        connection.input.append(piece, static_cast<size_t>(size));
        const HttpSizes sizes = ReadHead(connection.input);
        if (sizes.head == 0 || connection.input.size() < sizes.head + sizes.body) continue;
        const int64_t now_ns = NowNs();
        latencies.Add(now_ns - connection.started_ns);
        ++calls;
        if (!connection.input.starts_with("HTTP/1.1 200") && errors++ == 0) {
          std::fprintf(stderr, "%s\n", connection.input.c_str());
        }
        connection.input.clear();
        if (now_ns < end_ns) {
          Start(connection);
        } else {
          --in_flight;
        }
      }
    }
    lever::bench::AnswerCalls(calls, errors, NowNs() - began_ns, latencies);
  }

 private:
  struct Connection {
    int socket = -1;
    int64_t started_ns = 0;
    std::string input;
  };
  void Add() {
    auto& connection = *connections_.emplace_back(std::make_unique<Connection>());
    connection.socket = lever::bench::ConnectTo(address_);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &connection;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.socket, &event);
  }
  void Start(Connection& connection) {
    connection.started_ns = NowNs();
    SendAll(connection.socket, request_);
  }

  const std::string address_;
  const std::string request_;
  const int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<std::unique_ptr<Connection>> connections_;
};

int RunClient(const std::string& address) {
  int socket = -1;
  Commands commands;
  Commands::Ready();
  Command command;
  while (commands.Next(&command)) {
    if (command.verb == "unary") {
      if (socket < 0) socket = lever::bench::ConnectTo(address);
      RunEcho(socket, command);
    } else if (command.verb == "bytes") {
      RunSend(address, command);
    } else {
      Die("unknown command: " + command.verb);
    }
  }
  return 0;
}

int RunHttpClient(const std::string& address, const std::string& path, const std::string& body) {
  HttpLoad load(address, path, body);
  Commands commands;
  Commands::Ready();
  Command command;
  while (commands.Next(&command)) load.Run(command);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  if (mode == "echo") {
    ServeEpoll(argv[2], SendAll, [](int) {});
  } else if (mode == "sink") {
    ServeSink(argv[2]);
  } else if (mode == "http") {
    ServeHttp(argv[2]);
  } else if (mode == "client") {
    return RunClient(argv[2]);
  } else if (mode == "http-client" && argc == 5) {
    return RunHttpClient(argv[2], argv[3], argv[4]);
  }
  Die("usage: bare echo|sink|http|client ADDRESS, bare http-client ADDRESS PATH BODY");
}
