// JSON -> MessagePack in one pass of nlohmann-json's SAX parser.
//
// A container's header precedes its elements but is known only at its end. So the elements go into
// one body without any headers, and a list says where a container begins; when the text has been
// read both are merged. A `$` form is recognised at the end of its object: a form that becomes a
// scalar replaces the body from there on, a `$map` turns into a map by changing the list, and
// nothing is moved however deep they nest.

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <msgpack.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "liblever/value/base64.h"
#include "liblever/value/json.h"
#include "liblever/value/timestamp.h"

namespace lever::value {
namespace {

using Json = nlohmann::json;

// What msgpack::packer writes to.
class Output {
 public:
  explicit Output(std::string* text) : text_(text) {}
  void write(const char* data, size_t size) { text_->append(data, size); }

 private:
  std::string* text_;
};
using Packer = msgpack::packer<Output>;

void PackText(std::string_view text, Packer* packer) {
  packer->pack_str(static_cast<uint32_t>(text.size()));
  packer->pack_str_body(text.data(), static_cast<uint32_t>(text.size()));
}

// The packer's own pack_double makes an integer of 1.0.
void PackFloat64(double number, std::string* out) {
  uint64_t bits;
  std::memcpy(&bits, &number, sizeof(bits));
  out->push_back('\xcb');
  for (int shift = 56; shift >= 0; shift -= 8) out->push_back(static_cast<char>(bits >> shift));
}

uint32_t TextHeaderBytes(size_t size) {
  if (size < 32) return 1;
  if (size <= UINT8_MAX) return 2;
  return size <= UINT16_MAX ? 3 : 5;
}

// The string that is the whole of `body`, or nullopt if that is another value.
std::optional<std::string_view> TextOf(std::string_view body) {
  const uint8_t lead = static_cast<uint8_t>(body[0]);
  size_t header = 1;
  if (lead == 0xd9) {
    header = 2;
  } else if (lead == 0xda) {
    header = 3;
  } else if (lead == 0xdb) {
    header = 5;
  } else if (lead < 0xa0 || lead > 0xbf) {
    return std::nullopt;
  }
  return body.substr(header);
}

enum class Kind : uint8_t {
  kArray,
  kMap,
  kNone,  // the list or a pair of a `$map`: has no header
};

struct Container {
  uint32_t begin;  // in the body
  uint32_t size;   // elements or pairs
  uint32_t next;   // the index of the container behind this one and all in it
  Kind kind;
  uint8_t skip;  // bytes of the body that are left out behind `begin`
};

Status Refuse(std::string message) {
  return InvalidArgument(std::move(message)).WithExecuted(LEVER_EXECUTED_NO);
}

// The events of the parser; false ends the parse, and status() says why.
class Handler {
 public:
  Handler() : sink_(&body_), packer_(sink_) {}

  const Status& status() const { return status_; }
  std::string Merge() const;

  bool null() {
    AddToParent();
    packer_.pack_nil();
    return true;
  }
  bool boolean(bool value) {
    AddToParent();
    value ? packer_.pack_true() : packer_.pack_false();
    return true;
  }
  bool number_integer(int64_t number) {
    AddToParent();
    packer_.pack_int64(number);
    return true;
  }
  bool number_unsigned(uint64_t number) {
    AddToParent();
    packer_.pack_uint64(number);
    return true;
  }
  bool number_float(double number, const std::string& text) {
    // The parser gives an integer beyond 64 bits as a float.
    if (text.find_first_not_of("-0123456789") == std::string::npos) {
      return Fail("an integer outside -2^63 to 2^64-1");
    }
    AddToParent();
    PackFloat64(number, &body_);
    return true;
  }
  bool string(const std::string& text) {
    AddToParent();
    PackText(text, &packer_);
    return true;
  }
  bool binary(const Json::binary_t&) { return Fail("binary"); }  // JSON has none

  bool start_array(size_t) { return Open(Kind::kArray); }
  bool end_array() {
    Close();
    return true;
  }
  bool start_object(size_t) { return Open(Kind::kMap); }
  bool key(const std::string& name) {
    ++containers_[open_[depth_ - 1].container].size;
    const uint32_t header = TextHeaderBytes(name.size());
    keys_.push_back(
        {static_cast<uint32_t>(body_.size()) + header, static_cast<uint32_t>(name.size())});
    PackText(name, &packer_);
    return true;
  }
  bool end_object();

  bool parse_error(size_t position, const std::string&, const Json::exception& error);

 private:
  struct OpenContainer {
    uint32_t container;
    uint32_t first_key;
  };
  struct Key {
    uint32_t begin;  // of the text, in the body
    uint32_t size;
  };

  bool Fail(std::string_view what) {
    status_ = Refuse(std::string("JSON: ").append(what));
    return false;
  }
  void AddToParent() {
    if (depth_ == 0) return;
    Container& parent = containers_[open_[depth_ - 1].container];
    if (parent.kind == Kind::kArray) ++parent.size;  // a map counts its keys
  }
  bool Open(Kind kind) {
    if (depth_ == kJsonDepthMax) return Fail("too many levels");
    AddToParent();
    open_[depth_++] = {static_cast<uint32_t>(containers_.size()),
                       static_cast<uint32_t>(keys_.size())};
    containers_.push_back({static_cast<uint32_t>(body_.size()), 0, 0, kind, 0});
    return true;
  }
  OpenContainer Close() {
    const OpenContainer closed = open_[--depth_];
    containers_[closed.container].next = static_cast<uint32_t>(containers_.size());
    return closed;
  }

  std::string_view Text(Key key) const {
    return std::string_view(body_).substr(key.begin, key.size);
  }
  bool HasRepeatedKey(uint32_t first_key);
  bool Form(uint32_t container, Key key);
  void DropOneDollar(uint32_t container, Key key);
  bool MapForm(uint32_t container, Key key);
  bool ScalarForm(uint32_t container, std::string_view name, std::string_view value);
  bool ExtForm(uint32_t container, std::string_view elements);
  void Replace(uint32_t container);

  Status status_;
  std::string body_;
  Output sink_;
  Packer packer_;
  std::vector<Container> containers_;
  std::vector<Key> keys_;  // of the open objects
  std::array<OpenContainer, kJsonDepthMax> open_;
  uint32_t depth_ = 0;
};

bool Handler::end_object() {
  const OpenContainer object = Close();
  const uint32_t size = containers_[object.container].size;
  if (size > 1 && HasRepeatedKey(object.first_key)) return Fail("a key that repeats in its object");
  if (size == 1) {
    const Key key = keys_[object.first_key];
    if (Text(key).starts_with('$') && !Form(object.container, key)) return false;
  }
  keys_.resize(object.first_key);
  return true;
}

bool Handler::HasRepeatedKey(uint32_t first_key) {
  const auto begin = keys_.begin() + first_key;
  std::sort(begin, keys_.end(), [this](Key a, Key b) { return Text(a) < Text(b); });
  return std::adjacent_find(begin, keys_.end(),
                            [this](Key a, Key b) { return Text(a) == Text(b); }) != keys_.end();
}

// The object's only key begins with '$'.
bool Handler::Form(uint32_t container, Key key) {
  const std::string_view name = Text(key);
  if (name.starts_with("$$")) {
    DropOneDollar(container, key);
    return true;
  }
  if (name == "$map") return MapForm(container, key);
  const std::string_view value = std::string_view(body_).substr(key.begin + key.size);
  const size_t containers = containers_.size() - container - 1;  // in the value
  if (name == "$ext" && containers == 1 && containers_[container + 1].kind == Kind::kArray &&
      containers_[container + 1].size == 2) {
    return ExtForm(container, value);
  }
  if (containers == 0) return ScalarForm(container, name, value);
  return Fail("an object whose only key begins with '$' is none of the known forms");
}

// The text stays where it is; a header for one character less is written before its second one, and
// what is in front of that is skipped.
void Handler::DropOneDollar(uint32_t container, Key key) {
  std::string header;
  Output sink(&header);
  Packer(sink).pack_str(key.size - 1);
  const size_t begin = key.begin + 1 - header.size();
  body_.replace(begin, header.size(), header);
  containers_[container].skip = static_cast<uint8_t>(begin - containers_[container].begin);
}

// {"$map":[[k,v],...]}: the object becomes the map; the key, the list and the pairs go.
bool Handler::MapForm(uint32_t container, Key key) {
  constexpr std::string_view kWrong = "$map takes a list of [key,value] pairs";
  const uint32_t list = container + 1;
  if (list == containers_.size() || containers_[list].kind != Kind::kArray) return Fail(kWrong);
  // As many pairs as the list has elements: then no element is a scalar.
  uint32_t pairs = 0;
  for (uint32_t at = list + 1; at < containers_[list].next; at = containers_[at].next) {
    if (containers_[at].kind != Kind::kArray || containers_[at].size != 2) return Fail(kWrong);
    containers_[at].kind = Kind::kNone;
    ++pairs;
  }
  if (pairs != containers_[list].size) return Fail(kWrong);
  containers_[list].kind = Kind::kNone;
  containers_[container].size = pairs;
  containers_[container].skip =
      static_cast<uint8_t>(key.begin + key.size - containers_[container].begin);
  return true;
}

// A scalar takes the place of the object and of all that was written for it.
void Handler::Replace(uint32_t container) {
  body_.resize(containers_[container].begin);
  containers_.resize(container);
}

bool Handler::ScalarForm(uint32_t container, std::string_view name, std::string_view value) {
  const std::optional<std::string_view> text = TextOf(value);
  if (name == "$bytes") {
    std::string bytes;
    if (!text.has_value() || !DecodeBase64(*text, &bytes)) {
      return Fail("$bytes takes padded base64 of the standard alphabet");
    }
    Replace(container);
    packer_.pack_bin(static_cast<uint32_t>(bytes.size()));
    packer_.pack_bin_body(bytes.data(), static_cast<uint32_t>(bytes.size()));
    return true;
  }
  if (name == "$time") {
    const std::optional<Timestamp> time = text ? ParseTimestamp(*text) : std::nullopt;
    if (!time.has_value()) {
      return Fail("$time takes RFC 3339 with up to 9 digits, in the years 0001 to 9999");
    }
    std::string payload;
    EncodeTimestamp(*time, &payload);
    Replace(container);
    packer_.pack_ext(payload.size(), kTimestampType);
    packer_.pack_ext_body(payload.data(), static_cast<uint32_t>(payload.size()));
    return true;
  }
  if (name == "$float") {
    double number = 0;
    if (text == "NaN") {
      number = std::numeric_limits<double>::quiet_NaN();
    } else if (text == "Infinity") {
      number = std::numeric_limits<double>::infinity();
    } else if (text == "-Infinity") {
      number = -std::numeric_limits<double>::infinity();
    } else {
      return Fail("$float takes \"NaN\", \"Infinity\" or \"-Infinity\"");
    }
    Replace(container);
    PackFloat64(number, &body_);
    return true;
  }
  return Fail("an object whose only key begins with '$' is none of the known forms");
}

// `elements` are two scalars.
bool Handler::ExtForm(uint32_t container, std::string_view elements) {
  constexpr std::string_view kWrong = "$ext takes [type from -128 to 127, base64]";
  // A type in the shortest encoding is a fixint, or the byte behind d0.
  const uint8_t lead = static_cast<uint8_t>(elements[0]);
  const bool fixint = lead <= 0x7f || lead >= 0xe0;
  if (!fixint && lead != 0xd0) return Fail(kWrong);
  const size_t type_bytes = fixint ? 1 : 2;
  const int8_t type = static_cast<int8_t>(elements[type_bytes - 1]);
  const std::optional<std::string_view> text = TextOf(elements.substr(type_bytes));
  std::string payload;
  if (!text.has_value() || !DecodeBase64(*text, &payload)) return Fail(kWrong);
  Replace(container);
  packer_.pack_ext(payload.size(), type);
  packer_.pack_ext_body(payload.data(), static_cast<uint32_t>(payload.size()));
  return true;
}

bool Handler::parse_error(size_t position, const std::string&, const Json::exception& error) {
  constexpr size_t kReasonMax = 160;
  // "[json.exception.parse_error.101] parse error at line 1, column 2: REASON; last read: '...'":
  // the end repeats the input, which may be long and anything but printable.
  std::string_view reason(error.what());
  reason = reason.substr(0, reason.find("; last read:"));
  if (const size_t begin = reason.find("] "); begin != std::string_view::npos) {
    reason.remove_prefix(begin + 2);
  }
  constexpr int kNumberOverflow = 406;
  if (error.id == kNumberOverflow) reason = "a number that overflows";
  std::string text(reason.substr(0, kReasonMax));
  for (char& c : text) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return Fail(text.append(" (at byte ").append(std::to_string(position)).append(")"));
}

std::string Handler::Merge() const {
  constexpr size_t kHeaderBytesMax = 5;
  std::string merged;
  merged.reserve(body_.size() + kHeaderBytesMax * containers_.size());
  Output sink(&merged);
  Packer packer(sink);
  size_t done = 0;
  for (const Container& container : containers_) {
    merged.append(body_, done, container.begin - done);
    if (container.kind == Kind::kArray) packer.pack_array(container.size);
    if (container.kind == Kind::kMap) packer.pack_map(container.size);
    done = container.begin + container.skip;
  }
  merged.append(body_, done);
  return merged;
}

}  // namespace

StatusOr<std::string> JsonToMessagePack(std::string_view json) {
  if (json.size() > kJsonBytesMax) {
    return ResourceExhausted("JSON: larger than 256 MiB").WithExecuted(LEVER_EXECUTED_NO);
  }
  static_assert(kJsonBytesMax == size_t{256} << 20, "named in the message above");
  // The parser takes a NUL for the end of the text and would not see what is behind it.
  if (const size_t at = json.find('\0'); at != std::string_view::npos) {
    return Refuse("JSON: a NUL byte (at byte " + std::to_string(at + 1) + ")");
  }
  Handler handler;
  if (!Json::sax_parse(json.data(), json.data() + json.size(), &handler)) return handler.status();
  std::string value = handler.Merge();
  // Refuses what has too many levels: only now it is known which brackets were part of a form.
  LEVER_RETURN_IF_ERROR(
      CheckValue(Bytes(reinterpret_cast<const uint8_t*>(value.data()), value.size())));
  return value;
}

}  // namespace lever::value
