#include "liblever/host/deploy/codec.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace lever::deploy {
namespace {

constexpr std::string_view kZstdMagic = "\x28\xb5\x2f\xfd";
constexpr std::string_view kGzipMagic = "\x1f\x8b\x08";
constexpr size_t kReadBytes = 64 * 1024;

std::string Reason(struct archive* archive) {
  const char* text = archive_error_string(archive);
  return text == nullptr ? "unknown reason" : text;
}

struct ReadFreer {
  void operator()(struct archive* archive) const { archive_read_free(archive); }
};
struct WriteFreer {
  void operator()(struct archive* archive) const { archive_write_free(archive); }
};

}  // namespace

struct Decompressor::State {
  ReadAt read;
  off_t offset = 0;
  int read_error = 0;  // errno of the file, as against broken contents
  char input[kReadBytes];
  std::unique_ptr<struct archive, ReadFreer> archive{archive_read_new()};

  ssize_t ReadNext(char* buffer, size_t size) {
    ssize_t count;
    do {
      count = read(buffer, size, offset);
    } while (count < 0 && errno == EINTR);
    return count;
  }

  static la_ssize_t Pull(struct archive* archive, void* context, const void** bytes) {
    auto* state = static_cast<State*>(context);
    *bytes = state->input;
    const ssize_t count = state->ReadNext(state->input, sizeof state->input);
    if (count < 0) {
      state->read_error = errno;
      archive_set_error(archive, errno, "the bundle's file cannot be read");
      return ARCHIVE_FATAL;
    }
    state->offset += count;
    return count;
  }

  Status Broken() {
    if (read_error != 0) return ErrnoStatus(read_error, "read the bundle's file");
    return InvalidArgument("the bundle's compressed data is broken: " + Reason(archive.get()));
  }
};

Decompressor::Decompressor(std::unique_ptr<State> state) : state_(std::move(state)) {}
Decompressor::~Decompressor() = default;

StatusOr<std::unique_ptr<Decompressor>> Decompressor::Open(ReadAt read) {
  auto state = std::make_unique<State>();
  state->read = std::move(read);
  char magic[4] = {};
  // A file that is being written may have some of them only.
  while (state->offset < static_cast<off_t>(sizeof magic)) {
    const auto have = static_cast<size_t>(state->offset);
    const ssize_t count = state->ReadNext(magic + have, sizeof magic - have);
    if (count < 0) return ErrnoStatus(errno, "read the bundle's file");
    if (count == 0) break;
    state->offset += count;
  }
  const std::string_view start(magic, static_cast<size_t>(std::exchange(state->offset, 0)));
  int filter;
  if (start.starts_with(kZstdMagic)) {
    filter = ARCHIVE_FILTER_ZSTD;
  } else if (start.starts_with(kGzipMagic)) {
    filter = ARCHIVE_FILTER_GZIP;
  } else {
    return InvalidArgument("not a bundle: neither zstd nor gzip data");
  }

  struct archive* archive = state->archive.get();
  if (archive == nullptr) return ResourceExhausted("no memory for a decompressor");
  // The filter is named, not searched for: libarchive would go on to peel off up to 25 layers.
  struct archive_entry* entry = nullptr;
  if (archive_read_append_filter(archive, filter) != ARCHIVE_OK ||
      archive_read_support_format_raw(archive) != ARCHIVE_OK ||
      archive_read_open(archive, state.get(), nullptr, State::Pull, nullptr) != ARCHIVE_OK ||
      archive_read_next_header(archive, &entry) != ARCHIVE_OK) {
    return state->Broken();
  }
  return std::unique_ptr<Decompressor>(new Decompressor(std::move(state)));
}

StatusOr<size_t> Decompressor::Read(char* buffer, size_t size) {
  la_ssize_t count = archive_read_data(state_->archive.get(), buffer, size);
  if (count < 0) return state_->Broken();
  return static_cast<size_t>(count);
}

// zstd's fastest regular one: a deploy waits for it, and once more for what it saved of the way.
constexpr const char* kLevel = "1";

struct Compressor::State {
  std::string* out = nullptr;
  std::unique_ptr<struct archive, WriteFreer> archive{archive_write_new()};

  static la_ssize_t Push(struct archive*, void* context, const void* bytes, size_t size) {
    static_cast<State*>(context)->out->append(static_cast<const char*>(bytes), size);
    return static_cast<la_ssize_t>(size);
  }

  Status Failed() { return Internal("compress the bundle: " + Reason(archive.get())); }
};

Compressor::Compressor(std::unique_ptr<State> state) : state_(std::move(state)) {}
Compressor::~Compressor() = default;

StatusOr<std::unique_ptr<Compressor>> Compressor::Open(std::string* out) {
  auto state = std::make_unique<State>();
  state->out = out;
  struct archive* archive = state->archive.get();
  std::unique_ptr<struct archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(),
                                                                             archive_entry_free);
  if (archive == nullptr || entry == nullptr) return ResourceExhausted("no memory to compress");
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  if (archive_write_add_filter_zstd(archive) != ARCHIVE_OK ||
      archive_write_set_filter_option(archive, "zstd", "compression-level", kLevel) != ARCHIVE_OK ||
      archive_write_set_format_raw(archive) != ARCHIVE_OK ||
      archive_write_set_bytes_per_block(archive, 0) != ARCHIVE_OK ||
      archive_write_open(archive, state.get(), nullptr, State::Push, nullptr) != ARCHIVE_OK ||
      archive_write_header(archive, entry.get()) != ARCHIVE_OK) {
    return state->Failed();
  }
  return std::unique_ptr<Compressor>(new Compressor(std::move(state)));
}

Status Compressor::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    la_ssize_t count = archive_write_data(state_->archive.get(), bytes.data(), bytes.size());
    if (count <= 0) return state_->Failed();
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return Status::Ok();
}

Status Compressor::Finish() {
  if (archive_write_close(state_->archive.get()) != ARCHIVE_OK) return state_->Failed();
  return Status::Ok();
}

}  // namespace lever::deploy
