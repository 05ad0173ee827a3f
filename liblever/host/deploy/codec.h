// Compression of bundles: zstd is written, zstd and gzip are read, both by libarchive.
//
// Each object is for one thread at a time.
//
// 1. A bundle is compressed exactly once: a layer below another is data to the tar reader and
//    refused there, so that nesting multiplies nothing.
// 2. Memory is bounded: zstd's window by its library's own limit for streams (128 MiB).
#ifndef LIBLEVER_HOST_DEPLOY_CODEC_H_
#define LIBLEVER_HOST_DEPLOY_CODEC_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/host/deploy/tar.h"

namespace lever::deploy {

class Decompressor final : public ByteSource {
 public:
  // Reads `fd` from its beginning with pread, whatever its offset; does not close it.
  static StatusOr<std::unique_ptr<Decompressor>> Open(int fd);
  ~Decompressor() override;

  // INVALID_ARGUMENT where the compressed data is broken or cut off.
  StatusOr<size_t> Read(char* buffer, size_t size) override;

 private:
  struct State;
  explicit Decompressor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class Compressor {
 public:
  // Compressed bytes are appended to `*out`, which must outlive the object.
  static StatusOr<std::unique_ptr<Compressor>> Open(std::string* out);
  ~Compressor();

  Status Write(std::string_view bytes);
  Status Finish();

 private:
  struct State;
  explicit Compressor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_CODEC_H_
