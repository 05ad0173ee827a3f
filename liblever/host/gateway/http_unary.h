// A POST to a unary method: the body, the call, the reply.
//
// Threads: those of its loop. It owns itself until its exchange has closed and its call has ended.
//
// Invariants
//  1. The method is called once the whole body has come and was found good: whatever is refused
//     before that surely did not run.
//  2. The deadline counts from the request's head, the time that the body takes included.
//  3. A client that goes cancels the call.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_UNARY_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_UNARY_H_

#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/loop.h"
#include "liblever/host/gateway/http_call.h"
#include "liblever/host/gateway/http_context.h"
#include "liblever/host/gateway/http_exchange.h"
#include "liblever/host/gateway/http_request.h"

namespace lever::gateway {

class HttpUnary final : private HttpHandler, private HttpCallHandler, private Timer {
 public:
  // Takes over the exchange.
  static void Serve(std::shared_ptr<HttpContext> context, HttpExchange& exchange,
                    MethodRequest request);

 private:
  HttpUnary(std::shared_ptr<HttpContext> context, HttpExchange& exchange, MethodRequest request);
  ~HttpUnary() override;

  void OnBody(std::string_view data) override;
  void OnBodyEnd() override;
  void OnClosed() override;
  void OnTimer() override;
  void OnCallMessage(route::Envelope message) override;
  void OnCallEnd(const Status& status) override;

  // The request's message, or why there is none.
  StatusOr<SliceList> ReadBody();
  void Refuse(int http_status, const Status& status);
  void Reply(const Status& status);
  void Hold(size_t bytes);
  void DeleteIfDone();

  std::shared_ptr<HttpContext> context_;
  HttpExchange* exchange_;  // null once closed
  MethodRequest request_;
  HttpCall call_;
  std::string body_;
  size_t held_bytes_ = 0;
  bool replied_ = false;
  bool has_answer_ = false;
  route::Envelope answer_;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_UNARY_H_
