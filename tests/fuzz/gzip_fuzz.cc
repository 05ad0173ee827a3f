// Compressed messages in: inflating against zlib used the plain way, deflating and back, and bodies
// whose frames say that they are compressed.
#include <zlib.h>

#include <optional>
#include <vector>

#include "liblever/rpc/compression.h"
#include "liblever/rpc/framing.h"
#include "tests/fuzz/allocations.h"
#include "tests/fuzz/fuzz.h"

namespace lever::rpc {
namespace {

// What a message may have at most; small, so that inputs go beyond it.
constexpr size_t kSizesMax[] = {64, 4096, 256 * 1024};
// Beyond the input: the state of an inflater once a thread, a message's bytes, lists of slices.
constexpr size_t kAllocationPerByteMax = 256;
constexpr size_t kAllocationFixedMax = 512 * 1024;

// All members of a gzip file, or nothing.
std::optional<std::string> InflatePlainly(std::string_view bytes, size_t size_max) {
  std::string out;
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  if (bytes.empty() || inflateInit2(&stream, 15 + 16) != Z_OK) return std::nullopt;
  int result = Z_OK;
  std::vector<char> chunk(4096);
  while (out.size() <= size_max) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    result = inflate(&stream, Z_NO_FLUSH);
    out.append(chunk.data(), chunk.size() - stream.avail_out);
    if (result == Z_STREAM_END) {
      if (stream.avail_in == 0) break;
      inflateReset(&stream);
    } else if (result != Z_OK) {
      break;
    }
  }
  inflateEnd(&stream);
  if (out.size() > size_max || result != Z_STREAM_END) return std::nullopt;
  return out;
}

StatusOr<std::string> Inflate(std::string_view bytes, uint32_t cuts, size_t size_max) {
  const SliceList slices = fuzz::InSlices(bytes, cuts);
  const AllocationCount inflating;
  const auto message = InflateGzip(std::span<const Slice>(slices), size_max);
  FUZZ_CHECK(inflating.bytes() <=
                 kAllocationPerByteMax * bytes.size() + kAllocationFixedMax + 2 * size_max,
             std::to_string(inflating.bytes()));
  if (!message.ok()) {
    FUZZ_CHECK(message.status().code() == LEVER_RESOURCE_EXHAUSTED ||
                   message.status().code() == LEVER_INTERNAL,
               message.status().ToString());
    return message.status();
  }
  std::string text = Concat(std::span<const Slice>(message.value()));
  FUZZ_CHECK(text.size() <= size_max, std::to_string(text.size()));
  return text;
}

void CheckInflated(std::string_view bytes, uint32_t cuts, size_t size_max) {
  const auto ours = Inflate(bytes, cuts, size_max);
  const auto theirs = InflatePlainly(bytes, size_max);
  FUZZ_CHECK(ours.ok() == theirs.has_value(), ours.status().ToString());
  if (ours.ok()) FUZZ_CHECK(ours.value() == *theirs, "another text");
}

std::string Deflate(std::string_view text, uint32_t cuts) {
  const SliceList slices = fuzz::InSlices(text, cuts);
  const SliceList deflated = DeflateGzip(std::span<const Slice>(slices));
  return Concat(std::span<const Slice>(deflated));
}

// `times` texts one after the other, deflated, perhaps changed in one byte, and inflated.
void CheckThereAndBack(fuzz::Input input, uint32_t cuts, size_t size_max) {
  const size_t times = input.Byte() + size_t{1};
  const uint32_t change = input.Short();
  const std::string_view unit = input.Rest();
  std::string text;
  while (text.size() < times * unit.size()) text += unit;
  std::string deflated = Deflate(text, cuts);
  FUZZ_CHECK(deflated.size() <= CompressedBytesMax(text.size()), std::to_string(deflated.size()));
  const auto back = Inflate(deflated, cuts, size_max);
  if (text.size() > size_max) {
    FUZZ_CHECK(back.status().code() == LEVER_RESOURCE_EXHAUSTED, back.status().ToString());
  } else {
    FUZZ_CHECK(back.ok() && back.value() == text, back.status().ToString());
  }
  if (change == 0) return;
  deflated[change % deflated.size()] ^= static_cast<char>(1 << (change >> 13));
  const auto changed = Inflate(deflated, cuts, size_max);
  FUZZ_CHECK(!changed.ok() || changed.value() == text, "changed, and the checksum agrees");
}

void CheckBody(std::string_view body, uint32_t cuts, size_t size_max) {
  MessageReader reader(size_max);
  reader.AllowCompressed();
  for (Slice& piece : fuzz::InSlices(body, cuts)) {
    reader.Append(std::move(piece));
    for (;;) {
      const bool whole = reader.HasWholeMessage();
      SliceList message;
      const auto got = reader.Next(&message);
      if (!got.ok()) return;
      FUZZ_CHECK(*got == whole, "HasWholeMessage() and Next() differ");
      if (!*got) break;
      const size_t size = TotalSize(message);
      FUZZ_CHECK(size <= (reader.compressed() ? CompressedBytesMax(size_max) : size_max),
                 std::to_string(size));
      if (reader.compressed()) CheckInflated(Concat(message), cuts, size_max);
    }
  }
}

}  // namespace
}  // namespace lever::rpc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lever::fuzz::Input input(data, size);
  const uint8_t how = input.Byte();
  const size_t size_max = lever::rpc::kSizesMax[how % 3];
  const uint32_t cuts = how >> 5;
  switch (how / 3 % 3) {
    case 0:
      lever::rpc::CheckInflated(input.Rest(), cuts, size_max);
      break;
    case 1:
      lever::rpc::CheckThereAndBack(input, cuts, size_max);
      break;
    case 2:
      lever::rpc::CheckBody(input.Rest(), cuts, size_max);
      break;
  }
  return 0;
}
