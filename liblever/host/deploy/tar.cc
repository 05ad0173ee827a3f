#include "liblever/host/deploy/tar.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cstring>
#include <utility>
#include <vector>

#include "liblever/host/deploy/quoted.h"
#include "liblever/value/utf8.h"

namespace lever::deploy {
namespace {

// POSIX.1-2017, pax, "ustar Interchange Format".
struct Header {
  char name[100];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char target[100];
  char magic[6];
  char version[2];
  char owner[32];
  char group[32];
  char device_major[8];
  char device_minor[8];
  char prefix[155];
  char unused[12];
};
static_assert(sizeof(Header) == kTarBlockBytes);

constexpr char kTypeFile = '0';
constexpr char kTypeLink = '2';
constexpr char kTypeDirectory = '5';
constexpr char kTypePax = 'x';
constexpr int64_t kSetIdBits = 06000;
constexpr int64_t kExecuteBits = 0111;

template <size_t N>
std::string_view Text(const char (&field)[N]) {
  return {field, strnlen(field, N)};
}

template <size_t N>
void PutText(std::string_view text, char (&field)[N]) {
  std::memcpy(field, text.data(), std::min(text.size(), N));
}

template <size_t N>
void PutOctal(int64_t value, char (&field)[N]) {
  for (size_t i = N - 1; i-- > 0; value >>= 3) field[i] = static_cast<char>('0' + (value & 7));
}

// Octal digits, blanks before and a blank or NUL after them; nothing for any other dialect.
template <size_t N>
std::optional<int64_t> Octal(const char (&field)[N]) {
  std::string_view text = Text(field);
  size_t first = text.find_first_not_of(' ');
  if (first == text.npos) return std::nullopt;
  text.remove_prefix(first);
  size_t last = text.find_last_not_of(' ');
  text = text.substr(0, last + 1);
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// The sum of the header's bytes with blanks in place of the sum itself.
int64_t Checksum(const Header& header) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  int64_t sum = 0;
  for (size_t i = 0; i < sizeof header; ++i) sum += bytes[i];
  for (char c : header.checksum) sum += ' ' - static_cast<int64_t>(static_cast<unsigned char>(c));
  return sum;
}

bool IsZero(const char* bytes, size_t size) {
  return std::all_of(bytes, bytes + size, [](char c) { return c == 0; });
}

bool FitsPlainField(std::string_view text, size_t field_bytes) {
  // ustar's own fields are ASCII; PAX records are UTF-8.
  auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  return text.size() <= field_bytes && std::all_of(text.begin(), text.end(), is_ascii);
}

void AppendBlock(Header header, std::string* out) {
  PutText("ustar", header.magic);  // the field's last byte stays NUL
  PutText("00", header.version);
  PutOctal(0, header.uid);
  PutOctal(0, header.gid);
  PutOctal(0, header.mtime);
  PutOctal(0, header.device_major);
  PutOctal(0, header.device_minor);
  // Six digits, NUL, blank: the form that every reader knows.
  int64_t sum = Checksum(header);
  char digits[7] = {};
  PutOctal(sum, digits);
  std::memcpy(header.checksum, digits, sizeof digits);
  header.checksum[7] = ' ';
  out->append(reinterpret_cast<const char*>(&header), sizeof header);
}

// "<length> <key>=<value>\n", where the length counts its own digits.
void AppendPaxRecord(std::string_view key, std::string_view value, std::string* out) {
  size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (rest + std::to_string(length).size() != length) ++length;
  out->append(std::to_string(length)).append(" ").append(key).append("=").append(value);
  out->push_back('\n');
}

void AppendPaxHeader(const std::string& records, std::string* out) {
  Header header = {};
  PutText("PaxHeader", header.name);
  PutOctal(0644, header.mode);
  PutOctal(static_cast<int64_t>(records.size()), header.size);
  header.type = kTypePax;
  AppendBlock(header, out);
  out->append(records);
  out->append(TarPadding(static_cast<int64_t>(records.size())), '\0');
}

Status RefusedType(char type, const std::string& path) {
  std::string what;
  switch (type) {
    case '1':
      what = "is a hard link";
      break;
    case '3':
      what = "is a character device";
      break;
    case '4':
      what = "is a block device";
      break;
    case '6':
      what = "is a FIFO";
      break;
    case 'g':
      what = "is a global PAX header";
      break;
    case 'L':
    case 'K':
    case 'S':
    case 'M':
    case 'D':
    case 'N':
    case 'V':
      what = "is a GNU extension (tar --format=pax writes the standard form)";
      break;
    default:
      what = "has the unknown type " + Quoted(std::string(1, type));
      break;
  }
  return InvalidArgument(Quoted(path) + " " + what +
                         "; a bundle holds files, directories and symbolic links");
}

Status CheckPath(std::string_view path, const BundleLimits& limits) {
  auto refuse = [&](std::string_view why) {
    return InvalidArgument("the path " + Quoted(path) + " " + std::string(why));
  };
  if (path.empty()) return InvalidArgument("an entry has an empty path");
  if (path.size() > kPathBytesMax) {
    return refuse("has more than " + std::to_string(kPathBytesMax) + " bytes");
  }
  if (path.find('\0') != path.npos) return refuse("holds a NUL");
  if (!value::IsUtf8(path)) return refuse("is not UTF-8");
  if (path.front() == '/') return refuse("is absolute");
  int64_t depth = 0;
  for (size_t start = 0; start <= path.size();) {
    size_t end = std::min(path.find('/', start), path.size());
    std::string_view name = path.substr(start, end - start);
    if (name.empty()) return refuse("holds an empty name");
    if (name == "." || name == "..") return refuse("holds " + Quoted(name));
    if (name.size() > kNameBytesMax) {
      return refuse("holds a name of more than " + std::to_string(kNameBytesMax) + " bytes");
    }
    if (++depth > limits.depth_max) {
      return ResourceExhausted("the path " + Quoted(path) + " is more than " +
                               std::to_string(limits.depth_max) + " directories deep");
    }
    start = end + 1;
  }
  return Status::Ok();
}

Status CheckTarget(const std::string& path, std::string_view target) {
  auto refuse = [&](const char* why) {
    return InvalidArgument("the link " + Quoted(path) + " " + why);
  };
  if (target.empty()) return refuse("has no target");
  if (target.size() > kPathBytesMax) return refuse("has a target that is too long");
  if (target.find('\0') != target.npos) return refuse("has a target with a NUL");
  if (!value::IsUtf8(target)) return refuse("has a target that is not UTF-8");
  if (target.front() == '/') return refuse("leads outside the bundle: its target is absolute");
  return Status::Ok();
}

Status CheckHeader(const Header& header) {
  if (std::memcmp(header.magic, "ustar\0", 6) != 0 || std::memcmp(header.version, "00", 2) != 0) {
    return InvalidArgument("not a POSIX tar header (tar --format=pax writes the standard form)");
  }
  std::optional<int64_t> checksum = Octal(header.checksum);
  if (!checksum || *checksum != Checksum(header)) {
    return InvalidArgument("a tar header's checksum is wrong");
  }
  return Status::Ok();
}

std::string HeaderPath(const Header& header) {
  std::string path(Text(header.name));
  if (header.prefix[0] != 0) path = std::string(Text(header.prefix)) + "/" + path;
  return path;
}

// What one PAX header says of the entry that follows it.
struct PaxRecords {
  std::vector<std::string> keys;
  std::optional<std::string> path;
  std::optional<std::string> target;
  std::optional<std::string> size;

  Status Add(std::string key, std::string value) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
      return InvalidArgument("the PAX record " + Quoted(key) + " is repeated");
    }
    if (key == "path") {
      path = std::move(value);
    } else if (key == "linkpath") {
      target = std::move(value);
    } else if (key == "size") {
      size = std::move(value);
    } else if (!IsIgnored(key)) {
      // Some records change what an entry is (sparse files, character sets), others say things
      // that would be lost (access lists). Neither is passed over.
      return InvalidArgument("the PAX record " + Quoted(key) + " is not supported in a bundle");
    }
    keys.push_back(std::move(key));
    return Status::Ok();
  }

  static bool IsIgnored(std::string_view key) {
    static constexpr std::string_view kIgnored[] = {"atime", "ctime", "mtime", "uid",
                                                    "gid",   "uname", "gname", "comment"};
    return std::find(std::begin(kIgnored), std::end(kIgnored), key) != std::end(kIgnored);
  }
};

Status ParsePaxRecords(std::string_view rest, PaxRecords* records) {
  while (!rest.empty()) {
    // The length counts itself, the blank, and the newline at the record's end.
    size_t length = 0;
    auto [digits_end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    size_t key_start = static_cast<size_t>(digits_end - rest.data()) + 1;
    bool fits = error == std::errc() && rest[0] != '0' && length <= rest.size() &&
                key_start < length && rest[key_start - 1] == ' ' && rest[length - 1] == '\n';
    size_t equals = fits ? rest.find('=', key_start) : rest.npos;
    if (!fits || equals == rest.npos || equals >= length || equals == key_start) {
      return InvalidArgument("a PAX header has a broken record");
    }
    std::string key(rest.substr(key_start, equals - key_start));
    std::string value(rest.substr(equals + 1, length - 1 - (equals + 1)));
    LEVER_RETURN_IF_ERROR(records->Add(std::move(key), std::move(value)));
    rest.remove_prefix(length);
  }
  return Status::Ok();
}

StatusOr<EntryType> ReadType(char type, const std::string& path) {
  switch (type) {
    case kTypeFile:
      return EntryType::kFile;
    case kTypeDirectory:
      return EntryType::kDirectory;
    case kTypeLink:
      return EntryType::kLink;
    default:
      return RefusedType(type, path);
  }
}

// What header and records say together, checked.
StatusOr<TarEntry> ReadEntry(const Header& header, const PaxRecords& records,
                             const BundleLimits& limits) {
  TarEntry entry;
  entry.path = records.path ? *records.path : HeaderPath(header);
  LEVER_ASSIGN_OR_RETURN(entry.type, ReadType(header.type, entry.path));
  if (entry.type == EntryType::kDirectory && entry.path.size() > 1 && entry.path.back() == '/') {
    entry.path.pop_back();
  }
  LEVER_RETURN_IF_ERROR(CheckPath(entry.path, limits));

  auto refuse = [&](std::string_view why) {
    return InvalidArgument(Quoted(entry.path) + " " + std::string(why));
  };
  std::optional<int64_t> mode = Octal(header.mode);
  std::optional<int64_t> size = Octal(header.size);
  if (!mode) return refuse("has a mode that is not octal");
  if (!size) return refuse("has a size that is not octal");
  if ((*mode & kSetIdBits) != 0) return refuse("has the setuid or setgid bit");
  if (records.size && *records.size != std::to_string(*size)) {
    return refuse("has two sizes: " + std::to_string(*size) + " in its header and " +
                  Quoted(*records.size) + " in its PAX record");
  }
  if (entry.type == EntryType::kLink) {
    entry.target = records.target ? *records.target : std::string(Text(header.target));
    LEVER_RETURN_IF_ERROR(CheckTarget(entry.path, entry.target));
  } else if (records.target) {
    return refuse("has a link's target and is not a link");
  }
  if (entry.type == EntryType::kFile) {
    entry.size = *size;
    entry.executable = (*mode & kExecuteBits) != 0;
  } else if (*size != 0) {
    return refuse("has content and is not a file");
  }
  return entry;
}

}  // namespace

void AppendTarEntry(const TarEntry& entry, std::string* out) {
  Header header = {};
  std::string path = entry.path;
  std::string records;
  switch (entry.type) {
    case EntryType::kFile:
      header.type = kTypeFile;
      PutOctal(entry.executable ? 0755 : 0644, header.mode);
      PutOctal(entry.size, header.size);
      break;
    case EntryType::kDirectory:
      header.type = kTypeDirectory;
      PutOctal(0755, header.mode);
      PutOctal(0, header.size);
      path += '/';
      break;
    case EntryType::kLink:
      header.type = kTypeLink;
      PutOctal(0777, header.mode);
      PutOctal(0, header.size);
      if (!FitsPlainField(entry.target, sizeof header.target)) {
        AppendPaxRecord("linkpath", entry.target, &records);
      }
      PutText(entry.target, header.target);
      break;
  }
  if (!FitsPlainField(path, sizeof header.name)) AppendPaxRecord("path", path, &records);
  PutText(path, header.name);
  if (!records.empty()) AppendPaxHeader(records, out);
  AppendBlock(header, out);
}

size_t TarPadding(int64_t size) {
  return static_cast<size_t>(-size & static_cast<int64_t>(kTarBlockBytes - 1));
}

void AppendTarEnd(std::string* out) { out->append(2 * kTarBlockBytes, '\0'); }

StatusOr<bool> TarReader::Next(TarEntry* entry) {
  assert(content_left_ == 0);
  char block[kTarBlockBytes];
  LEVER_RETURN_IF_ERROR(ReadExactly(block, std::exchange(padding_left_, 0)));
  LEVER_RETURN_IF_ERROR(ReadExactly(block, sizeof block));
  if (IsZero(block, sizeof block)) {
    LEVER_RETURN_IF_ERROR(ReadEnd());
    return false;
  }
  Header header;
  PaxRecords records;
  std::memcpy(&header, block, sizeof header);
  LEVER_RETURN_IF_ERROR(CheckHeader(header));
  if (header.type == kTypePax) {
    LEVER_ASSIGN_OR_RETURN(std::string text, ReadPaxText(Octal(header.size)));
    LEVER_RETURN_IF_ERROR(ParsePaxRecords(text, &records));
    LEVER_RETURN_IF_ERROR(ReadExactly(block, sizeof block));
    std::memcpy(&header, block, sizeof header);
    LEVER_RETURN_IF_ERROR(CheckHeader(header));
    if (header.type == kTypePax) return InvalidArgument("two PAX headers for one entry");
  }
  LEVER_ASSIGN_OR_RETURN(*entry, ReadEntry(header, records, limits_));
  if (++entries_ > limits_.entries_max) {
    return ResourceExhausted("more than " + std::to_string(limits_.entries_max) + " entries");
  }
  if (entry->type == EntryType::kLink && ++links_ > limits_.links_max) {
    return ResourceExhausted("more than " + std::to_string(limits_.links_max) + " links");
  }
  if (entry->size > limits_.unpacked_bytes_max - bytes_read_) {
    return ResourceExhausted(Quoted(entry->path) + " takes the bundle beyond " +
                             std::to_string(limits_.unpacked_bytes_max) + " unpacked bytes");
  }
  content_left_ = entry->size;
  padding_left_ = TarPadding(entry->size);
  return true;
}

StatusOr<size_t> TarReader::ReadContent(char* buffer, size_t size) {
  if (content_left_ == 0) return size_t{0};
  size = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(size), content_left_));
  LEVER_ASSIGN_OR_RETURN(size_t count, ReadSome(buffer, size));
  if (count == 0) return InvalidArgument("the bundle is cut off within a file");
  content_left_ -= static_cast<int64_t>(count);
  return count;
}

StatusOr<size_t> TarReader::ReadSome(char* buffer, size_t size) {
  // One byte beyond the limit is asked for, to tell a stream that ends there from a longer one.
  int64_t allowed = limits_.unpacked_bytes_max - bytes_read_ + 1;
  size = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(size), allowed));
  LEVER_ASSIGN_OR_RETURN(size_t count, source_->Read(buffer, size));
  bytes_read_ += static_cast<int64_t>(count);
  if (bytes_read_ > limits_.unpacked_bytes_max) {
    return ResourceExhausted("more than " + std::to_string(limits_.unpacked_bytes_max) +
                             " unpacked bytes");
  }
  hash_.Add({buffer, count});
  return count;
}

Status TarReader::ReadExactly(char* buffer, size_t size) {
  while (size > 0) {
    LEVER_ASSIGN_OR_RETURN(size_t count, ReadSome(buffer, size));
    if (count == 0) return InvalidArgument("the bundle is cut off: its tar archive has no end");
    buffer += count;
    size -= count;
  }
  return Status::Ok();
}

StatusOr<std::string> TarReader::ReadPaxText(std::optional<int64_t> size) {
  if (!size || *size > kPaxBytesMax) {
    return InvalidArgument("a PAX header has no size, or more than " +
                           std::to_string(kPaxBytesMax) + " bytes");
  }
  std::string text(static_cast<size_t>(*size) + TarPadding(*size), '\0');
  LEVER_RETURN_IF_ERROR(ReadExactly(text.data(), text.size()));
  text.resize(static_cast<size_t>(*size));
  return text;
}

Status TarReader::ReadEnd() {
  char block[8 * kTarBlockBytes];
  LEVER_RETURN_IF_ERROR(ReadExactly(block, kTarBlockBytes));
  if (!IsZero(block, kTarBlockBytes)) {
    return InvalidArgument("the archive's end is marked by one zero block instead of two");
  }
  while (true) {
    LEVER_ASSIGN_OR_RETURN(size_t count, ReadSome(block, sizeof block));
    if (count == 0) return Status::Ok();
    if (!IsZero(block, count)) return InvalidArgument("there is data after the archive's end");
  }
}

}  // namespace lever::deploy
