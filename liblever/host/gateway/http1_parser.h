// Reads one HTTP/1.1 request out of bytes as they come. Boost.Beast's parser does the reading; here
// are the rules that keep two readers of one connection from seeing two different requests (RFC
// 9112 sections 5, 6 and 11.2), and the bounds.
//
// What is refused beside what Beast refuses: a line that ends in a bare CR or LF, folded fields,
// more than one Content-Length, Host or Transfer-Encoding, a Transfer-Encoding other than `chunked`
// or together with Content-Length, a request of HTTP/1.1 without Host, one of HTTP/1.0 with
// Transfer-Encoding, and a target that is not a path.
//
// Not thread-safe.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP1_PARSER_H_
#define LIBLEVER_HOST_GATEWAY_HTTP1_PARSER_H_

#include <cstddef>
#include <memory>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/rpc/headers.h"

namespace lever::gateway {

class Http1Parser {
 public:
  enum class Step : unsigned char {
    kNeedMore,  // nothing can be done with the input before more of it has come
    kHead,      // head() is there
    kBody,      // body() is a piece of the body
    kEnd,       // the request is whole
    kBroken,    // error() says why; the connection cannot go on
  };
  struct Result {
    Step step;
    size_t taken;  // bytes of the input that are done with, whatever the step
  };

  Http1Parser();
  ~Http1Parser();

  // Ready for the next request, keeping memory.
  void Reset();

  // Looks at `input`, which begins where the last call's `taken` ended.
  Result Next(std::string_view input);

  // Whether a part of the head has come.
  bool begun() const;
  // ":method", ":path", the fields, names in small letters, and ":authority".
  const rpc::HeaderList& head() const;
  std::string_view body() const;  // within the input of the last Next()
  bool keep_alive() const;
  bool http_1_0() const;
  // Whether a body follows.
  bool has_body() const;
  const Status& error() const;
  int error_http_status() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP1_PARSER_H_
