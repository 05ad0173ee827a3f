// MessagePack -> JSON, in two passes over the checked value: the first finds the maps that need the
// `$map` form, which is to be known before such a map's first byte is written; the second writes.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <msgpack.hpp>
#include <optional>
#include <vector>

#include "liblever/value/base64.h"
#include "liblever/value/json.h"
#include "liblever/value/timestamp.h"

namespace lever::value {
namespace {

std::string_view View(const char* data, uint32_t size) {
  return size == 0 ? std::string_view() : std::string_view(data, size);
}

// Finds the maps with a key that is no string, or with one that repeats.
class MapScan : public msgpack::null_visitor {
 public:
  // For each map of the value, in the order in which they begin.
  std::vector<bool> TakeForms() { return std::move(needs_form_); }

  bool visit_nil() { return Other(); }
  bool visit_boolean(bool) { return Other(); }
  bool visit_positive_integer(uint64_t) { return Other(); }
  bool visit_negative_integer(int64_t) { return Other(); }
  bool visit_float32(float) { return Other(); }
  bool visit_float64(double) { return Other(); }
  bool visit_bin(const char*, uint32_t) { return Other(); }
  bool visit_ext(const char*, uint32_t) { return Other(); }
  bool visit_str(const char* data, uint32_t size) {
    if (at_key_) keys_.push_back(View(data, size));
    at_key_ = false;
    return true;
  }
  bool start_array(uint32_t) { return Other(); }
  bool start_map_key() {
    at_key_ = true;
    return true;
  }
  bool start_map(uint32_t) {
    Other();
    open_[depth_++] = {needs_form_.size(), keys_.size()};
    needs_form_.push_back(false);
    return true;
  }
  bool end_map() {
    const OpenMap map = open_[--depth_];
    const auto begin = keys_.begin() + static_cast<ptrdiff_t>(map.first_key);
    if (!needs_form_[map.index] && keys_.end() - begin > 1) {
      std::sort(begin, keys_.end());
      needs_form_[map.index] = std::adjacent_find(begin, keys_.end()) != keys_.end();
    }
    keys_.erase(begin, keys_.end());
    return true;
  }

 private:
  struct OpenMap {
    size_t index;      // into needs_form_
    size_t first_key;  // into keys_
  };

  // Anything but a string: as a key it makes the innermost map a `$map`.
  bool Other() {
    if (at_key_) needs_form_[open_[depth_ - 1].index] = true;
    at_key_ = false;
    return true;
  }

  std::vector<bool> needs_form_;
  std::vector<std::string_view> keys_;  // the string keys so far of the open maps
  std::array<OpenMap, kDepthMax> open_;
  uint32_t depth_ = 0;
  bool at_key_ = false;
};

// The inside of a JSON string.
void AppendEscaped(std::string_view text, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  size_t plain = 0;  // the first character that is not yet appended
  for (size_t at = 0; at < text.size(); ++at) {
    const unsigned char c = static_cast<unsigned char>(text[at]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out->append(text, plain, at - plain);
    plain = at + 1;
    out->push_back('\\');
    switch (c) {
      case '"':
        out->push_back('"');
        break;
      case '\\':
        out->push_back('\\');
        break;
      case '\b':
        out->push_back('b');
        break;
      case '\f':
        out->push_back('f');
        break;
      case '\n':
        out->push_back('n');
        break;
      case '\r':
        out->push_back('r');
        break;
      case '\t':
        out->push_back('t');
        break;
      default:
        out->append("u00");
        out->push_back(kHex[c >> 4]);
        out->push_back(kHex[c & 15]);
    }
  }
  out->append(text, plain);
}

void AppendFloat(double number, std::string* out) {
  if (std::isnan(number)) {
    out->append(R"({"$float":"NaN"})");
  } else if (std::isinf(number)) {
    out->append(number > 0 ? R"({"$float":"Infinity"})" : R"({"$float":"-Infinity"})");
  } else {
    char text[32];
    const char* const end = std::to_chars(text, text + sizeof(text), number).ptr;
    const std::string_view shortest(text, end);
    out->append(shortest);
    // Digits alone would be read as an integer.
    if (shortest.find_first_of(".e") == std::string_view::npos) out->append(".0");
  }
}

template <typename Integer>
void AppendInteger(Integer number, std::string* out) {
  char text[24];
  const char* const end = std::to_chars(text, text + sizeof(text), number).ptr;
  out->append(std::string_view(text, end));
}

class Writer : public msgpack::null_visitor {
 public:
  Writer(std::vector<bool> needs_form, size_t bytes_max, std::string* out)
      : needs_form_(std::move(needs_form)), bytes_max_(bytes_max), out_(out) {}

  bool visit_nil() { return Append("null"); }
  bool visit_boolean(bool value) { return Append(value ? "true" : "false"); }
  bool visit_positive_integer(uint64_t number) {
    AppendInteger(number, out_);
    return Fits();
  }
  bool visit_negative_integer(int64_t number) {  // of any sign: the encoding is a signed one
    AppendInteger(number, out_);
    return Fits();
  }
  bool visit_float32(float number) { return visit_float64(number); }
  bool visit_float64(double number) {
    AppendFloat(number, out_);
    return Fits();
  }
  bool visit_str(const char* data, uint32_t size) {
    const std::string_view text = View(data, size);
    out_->push_back('"');
    if (at_only_key_ && text.starts_with('$')) out_->push_back('$');
    AppendEscaped(text, out_);
    return Append("\"");
  }
  bool visit_bin(const char* data, uint32_t size) {
    out_->append(R"({"$bytes":")");
    EncodeBase64({reinterpret_cast<const uint8_t*>(data), size}, out_);
    return Append("\"}");
  }
  bool visit_ext(const char* data, uint32_t size) {
    const int8_t type = static_cast<int8_t>(data[0]);
    const Bytes payload(reinterpret_cast<const uint8_t*>(data) + 1, size - 1);
    if (type == kTimestampType) {
      const std::optional<Timestamp> time = DecodeTimestamp(payload);
      if (time.has_value() && HasText(*time)) {
        out_->append(R"({"$time":")");
        FormatTimestamp(*time, out_);
        return Append("\"}");
      }
    }
    out_->append(R"({"$ext":[)");
    AppendInteger(int{type}, out_);
    out_->append(",\"");
    EncodeBase64(payload, out_);
    return Append("\"]}");
  }

  bool start_array(uint32_t) {
    open_[depth_++] = {};
    return Append("[");
  }
  bool start_array_item() {
    Separate();
    return true;
  }
  bool end_array() {
    --depth_;
    return Append("]");
  }

  bool start_map(uint32_t size) {
    const bool form = needs_form_[map_index_++];
    open_[depth_++] = {.form = form, .only_key = size == 1};
    return Append(form ? R"({"$map":[)" : "{");
  }
  bool start_map_key() {
    Separate();
    if (open_[depth_ - 1].form) out_->push_back('[');
    at_only_key_ = open_[depth_ - 1].only_key && !open_[depth_ - 1].form;
    return true;
  }
  bool end_map_key() {
    at_only_key_ = false;
    return Append(open_[depth_ - 1].form ? "," : ":");
  }
  bool end_map_value() {
    if (open_[depth_ - 1].form) out_->push_back(']');
    return true;
  }
  bool end_map() { return Append(open_[--depth_].form ? "]}" : "}"); }

 private:
  struct Open {
    bool form = false;      // written as `$map`
    bool only_key = false;  // a map of one entry
    bool begun = false;     // has an element already
  };

  void Separate() {
    if (open_[depth_ - 1].begun) out_->push_back(',');
    open_[depth_ - 1].begun = true;
  }
  bool Append(std::string_view text) {
    out_->append(text);
    return Fits();
  }
  // False ends the parse. Looked at after each piece, which is a bounded multiple of its input.
  bool Fits() const { return out_->size() <= bytes_max_; }

  const std::vector<bool> needs_form_;
  const size_t bytes_max_;
  std::string* const out_;
  size_t map_index_ = 0;
  std::array<Open, kDepthMax> open_;
  uint32_t depth_ = 0;
  bool at_only_key_ = false;
};

// Whether there may be a map in it: a byte that is a map's first, wherever.
bool MayHaveMap(std::string_view value) {
  return std::any_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return (byte >= 0x80 && byte <= 0x8f) || byte == 0xde || byte == 0xdf;
  });
}

}  // namespace

void AppendJsonString(std::string_view text, std::string* out) {
  out->push_back('"');
  AppendEscaped(text, out);
  out->push_back('"');
}

StatusOr<std::string> MessagePackToJson(std::string_view value, size_t bytes_max) {
  LEVER_RETURN_IF_ERROR(
      CheckValue(Bytes(reinterpret_cast<const uint8_t*>(value.data()), value.size())));
  // Having passed the check, the value has no error left for the library to report.
  std::vector<bool> forms;
  if (MayHaveMap(value)) {
    MapScan scan;
    msgpack::parse(value.data(), value.size(), scan);
    forms = scan.TakeForms();
  }
  std::string json;
  // Quotation marks and commas; text that needs more grows it.
  json.reserve(std::min(value.size() + value.size() / 4 + 2, bytes_max));
  Writer writer(std::move(forms), bytes_max, &json);
  if (!msgpack::parse(value.data(), value.size(), writer)) {
    return ResourceExhausted("the JSON text of the value is larger than " +
                             std::to_string(bytes_max) + " bytes")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  return json;
}

StatusOr<std::string> MessagePackToJson(Bytes value, size_t bytes_max) {
  return MessagePackToJson(
      std::string_view(reinterpret_cast<const char*>(value.data()), value.size()), bytes_max);
}

}  // namespace lever::value
