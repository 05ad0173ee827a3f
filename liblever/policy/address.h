// Addresses: what a call names, as text and as headers.
//
//   lever://<environment>/<service>[/<resource>]/<method>
//   /<service>[/<resource>]/<method>                        inside an environment
//
// environment  [a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?  without ".."
// service      [a-z][A-Za-z0-9-]{0,62}              no dot, so that it never meets a gRPC path
// method       [A-Za-z_][A-Za-z0-9_]{0,127}
// resource     1 to 512 bytes of UTF-8 without NUL, not "." and not ".."; in text one segment, with
//              all but A-Z a-z 0-9 - . _ ~ percent-encoded
//
// A resource is decoded exactly once, here, and compared byte by byte ever after: no Unicode
// normalisation. What is read may encode more than it must and with small hexadecimal digits; what
// is written is canonical. So a parsed address formats to one text, and that text parses to the
// address.
//
// On the wire the header `lever-url` has the address without the resource, so that it stays in
// HPACK's table, and `lever-resource` has the encoded resource.
//
// Pure functions; any thread. Errors are INVALID_ARGUMENT, unexecuted; their texts are ASCII and
// quote at most 60 characters of the input.
#ifndef LIBLEVER_POLICY_ADDRESS_H_
#define LIBLEVER_POLICY_ADDRESS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/status.h"

namespace lever::policy {

inline constexpr std::string_view kDefaultEnvironment = "dev.lever";
inline constexpr std::string_view kAddressScheme = "lever://";

inline constexpr size_t kEnvironmentBytesMax = 63;
inline constexpr size_t kServiceBytesMax = 63;
inline constexpr size_t kMethodBytesMax = 128;
inline constexpr size_t kResourceBytesMax = 512;                           // decoded
inline constexpr size_t kResourceEncodedBytesMax = 3 * kResourceBytesMax;  // every byte as %XX
// "lever://", three names, a resource and three slashes.
inline constexpr size_t kAddressBytesMax =
    8 + kEnvironmentBytesMax + kServiceBytesMax + kMethodBytesMax + kResourceEncodedBytesMax + 3;

struct Address {
  std::string environment;  // empty where the text named none
  std::string service;
  bool has_resource = false;
  std::string resource;  // decoded; empty without has_resource
  std::string method;

  bool operator==(const Address&) const = default;
};

// The parts of an address as they lie in its text.
struct AddressParts {
  std::string_view environment;  // empty where the text named none
  std::string_view service;
  std::optional<std::string_view> resource;  // as it is written: not decoded, and not checked
  std::string_view method;
};

StatusOr<Address> ParseAddress(std::string_view text);
// The same without copying, for who keeps the text; a resource is left to DecodeResource().
StatusOr<AddressParts> SplitAddress(std::string_view text);
// Canonical. The parts must be valid, as ParseAddress gives them.
std::string FormatAddress(const Address& address);

// The headers of a call: `url` is lever-url, `resource` is lever-resource if the call has it.
StatusOr<Address> ParseAddressHeaders(std::string_view url,
                                      std::optional<std::string_view> resource);
// The parts of lever-url alone, which has no resource.
StatusOr<AddressParts> SplitUrlHeader(std::string_view url);
// The value of lever-url.
std::string FormatUrlHeader(const Address& address);
// The value of lever-resource, and the segment of an address.
std::string EncodeResource(std::string_view resource);
StatusOr<std::string> DecodeResource(std::string_view encoded);

Status CheckEnvironment(std::string_view name);
Status CheckService(std::string_view name);
Status CheckMethod(std::string_view name);
Status CheckResource(std::string_view decoded);

// Whether a method streams, which its name says: it ends in "Chan" or "_chan", or is "chan".
bool IsStreamingMethod(std::string_view method);

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_ADDRESS_H_
