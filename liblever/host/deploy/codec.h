// Compression of bundles: zstd is written, zstd and gzip are read, both by libarchive.
//
// Each object is for one thread at a time.
//
// 1. A bundle is compressed exactly once: a layer below another is data to the tar reader and
//    refused there, so that nesting multiplies nothing.
// 2. Memory is bounded: zstd's window by its library's own limit for streams (128 MiB).
#ifndef LIBLEVER_HOST_DEPLOY_CODEC_H_
#define LIBLEVER_HOST_DEPLOY_CODEC_H_

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/host/deploy/tar.h"

namespace lever::deploy {

// pread(2) of a bundle's file: 0 at its end, -1 and errno.
using ReadAt = std::function<ssize_t(char* buffer, size_t size, off_t offset)>;

class Decompressor final : public ByteSource {
 public:
  // Reads from the beginning.
  static StatusOr<std::unique_ptr<Decompressor>> Open(ReadAt read);
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
