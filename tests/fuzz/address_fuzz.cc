// Addresses as text and as headers, percent-encoding, and what of a query they come from.
#include "liblever/host/gateway/http_rules.h"
#include "liblever/policy/address.h"
#include "liblever/rpc/endpoint.h"
#include "liblever/value/utf8.h"
#include "tests/fuzz/fuzz.h"

namespace lever::policy {
namespace {

// A fixed text, and at most 60 characters of the input, each of them perhaps as an escape.
constexpr size_t kRefusalBytesMax = 512;

void CheckParts(const Address& address) {
  FUZZ_CHECK(address.environment.empty() || CheckEnvironment(address.environment).ok(),
             address.environment);
  FUZZ_CHECK(CheckService(address.service).ok(), address.service);
  FUZZ_CHECK(CheckMethod(address.method).ok(), address.method);
  FUZZ_CHECK(address.has_resource == CheckResource(address.resource).ok(), address.resource);
  FUZZ_CHECK(value::IsUtf8(address.resource), address.resource);
}

void CheckText(std::string_view text) {
  const auto address = ParseAddress(text);
  if (!address.ok())
    return fuzz::CheckRefusal(address.status(), LEVER_INVALID_ARGUMENT, kRefusalBytesMax);
  FUZZ_CHECK(text.size() <= kAddressBytesMax, std::string(text));
  CheckParts(*address);
  const std::string canonical = FormatAddress(*address);
  FUZZ_CHECK(canonical.size() <= kAddressBytesMax, canonical);
  const auto again = ParseAddress(canonical);
  FUZZ_CHECK(again.ok() && *again == *address, canonical);
  FUZZ_CHECK(FormatAddress(*again) == canonical, canonical);
  // As the headers of a call.
  const std::string encoded = EncodeResource(address->resource);
  const auto from_headers = ParseAddressHeaders(
      FormatUrlHeader(*address),
      address->has_resource ? std::optional<std::string_view>(encoded) : std::nullopt);
  FUZZ_CHECK(from_headers.ok() && *from_headers == *address, canonical);
}

void CheckHeaders(std::string_view url, std::optional<std::string_view> resource) {
  const auto address = ParseAddressHeaders(url, resource);
  if (!address.ok())
    return fuzz::CheckRefusal(address.status(), LEVER_INVALID_ARGUMENT, kRefusalBytesMax);
  CheckParts(*address);
  FUZZ_CHECK(address->has_resource == resource.has_value(), std::string(url));
  const auto again = ParseAddress(FormatAddress(*address));
  FUZZ_CHECK(again.ok() && *again == *address, FormatAddress(*address));
}

void CheckSegment(std::string_view text) {
  const auto decoded = DecodeResource(text);
  if (decoded.ok()) {
    FUZZ_CHECK(CheckResource(*decoded).ok(), *decoded);
    const auto again = DecodeResource(EncodeResource(*decoded));
    FUZZ_CHECK(again.ok() && *again == *decoded, *decoded);
  } else {
    fuzz::CheckRefusal(decoded.status(), LEVER_INVALID_ARGUMENT, kRefusalBytesMax);
  }
  // Any resource that is one survives the way there and back.
  if (!CheckResource(text).ok()) return;
  const std::string encoded = EncodeResource(text);
  FUZZ_CHECK(encoded.size() <= kResourceEncodedBytesMax, encoded);
  const auto there_and_back = DecodeResource(encoded);
  FUZZ_CHECK(there_and_back.ok() && *there_and_back == text, encoded);
}

void CheckQuery(std::string_view query) {
  const auto value = gateway::QueryParameter(query, "env");
  if (!value.ok()) {
    FUZZ_CHECK(value.status().code() == LEVER_INVALID_ARGUMENT, value.status().ToString());
  } else if (value->has_value()) {
    FUZZ_CHECK(query.find("env") != std::string_view::npos, std::string(query));
    FUZZ_CHECK((*value)->size() <= query.size(), std::string(query));
  }
}

void CheckAuthority(std::string_view text) {
  const auto authority = gateway::ParseAuthority(text);
  if (!authority) return;
  const bool v6 = authority->host.find(':') != std::string::npos;
  std::string again = v6 ? "[" + authority->host + "]" : authority->host;
  if (authority->port) again += ":" + std::to_string(*authority->port);
  const auto parsed = gateway::ParseAuthority(again);
  FUZZ_CHECK(parsed && parsed->host == authority->host && parsed->port == authority->port, again);
  gateway::HttpOptions options;
  // Over the network anybody may name the host as he likes; over loopback fewer may.
  if (gateway::HostAllowed(text, gateway::CameOver::kLoopback, options)) {
    FUZZ_CHECK(rpc::IsIpAddress(authority->host) || authority->host == "localhost", again);
    FUZZ_CHECK(gateway::HostAllowed(text, gateway::CameOver::kNetwork, options), again);
  }
}

}  // namespace
}  // namespace lever::policy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lever::fuzz::Input input(data, size);
  switch (input.Byte() % 6) {
    case 0:
      lever::policy::CheckText(input.Rest());
      break;
    case 1:
      lever::policy::CheckHeaders(input.Rest(), std::nullopt);
      break;
    case 2: {
      const std::string_view url = input.Counted();
      lever::policy::CheckHeaders(url, input.Rest());
      break;
    }
    case 3:
      lever::policy::CheckSegment(input.Rest());
      break;
    case 4:
      lever::policy::CheckQuery(input.Rest());
      break;
    case 5:
      lever::policy::CheckAuthority(input.Rest());
      break;
  }
  return 0;
}
