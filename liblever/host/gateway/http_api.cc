#include "liblever/host/gateway/http_api.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "liblever/base/log.h"
#include "liblever/host/gateway/h2_exchange.h"
#include "liblever/host/gateway/http1_connection.h"
#include "liblever/host/gateway/http_reply.h"
#include "liblever/host/gateway/http_request.h"
#include "liblever/host/gateway/http_stream.h"
#include "liblever/host/gateway/http_unary.h"

namespace lever::gateway {
namespace {

constexpr std::string_view kOwnPrefix = "/-/";
constexpr std::string_view kMethodVerbs = "POST, OPTIONS";
constexpr std::string_view kOwnVerbs = "GET, HEAD, OPTIONS";
// How long a browser may remember what it was allowed.
constexpr std::string_view kPreflightSeconds = "600";
// Fields of a reply that a page's script may read.
constexpr std::string_view kExposedFields = "lever-error, retry-after";

Status NotRun(Status status) { return std::move(status).WithExecuted(LEVER_EXECUTED_NO); }

void Refuse(HttpExchange& exchange, int http_status, Status status, const rpc::HeaderList& extra) {
  exchange.set_handler(IgnoreBody());
  const Status not_run = NotRun(std::move(status));
  SendError(exchange, http_status != 0 ? http_status : HttpStatusOf(not_run), not_run, extra);
}

void Answer(HttpExchange& exchange, int http_status, Slice body, const rpc::HeaderList& extra) {
  exchange.set_handler(IgnoreBody());
  SendWhole(exchange, http_status, body.empty() ? "" : "text/plain", std::move(body), extra);
}

size_t CountFields(const rpc::HeaderList& request, std::string_view name) {
  size_t count = 0;
  for (size_t i = 0; i < request.size(); ++i) count += request[i].name == name;
  return count;
}

// Who the request says it is for. Nothing if it says two things, or the same thing twice.
std::optional<std::string_view> AuthorityOf(const rpc::HeaderList& request) {
  const auto authority = request.Find(":authority");
  const auto host = request.Find("host");
  if (CountFields(request, "host") > 1) return std::nullopt;
  if (authority && host && *authority != *host) return std::nullopt;
  return authority ? *authority : host.value_or("");
}

bool IsFieldNameList(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == ',' || c == ' ';
  });
}

}  // namespace

HttpApi::HttpApi(Loop* loop, Router* router, RelayCounters* counters, HttpOptions options)
    : context_(std::make_shared<HttpContext>(HttpContext{loop, router, counters})),
      options_(std::move(options)) {}

HttpApi::~HttpApi() { Close(); }

void HttpApi::ServeStream(rpc::Stream& stream, const HttpPeer& peer) {
  Serve(H2Exchange::Over(stream), peer);
}

void HttpApi::ServeHttp1(std::unique_ptr<rpc::ByteStream> socket, const HttpPeer& peer,
                         std::span<const uint8_t> already_read) {
  auto connection = std::make_unique<Http1Connection>(this, std::move(socket), peer);
  Http1Connection* key = connection.get();
  const Status started = key->Start(already_read);
  if (!started.ok()) {
    Log(LogLevel::kWarning, "a connection failed: " + started.ToString());
    return;
  }
  connections_.emplace(key, std::move(connection));
}

void HttpApi::OnConnectionClosed(Http1Connection* connection) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  // Destroyed in the next turn: it is still on the stack here.
  std::shared_ptr<Http1Connection> last = std::move(found->second);
  connections_.erase(found);
  context_->loop->Post([last] {});
}

void HttpApi::Drain() {
  draining_ = true;
  for (const auto& [key, connection] : connections_) connection->Drain();
}

void HttpApi::Close() {
  draining_ = true;
  while (!connections_.empty()) connections_.begin()->first->Close();
}

void HttpApi::Serve(HttpExchange& exchange, const HttpPeer& peer) {
  const rpc::HeaderList& request = exchange.request();
  rpc::HeaderList extra;
  if (!CheckSender(exchange, peer, &extra)) return;
  const std::string_view verb = request.Find(":method").value_or("");
  const std::string_view target = request.Find(":path").value_or("");
  const std::string_view path = target.substr(0, target.find('?'));
  if (verb == "OPTIONS") {
    ServeOptions(exchange, std::move(extra), path);
  } else if (path.starts_with(kOwnPrefix)) {
    ServeOwn(exchange, extra, path);
  } else if (verb != "POST") {
    extra.Add("allow", kMethodVerbs);
    Refuse(exchange, 405, InvalidArgument("a method is called with POST"), extra);
  } else {
    ServeMethod(exchange, peer, std::move(extra));
  }
}

bool HttpApi::CheckSender(HttpExchange& exchange, const HttpPeer& peer, rpc::HeaderList* extra) {
  const rpc::HeaderList& request = exchange.request();
  const std::optional<std::string_view> authority = AuthorityOf(request);
  if (!authority) {
    Refuse(exchange, 0, InvalidArgument("the request names its host twice"), *extra);
    return false;
  }
  if (!MayNameHost(*authority, peer.came_over)) {
    Refuse(exchange, 0,
           PermissionDenied("over loopback the host is called by an IP address, as localhost, or "
                            "by a name in --http-hosts"),
           *extra);
    return false;
  }
  const auto origin = request.Find("origin");
  const OriginVerdict verdict = JudgeOrigin(origin, *authority, peer.encrypted, options_);
  if (verdict == OriginVerdict::kForeign || (origin && CountFields(request, "origin") > 1)) {
    Refuse(exchange, 0,
           PermissionDenied("the page's origin is neither the host's own nor in --cors-origins"),
           *extra);
    return false;
  }
  if (verdict == OriginVerdict::kListed) {
    extra->Add("access-control-allow-origin", *origin);
    extra->Add("access-control-expose-headers", kExposedFields);
  }
  if (!options_.cors_origins.empty()) extra->Add("vary", "origin");
  return true;
}

// Nearly all requests name it as the one before.
bool HttpApi::MayNameHost(std::string_view authority, CameOver came_over) {
  if (came_over != CameOver::kLoopback) return true;
  if (!authority.empty() && authority == allowed_authority_) return true;
  if (!HostAllowed(authority, came_over, options_)) return false;
  allowed_authority_ = authority;
  return true;
}

void HttpApi::ServeOptions(HttpExchange& exchange, rpc::HeaderList extra, std::string_view path) {
  const rpc::HeaderList& request = exchange.request();
  const std::string_view verbs = path.starts_with(kOwnPrefix) ? kOwnVerbs : kMethodVerbs;
  if (request.Find("access-control-request-method") && extra.Find("access-control-allow-origin")) {
    extra.Add("access-control-allow-methods", verbs);
    const auto fields = request.Find("access-control-request-headers");
    if (fields && !fields->empty() && IsFieldNameList(*fields)) {
      extra.Add("access-control-allow-headers", *fields);
    }
    extra.Add("access-control-max-age", kPreflightSeconds);
  } else {
    extra.Add("allow", verbs);
  }
  Answer(exchange, 204, Slice(), extra);
}

void HttpApi::ServeOwn(HttpExchange& exchange, const rpc::HeaderList& extra,
                       std::string_view path) {
  const std::string_view verb = exchange.request().Find(":method").value_or("");
  const bool health = path == "/-/healthz";
  if (!health && path != "/-/readyz") {
    Refuse(exchange, 0, NotFound("the host has no such page"), extra);
  } else if (verb != "GET" && verb != "HEAD") {
    rpc::HeaderList fields = extra;
    fields.Add("allow", kOwnVerbs);
    Refuse(exchange, 405, InvalidArgument("the page is read with GET"), fields);
  } else if (!health && draining_) {
    Refuse(exchange, 0, Unavailable("the host is draining"), extra);
  } else {
    Answer(exchange, 200, Slice::Static("ok\n"), extra);
  }
}

void HttpApi::ServeMethod(HttpExchange& exchange, const HttpPeer& peer, rpc::HeaderList extra) {
  MethodRequest request;
  const std::optional<HttpRefusal> refusal =
      ReadMethodRequest(exchange.request(), peer, context_->loop->now_ns(), &request);
  if (refusal) {
    Refuse(exchange, refusal->http_status, refusal->status, extra);
    return;
  }
  const policy::Address& address = request.call.address;
  const Status callable =
      context_->router->Check({address.environment, address.service}, peer.caller);
  if (!callable.ok()) {
    Refuse(exchange, 0, callable, extra);
    return;
  }
  request.extra = std::move(extra);
  if (request.call.streams) {
    HttpStream::Serve(context_, exchange, std::move(request));
  } else {
    HttpUnary::Serve(context_, exchange, std::move(request));
  }
}

}  // namespace lever::gateway
