#include "liblever/host/fleet/log_history.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>

#include "liblever/base/clock.h"
#include "liblever/base/fd.h"
#include "liblever/host/fleet/log_segment.h"

namespace lever::fleet {
namespace {

// Reads a file of lines block by block. Between two steps nothing is held open: of a thousand
// services that would be a thousand descriptors.
class BlockReader {
 public:
  void Open(std::string path) {
    path_ = std::move(path);
    offset_ = 0;
    block_.clear();
    place_ = 0;
  }
  // False: there is no other line.
  bool Next(std::string_view* line, size_t* bytes_read) {
    while (true) {
      const size_t end = block_.find('\n', place_);
      if (end != block_.npos) {
        *line = std::string_view(block_).substr(place_, end - place_);
        place_ = end + 1;
        return true;
      }
      if (!Load(bytes_read)) return false;
    }
  }

 private:
  // What is left of the block, and what follows it in the file.
  bool Load(size_t* bytes_read) {
    const UniqueFd file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file.valid()) return false;
    block_.erase(0, place_);
    place_ = 0;
    // No line is as long: this is what a crash left.
    if (block_.size() >= LogHistory::kBlockBytes) block_.clear();
    const size_t before = block_.size();
    block_.resize(before + LogHistory::kBlockBytes);
    ssize_t size;
    do {
      size = ::pread(file.get(), block_.data() + before, LogHistory::kBlockBytes, offset_);
    } while (size < 0 && errno == EINTR);
    block_.resize(before + static_cast<size_t>(std::max<ssize_t>(size, 0)));
    if (size <= 0) return false;
    offset_ += size;
    *bytes_read += static_cast<size_t>(size);
    return true;
  }

  std::string path_;
  off_t offset_ = 0;
  std::string block_;
  size_t place_ = 0;
};

// Whether a file may have lines of that time or later: its last line was written when it was.
bool MayReach(const std::string& path, int64_t since_unix_ns) {
  struct stat info = {};
  if (since_unix_ns <= 0 || ::stat(path.c_str(), &info) != 0) return true;
  return info.st_mtim.tv_sec * kNanosPerSecond + info.st_mtim.tv_nsec >= since_unix_ns;
}

}  // namespace

struct LogHistory::Source {
  LogStore::Files files;
  size_t counted = 0;  // segments from the end that were counted
  size_t next = 0;     // the segment to open
  bool open = false;
  BlockReader reader;
  StoredLine line;  // the next one; it lies in the reader's block
  uint64_t key = 0;

  std::string PathOf(size_t segment) const {
    return files.directory + "/" + SegmentFileName(files.segments[segment].first_number);
  }
};

LogHistory::LogHistory(std::shared_ptr<LogStore> store, LogHistoryQuery query)
    : store_(std::move(store)), query_(std::move(query)) {}

LogHistory::~LogHistory() = default;

std::vector<LogLine> LogHistory::Step() {
  step_bytes_ = 0;
  if (phase_ == Phase::kFlush) Flush();
  if (phase_ == Phase::kPlace) Place();
  return phase_ == Phase::kRead ? Read() : std::vector<LogLine>();
}

void LogHistory::Flush() {
  store_->Flush();
  for (LogStore::Files& files : store_->List(query_.environment, query_.service)) {
    auto source = std::make_unique<Source>();
    source->files = std::move(files);
    sources_.push_back(std::move(source));
  }
  phase_ = query_.tail == 0 ? Phase::kDone : Phase::kPlace;
  if (query_.tail == SIZE_MAX) BeginReading();
}

// ---- Where the tail begins ----

void LogHistory::Place() {
  while (placing_ < sources_.size()) {
    Source& source = *sources_[placing_];
    const size_t left = source.files.segments.size() - source.counted;
    // No line of what is left could be among the last ones.
    const bool enough =
        left > 0 && numbers_.size() >= query_.tail && source.counted > 0 &&
        (numbers_.empty() || source.files.segments[left].first_number <= numbers_.front());
    if (left == 0 || enough) {
      ++placing_;
      continue;
    }
    if (step_bytes_ >= kStepBytes) return;
    CountSegment(source);
  }
  first_number_ = numbers_.size() < query_.tail ? 0
                  : numbers_.empty()            ? UINT64_MAX
                                                : numbers_.front();
  numbers_ = {};
  BeginReading();
}

void LogHistory::CountSegment(Source& source) {
  const size_t segment = source.files.segments.size() - ++source.counted;
  const std::string path = source.PathOf(segment);
  if (!MayReach(path, query_.filter.since_unix_ns())) {
    source.counted = source.files.segments.size();
    return;
  }
  BlockReader reader;
  reader.Open(path);
  std::string_view bytes;
  while (reader.Next(&bytes, &step_bytes_)) {
    const auto line = ParseLine(bytes);
    if (!line || line->number >= query_.end_number) continue;
    if (!query_.filter.Passes(line->time_unix_ns, line->text)) continue;
    numbers_.push_back(line->number);
    std::push_heap(numbers_.begin(), numbers_.end(), std::greater<>());
    if (numbers_.size() <= query_.tail) continue;
    std::pop_heap(numbers_.begin(), numbers_.end(), std::greater<>());
    numbers_.pop_back();
  }
}

// ---- Reading ----

void LogHistory::BeginReading() {
  phase_ = Phase::kRead;
  for (const auto& source : sources_) {
    const auto& segments = source->files.segments;
    // The last file that begins at or before the first line that is wanted.
    while (source->next + 1 < segments.size() &&
           segments[source->next + 1].first_number <= first_number_) {
      ++source->next;
    }
    while (source->next < segments.size() &&
           !MayReach(source->PathOf(source->next), query_.filter.since_unix_ns())) {
      ++source->next;
    }
    if (source->next < segments.size()) source->key = segments[source->next].first_number;
  }
  std::erase_if(sources_,
                [](const auto& source) { return source->next >= source->files.segments.size(); });
}

// The source with the least key is looked at: a file is opened when its turn comes.
std::vector<LogLine> LogHistory::Read() {
  const auto later = [](const auto& a, const auto& b) { return a->key > b->key; };
  std::make_heap(sources_.begin(), sources_.end(), later);
  std::vector<LogLine> lines;
  while (!sources_.empty() && lines.size() < kStepLines && step_bytes_ < kStepBytes) {
    std::pop_heap(sources_.begin(), sources_.end(), later);
    Source& source = *sources_.back();
    if (source.open) {
      const StoredLine& line = source.line;
      lines.push_back({source.files.environment, source.files.service, std::string(line.instance),
                       line.version, line.time_unix_ns, line.is_stderr, std::string(line.text), 0});
    }
    if (Advance(source)) {
      std::push_heap(sources_.begin(), sources_.end(), later);
    } else {
      sources_.pop_back();
    }
  }
  if (sources_.empty()) phase_ = Phase::kDone;
  return lines;
}

// To the source's next line that is wanted, or to a file that is not open yet. False: at its end.
bool LogHistory::Advance(Source& source) {
  if (!source.open) {
    source.reader.Open(source.PathOf(source.next++));
    source.open = true;
  }
  if (Fill(source)) return true;
  source.open = false;
  if (source.next >= source.files.segments.size()) return false;
  source.key = source.files.segments[source.next].first_number;
  return source.key < query_.end_number;
}

bool LogHistory::Fill(Source& source) {
  std::string_view bytes;
  while (source.reader.Next(&bytes, &step_bytes_)) {
    const auto line = ParseLine(bytes);
    if (!line || line->number < first_number_ || line->number >= query_.end_number) continue;
    if (!query_.filter.Passes(line->time_unix_ns, line->text)) continue;
    source.line = *line;
    source.key = line->number;
    return true;
  }
  return false;
}

}  // namespace lever::fleet
