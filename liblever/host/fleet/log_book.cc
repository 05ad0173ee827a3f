#include "liblever/host/fleet/log_book.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <deque>
#include <queue>

#include "liblever/base/fd.h"
#include "liblever/base/log.h"
#include "liblever/host/fleet/line_cutter.h"

namespace lever::fleet {
namespace {

int64_t SystemUnixNs() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

constexpr std::string_view kOut = "out";
constexpr std::string_view kErr = "err";
constexpr std::string_view kHost = "host";

void LogToHost(const LogOwner& owner, std::string_view stream, std::string_view text) {
  if (!LogEnabled(LogLevel::kInfo)) return;
  std::string line =
      "lever://" + owner.environment + "/" + owner.service + " " + owner.instance + " ";
  line.append(stream).append(": ").append(text);
  Log(LogLevel::kInfo, line);
}

// The last lines of an instance's stderr.
class LastLines {
 public:
  void Add(const std::string& line, size_t lines_max, size_t bytes_max) {
    lines_.push_back(line);
    bytes_ += line.size() + 1;
    while (lines_.size() > 1 && (lines_.size() > lines_max || bytes_ > bytes_max)) {
      bytes_ -= lines_.front().size() + 1;
      lines_.pop_front();
    }
    if (bytes_ > bytes_max) {
      lines_.front().resize(CutAt(lines_.front(), bytes_max - 1));
      bytes_ = lines_.front().size() + 1;
    }
  }
  std::string Join() const {
    std::string text;
    for (const std::string& line : lines_) {
      if (!text.empty()) text += '\n';
      text += line;
    }
    return text;
  }

 private:
  std::deque<std::string> lines_;
  size_t bytes_ = 0;
};

}  // namespace

struct LogBook::Line {
  uint64_t number = 0;
  std::shared_ptr<const LogOwner> owner;
  int64_t time_unix_ns = 0;
  bool is_stderr = false;
  std::string text;
  size_t bytes() const { return text.size() + kLineOverheadBytes; }
};

// The last lines of one service. A line's place is how many came before it.
struct LogBook::Ring {
  std::string environment;
  std::string service;
  std::deque<Line> lines;
  uint64_t first_place = 0;
  size_t bytes = 0;
  size_t instances = 0;  // that may still write to it

  uint64_t end_place() const { return first_place + lines.size(); }
  const Line& At(uint64_t place) const { return lines[place - first_place]; }
};

struct LogBook::Instance {
  Instance(const LogOwner& instance_owner, size_t line_bytes_max)
      : owner(std::make_shared<LogOwner>(instance_owner)),
        out(line_bytes_max),
        err(line_bytes_max) {}
  const std::shared_ptr<const LogOwner> owner;
  std::shared_ptr<Ring> ring;
  LineCutter out;
  LineCutter err;
  LastLines last_words;
};

// An eventfd wakes it: written under the book's lock by whoever logs, it runs nothing there, and
// neither the reader nor its loop has to outlive a post.
class LogBook::Reader final : public LogReader, private IoSource {
 public:
  Reader(LogBook* book, LogSelection selection, Loop* loop, std::function<void()> wake)
      : selection(std::move(selection)), book_(book), loop_(loop), wake_(std::move(wake)) {}
  ~Reader() override {
    loop_->Unwatch(this);
    const std::lock_guard lock(book_->mutex_);
    std::erase(book_->readers_, this);
  }
  Status Init() {
    if (!selection.follow) return Status::Ok();
    event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event_.valid()) return ErrnoStatus(errno, "eventfd");
    return loop_->Watch(event_.get(), EPOLLIN, this);
  }

  std::vector<LogLine> Take(size_t lines_max) override { return book_->Take(*this, lines_max); }
  uint64_t open_number() const override { return opened_at; }
  bool tail_is_whole() const override { return whole; }

  bool Selects(const Ring& ring) const {
    return ring.environment == selection.environment &&
           (selection.service.empty() || ring.service == selection.service);
  }
  // With the book's lock.
  void Signal() {
    if (!std::exchange(hungry, false)) return;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof(one));
  }

  const LogSelection selection;
  // Set when it is opened.
  uint64_t opened_at = 0;
  bool whole = false;
  // All of these with the book's lock.
  std::map<const Ring*, uint64_t> places;  // of the next line; a ring that is not in it: its first
  uint64_t end_number = UINT64_MAX;        // where one that does not follow ends
  uint64_t lost = 0;                       // not told yet
  bool hungry = false;                     // to be woken by the next line

 private:
  uint32_t OnReady(uint32_t events) override {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t size = ::read(event_.get(), &count, sizeof(count));
    // It may destroy this.
    const std::function<void()> wake = wake_;
    wake();
    return 0;
  }

  LogBook* const book_;
  Loop* const loop_;
  const std::function<void()> wake_;
  UniqueFd event_;
};

LogBook::LogBook(const LogBookOptions& options)
    : options_(options),
      next_number_(options.store == nullptr ? 1 : options.store->first_free_number()) {}

LogBook::~LogBook() { assert(readers_.empty() && "a reader outlives the book"); }

// ---- Writing ----

std::shared_ptr<LogBook::Ring> LogBook::RingOf(const LogOwner& owner) {
  std::shared_ptr<Ring>& ring = rings_[{owner.environment, owner.service}];
  if (ring == nullptr) {
    ring = std::make_shared<Ring>();
    ring->environment = owner.environment;
    ring->service = owner.service;
  }
  return ring;
}

void LogBook::Begin(const LogOwner& owner) {
  const std::lock_guard lock(mutex_);
  auto instance = std::make_unique<Instance>(owner, options_.line_bytes_max);
  instance->ring = RingOf(owner);
  ++instance->ring->instances;
  instances_[owner.instance_key] = std::move(instance);
}

void LogBook::Append(uint64_t instance_key, OutputStream stream, std::string_view bytes) {
  const bool is_stderr = stream == OutputStream::kStderr;
  std::vector<std::string> lines;
  std::shared_ptr<const LogOwner> owner;
  {
    const std::lock_guard lock(mutex_);
    const auto found = instances_.find(instance_key);
    if (found == instances_.end()) return;
    Instance& instance = *found->second;
    owner = instance.owner;
    (is_stderr ? instance.err : instance.out).Append(bytes, [&](std::string line) {
      if (is_stderr) {
        instance.last_words.Add(line, options_.last_words_lines_max, options_.last_words_bytes_max);
      }
      Add(instance, is_stderr, line);
      lines.push_back(std::move(line));
    });
  }
  for (const std::string& line : lines) LogToHost(*owner, is_stderr ? kErr : kOut, line);
}

void LogBook::Note(uint64_t instance_key, std::string_view line) {
  std::shared_ptr<const LogOwner> owner;
  std::vector<std::string> lines;
  {
    const std::lock_guard lock(mutex_);
    const auto found = instances_.find(instance_key);
    if (found == instances_.end()) return;
    owner = found->second->owner;
    LineCutter cutter(options_.line_bytes_max);
    const auto add = [&](std::string text) {
      Add(*found->second, true, std::string(kNotePrefix) + text);
      lines.push_back(std::move(text));
    };
    cutter.Append(line, add);
    cutter.Finish(add);
  }
  for (const std::string& text : lines) LogToHost(*owner, kHost, text);
}

std::string LogBook::LastWords(uint64_t instance_key) const {
  const std::lock_guard lock(mutex_);
  const auto found = instances_.find(instance_key);
  if (found == instances_.end()) return "";
  LastLines words = found->second->last_words;
  LineCutter unfinished = found->second->err;
  unfinished.Finish([&](std::string line) {
    words.Add(line, options_.last_words_lines_max, options_.last_words_bytes_max);
  });
  return words.Join();
}

void LogBook::End(uint64_t instance_key) {
  std::shared_ptr<const LogOwner> owner;
  std::vector<std::pair<std::string_view, std::string>> lines;
  {
    const std::lock_guard lock(mutex_);
    const auto found = instances_.find(instance_key);
    if (found == instances_.end()) return;
    const std::unique_ptr<Instance> instance = std::move(found->second);
    instances_.erase(found);
    owner = instance->owner;
    instance->out.Finish([&](std::string line) {
      Add(*instance, false, line);
      lines.emplace_back(kOut, std::move(line));
    });
    instance->err.Finish([&](std::string line) {
      Add(*instance, true, line);
      lines.emplace_back(kErr, std::move(line));
    });
    --instance->ring->instances;
    ForgetIfUnused(instance->ring);
  }
  for (const auto& [stream, line] : lines) LogToHost(*owner, stream, line);
}

void LogBook::Add(const Instance& instance, bool is_stderr, std::string text) {
  Ring& ring = *instance.ring;
  Line line;
  line.number = next_number_++;
  line.owner = instance.owner;
  line.time_unix_ns = (options_.unix_now_ns != nullptr ? options_.unix_now_ns : SystemUnixNs)();
  line.is_stderr = is_stderr;
  line.text = std::move(text);
  if (options_.store != nullptr) {
    options_.store->Append(ring.environment, ring.service,
                           {line.number, line.time_unix_ns, line.owner->version, line.is_stderr,
                            line.owner->instance, line.text});
  }
  if (ring.lines.empty()) by_age_.emplace(line.number, &ring);
  ring.bytes += line.bytes();
  bytes_ += line.bytes();
  ring.lines.push_back(std::move(line));
  Evict(ring);
  for (Reader* reader : readers_) {
    if (reader->hungry && reader->Selects(ring)) reader->Signal();
  }
}

// ---- Bounds ----

// Drops the oldest lines of a ring that is over its own bounds, then the oldest of all.
void LogBook::Evict(Ring& ring) {
  while (ring.lines.size() > options_.service_lines_max ||
         ring.bytes > options_.service_bytes_max) {
    DropOldest(ring);
  }
  while (bytes_ > options_.total_bytes_max && !by_age_.empty()) {
    Ring& oldest = *by_age_.begin()->second;
    DropOldest(oldest);
    if (!oldest.lines.empty()) continue;
    ForgetIfUnused(rings_.find({oldest.environment, oldest.service})->second);
  }
}

void LogBook::DropOldest(Ring& ring) {
  const Line& line = ring.lines.front();
  by_age_.erase(line.number);
  ring.bytes -= line.bytes();
  bytes_ -= line.bytes();
  ring.lines.pop_front();
  ++ring.first_place;
  if (!ring.lines.empty()) by_age_.emplace(ring.lines.front().number, &ring);
}

void LogBook::ForgetIfUnused(const std::shared_ptr<Ring>& ring) {
  if (ring->instances > 0 || !ring->lines.empty()) return;
  for (Reader* reader : readers_) {
    const auto place = reader->places.find(ring.get());
    if (reader->Selects(*ring)) {
      reader->lost += ring->end_place() - (place == reader->places.end() ? 0 : place->second);
    }
    if (place != reader->places.end()) reader->places.erase(place);
  }
  const std::pair<std::string, std::string> key(ring->environment, ring->service);
  rings_.erase(key);  // `ring` may be what the table held
}

size_t LogBook::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

// ---- Reading ----

std::unique_ptr<LogReader> LogBook::Open(LogSelection selection, Loop* loop,
                                         std::function<void()> wake) {
  auto reader = std::make_unique<Reader>(this, std::move(selection), loop, std::move(wake));
  if (const Status status = reader->Init(); !status.ok()) {
    Log(LogLevel::kWarning, "a reader of the log cannot follow it: " + status.message());
  }
  const std::lock_guard lock(mutex_);
  Place(*reader);
  reader->hungry = reader->selection.follow;
  readers_.push_back(reader.get());
  return reader;
}

// Puts a new reader before the last `tail` lines of its selection.
void LogBook::Place(Reader& reader) const {
  const size_t tail = reader.selection.tail;
  std::vector<uint64_t> numbers;
  for (const auto& [key, ring] : rings_) {
    if (!reader.Selects(*ring)) continue;
    const size_t count = std::min(tail, ring->lines.size());
    for (auto line = ring->lines.end() - static_cast<std::ptrdiff_t>(count);
         line != ring->lines.end(); ++line) {
      numbers.push_back(line->number);
    }
  }
  uint64_t first = next_number_;
  if (!numbers.empty()) {
    const size_t skipped = numbers.size() - std::min(tail, numbers.size());
    const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(skipped);
    std::nth_element(numbers.begin(), begin, numbers.end());
    first = *begin;
  }
  reader.opened_at = next_number_;
  reader.whole = numbers.size() >= tail;
  for (const auto& [key, ring] : rings_) {
    if (!reader.Selects(*ring)) continue;
    // What this ring has dropped is older than what it has, and may be younger than the tail's
    // first.
    if (ring->first_place > 0 && (ring->lines.empty() || ring->lines.front().number > first)) {
      reader.whole = false;
    }
    const auto line = std::lower_bound(
        ring->lines.begin(), ring->lines.end(), first,
        [](const Line& candidate, uint64_t number) { return candidate.number < number; });
    reader.places[ring.get()] =
        ring->first_place + static_cast<uint64_t>(line - ring->lines.begin());
  }
  if (!reader.selection.follow) reader.end_number = next_number_;
}

std::vector<LogLine> LogBook::Take(Reader& reader, size_t lines_max) {
  const std::lock_guard lock(mutex_);
  struct Source {
    const Ring* ring;
    uint64_t* place;
    uint64_t number() const { return ring->At(*place).number; }
    bool operator<(const Source& other) const { return number() > other.number(); }
  };
  std::priority_queue<Source> sources;  // the one with the oldest line on top
  const auto offer = [&](const Source& source) {
    if (*source.place < source.ring->end_place() && source.number() < reader.end_number) {
      sources.push(source);
    }
  };
  for (const auto& [key, ring] : rings_) {
    if (!reader.Selects(*ring)) continue;
    uint64_t& place = reader.places[ring.get()];
    if (place < ring->first_place) {
      reader.lost += ring->first_place - place;
      place = ring->first_place;
    }
    offer({ring.get(), &place});
  }
  std::vector<LogLine> taken;
  while (taken.size() < lines_max && !sources.empty()) {
    const Source source = sources.top();
    sources.pop();
    const Line& line = source.ring->At(*source.place);
    taken.push_back({line.owner->environment, line.owner->service, line.owner->instance,
                     line.owner->version, line.time_unix_ns, line.is_stderr, line.text,
                     std::exchange(reader.lost, 0)});
    ++*source.place;
    offer(source);
  }
  reader.hungry = taken.empty() && reader.selection.follow;
  return taken;
}

}  // namespace lever::fleet
