// Values: the check of MessagePack, MessagePack to JSON and back, JSON to MessagePack and back, and
// the texts inside them.
#include <cstring>
#include <msgpack.hpp>
#include <nlohmann/json.hpp>
#include <vector>

#include "liblever/value/base64.h"
#include "liblever/value/json.h"
#include "liblever/value/timestamp.h"
#include "liblever/value/utf8.h"
#include "tests/fuzz/allocations.h"
#include "tests/fuzz/fuzz.h"

namespace lever::value {
namespace {

constexpr size_t kRefusalBytesMax = 256;

Bytes AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void CheckAllocations(size_t allocated, std::string_view input) {
  FUZZ_CHECK(allocated <= kAllocationPerInputByteMax * input.size() + kAllocationFixedMax,
             std::to_string(allocated) + " bytes for " + std::to_string(input.size()));
}

// The text of a value that passes, and what it reads back to.
void CheckWritten(const std::string& json, std::string_view value) {
  FUZZ_CHECK(IsUtf8(json), json);
  FUZZ_CHECK(json.find('\n') == std::string::npos, json);
  FUZZ_CHECK(nlohmann::json::accept(json), json);
  FUZZ_CHECK(json.size() <= kJsonExpansionMax * value.size() + 64, json);
  const auto back = JsonToMessagePack(json);
  FUZZ_CHECK(back.ok(), back.status().ToString() + "\n" + json);
  FUZZ_CHECK(CheckValue(AsBytes(*back)).ok(), json);
  const auto again = MessagePackToJson(*back);
  FUZZ_CHECK(again.ok() && *again == json, json);
}

void CheckMessagePack(std::string_view value, uint32_t cuts) {
  const AllocationCount count;
  const Status whole = CheckValue(AsBytes(value));
  if (whole.ok()) FUZZ_CHECK(count.bytes() == 0, std::to_string(count.bytes()));
  const SliceList slices = fuzz::InSlices(value, cuts);
  const Status pieces = CheckValue(std::span<const Slice>(slices));
  FUZZ_CHECK(pieces.ToString() == whole.ToString(), pieces.ToString() + " / " + whole.ToString());
  const auto arguments = CheckArguments(AsBytes(value));
  const auto arguments_in_pieces = CheckArguments(std::span<const Slice>(slices));
  FUZZ_CHECK(arguments.status().ToString() == arguments_in_pieces.status().ToString(), "");
  FUZZ_CHECK(whole.ok() || !arguments.ok(), "arguments that are no value");
  const AllocationCount converting;
  const auto json = MessagePackToJson(value);
  CheckAllocations(converting.bytes(), value);
  if (!whole.ok()) {
    fuzz::CheckRefusal(whole, LEVER_INVALID_ARGUMENT, kRefusalBytesMax);
    FUZZ_CHECK(!json.ok(), *json);
    return;
  }
  // Another decoder takes it, and comes to its end.
  size_t end = 0;
  struct Visitor : msgpack::null_visitor {
  } visitor;
  FUZZ_CHECK(msgpack::parse(value.data(), value.size(), end, visitor),
             "another decoder refuses it");
  FUZZ_CHECK(end == value.size(), "another decoder stops sooner");
  if (!json.ok())
    return fuzz::CheckRefusal(json.status(), LEVER_INVALID_ARGUMENT, kRefusalBytesMax);
  CheckWritten(*json, value);
}

void CheckJson(std::string_view json) {
  const AllocationCount converting;
  const auto value = JsonToMessagePack(json);
  CheckAllocations(converting.bytes(), json);
  if (!value.ok())
    return fuzz::CheckRefusal(value.status(), LEVER_INVALID_ARGUMENT, kRefusalBytesMax);
  FUZZ_CHECK(nlohmann::json::accept(json), std::string(json));
  FUZZ_CHECK(value->size() <= kMessagePackExpansionMax * json.size(), std::string(json));
  FUZZ_CHECK(CheckValue(AsBytes(*value)).ok(), std::string(json));
  const auto written = MessagePackToJson(*value);
  FUZZ_CHECK(written.ok(), written.status().ToString());
  CheckWritten(*written, *value);
  // The same bytes, but for a moment that was given as an extension and takes fewer of them.
  const auto back = JsonToMessagePack(*written);
  FUZZ_CHECK(back->size() < value->size() || *back == *value, *written);
}

void CheckTime(std::string_view text) {
  const auto time = ParseTimestamp(text);
  if (!time) return;
  FUZZ_CHECK(HasText(*time) && time->nanos < 1'000'000'000, std::string(text));
  std::string written, payload;
  FormatTimestamp(*time, &written);
  const auto again = ParseTimestamp(written);
  FUZZ_CHECK(again && *again == *time, written);
  EncodeTimestamp(*time, &payload);
  const auto decoded = DecodeTimestamp(AsBytes(payload));
  FUZZ_CHECK(decoded && *decoded == *time, written);
}

void CheckTimePayload(std::string_view bytes) {
  const auto time = DecodeTimestamp(AsBytes(bytes));
  if (!time) return;
  std::string payload, text;
  EncodeTimestamp(*time, &payload);
  FUZZ_CHECK(payload.size() <= bytes.size(), "longer than it came");
  const auto again = DecodeTimestamp(AsBytes(payload));
  FUZZ_CHECK(again && *again == *time, "another moment");
  if (!HasText(*time)) return;
  FormatTimestamp(*time, &text);
  const auto parsed = ParseTimestamp(text);
  FUZZ_CHECK(parsed && *parsed == *time, text);
}

void CheckBase64(std::string_view text) {
  std::string bytes;
  if (DecodeBase64(text, &bytes)) {
    std::string again;
    EncodeBase64(AsBytes(bytes), &again);
    FUZZ_CHECK(again == text, again);
  }
  std::string encoded, decoded;
  EncodeBase64(AsBytes(text), &encoded);
  FUZZ_CHECK(DecodeBase64(encoded, &decoded) && decoded == text, encoded);
}

// UTF-8 in pieces of any size is what it is in one.
void CheckUtf8(std::string_view text, size_t cut) {
  const std::string_view first = text.substr(0, cut);
  const std::string_view second = text.substr(first.size());
  Utf8Checker checker;
  const auto feed = [&](std::string_view piece) {
    return checker.Feed(reinterpret_cast<const uint8_t*>(piece.data()), piece.size());
  };
  const bool in_pieces = feed(first) && feed(second) && checker.Complete();
  FUZZ_CHECK(in_pieces == IsUtf8(text), std::string(text));
}

}  // namespace
}  // namespace lever::value

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lever::fuzz::Input input(data, size);
  const uint8_t what = input.Byte();
  switch (what % 8) {
    case 0:
    case 1:
    case 2:
      lever::value::CheckMessagePack(input.Rest(), what / 8);
      break;
    case 3:
    case 4:
      lever::value::CheckJson(input.Rest());
      break;
    case 5:
      lever::value::CheckTime(input.Rest());
      break;
    case 6:
      lever::value::CheckTimePayload(input.Rest());
      break;
    case 7:
      lever::value::CheckUtf8(input.Rest(), what / 8);
      input = lever::fuzz::Input(data, size);
      input.Byte();
      lever::value::CheckBase64(input.Rest());
      break;
  }
  return 0;
}
