#include "liblever/host/gateway/http_values.h"

#include "liblever/host/gateway/http_limits.h"
#include "liblever/value/base64.h"
#include "liblever/value/json.h"

namespace lever::gateway {
namespace {

bool IsRaw(route::Kind kind) {
  return kind == route::Kind::kRaw || kind == route::Kind::kErrorRaw;
}

}  // namespace

StatusOr<std::string> PayloadToJson(route::Kind kind, const SliceList& payload) {
  const Slice bytes = Flatten(payload);
  if (IsRaw(kind)) {
    std::string json("{\"$bytes\":\"");
    value::EncodeBase64(bytes.span(), &json);
    return json.append("\"}");
  }
  StatusOr<std::string> json = value::MessagePackToJson(bytes.span(), kHttpReplyBytesMax);
  if (!json.ok()) {
    return Internal("the method's answer cannot be written as JSON: " + json.status().message());
  }
  return json;
}

std::optional<Slice> PayloadBytes(route::Kind kind, const SliceList& payload) {
  Slice bytes = Flatten(payload);
  if (IsRaw(kind)) return bytes;
  if (bytes.empty()) return std::nullopt;
  // bin 8, bin 16, bin 32: a length of 1, 2 or 4 bytes, and the bytes.
  const uint8_t first = bytes.data()[0];
  if (first < 0xc4 || first > 0xc6) return std::nullopt;
  const size_t length_bytes = size_t{1} << (first - 0xc4);
  if (bytes.size() < 1 + length_bytes) return std::nullopt;
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) length = length << 8 | bytes.data()[1 + i];
  bytes.RemovePrefix(1 + length_bytes);
  if (bytes.size() != length) return std::nullopt;
  return bytes;
}

}  // namespace lever::gateway
