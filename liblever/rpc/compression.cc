#include "liblever/rpc/compression.h"

#include <zlib.h>

#include <algorithm>
#include <cassert>
#include <new>
#include <string>
#include <utility>

namespace lever::rpc {
namespace {

// zlib's windowBits for a window of 32 KiB and a gzip header and trailer.
constexpr int kGzipWindowBits = 15 + 16;
constexpr int kDeflateMemoryLevel = 8;  // zlib's default: 256 KiB in all
// Deflate's largest ratio: 258 bytes by two codes of one bit each.
constexpr size_t kRatioMax = 1032;
// A member's header and trailer, at least.
constexpr size_t kMemberBytesMin = 18;
// Buffers for what turns out larger than was told.
constexpr size_t kPieceBytesMin = 4 * 1024;
constexpr size_t kPieceBytesMax = 256 * 1024;

// zlib's state for one direction, made once a thread.
class Inflater {
 public:
  Inflater() {
    if (inflateInit2(&stream, kGzipWindowBits) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream); }
  z_stream stream = {};
};

class Deflater {
 public:
  Deflater() {
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits,
                     kDeflateMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  ~Deflater() { deflateEnd(&stream); }
  z_stream stream = {};
};

// Gives zlib room, and collects what it has written as slices of the buffers that it wrote to.
class Output {
 public:
  explicit Output(z_stream* stream) : stream_(stream) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() {
    if (buffer_ != nullptr) buffer_->Unref();
  }

  size_t bytes() const { return bytes_ + Written(); }
  bool full() const { return stream_->avail_out == 0; }

  // Room for `size` more bytes. Only when it is full.
  void Grow(size_t size) {
    TakeWritten();
    buffer_ = Buffer::New(size);
    stream_->next_out = buffer_->data();
    stream_->avail_out = static_cast<uInt>(size);
  }

  SliceList Finish() {
    TakeWritten();
    return std::move(slices_);
  }

 private:
  size_t Written() const { return buffer_ == nullptr ? 0 : stream_->next_out - buffer_->data(); }

  void TakeWritten() {
    if (buffer_ == nullptr) return;
    const size_t size = Written();
    bytes_ += size;
    Slice slice(buffer_->data(), size, buffer_);
    buffer_ = nullptr;
    // Where the input promised more than came.
    slice.Compact();
    if (!slice.empty()) slices_.push_back(std::move(slice));
  }

  z_stream* const stream_;
  Buffer* buffer_ = nullptr;
  size_t bytes_ = 0;  // in `slices_`
  SliceList slices_;
};

void SetInput(z_stream* stream, const Slice& slice) {
  assert(slice.size() <= UINT32_MAX);
  // zlib does not write there; its type is older than const.
  stream->next_in = const_cast<uint8_t*>(slice.data());
  stream->avail_in = static_cast<uInt>(slice.size());
}

// What the last four bytes say of the size (ISIZE), which is all of it unless there are several
// members, or the input lies.
size_t PromisedBytes(std::span<const Slice> compressed) {
  uint32_t size = 0;
  int shift = 24;
  for (auto slice = compressed.rbegin(); slice != compressed.rend() && shift >= 0; ++slice) {
    for (size_t i = slice->size(); i > 0 && shift >= 0; --i, shift -= 8) {
      size |= static_cast<uint32_t>(slice->data()[i - 1]) << shift;
    }
  }
  return size;
}

Status TooLarge(size_t message_bytes_max) {
  return ResourceExhausted("a compressed message inflates to more than the limit of " +
                           std::to_string(message_bytes_max) + " bytes");
}

Status Broken(std::string_view what) {
  return Internal("a compressed message is not gzip: " + std::string(what));
}

// Inflates what `stream` has been given, which is one slice. `*in_member`: whether the last member
// read has no end yet.
Status InflateInput(z_stream* stream, size_t message_bytes_max, Output* output, bool* in_member) {
  // With no room left zlib may hold back what it has read already.
  for (bool held_back = false; stream->avail_in > 0 || held_back;) {
    if (!*in_member) {
      if (stream->avail_in == 0) break;
      inflateReset(stream);
      *in_member = true;
    }
    const int result = inflate(stream, Z_NO_FLUSH);
    if (output->bytes() > message_bytes_max) return TooLarge(message_bytes_max);
    if (result == Z_STREAM_END) {
      *in_member = false;
    } else if (result == Z_MEM_ERROR) {
      throw std::bad_alloc();
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      return Broken(stream->msg == nullptr ? "it needs a dictionary" : stream->msg);
    }
    held_back = output->full();
    if (!held_back) continue;
    // One byte above the maximum shows that there is more, and is never given out.
    const size_t left = message_bytes_max + 1 - output->bytes();
    output->Grow(std::min(left, std::clamp(output->bytes(), kPieceBytesMin, kPieceBytesMax)));
  }
  return Status::Ok();
}

}  // namespace

std::optional<Compression> CompressionFromName(std::string_view name) {
  if (name == "gzip") return Compression::kGzip;
  if (name == "identity") return Compression::kIdentity;
  return std::nullopt;
}

std::string_view CompressionName(Compression compression) {
  return compression == Compression::kGzip ? "gzip" : "identity";
}

bool Accepts(std::string_view accept_encoding, Compression compression) {
  if (compression == Compression::kIdentity) return true;
  while (!accept_encoding.empty()) {
    const size_t comma = accept_encoding.find(',');
    std::string_view name = accept_encoding.substr(0, comma);
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (name == CompressionName(compression)) return true;
    if (comma == std::string_view::npos) break;
    accept_encoding.remove_prefix(comma + 1);
  }
  return false;
}

StatusOr<SliceList> InflateGzip(std::span<const Slice> compressed, size_t message_bytes_max) {
  thread_local Inflater inflater;
  z_stream* const stream = &inflater.stream;
  inflateReset(stream);
  message_bytes_max = std::min<size_t>(message_bytes_max, UINT32_MAX);
  const size_t compressed_bytes = TotalSize(compressed);
  if (compressed_bytes < kMemberBytesMin) return Broken("it is too short");
  Output output(stream);
  const size_t promised = std::min(PromisedBytes(compressed), compressed_bytes * kRatioMax);
  output.Grow(std::min(promised, message_bytes_max) + 1);
  bool in_member = true;
  for (const Slice& slice : compressed) {
    SetInput(stream, slice);
    LEVER_RETURN_IF_ERROR(InflateInput(stream, message_bytes_max, &output, &in_member));
  }
  if (in_member) return Broken("it is cut short");
  return output.Finish();
}

SliceList DeflateGzip(std::span<const Slice> message) {
  thread_local Deflater deflater;
  z_stream* const stream = &deflater.stream;
  deflateReset(stream);
  Output output(stream);
  const size_t bound = deflateBound(stream, static_cast<uLong>(TotalSize(message)));
  output.Grow(std::min(bound, kPieceBytesMax));
  for (const Slice& slice : message) {
    SetInput(stream, slice);
    while (stream->avail_in > 0) {
      deflate(stream, Z_NO_FLUSH);
      if (output.full()) output.Grow(kPieceBytesMax);
    }
  }
  while (deflate(stream, Z_FINISH) != Z_STREAM_END) output.Grow(kPieceBytesMax);
  return output.Finish();
}

}  // namespace lever::rpc
