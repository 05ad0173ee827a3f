// Cuts what a program prints into lines of valid UTF-8 and bounded length.
//
// Not thread-safe. Holds at most one line's bytes.
#ifndef LIBLEVER_HOST_FLEET_LINE_CUTTER_H_
#define LIBLEVER_HOST_FLEET_LINE_CUTTER_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace lever::fleet {

// The text with each ill-formed sequence replaced by U+FFFD: a sequence is as long as it could
// still have become a character (Unicode 15, section 3.9, "maximal subpart").
std::string RepairUtf8(std::string_view text);
// Where to cut a text that is longer than `bytes_max`: not inside a character, if it is UTF-8.
size_t CutAt(std::string_view text, size_t bytes_max);

class LineCutter {
 public:
  using Sink = std::function<void(std::string line)>;

  // `bytes_max`: at least 8.
  explicit LineCutter(size_t bytes_max) : bytes_max_(bytes_max) {}

  // Hands on each line that has come to its end, or is so long that it is cut.
  void Append(std::string_view bytes, const Sink& sink);
  // Hands on what has no line's end.
  void Finish(const Sink& sink);

 private:
  void Emit(std::string_view line, const Sink& sink) const;

  const size_t bytes_max_;
  std::string rest_;
};

}  // namespace lever::fleet

#endif  // LIBLEVER_HOST_FLEET_LINE_CUTTER_H_
