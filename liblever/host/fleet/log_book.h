// What the services of a host print: kept for a while, followed by whoever asks, and passed on to
// the host's own log and to the files of a LogStore.
//
// An instance's bytes are cut into lines. Each service has a ring of its last lines, and all rings
// together have a bound as well. A reader has a place in each ring that it reads; who is slower
// than the ring is told how many lines it has lost, so that readers cost no memory.
//
// Thread-safe, except for a LogReader, which belongs to the thread of the loop that it was opened
// for. All calls about one instance come from one thread at a time, which is what gives its lines
// an order.
//
// Invariants
//  1. Text is valid UTF-8 (what was not is U+FFFD), without the line's end, and at most
//     line_bytes_max long: longer lines come in pieces.
//  2. Lines of one service are read in the order in which they were written; those of several
//     services in the order in which they came to their end.
//  3. At every bound the oldest lines go first. A reader gets each line of its selection at most
//     once, and `lost` of the line after a gap says how many it missed.
//  4. Nothing here waits, and no lock is held while the host's log or a reader's `wake` is called.
#ifndef LIBLEVER_HOST_FLEET_LOG_BOOK_H_
#define LIBLEVER_HOST_FLEET_LOG_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "liblever/base/loop.h"
#include "liblever/host/fleet/driver.h"
#include "liblever/host/fleet/log_store.h"

namespace lever::fleet {

// Whose output it is.
struct LogOwner {
  uint64_t instance_key = 0;
  std::string environment;
  std::string service;
  std::string instance;
  uint64_t version = 0;
};

struct LogLine {
  std::string environment;
  std::string service;
  std::string instance;
  uint64_t version = 0;
  int64_t time_unix_ns = 0;
  bool is_stderr = false;  // also for the host's own lines about an instance
  std::string text;
  uint64_t lost = 0;  // lines of the selection before this one that are gone
};

struct LogSelection {
  std::string environment;
  std::string service;  // empty: every service of the environment
  size_t tail = 0;      // so many lines of the past, at most
  bool follow = false;  // and those to come
};

class LogReader {
 public:
  // Ends it: `wake` is not called any more.
  virtual ~LogReader() = default;
  // The next lines, at most `lines_max`. Empty: there are none now; if it follows, `wake` is called
  // once there are.
  virtual std::vector<LogLine> Take(size_t lines_max) = 0;
  // Of the first line that came after it was opened.
  virtual uint64_t open_number() const = 0;
  // All of the tail that was asked for is in memory.
  virtual bool tail_is_whole() const = 0;
};

struct LogBookOptions {
  size_t line_bytes_max = 8 * 1024;
  size_t service_lines_max = 10'000;
  size_t service_bytes_max = 4 * 1024 * 1024;
  // Of all services together.
  size_t total_bytes_max = 64 * 1024 * 1024;
  // Of each instance, for the error that a caller gets.
  size_t last_words_lines_max = 20;
  size_t last_words_bytes_max = 4 * 1024;
  // Gets every line, too; numbers are above those that it has. None: nothing is on a disk.
  std::shared_ptr<LogStore> store;
  // Nanoseconds since 1970; null: the system's clock.
  int64_t (*unix_now_ns)() = nullptr;
};

class LogBook {
 public:
  // What a line costs on top of its text, roughly, and counts for in the bounds.
  static constexpr size_t kLineOverheadBytes = 128;
  // What begins a line of the host's own.
  static constexpr std::string_view kNotePrefix = "[lever] ";

  explicit LogBook(const LogBookOptions& options = {});
  // No reader is open any more.
  ~LogBook();

  // What is said of a key that has not begun, or has ended, is passed over.
  void Begin(const LogOwner& owner);
  void Append(uint64_t instance_key, OutputStream stream, std::string_view bytes);
  // A line of the host's own about the instance.
  void Note(uint64_t instance_key, std::string_view line);
  // The last lines that it wrote to stderr, joined by line ends; "" without.
  std::string LastWords(uint64_t instance_key) const;
  // What it wrote last without a line's end is a line now.
  void End(uint64_t instance_key);

  // By the thread that drives `loop`. `wake` is called on it, never from inside Open() or Take().
  // Without a descriptor to wake it with, a reader does not follow, which the host's log says.
  std::unique_ptr<LogReader> Open(LogSelection selection, Loop* loop, std::function<void()> wake);

  // Of all lines that are kept, with their overhead.
  size_t bytes() const;

 private:
  struct Line;
  struct Ring;
  struct Instance;
  class Reader;

  std::shared_ptr<Ring> RingOf(const LogOwner& owner);
  void Add(const Instance& instance, bool is_stderr, std::string text);
  void Evict(Ring& ring);
  void DropOldest(Ring& ring);
  void ForgetIfUnused(const std::shared_ptr<Ring>& ring);
  void Place(Reader& reader) const;
  std::vector<LogLine> Take(Reader& reader, size_t lines_max);

  const LogBookOptions options_;

  mutable std::mutex mutex_;
  // By environment and service.
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Ring>> rings_;
  // The rings that hold lines, by the number of their oldest one.
  std::map<uint64_t, Ring*> by_age_;
  std::unordered_map<uint64_t, std::unique_ptr<Instance>> instances_;
  std::vector<Reader*> readers_;
  uint64_t next_number_;  // of lines, over all services
  size_t bytes_ = 0;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_LOG_BOOK_H_
