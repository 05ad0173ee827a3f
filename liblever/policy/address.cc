#include "liblever/policy/address.h"

#include <array>
#include <cstdint>

#include "liblever/value/utf8.h"

namespace lever::policy {
namespace {

constexpr bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
constexpr bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsLetter(char c) { return IsLower(c) || IsUpper(c); }
// RFC 3986 section 2.3.
constexpr bool IsUnreserved(char c) {
  return IsLetter(c) || IsDigit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

// What a character may be part of.
enum CharacterClass : uint8_t { kOfEnvironment = 1, kOfService = 2, kOfMethod = 4 };
constexpr std::array<uint8_t, 256> kClasses = [] {
  std::array<uint8_t, 256> classes{};
  for (size_t i = 0; i < classes.size(); ++i) {
    const char c = static_cast<char>(i);
    if (IsLower(c) || IsDigit(c) || c == '.' || c == '-') classes[i] |= kOfEnvironment;
    if (IsLetter(c) || IsDigit(c) || c == '-') classes[i] |= kOfService;
    if (IsLetter(c) || IsDigit(c) || c == '_') classes[i] |= kOfMethod;
  }
  return classes;
}();

bool AllAre(CharacterClass wanted, std::string_view text) {
  for (const char c : text) {
    if ((kClasses[static_cast<uint8_t>(c)] & wanted) == 0) return false;
  }
  return true;
}

constexpr char kHex[] = "0123456789ABCDEF";

// The value of a hexadecimal digit, or -1.
constexpr int HexValue(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The input in quotation marks, as ASCII and cut to what a person reads.
std::string Quote(std::string_view text) {
  constexpr size_t kShownMax = 60;
  std::string quoted("'");
  for (const char c : text.substr(0, kShownMax)) {
    if (c >= 0x20 && c <= 0x7e) {
      quoted.push_back(c);
    } else {
      const uint8_t byte = static_cast<uint8_t>(c);
      quoted.append("\\x").push_back(kHex[byte >> 4]);
      quoted.push_back(kHex[byte & 15]);
    }
  }
  if (text.size() > kShownMax) quoted.append("...");
  quoted.push_back('\'');
  return quoted;
}

Status Refuse(std::string message) {
  return InvalidArgument(std::move(message)).WithExecuted(LEVER_EXECUTED_NO);
}

// "the service name 'x' ..." with what is wrong.
Status RefuseName(std::string_view what, std::string_view name, std::string_view wrong) {
  std::string message("the ");
  message.append(what).append(" name ").append(Quote(name)).append(" ").append(wrong);
  return Refuse(std::move(message));
}

// Splits `text` at '/' into at most parts.size() parts. Returns how many there are; one more than
// fits stands for all larger numbers.
template <size_t kMax>
size_t Split(std::string_view text, std::array<std::string_view, kMax>* parts) {
  size_t count = 0;
  for (;;) {
    if (count == kMax) return kMax + 1;
    const size_t slash = text.find('/');
    (*parts)[count++] = text.substr(0, slash);
    if (slash == std::string_view::npos) return count;
    text.remove_prefix(slash + 1);
  }
}

// Takes "lever://<environment>" or nothing off the front; what remains begins with '/'.
Status TakeEnvironment(std::string_view* text, std::string_view* environment) {
  if (text->starts_with(kAddressScheme)) {
    const size_t begin = kAddressScheme.size();
    const size_t end = text->find('/', begin);
    if (end == std::string_view::npos) {
      return Refuse("the address " + Quote(*text) + " names no service and method");
    }
    const std::string_view name = text->substr(begin, end - begin);
    LEVER_RETURN_IF_ERROR(CheckEnvironment(name));
    *environment = name;
    text->remove_prefix(end);
  }
  if (!text->starts_with('/')) {
    return Refuse("the address " + Quote(*text) +
                  " begins neither with lever://<environment>/ nor with /");
  }
  return Status::Ok();
}

StatusOr<Address> Assemble(const AddressParts& parts, std::optional<std::string_view> resource) {
  Address address;
  if (resource) {
    LEVER_ASSIGN_OR_RETURN(address.resource, DecodeResource(*resource));
    address.has_resource = true;
  }
  address.environment = parts.environment;
  address.service = parts.service;
  address.method = parts.method;
  return address;
}

}  // namespace

Status CheckEnvironment(std::string_view name) {
  constexpr std::string_view kWhat = "environment";
  if (name.empty()) return RefuseName(kWhat, name, "is empty");
  if (name.size() > kEnvironmentBytesMax) return RefuseName(kWhat, name, "has more than 63 bytes");
  if (!AllAre(kOfEnvironment, name)) {
    return RefuseName(kWhat, name, "has a character other than a-z, 0-9, '.' and '-'");
  }
  if (name.front() == '.' || name.front() == '-' || name.back() == '.' || name.back() == '-') {
    return RefuseName(kWhat, name, "begins or ends with '.' or '-'");
  }
  if (name.find("..") != std::string_view::npos) return RefuseName(kWhat, name, "has '..' in it");
  return Status::Ok();
}

Status CheckService(std::string_view name) {
  constexpr std::string_view kWhat = "service";
  if (name.empty()) return RefuseName(kWhat, name, "is empty");
  if (name.find('.') != std::string_view::npos) {
    return RefuseName(kWhat, name,
                      "has a dot: this is the path of a gRPC method, not the address of a service");
  }
  if (name.size() > kServiceBytesMax) return RefuseName(kWhat, name, "has more than 63 bytes");
  if (!IsLower(name.front())) return RefuseName(kWhat, name, "does not begin with a-z");
  if (!AllAre(kOfService, name)) {
    return RefuseName(kWhat, name, "has a character other than A-Z, a-z, 0-9 and '-'");
  }
  return Status::Ok();
}

Status CheckMethod(std::string_view name) {
  constexpr std::string_view kWhat = "method";
  if (name.empty()) return RefuseName(kWhat, name, "is empty");
  if (name.size() > kMethodBytesMax) return RefuseName(kWhat, name, "has more than 128 bytes");
  if (IsDigit(name.front())) return RefuseName(kWhat, name, "begins with a digit");
  if (!AllAre(kOfMethod, name)) {
    return RefuseName(kWhat, name, "has a character other than A-Z, a-z, 0-9 and '_'");
  }
  return Status::Ok();
}

Status CheckResource(std::string_view decoded) {
  constexpr std::string_view kWhat = "resource";
  if (decoded.empty()) return RefuseName(kWhat, decoded, "is empty");
  if (decoded.size() > kResourceBytesMax) {
    return RefuseName(kWhat, decoded, "has more than 512 bytes");
  }
  if (decoded == "." || decoded == "..") return RefuseName(kWhat, decoded, "is not allowed");
  if (decoded.find('\0') != std::string_view::npos) {
    return RefuseName(kWhat, decoded, "has a NUL in it");
  }
  if (!value::IsUtf8(decoded)) return RefuseName(kWhat, decoded, "is not UTF-8");
  return Status::Ok();
}

std::string EncodeResource(std::string_view resource) {
  std::string encoded;
  encoded.reserve(resource.size());
  for (const char c : resource) {
    if (IsUnreserved(c)) {
      encoded.push_back(c);
    } else {
      const uint8_t byte = static_cast<uint8_t>(c);
      encoded.push_back('%');
      encoded.push_back(kHex[byte >> 4]);
      encoded.push_back(kHex[byte & 15]);
    }
  }
  return encoded;
}

StatusOr<std::string> DecodeResource(std::string_view encoded) {
  constexpr std::string_view kWhat = "resource";
  if (encoded.size() > kResourceEncodedBytesMax) {
    return RefuseName(kWhat, encoded, "has more than 512 bytes");
  }
  std::string decoded;
  decoded.reserve(encoded.size());
  for (size_t at = 0; at < encoded.size(); ++at) {
    const char c = encoded[at];
    if (IsUnreserved(c)) {
      decoded.push_back(c);
    } else if (c != '%') {
      const uint8_t byte = static_cast<uint8_t>(c);
      std::string wrong("has a character that must be percent-encoded, as %");
      wrong.push_back(kHex[byte >> 4]);
      wrong.push_back(kHex[byte & 15]);
      return RefuseName(kWhat, encoded, wrong);
    } else {
      const int high = encoded.size() - at > 2 ? HexValue(encoded[at + 1]) : -1;
      const int low = encoded.size() - at > 2 ? HexValue(encoded[at + 2]) : -1;
      if (high < 0 || low < 0) {
        return RefuseName(kWhat, encoded, "has a '%' without two hexadecimal digits");
      }
      decoded.push_back(static_cast<char>(high << 4 | low));
      at += 2;
    }
  }
  LEVER_RETURN_IF_ERROR(CheckResource(decoded));
  return decoded;
}

StatusOr<AddressParts> SplitAddress(std::string_view text) {
  if (text.size() > kAddressBytesMax) return Refuse("the address " + Quote(text) + " is too long");
  AddressParts address;
  std::string_view path = text;
  LEVER_RETURN_IF_ERROR(TakeEnvironment(&path, &address.environment));
  std::array<std::string_view, 3> parts;
  const size_t count = Split(path.substr(1), &parts);
  LEVER_RETURN_IF_ERROR(CheckService(parts[0]));
  if (count < 2 || count > 3) {
    return Refuse("the address " + Quote(text) +
                  " has not the form /<service>/<method> or /<service>/<resource>/<method>");
  }
  address.service = parts[0];
  if (count == 3) address.resource = parts[1];
  address.method = parts[count - 1];
  LEVER_RETURN_IF_ERROR(CheckMethod(address.method));
  return address;
}

StatusOr<AddressParts> SplitUrlHeader(std::string_view url) {
  LEVER_ASSIGN_OR_RETURN(const AddressParts parts, SplitAddress(url));
  if (!parts.resource) return parts;
  return Refuse("lever-url " + Quote(url) + " has a resource, which belongs in lever-resource");
}

StatusOr<Address> ParseAddress(std::string_view text) {
  LEVER_ASSIGN_OR_RETURN(const AddressParts parts, SplitAddress(text));
  return Assemble(parts, parts.resource);
}

StatusOr<Address> ParseAddressHeaders(std::string_view url,
                                      std::optional<std::string_view> resource) {
  LEVER_ASSIGN_OR_RETURN(const AddressParts parts, SplitUrlHeader(url));
  return Assemble(parts, resource);
}

std::string FormatUrlHeader(const Address& address) {
  std::string text;
  text.reserve(kAddressScheme.size() + address.environment.size() + address.service.size() +
               address.method.size() + 2);
  if (!address.environment.empty()) text.append(kAddressScheme).append(address.environment);
  text.append("/").append(address.service).append("/").append(address.method);
  return text;
}

std::string FormatAddress(const Address& address) {
  std::string text;
  if (!address.environment.empty()) text.append(kAddressScheme).append(address.environment);
  text.append("/").append(address.service);
  if (address.has_resource) text.append("/").append(EncodeResource(address.resource));
  text.append("/").append(address.method);
  return text;
}

bool IsStreamingMethod(std::string_view method) {
  return method.ends_with("Chan") || method.ends_with("_chan") || method == "chan";
}

}  // namespace lever::policy
