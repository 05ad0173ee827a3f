// A program outside of Lever that serves HTTP/2 on a socket of its own, and what it saw.
#ifndef TESTS_HOST_GATEWAY_OUTSIDE_H_
#define TESTS_HOST_GATEWAY_OUTSIDE_H_

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "liblever/rpc/listener.h"
#include "tests/rpc/connection_fixture.h"

namespace lever::gateway {

class Outside {
 public:
  explicit Outside(Loop* loop) : loop_(loop) {}

  // On a port of the kernel's choice, or again on the one before.
  void Listen() {
    auto opened = rpc::Listener::Open(loop_, *rpc::Endpoint::Parse(address), {},
                                      [this](UniqueFd socket) { Take(std::move(socket)); });
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    listener = std::move(*opened);
    address = listener->bound().ToString();
  }
  size_t requests() const {
    size_t sum = 0;
    for (const rpc::TestEnd& end : ends) sum += end.requests.size();
    return sum;
  }
  rpc::TestStream& last() { return *ends.back().requests.back(); }

  // What is done with each request; `Reply` is the usual.
  rpc::TestStream::Hook on_request = Reply;
  // Answers with what came, and trailers, when the request has ended.
  static void Reply(rpc::TestStream& request, rpc::Stream&) {
    request.on_end = [](rpc::TestStream& asked, rpc::Stream& stream) {
      rpc::HeaderList headers;
      headers.Add(":status", "200");
      headers.Add("content-type", "application/grpc");
      headers.Add("x-initial", "first");
      stream.SendHeaders(headers);
      if (!asked.body.empty()) stream.Write(Slice::Copy(asked.body));
      rpc::HeaderList trailers;
      trailers.Add("grpc-status", "0");
      trailers.Add("x-trailing-bin", "AP8");
      stream.EndWithTrailers(trailers);
    };
  }
  static void RefuseStream(rpc::TestStream&, rpc::Stream& stream) {
    stream.Reset(rpc::kHttp2RefusedStream);
  }

  std::string address = "127.0.0.1:0";
  uint32_t streams_max = rpc::kStreamsPerConnectionMax;
  std::unique_ptr<rpc::Listener> listener;
  std::deque<rpc::TestEnd> ends;  // one a connection

 private:
  void Take(UniqueFd socket) {
    rpc::TestEnd& end = ends.emplace_back();
    end.on_request = [this](rpc::TestStream& request, rpc::Stream& stream) {
      on_request(request, stream);
    };
    rpc::ConnectionOptions options;
    options.streams_max = streams_max;
    end.connection = std::move(rpc::Connection::Open(loop_, std::move(socket), options, &end)).value();
  }

  Loop* loop_;
};

}  // namespace lever::gateway

#endif  // TESTS_HOST_GATEWAY_OUTSIDE_H_
