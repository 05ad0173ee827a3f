// Bundles written field by field, so that a test can make any of them wrong.
#ifndef TESTS_HOST_DEPLOY_BUNDLE_MAKER_H_
#define TESTS_HOST_DEPLOY_BUNDLE_MAKER_H_

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <string>
#include <string_view>

#include "liblever/host/deploy/codec.h"

namespace lever::deploy {

inline constexpr size_t kBlock = 512;

inline std::string Octal(uint64_t value, int digits) {
  std::string text(static_cast<size_t>(digits), '0');
  for (size_t at = text.size(); at-- > 0; value >>= 3) text[at] = static_cast<char>('0' + (value & 7));
  return text;
}

// One entry's header (POSIX.1-2017, "ustar Interchange Format") and content. Each field is as long as
// it is given: what is left of it is NUL.
struct RawEntry {
  std::string name;
  char type = '0';
  std::string content = {};
  std::string target = {};
  std::string mode = "0000644";
  std::string size = {};  // empty: that of the content
  std::string prefix = {};
  std::string checksum = {};  // empty: the right one
  std::string magic = std::string("ustar\0" "00", 8);
  bool padded = true;

  std::string Bytes() const {
    std::string block(kBlock, '\0');
    const auto put = [&](size_t at, size_t room, std::string_view text) {
      std::memcpy(&block[at], text.data(), std::min(room, text.size()));
    };
    put(0, 100, name);
    put(100, 8, mode);
    put(108, 8, "0000000");
    put(116, 8, "0000000");
    put(124, 12, size.empty() ? Octal(content.size(), 11) : size);
    put(136, 12, "00000000000");
    put(148, 8, "        ");
    block[156] = type;
    put(157, 100, target);
    put(257, 8, magic);
    put(345, 155, prefix);
    uint64_t sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    put(148, 8, checksum.empty() ? Octal(sum, 6) + std::string("\0 ", 2) : checksum);
    std::string bytes = block + content;
    if (padded) bytes.append((kBlock - content.size() % kBlock) % kBlock, '\0');
    return bytes;
  }
};

inline std::string File(std::string name, std::string content = "x") {
  return RawEntry{.name = std::move(name), .content = std::move(content)}.Bytes();
}
inline std::string Directory(std::string name) {
  return RawEntry{.name = std::move(name), .type = '5', .mode = "0000755"}.Bytes();
}
inline std::string Link(std::string name, std::string target) {
  return RawEntry{.name = std::move(name), .type = '2', .target = std::move(target)}.Bytes();
}
inline std::string Manifest() { return File("lever.json", R"({"name": "hello"})"); }
inline std::string End() { return std::string(2 * kBlock, '\0'); }

inline std::string PaxRecord(std::string_view key, std::string_view value) {
  size_t length = key.size() + value.size() + 3;
  while (std::to_string(length).size() + key.size() + value.size() + 3 != length) ++length;
  return std::to_string(length) + " " + std::string(key) + "=" + std::string(value) + "\n";
}
inline std::string Pax(std::string records, char type = 'x') {
  return RawEntry{.name = "PaxHeader", .type = type, .content = std::move(records)}.Bytes();
}

inline std::string Zstd(std::string_view bytes) {
  std::string packed;
  auto compressor = Compressor::Open(&packed);
  EXPECT_TRUE(compressor.ok() && (*compressor)->Write(bytes).ok() && (*compressor)->Finish().ok());
  return packed;
}

inline std::string Gzip(std::string_view bytes) {
  z_stream stream{};
  constexpr int kGzipWindow = 15 + 16;
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, kGzipWindow, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace lever::deploy

#endif  // TESTS_HOST_DEPLOY_BUNDLE_MAKER_H_
