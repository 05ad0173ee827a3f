#include "daemon/lever/arguments.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lever/lever.h"
#include "liblever/host/deploy/manifest.h"

namespace lever::cli {

StatusOr<std::string> FromJson(std::string_view json, const std::string& what) {
  uint8_t* bytes = nullptr;
  size_t size = 0;
  lever_error* error = nullptr;
  const lever_status status =
      lever_value_from_json(json.data(), json.size(), &bytes, &size, &error);
  if (status != LEVER_OK) {
    std::string why = TakeError(status, error).message();
    if (why.starts_with("JSON: ")) why.erase(0, 6);
    return InvalidArgument(what + " is not JSON: " + why);
  }
  std::string value(reinterpret_cast<const char*>(bytes), size);
  lever_free(bytes);
  return value;
}

StatusOr<Payload> ArgumentsFromJson(const std::vector<std::string>& json) {
  // array 32
  const auto count = static_cast<uint32_t>(json.size());
  Payload payload{LEVER_KIND_VALUE, "\xdd"};
  for (int shift = 24; shift >= 0; shift -= 8) {
    payload.bytes += static_cast<char>(count >> shift);
  }
  for (size_t i = 0; i < json.size(); ++i) {
    StatusOr<std::string> value = FromJson(json[i], "argument " + std::to_string(i + 1));
    if (!value.ok()) {
      const std::string as_text =
          nlohmann::json(json[i]).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      return InvalidArgument(value.status().message() + "; if it is a text, write '" + as_text +
                             "'");
    }
    payload.bytes += *value;
  }
  return payload;
}

StatusOr<int64_t> ParseTimeout(std::string_view text) {
  if (text.empty()) return int64_t{0};
  const bool bare = std::all_of(text.begin(), text.end(),
                                [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
  const StatusOr<int64_t> timeout_ns =
      deploy::ParseDuration(bare ? std::string(text) + "s" : std::string(text));
  if (!timeout_ns.ok() || *timeout_ns <= 0) {
    return InvalidArgument("--timeout " + std::string(text) +
                           ": a duration looks like 5s, 250ms or 2m");
  }
  return *timeout_ns;
}

}  // namespace lever::cli
