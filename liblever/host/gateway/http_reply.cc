#include "liblever/host/gateway/http_reply.h"

#include <time.h>

#include <array>
#include <cstdio>
#include <utility>

#include "liblever/host/gateway/grpc_reply.h"
#include "liblever/value/json.h"
#include "liblever/value/utf8.h"

namespace lever::gateway {
namespace {

class Ignoring final : public HttpHandler {
 public:
  void OnBody(std::string_view data) override {}
  void OnBodyEnd() override {}
  void OnClosed() override {}
};

// What a service wrote may be in a message: bytes that are no UTF-8 become question marks.
std::string CleanUtf8(std::string_view text) {
  std::string clean(text);
  if (value::IsUtf8(clean)) return clean;
  for (char& c : clean) {
    if (static_cast<uint8_t>(c) >= 0x80) c = '?';
  }
  return clean;
}

void AppendError(const Status& status, std::string* out) {
  out->append("{\"code\":");
  value::AppendJsonString(StatusName(status.code()), out);
  out->append(",\"message\":");
  value::AppendJsonString(CleanUtf8(status.message()), out);
  out->append(",\"executed\":");
  value::AppendJsonString(status.executed() == LEVER_EXECUTED_NO ? "no" : "unknown", out);
  out->append("}");
}

}  // namespace

HttpHandler* IgnoreBody() {
  static Ignoring ignoring;  // stateless, so that all exchanges may share it
  return &ignoring;
}

int HttpStatusOf(const Status& status) {
  if (status.code() == LEVER_UNAVAILABLE && status.executed() != LEVER_EXECUTED_NO) return 502;
  return StatusToHttp(status.code());
}

std::string ErrorBody(const Status& status) {
  std::string body("{\"error\":");
  AppendError(status, &body);
  body.append("}");
  return body;
}

std::string ErrorLine(const Status& status) {
  std::string line("{\"$error\":");
  AppendError(status, &line);
  line.append("}\n");
  return line;
}

std::string MethodErrorLine(std::string_view value_json) {
  std::string line("{\"$error\":{\"value\":");
  line.append(value_json).append("}}\n");
  return line;
}

void SendWhole(HttpExchange& exchange, int status, std::string_view content_type, Slice body,
               const rpc::HeaderList& extra) {
  HttpHead head;
  head.status = status;
  if (!content_type.empty()) head.fields.Add("content-type", content_type);
  for (size_t i = 0; i < extra.size(); ++i) head.fields.Add(extra[i].name, extra[i].value);
  // 204 has no body, and says nothing of its size (RFC 9110 section 8.6).
  if (status != 204) head.content_length = body.size();
  exchange.SendHead(head);
  const bool head_only = exchange.request().Find(":method") == "HEAD";
  if (!body.empty() && !head_only) exchange.Write(std::move(body));
  exchange.End();
}

void SendError(HttpExchange& exchange, const Status& status, const rpc::HeaderList& extra) {
  SendError(exchange, HttpStatusOf(status), status, extra);
}

void SendError(HttpExchange& exchange, int http_status, const Status& status,
               const rpc::HeaderList& extra) {
  if (http_status != 503 && http_status != 429) {
    SendWhole(exchange, http_status, kTypeJson, Slice::Copy(ErrorBody(status)), extra);
    return;
  }
  rpc::HeaderList fields = extra;
  if (status.executed() == LEVER_EXECUTED_NO) {
    fields.Add("retry-after", std::to_string(kRetryAfterSeconds));
  }
  SendWhole(exchange, http_status, kTypeJson, Slice::Copy(ErrorBody(status)), fields);
}

std::string_view HttpDate() {
  thread_local time_t last = 0;
  thread_local std::array<char, 32> text{};
  const time_t now = ::time(nullptr);
  if (now != last) {
    static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    tm parts{};
    ::gmtime_r(&now, &parts);
    std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                  kDays[parts.tm_wday % 7], parts.tm_mday % 100, kMonths[parts.tm_mon % 12],
                  (parts.tm_year + 1900) % 10000, parts.tm_hour % 100, parts.tm_min % 100,
                  parts.tm_sec % 100);
    last = now;
  }
  return text.data();
}

std::string_view HttpReason(int status) {
  switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
  }
}

}  // namespace lever::gateway
