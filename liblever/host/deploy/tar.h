// The tar layer of a bundle: POSIX ustar headers with PAX records for what does not fit in them.
//
// Why not libarchive's own tar reader, when libarchive is there for the compression: it settles
// silently what a bundle must not leave open (a PAX size beside another ustar size, repeated
// records, several dialects of one header) and converts names by the process's locale, which a
// library inside somebody's program may not set. Bundles are a narrow subset, so one strict reader
// of that subset is both what checks and what extracts, and no second reader can disagree with it.
//
// The subset: files, directories and symbolic links; magic "ustar" 00; octal numbers; PAX records
// from a short list, each at most once; names in UTF-8, as PAX has them, without "", "." and "..";
// two zero blocks at the end and nothing but zeros after them.
//
// Functions are safe from any thread, a TarReader is for one thread at a time.
//
// 1. A TarReader gives entries only whose path is relative, within kPathBytesMax and depth_max, and
//    free of "..": it says nothing of what the file system makes of them (see unpack.h).
// 2. It reads at most unpacked_bytes_max bytes and holds at most kPaxBytesMax of them.
// 3. AppendTarEntry and TarReader agree: what the one writes the other reads back equal.
#ifndef LIBLEVER_HOST_DEPLOY_TAR_H_
#define LIBLEVER_HOST_DEPLOY_TAR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/host/deploy/content_hash.h"
#include "liblever/host/deploy/limits.h"

namespace lever::deploy {

inline constexpr size_t kTarBlockBytes = 512;

enum class EntryType { kFile, kDirectory, kLink };

struct TarEntry {
  EntryType type = EntryType::kFile;
  std::string path;    // relative, no slash at its end
  std::string target;  // of a link, as it is stored
  int64_t size = 0;    // of a file's content
  bool executable = false;

  bool operator==(const TarEntry&) const = default;
};

// Appends the header blocks of `entry`, which depend on nothing but it: no time, no owner, modes
// 0644, 0755 (executables and directories) and 0777 (links).
void AppendTarEntry(const TarEntry& entry, std::string* out);
// Zeros that follow `size` bytes of content.
size_t TarPadding(int64_t size);
void AppendTarEnd(std::string* out);

// Where a TarReader's bytes come from.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Reads 1 to `size` bytes into `buffer`; 0 at the end.
  virtual StatusOr<size_t> Read(char* buffer, size_t size) = 0;
};

class TarReader {
 public:
  // `source` must outlive the reader.
  TarReader(ByteSource* source, const BundleLimits& limits) : source_(source), limits_(limits) {}
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  // The next entry into `*entry`, or false once the archive has ended as it should. The content of
  // the entry before must have been read.
  StatusOr<bool> Next(TarEntry* entry);

  // 1 to `size` bytes of the entry's content; 0 at its end.
  StatusOr<size_t> ReadContent(char* buffer, size_t size);

  int64_t entries() const { return entries_; }
  int64_t bytes_read() const { return bytes_read_; }
  // The hash of the whole stream, once Next has given false.
  std::string FinishHash() { return hash_.Finish(); }

 private:
  StatusOr<size_t> ReadSome(char* buffer, size_t size);
  Status ReadExactly(char* buffer, size_t size);
  StatusOr<std::string> ReadPaxText(std::optional<int64_t> size);
  Status ReadEnd();

  ByteSource* source_;
  BundleLimits limits_;
  ContentHash hash_;
  int64_t bytes_read_ = 0;
  int64_t entries_ = 0;
  int64_t links_ = 0;
  int64_t content_left_ = 0;
  size_t padding_left_ = 0;
};

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_TAR_H_
