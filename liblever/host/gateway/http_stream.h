// A POST to a streaming method: lines of JSON in, lines of JSON out, both at the same time.
//
// Threads: those of its loop. It owns itself until its exchange has closed and its call has ended.
//
// Invariants
//  1. The first line is the array of arguments; the method is called when it is whole. A line of
//     white space is no message, and a body without a line means no arguments.
//  2. Back-pressure is passed on both ways: the body is consumed only while the instance takes what
//     it says (a line that is coming in counts as taken, up to kHttpBodyBytesMax), and the instance
//     gets credit for a message only while the reply's queue has room.
//  3. Once the reply's head is out (the method has begun), trouble is the last line of the body.
//  4. A client that goes cancels the call.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_STREAM_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_STREAM_H_

#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/loop.h"
#include "liblever/host/gateway/http_call.h"
#include "liblever/host/gateway/http_context.h"
#include "liblever/host/gateway/http_exchange.h"
#include "liblever/host/gateway/http_request.h"

namespace lever::gateway {

class HttpStream final : private HttpHandler, private HttpCallHandler, private Timer {
 public:
  // Takes over the exchange.
  static void Serve(std::shared_ptr<HttpContext> context, HttpExchange& exchange,
                    MethodRequest request);

 private:
  HttpStream(std::shared_ptr<HttpContext> context, HttpExchange& exchange, MethodRequest request);
  ~HttpStream() override;

  void OnBody(std::string_view data) override;
  void OnBodyEnd() override;
  void OnWritable() override;
  void OnClosed() override;
  void OnTimer() override;
  void OnCallReady() override { TakeLines(); }
  void OnCallHeaders() override { SendHead(); }
  void OnCallMessage(route::Envelope message) override;
  void OnCallWritable() override { TakeLines(); }
  void OnCallEnd(const Status& status) override;

  void TakeLines();
  // Whether there was a line to take.
  bool TakeLine();
  void OnLine(std::string_view line);
  void StartCall(std::string arguments);
  void SendHead();
  // Ends the reply, with trouble unless OK; the call is left to end by itself. `http_status` is
  // that of the code where it is 0, and counts only before the head.
  void EndReply(const Status& status, int http_status = 0);
  // What the client sent cannot be passed on.
  void Fail(const Status& status, int http_status = 0);
  void DeleteIfDone();

  std::shared_ptr<HttpContext> context_;
  HttpExchange* exchange_;  // null once closed
  MethodRequest request_;
  HttpCall call_;
  std::string input_;        // what of the body was not taken yet, and behind it what was
  size_t taken_ = 0;         // of input_
  size_t searched_ = 0;      // of input_, for the end of a line
  size_t unconsumed_ = 0;    // of the body
  size_t held_bytes_ = 0;    // of the context's
  bool taking_ = false;
  bool body_ended_ = false;
  bool started_ = false;     // the call
  bool send_closed_ = false;
  bool head_sent_ = false;
  bool ended_ = false;       // the reply
  bool owes_credit_ = false;
};

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_STREAM_H_
