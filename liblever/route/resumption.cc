#include "liblever/route/resumption.h"

#include <limits>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <utility>

#include "liblever/route/envelope.h"
#include "liblever/route/pbf.h"

namespace lever::route {
namespace {

// Field numbers of lever.v1.Moved.
enum MovedField : uint32_t { kOwner = 1, kShard = 2, kGeneration = 3, kConsumed = 4 };

// Of an instance: ids are shorter.
constexpr size_t kOwnerBytesMax = 256;

}  // namespace

Status CheckResumeToken(std::string_view token) {
  if (token.size() <= kResumeTokenBytesMax) return Status::Ok();
  return InvalidArgument("a resume token has at most " + std::to_string(kResumeTokenBytesMax) +
                         " bytes");
}

Slice WriteMarks(const StreamMarks& marks) {
  std::string bytes;
  protozero::pbf_writer writer(bytes);
  if (marks.resume) writer.add_bytes(kFieldResume, marks.resume->data(), marks.resume->size());
  if (marks.consumed != 0) writer.add_uint64(kFieldConsumed, marks.consumed);
  if (marks.received != 0) writer.add_uint64(kFieldReceived, marks.received);
  return Slice::Copy(bytes);
}

SliceList WriteMoved(const Moved& moved) {
  std::string inner;
  protozero::pbf_writer fields(inner);
  if (!moved.owner.empty()) fields.add_string(kOwner, moved.owner);
  const auto add = [&](MovedField field, uint64_t number) {
    if (number != 0) fields.add_uint64(field, number);
  };
  add(kShard, moved.shard.shard);
  add(kGeneration, moved.shard.generation);
  add(kConsumed, moved.consumed);
  std::string bytes;
  protozero::pbf_writer(bytes).add_message(kFieldMoved, inner);
  SliceList message;
  message.push_back(Slice::Copy(bytes));
  return message;
}

StatusOr<Moved> ParseMoved(const SliceList& payload) {
  const Slice bytes = Flatten(payload);
  Moved moved;
  uint64_t shard = 0;
  try {
    protozero::pbf_reader reader(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    while (reader.next()) {
      switch (reader.tag_and_type()) {
        case BytesField(kOwner): moved.owner = reader.get_string(); break;
        case VarintField(kShard): shard = reader.get_uint64(); break;
        case VarintField(kGeneration): moved.shard.generation = reader.get_uint64(); break;
        case VarintField(kConsumed): moved.consumed = reader.get_uint64(); break;
        default: reader.skip();
      }
    }
  } catch (const protozero::exception&) {
    return InvalidArgument("not a lever.v1.Moved");
  }
  if (shard > std::numeric_limits<uint32_t>::max() || moved.owner.size() > kOwnerBytesMax) {
    return InvalidArgument("not a lever.v1.Moved");
  }
  moved.shard.shard = static_cast<uint32_t>(shard);
  return moved;
}

}  // namespace lever::route
