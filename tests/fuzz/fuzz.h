// What the fuzz targets share: an input that is taken apart from its front, and what must hold.
//
// A target is one file with LLVMFuzzerTestOneInput(). The preset `fuzz` links it with libFuzzer;
// all others link it with replay_main.cc, which runs it on the committed corpus. README.md has
// more.
#ifndef TESTS_FUZZ_FUZZ_H_
#define TESTS_FUZZ_FUZZ_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace lever::fuzz {

// Ends the process, which is how a target tells what it has found.
[[noreturn]] inline void Fail(const char* file, int line, const char* what,
                              const std::string& more) {
  std::fprintf(stderr, "%s:%d: does not hold: %s\n%s\n", file, line, what, more.c_str());
  std::abort();
}

// A property. `more` is evaluated only where it does not hold.
#define FUZZ_CHECK(condition, more)                                                \
  do {                                                                             \
    if (!(condition)) ::lever::fuzz::Fail(__FILE__, __LINE__, #condition, (more)); \
  } while (false)

// The bytes of an input, from the front. At its end numbers are 0 and texts empty.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  size_t size() const { return rest_.size(); }
  uint8_t Byte() {
    const std::string_view one = Text(1);
    return one.empty() ? 0 : static_cast<uint8_t>(one[0]);
  }
  uint32_t Short() {
    const uint32_t high = Byte();
    return high << 8 | Byte();
  }
  // At most `size` bytes.
  std::string_view Text(size_t size) {
    const std::string_view text = rest_.substr(0, size);
    rest_.remove_prefix(text.size());
    return text;
  }
  // A text with its length before it, in one byte.
  std::string_view Counted() { return Text(Byte()); }
  std::string_view Rest() { return Text(rest_.size()); }

 private:
  std::string_view rest_;
};

// `bytes` in slices whose sizes follow from `cuts`: 0 leaves them whole.
inline SliceList InSlices(std::string_view bytes, uint32_t cuts) {
  SliceList list;
  if (cuts == 0) {
    list.push_back(Slice::Copy(bytes));
    return list;
  }
  while (!bytes.empty()) {
    cuts = cuts * 1664525 + 1013904223;
    const size_t size = std::min<size_t>(bytes.size(), cuts >> 29);
    list.push_back(Slice::Copy(bytes.substr(0, size)));
    bytes.remove_prefix(size);
  }
  return list;
}

// What goes into messages for people: printable ASCII, and not much of it.
inline void CheckRefusal(const Status& status, lever_status code, size_t text_bytes_max) {
  FUZZ_CHECK(status.code() == code, status.ToString());
  FUZZ_CHECK(status.executed() == LEVER_EXECUTED_NO, status.ToString());
  FUZZ_CHECK(!status.message().empty(), "no text");
  FUZZ_CHECK(status.message().size() <= text_bytes_max, status.ToString());
  for (const char c : status.message()) FUZZ_CHECK(c >= 0x20 && c < 0x7f, status.ToString());
}

}  // namespace lever::fuzz

#endif  // TESTS_FUZZ_FUZZ_H_
