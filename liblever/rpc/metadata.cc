#include "liblever/rpc/metadata.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "liblever/rpc/call.h"
#include "liblever/value/base64.h"

namespace lever::rpc {
namespace {

constexpr std::string_view kBinarySuffix = "-bin";
constexpr std::string_view kUserAgent = "user-agent";

constexpr std::array<bool, 256> kNameCharacters = [] {
  std::array<bool, 256> is_name{};
  for (const char c : std::string_view("abcdefghijklmnopqrstuvwxyz0123456789-_.")) {
    is_name[static_cast<uint8_t>(c)] = true;
  }
  return is_name;
}();

bool IsNameCharacter(char c) { return kNameCharacters[static_cast<uint8_t>(c)]; }

bool IsValidName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), IsNameCharacter);
}

bool IsValidText(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

bool IsBinary(std::string_view name) { return name.ends_with(kBinarySuffix); }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::string EncodeUnpadded(std::string_view bytes) {
  std::string encoded;
  value::EncodeBase64(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
                      &encoded);
  while (encoded.ends_with('=')) encoded.pop_back();
  return encoded;
}

bool DecodeAnyPadding(std::string_view text, std::string* bytes) {
  if (text.size() % 4 == 0) return value::DecodeBase64(text, bytes);
  if (text.ends_with('=')) return false;
  std::string padded(text);
  padded.append(4 - text.size() % 4, '=');
  return value::DecodeBase64(padded, bytes);
}

// One field of the result for each of the values that were joined with commas.
Status ReadBinary(const HeaderView& field, HeaderList* metadata) {
  std::string_view rest = field.value;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    std::string bytes;
    if (!DecodeAnyPadding(Trim(rest.substr(0, comma)), &bytes)) {
      return InvalidArgument("the metadata field " + std::string(field.name) + " is not base64");
    }
    metadata->Add(field.name, bytes, field.indexing);
    if (more) rest.remove_prefix(comma + 1);
  }
  return Status::Ok();
}

}  // namespace

bool IsReservedHeader(std::string_view name) {
  if (name.starts_with(':') || name.starts_with("grpc-")) return true;
  // Asked for each field of each call: the length decides nearly always.
  switch (name.size()) {
    case 2:
      return name == "te";
    case 4:
      return name == "host";
    case 7:
      return name == "upgrade";
    case 10:
      return name == "connection" || name == "keep-alive" || name == kUserAgent;
    case 12:
      return name == "content-type";
    case 14:
      static_assert(kExecutedTrailer.size() == 14);
      return name == "content-length" || name == kExecutedTrailer;
    case 16:
      return name == "proxy-connection";
    case 17:
      return name == "transfer-encoding";
    default:
      return false;
  }
}

Status CheckMetadata(std::string_view name, std::string_view value) {
  if (IsReservedHeader(name)) {
    return InvalidArgument("the metadata field " + std::string(name) + " is reserved");
  }
  if (!IsValidName(name)) {
    return InvalidArgument("the name of a metadata field must be one or more of a-z 0-9 - _ .");
  }
  if (!IsBinary(name) && !IsValidText(value)) {
    return InvalidArgument("the metadata field " + std::string(name) +
                           " is not printable ASCII; end its name in -bin to send bytes");
  }
  return Status::Ok();
}

void AppendMetadata(const HeaderList& metadata, HeaderList* wire) {
  for (size_t i = 0; i < metadata.size(); ++i) {
    const HeaderView field = metadata[i];
    if (IsReservedHeader(field.name) || !IsValidName(field.name)) continue;
    if (IsBinary(field.name)) {
      wire->Add(field.name, EncodeUnpadded(field.value), field.indexing);
    } else if (IsValidText(field.value)) {
      wire->Add(field.name, Trim(field.value), field.indexing);
    }
  }
}

Status ReadMetadata(const HeaderList& wire, HeaderList* metadata) {
  metadata->Clear();
  bool binary = false;
  metadata->AddFrom(wire, [&binary](std::string_view name) {
    if (IsReservedHeader(name) && name != kUserAgent) return false;
    binary |= IsBinary(name);
    return true;
  });
  if (!binary) return Status::Ok();
  // In the order in which they came, so that all of it is made anew.
  HeaderList decoded;
  for (size_t i = 0; i < metadata->size(); ++i) {
    const HeaderView field = (*metadata)[i];
    if (IsBinary(field.name)) {
      LEVER_RETURN_IF_ERROR(ReadBinary(field, &decoded));
    } else {
      decoded.Add(field.name, field.value, field.indexing);
    }
  }
  *metadata = std::move(decoded);
  return Status::Ok();
}

}  // namespace lever::rpc
