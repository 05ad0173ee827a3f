// Who may use the HTTP API from where: the rules for Host and Origin, CORS, and content types.
//
// A host listens where a browser on the same machine can reach it, and any page can make a browser
// send requests. So a request that says which page sent it (Origin) is served only for pages of the
// host itself and of the listed origins; and a request that came over loopback must name the host
// by an IP address, as localhost, or by a listed name (Host), so that a page whose name was made to
// point at 127.0.0.1 is not the host's own.
//
// Pure functions; any thread.
#ifndef LIBLEVER_HOST_GATEWAY_HTTP_RULES_H_
#define LIBLEVER_HOST_GATEWAY_HTTP_RULES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "liblever/base/status.h"

namespace lever::gateway {

struct HttpOptions {
  // Whose pages may call, as in "https://app.example" or "http://127.0.0.1:3000"; "*" is anybody's.
  std::vector<std::string> cors_origins;
  // By which names the host may be called over loopback, as in "lever.internal", without a port.
  std::vector<std::string> http_hosts;
};

// INVALID_ARGUMENT, with the entry that is wrong.
Status CheckHttpOptions(const HttpOptions& options);

// "name", "name:port", "[::1]:port".
struct HttpAuthority {
  std::string host;  // small letters, an IPv6 address without its brackets
  std::optional<uint16_t> port;
};
std::optional<HttpAuthority> ParseAuthority(std::string_view text);

enum class CameOver : uint8_t { kLoopback, kNetwork, kUnixSocket };
// Whether a request may name the host as it does.
bool HostAllowed(std::string_view authority, CameOver came_over, const HttpOptions& options);

enum class OriginVerdict : uint8_t {
  kNone,     // no page sent it
  kOwn,      // a page of the host's
  kListed,   // a page of a listed origin: the reply tells the browser so
  kForeign,  // refused
};
// Whether the request came over TLS.
enum class Encrypted : bool { kNo, kYes };
// Over TLS only https pages are the host's own: anybody on the way can make one of http. On a plain port
// they are, too, as there may be something before the host that ends TLS.
OriginVerdict JudgeOrigin(std::optional<std::string_view> origin, std::string_view authority,
                          Encrypted encrypted, const HttpOptions& options);

enum class BodyType : uint8_t {
  kNone,        // none said
  kJson,        // application/json
  kForm,        // what curl -d says unless told otherwise: taken for what the method wants
  kLines,       // application/x-ndjson
  kBytes,       // application/octet-stream
  kGrpc,        // application/grpc and all that begins so
  kOther,
};
BodyType ClassifyBody(std::optional<std::string_view> content_type);

// Whether an Accept field asks for application/octet-stream by name.
bool AcceptsBytes(std::optional<std::string_view> accept);

// Whether a field of an HTTP request is passed on as metadata of the call: what is about the
// request itself, its connection or its browser is not.
bool IsMetadataField(std::string_view name);

// The value of a parameter of a query, decoded; nothing if it is not there, INVALID_ARGUMENT if it
// is malformed or there twice.
StatusOr<std::optional<std::string>> QueryParameter(std::string_view query, std::string_view name);

}  // namespace lever::gateway

#endif  // LIBLEVER_HOST_GATEWAY_HTTP_RULES_H_
