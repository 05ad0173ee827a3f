// A file to which several processes append what happens to resources, one event a line: the reading
// of CLOCK_BOOTTIME, what happened, the process of the instance, the resource, its generation, and a
// number.
//
// Any thread; what stands in the file is whole lines, whenever a process dies.
#ifndef TESTS_E2E_OWNED_JOURNAL_H_
#define TESTS_E2E_OWNED_JOURNAL_H_

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>

namespace lever::e2e {

inline int64_t BootNs() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class Journal {
 public:
  void Open(const std::string& path) {
    path_ = path;
    file_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file_ < 0) std::perror(path.c_str());
  }
  bool is_open() const { return file_ >= 0; }
  // The folder that it is in, with a slash at the end.
  std::string folder() const { return path_.substr(0, path_.rfind('/') + 1); }

  void Write(int64_t at_ns, const char* what, int64_t process, const std::string& resource,
             uint64_t generation, int64_t number) const {
    if (file_ < 0) return;
    char line[1024];
    const int size = std::snprintf(line, sizeof(line),
                                   "%" PRId64 " %s %" PRId64 " %s %" PRIu64 " %" PRId64 "\n", at_ns,
                                   what, process, resource.c_str(), generation, number);
    // One write of less than a page: appended whole.
    if (write(file_, line, static_cast<size_t>(size)) != size) std::perror("the journal");
  }

 private:
  std::string path_;
  int file_ = -1;
};

}  // namespace lever::e2e

#endif  // TESTS_E2E_OWNED_JOURNAL_H_
