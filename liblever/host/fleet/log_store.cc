#include "liblever/host/fleet/log_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "liblever/base/fd.h"
#include "liblever/base/log.h"

namespace lever::fleet {
namespace {

constexpr mode_t kOwnerOnly = 0700;
constexpr size_t kHeaderBytesMax =
    512;  // both names and the words around them: 12 + 63 + 1 + 63 + 1

// No line has a number this far above the first one of the newest file: each service has at most a
// file's lines behind that one.
constexpr uint64_t kNumbersBehind = uint64_t{1} << 36;

// Above every number that this machine's clock has led to, unless it was set back.
uint64_t NumberOfNow() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
}

std::string DirectoryName(const std::string& environment, const std::string& service) {
  const std::string name = environment + '\0' + service;
  const XXH128_hash_t hash = XXH3_128bits(name.data(), name.size());
  char text[33];
  std::snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

Status MakeDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), kOwnerOnly) == 0 || errno == EEXIST) return Status::Ok();
  return ErrnoStatus(errno, "mkdir " + path);
}

Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, "write " + path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return Status::Ok();
}

}  // namespace

struct LogStore::ServiceLog {
  std::string environment;
  std::string service;
  std::string directory;
  std::deque<Segment> segments;
  uint64_t bytes = 0;
  bool writing = false;  // the last segment is this store's, and may grow
  std::string pending;
  uint64_t pending_first = 0;  // number of its first line
};

// ---- Opening ----

LogStore::LogStore(LogStoreOptions options) : options_(std::move(options)) {}

StatusOr<std::shared_ptr<LogStore>> LogStore::Open(LogStoreOptions options) {
  std::shared_ptr<LogStore> store(new LogStore(std::move(options)));
  LEVER_RETURN_IF_ERROR(store->Load());
  return store;
}

Status LogStore::Load() {
  LEVER_RETURN_IF_ERROR(MakeDirectory(options_.directory));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory, error)) {
    LoadDirectory(entry.path().string());
  }
  if (error) return Unavailable("read " + options_.directory + ": " + error.message());
  first_free_number_ = std::max(first_free_number_, NumberOfNow());
  return Status::Ok();
}

// What is not ours in there is passed over and left alone.
void LogStore::LoadDirectory(const std::string& path) {
  std::vector<Segment> segments;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    const auto number = ParseSegmentFileName(entry.path().filename().string());
    if (!number) continue;
    const uint64_t bytes = entry.file_size(error);
    if (!error) segments.push_back({*number, bytes});
  }
  std::sort(segments.begin(), segments.end(),
            [](const Segment& a, const Segment& b) { return a.first_number < b.first_number; });
  for (const Segment& segment : segments) {
    std::ifstream file(path + "/" + SegmentFileName(segment.first_number));
    char header[kHeaderBytesMax] = {};
    file.getline(header, sizeof(header));
    const auto name = ParseSegmentHeader(header);
    if (!name) continue;
    ServiceLog* log = LogOf(*name);
    if (log->directory != path) continue;
    log->segments.push_back(segment);
    log->bytes += segment.bytes;
    bytes_ += segment.bytes;
    first_free_number_ = std::max(first_free_number_, segment.first_number + kNumbersBehind);
  }
}

LogStore::ServiceLog* LogStore::LogOf(const Name& name) {
  std::unique_ptr<ServiceLog>& log = logs_[name];
  if (log == nullptr) {
    log = std::make_unique<ServiceLog>();
    log->environment = name.first;
    log->service = name.second;
    log->directory = options_.directory + "/" + DirectoryName(name.first, name.second);
  }
  return log.get();
}

LogStore::~LogStore() { Flush(); }

// ---- Writing ----

void LogStore::Append(const std::string& environment, const std::string& service,
                      const StoredLine& line) {
  {
    const std::lock_guard lock(mutex_);
    ServiceLog* log = LogOf({environment, service});
    if (pending_bytes_ > options_.pending_bytes_max) {
      ++dropped_;
      return;
    }
    const size_t before = log->pending.size();
    if (before == 0) log->pending_first = line.number;
    AppendLine(line, &log->pending);
    pending_bytes_ += log->pending.size() - before;
    if (std::exchange(scheduled_, true)) return;
  }
  // A pool that is full is asked again with the next line.
  const bool taken = options_.execute([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Flush();
  });
  if (taken) return;
  const std::lock_guard lock(mutex_);
  scheduled_ = false;
}

void LogStore::Flush() {
  struct Batch {
    ServiceLog* log;
    std::string bytes;
    uint64_t first_number;
  };
  const std::lock_guard disk_lock(disk_mutex_);
  std::vector<Batch> batches;
  uint64_t dropped = 0;
  {
    const std::lock_guard lock(mutex_);
    scheduled_ = false;
    pending_bytes_ = 0;
    dropped = std::exchange(dropped_, 0);
    std::erase_if(logs_, [](const auto& entry) {
      return entry.second->pending.empty() && entry.second->segments.empty();
    });
    for (const auto& [name, log] : logs_) {
      if (log->pending.empty()) continue;
      batches.push_back({log.get(), std::exchange(log->pending, {}), log->pending_first});
    }
  }
  if (dropped > 0) {
    Log(LogLevel::kError, "the disk does not keep up: " + std::to_string(dropped) +
                              " lines of services are not in the files of " + options_.directory);
  }
  for (Batch& batch : batches) Write(batch.log, std::move(batch.bytes), batch.first_number);
}

// In pieces that end with a line, so that no file outgrows its bound by more than a line.
void LogStore::Write(ServiceLog* log, std::string bytes, uint64_t first_number) {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const uint64_t used = log->writing ? log->segments.back().bytes : 0;
    const uint64_t room = options_.segment_bytes_max - std::min(used, options_.segment_bytes_max);
    size_t size = rest.size();
    if (size > room) {
      const size_t end = rest.find('\n', static_cast<size_t>(room));
      size = end == rest.npos ? rest.size() : end + 1;
    }
    const std::string piece(rest.substr(0, size));
    rest.remove_prefix(size);
    const Status status = WriteTo(log, piece, first_number);
    if (!status.ok()) {
      Failed(status);
      return;
    }
    failing_ = false;
    if (const auto next = ParseLine(rest.substr(0, rest.find('\n')))) first_number = next->number;
  }
}

Status LogStore::WriteTo(ServiceLog* log, const std::string& bytes, uint64_t first_number) {
  const bool fresh = !log->writing;
  if (fresh) LEVER_RETURN_IF_ERROR(MakeDirectory(log->directory));
  const uint64_t number = fresh ? first_number : log->segments.back().first_number;
  const std::string path = log->directory + "/" + SegmentFileName(number);
  const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | (fresh ? O_CREAT | O_EXCL : 0);
  UniqueFd file(::open(path.c_str(), flags, 0600));
  // Who removes the files of a host that runs gets a new one.
  if (!file.valid() && !fresh && errno == ENOENT) {
    log->writing = false;
    return WriteTo(log, bytes, first_number);
  }
  if (!file.valid()) return ErrnoStatus(errno, "open " + path);
  const std::string header = fresh ? SegmentHeader(log->environment, log->service) : "";
  Status status = WriteAll(file.get(), header + bytes, path);
  const uint64_t added = header.size() + bytes.size();
  bool full = false;
  {
    const std::lock_guard lock(mutex_);
    if (fresh) log->segments.push_back({first_number, 0});
    log->segments.back().bytes += added;
    log->bytes += added;
    bytes_ += added;
    // What is behind a line that is torn would be lost with it.
    full = !status.ok() || log->segments.back().bytes >= options_.segment_bytes_max;
    log->writing = !full;
  }
  if (full && status.ok() && ::fdatasync(file.get()) != 0) status = ErrnoStatus(errno, path);
  Evict(log);
  return status;
}

void LogStore::Failed(const Status& status) {
  if (std::exchange(failing_, true)) return;
  Log(LogLevel::kError, "lines of services are lost: " + status.ToString());
}

// ---- Bounds ----

void LogStore::Evict(ServiceLog* log) {
  std::vector<std::string> paths;
  {
    const std::lock_guard lock(mutex_);
    while (log->bytes > options_.service_bytes_max && log->segments.size() > 1) {
      paths.push_back(ForgetOldest(log));
    }
    while (bytes_ > options_.total_bytes_max) {
      ServiceLog* oldest = OldestOfAll();
      if (oldest == nullptr) break;
      paths.push_back(ForgetOldest(oldest));
    }
  }
  for (const std::string& path : paths) {
    ::unlink(path.c_str());
    // Goes if that was its last file.
    ::rmdir(path.substr(0, path.rfind('/')).c_str());
  }
}

// With the lock, as the next one.
LogStore::ServiceLog* LogStore::OldestOfAll() const {
  ServiceLog* oldest = nullptr;
  for (const auto& [name, log] : logs_) {
    if (log->segments.size() < (log->writing ? 2u : 1u)) continue;
    if (oldest == nullptr ||
        log->segments.front().first_number < oldest->segments.front().first_number) {
      oldest = log.get();
    }
  }
  return oldest;
}

std::string LogStore::ForgetOldest(ServiceLog* log) {
  const Segment segment = log->segments.front();
  log->segments.pop_front();
  log->bytes -= segment.bytes;
  bytes_ -= segment.bytes;
  return log->directory + "/" + SegmentFileName(segment.first_number);
}

std::vector<LogStore::Files> LogStore::List(const std::string& environment,
                                            const std::string& service) const {
  const std::lock_guard lock(mutex_);
  std::vector<Files> lists;
  for (const auto& [name, log] : logs_) {
    if (name.first != environment || (!service.empty() && name.second != service)) continue;
    if (log->segments.empty()) continue;
    lists.push_back(
        {name.first, name.second, log->directory, {log->segments.begin(), log->segments.end()}});
  }
  return lists;
}

uint64_t LogStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace lever::fleet
