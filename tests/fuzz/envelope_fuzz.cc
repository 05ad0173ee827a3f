// A body of gRPC messages, cut anywhere, and the envelope in each: the reader of frames against one
// written here, the envelope against protobuf's own parser.
#include <google/protobuf/stubs/logging.h>

#include <vector>

#include "lever/v1/lever.pb.h"
#include "liblever/route/envelope.h"
#include "liblever/route/resumption.h"
#include "liblever/rpc/framing.h"
#include "tests/fuzz/allocations.h"
#include "tests/fuzz/fuzz.h"
#include "tests/route/envelope_oracle.h"

namespace lever::route {
namespace {

constexpr size_t kMessageBytesMax = 64 * 1024;
// Beyond what was received: slices of few bytes have a buffer each, and lists grow by doubling.
constexpr size_t kAllocationPerByteMax = 256;
constexpr size_t kAllocationFixedMax = 64 * 1024;

std::string Payload(const v1::Message& message) {
  switch (message.body_case()) {
    case v1::Message::kValue:
      return message.value();
    case v1::Message::kRaw:
      return message.raw();
    case v1::Message::kErrorValue:
      return message.error_value();
    case v1::Message::kErrorRaw:
      return message.error_raw();
    default:
      return {};
  }
}

Kind KindOf(const v1::Message& message) {
  switch (message.body_case()) {
    case v1::Message::kValue:
      return Kind::kValue;
    case v1::Message::kRaw:
      return Kind::kRaw;
    case v1::Message::kErrorValue:
      return Kind::kErrorValue;
    case v1::Message::kErrorRaw:
      return Kind::kErrorRaw;
    default:
      return Kind::kNone;
  }
}

void CheckRewritten(const Envelope& envelope) {
  const std::string payload = Concat(envelope.payload);
  const SliceList written = WriteEnvelope(envelope.kind, envelope.payload);
  FUZZ_CHECK(TotalSize(written) == EnvelopePrefixBytes(payload.size()) + payload.size(), "");
  const auto again = ParseEnvelope(written);
  FUZZ_CHECK(again.ok() && again->kind == envelope.kind && Concat(again->payload) == payload, "");
}

void CheckMoved(const SliceList& payload) {
  const auto moved = ParseMoved(payload);
  if (!moved.ok()) {
    FUZZ_CHECK(moved.status().code() == LEVER_INVALID_ARGUMENT, "moved");
    return;
  }
  const auto envelope = ParseEnvelope(WriteMoved(*moved));
  FUZZ_CHECK(envelope.ok() && envelope->moved, "moved");
  const auto again = ParseMoved(envelope->payload);
  FUZZ_CHECK(again.ok() && again->owner == moved->owner && again->shard == moved->shard &&
                 again->consumed == moved->consumed,
             "moved");
}

void CheckEnvelope(SliceList message) {
  const std::string bytes = Concat(message);
  const size_t slices = message.size();
  v1::Message theirs;
  const bool good = theirs.ParseFromString(bytes);
  const auto ours = ParseEnvelope(std::move(message));
  if (!ours.ok()) {
    FUZZ_CHECK(ours.status().code() == LEVER_INVALID_ARGUMENT, ours.status().ToString());
    FUZZ_CHECK(!good || RefusedOnPurpose(bytes), ours.status().ToString());
    return;
  }
  FUZZ_CHECK(ours->payload.size() <= slices, std::to_string(ours->payload.size()));
  if (ours->kind != Kind::kNone) CheckRewritten(*ours);
  if (ours->moved) CheckMoved(ours->payload);
  if (!good) {
    // Of `moved` only the length is looked at, and tags and lengths may be padded to ten bytes.
    FUZZ_CHECK(bytes.find_first_of("\x2a\xaa") != std::string::npos || HasLongVarint(bytes), bytes);
    return;
  }
  FUZZ_CHECK(ours->kind == KindOf(theirs), std::to_string(theirs.body_case()));
  FUZZ_CHECK(ours->moved == (theirs.body_case() == v1::Message::kMoved), "moved");
  FUZZ_CHECK(ours->moved || Concat(ours->payload) == Payload(theirs), "payload");
  FUZZ_CHECK(ours->has_resume == theirs.has_resume(), "resume");
  FUZZ_CHECK(ours->resume.view() == theirs.resume(), "resume");
  FUZZ_CHECK(ours->consumed == theirs.consumed(), "consumed");
  FUZZ_CHECK(ours->received == theirs.received(), "received");
}

// What the frames of a body are, read the plain way.
struct Expected {
  std::vector<std::string> messages;
  lever_status end = LEVER_OK;
  bool partial = false;
};

Expected ReadPlainly(std::string_view body) {
  Expected expected;
  while (body.size() >= rpc::kGrpcPrefixBytes) {
    uint32_t size = 0;
    for (size_t i = 1; i < rpc::kGrpcPrefixBytes; ++i)
      size = size << 8 | static_cast<uint8_t>(body[i]);
    if (body[0] != 0) expected.end = LEVER_INTERNAL;
    if (body[0] == 0 && size > kMessageBytesMax) expected.end = LEVER_RESOURCE_EXHAUSTED;
    if (expected.end != LEVER_OK) return expected;
    if (body.size() - rpc::kGrpcPrefixBytes < size) break;
    expected.messages.emplace_back(body.substr(rpc::kGrpcPrefixBytes, size));
    body.remove_prefix(rpc::kGrpcPrefixBytes + size);
  }
  expected.partial = !body.empty();
  return expected;
}

void CheckBody(std::string_view body, uint32_t cuts, bool compacts) {
  const Expected expected = ReadPlainly(body);
  const AllocationCount reading;
  rpc::MessageReader reader(kMessageBytesMax);
  size_t messages = 0, consumed = 0;
  for (Slice& piece : fuzz::InSlices(body, cuts)) {
    reader.Append(std::move(piece));
    for (;;) {
      const bool whole = reader.HasWholeMessage();
      SliceList message;
      const auto got = reader.Next(&message);
      if (!got.ok()) {
        FUZZ_CHECK(got.status().code() == expected.end, got.status().ToString());
        FUZZ_CHECK(messages == expected.messages.size(), std::to_string(messages));
        return;
      }
      FUZZ_CHECK(*got == whole, "HasWholeMessage() and Next() differ");
      consumed += reader.TakeConsumed();
      if (!*got) break;
      FUZZ_CHECK(messages < expected.messages.size(), "one message more");
      FUZZ_CHECK(Concat(message) == expected.messages[messages], std::to_string(messages));
      ++messages;
    }
    if (compacts) reader.Compact();
  }
  FUZZ_CHECK(expected.end == LEVER_OK, StatusName(expected.end).data());
  FUZZ_CHECK(messages == expected.messages.size(), std::to_string(messages));
  FUZZ_CHECK(reader.Empty() == !expected.partial, "what is left");
  FUZZ_CHECK(consumed == body.size(), std::to_string(consumed));
  FUZZ_CHECK(reading.bytes() <= kAllocationPerByteMax * body.size() + kAllocationFixedMax,
             std::to_string(reading.bytes()));
  for (const std::string& message : expected.messages) CheckEnvelope(fuzz::InSlices(message, cuts));
}

}  // namespace
}  // namespace lever::route

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const google::protobuf::LogSilencer silent;  // of text that is not UTF-8
  lever::fuzz::Input input(data, size);
  const uint8_t how = input.Byte();
  if ((how & 1) != 0) {
    lever::route::CheckBody(input.Rest(), how >> 2, (how & 2) != 0);
  } else {
    lever::route::CheckEnvelope(lever::fuzz::InSlices(input.Rest(), how >> 2));
  }
  return 0;
}
