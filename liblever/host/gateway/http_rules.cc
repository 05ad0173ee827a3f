#include "liblever/host/gateway/http_rules.h"

#include <algorithm>
#include <charconv>

#include "liblever/rpc/endpoint.h"

namespace lever::gateway {
namespace {

char Small(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), Small);
  return lower;
}

bool EqualsNoCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return Small(x) == Small(y); });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

// A page's origin with its port made explicit.
struct Origin {
  std::string host;
  uint16_t port = 0;
  bool secure = false;

  bool operator==(const Origin&) const = default;
};

std::optional<Origin> ParseOrigin(std::string_view text) {
  Origin origin;
  const std::string lower = Lower(text);
  std::string_view rest = lower;
  if (rest.starts_with("https://")) {
    origin.secure = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return std::nullopt;
  }
  std::optional<HttpAuthority> authority = ParseAuthority(rest);
  if (!authority) return std::nullopt;
  origin.host = std::move(authority->host);
  origin.port = authority->port.value_or(origin.secure ? 443 : 80);
  return origin;
}

// The media type without its parameters, in small letters.
std::string MediaType(std::string_view content_type) {
  return Lower(Trim(content_type.substr(0, content_type.find(';'))));
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = Small(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

StatusOr<std::string> DecodeQuery(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i] == '+' ? ' ' : text[i]);
      continue;
    }
    const int high = text.size() - i > 2 ? HexDigit(text[i + 1]) : -1;
    const int low = text.size() - i > 2 ? HexDigit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return InvalidArgument("the query has a '%' without two hexadecimal digits");
    }
    decoded.push_back(static_cast<char>(high << 4 | low));
    i += 2;
  }
  return decoded;
}

}  // namespace

std::optional<HttpAuthority> ParseAuthority(std::string_view text) {
  HttpAuthority authority;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    authority.host = Lower(text.substr(1, end - 1));
    // RFC 3986 section 3.2.2: brackets are for IPv6, which alone has colons.
    const bool colon = authority.host.find(':') != std::string::npos;
    if (!colon || !rpc::IsIpAddress(authority.host)) return std::nullopt;
    text.remove_prefix(end + 1);
    if (!text.empty() && text.front() != ':') return std::nullopt;
    has_port = !text.empty();
    if (has_port) port = text.substr(1);
  } else {
    const size_t colon = text.find(':');
    authority.host = Lower(text.substr(0, colon));
    if (authority.host.empty() ||
        !std::all_of(authority.host.begin(), authority.host.end(), IsHostCharacter)) {
      return std::nullopt;
    }
    has_port = colon != std::string_view::npos;
    if (has_port) port = text.substr(colon + 1);
  }
  // RFC 3986 section 3.2.3: a port may be empty.
  if (!has_port || port.empty()) return authority;
  uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size()) return std::nullopt;
  authority.port = number;
  return authority;
}

Status CheckHttpOptions(const HttpOptions& options) {
  for (const std::string& origin : options.cors_origins) {
    if (origin != "*" && !ParseOrigin(origin)) {
      return InvalidArgument("the origin '" + origin +
                             "' has not the form http://name[:port] or https://name[:port]");
    }
  }
  for (const std::string& host : options.http_hosts) {
    const std::optional<HttpAuthority> authority = ParseAuthority(host);
    if (!authority || authority->port || host.ends_with(':')) {
      return InvalidArgument("the host name '" + host + "' is not a name without a port");
    }
  }
  return Status::Ok();
}

bool HostAllowed(std::string_view authority, CameOver came_over, const HttpOptions& options) {
  if (came_over != CameOver::kLoopback) return true;
  const std::optional<HttpAuthority> parsed = ParseAuthority(authority);
  if (!parsed) return false;
  if (parsed->host == "localhost" || rpc::IsIpAddress(parsed->host)) return true;
  return std::any_of(options.http_hosts.begin(), options.http_hosts.end(),
                     [&](const std::string& host) { return EqualsNoCase(host, parsed->host); });
}

OriginVerdict JudgeOrigin(std::optional<std::string_view> origin, std::string_view authority,
                          Encrypted encrypted, const HttpOptions& options) {
  if (!origin) return OriginVerdict::kNone;
  // "null" is a page that will not say which it is.
  const std::optional<Origin> page = ParseOrigin(*origin);
  const std::optional<HttpAuthority> own = ParseAuthority(authority);
  const bool may_be_own = page && (page->secure || encrypted == Encrypted::kNo);
  if (may_be_own && own && page->host == own->host) {
    // Behind something that ends TLS the page is https where the host sees http.
    const uint16_t own_port = own->port.value_or(page->secure ? 443 : 80);
    if (page->port == own_port) return OriginVerdict::kOwn;
  }
  for (const std::string& listed : options.cors_origins) {
    if (listed == "*") return OriginVerdict::kListed;
    if (page && ParseOrigin(listed) == page) return OriginVerdict::kListed;
  }
  return OriginVerdict::kForeign;
}

BodyType ClassifyBody(std::optional<std::string_view> content_type) {
  if (!content_type || Trim(*content_type).empty()) return BodyType::kNone;
  const std::string type = MediaType(*content_type);
  if (type == "application/json") return BodyType::kJson;
  if (type == "application/x-ndjson" || type == "application/ndjson") return BodyType::kLines;
  if (type == "application/octet-stream") return BodyType::kBytes;
  if (type == "application/x-www-form-urlencoded") return BodyType::kForm;
  if (type.starts_with("application/grpc")) return BodyType::kGrpc;
  return BodyType::kOther;
}

bool AcceptsBytes(std::optional<std::string_view> accept) {
  if (!accept) return false;
  std::string_view rest = *accept;
  for (;;) {
    const size_t comma = rest.find(',');
    if (MediaType(rest.substr(0, comma)) == "application/octet-stream") return true;
    if (comma == std::string_view::npos) return false;
    rest.remove_prefix(comma + 1);
  }
}

bool IsMetadataField(std::string_view name) {
  static constexpr std::string_view kPrefixes[] = {
      ":", "lever-", "grpc-", "accept", "access-control-", "content-", "if-", "proxy-", "sec-"};
  static constexpr std::string_view kNames[] = {
      "cache-control", "connection",      "date",   "expect",  "host",
      "keep-alive",    "origin",          "pragma", "range",   "referer",
      "te",            "trailer",         "transfer-encoding", "upgrade",
      "upgrade-insecure-requests",        "user-agent",        "via"};
  for (const std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) return false;
  }
  return std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames);
}

StatusOr<std::optional<std::string>> QueryParameter(std::string_view query,
                                                    std::string_view name) {
  std::optional<std::string> found;
  while (!query.empty()) {
    const size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    if (found) return InvalidArgument("the query has " + std::string(name) + " twice");
    const std::string_view text =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    LEVER_ASSIGN_OR_RETURN(found, DecodeQuery(text));
  }
  return found;
}

}  // namespace lever::gateway
