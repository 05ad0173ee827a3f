#include <atomic>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "liblever/base/fd.h"
#include "liblever/service/service.h"

namespace lever::service {
namespace {

// A descriptor above the standard three; -1 for anything else.
int ParseDescriptor(std::string_view text) {
  int fd = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fd);
  return error == std::errc() && end == text.data() + text.size() && fd > 2 ? fd : -1;
}

}  // namespace

InheritedSockets TakeInheritedSockets() {
  static std::atomic<bool> taken{false};
  const char* variable = std::getenv("LEVER_FDS");
  if (variable == nullptr || taken.exchange(true)) return {};
  const std::string_view text(variable);
  const size_t comma = text.find(',');
  if (comma == std::string_view::npos) return {};
  const InheritedSockets sockets{.attach = ParseDescriptor(text.substr(0, comma)),
                                 .introduction = ParseDescriptor(text.substr(comma + 1))};
  if (sockets.attach < 0 || sockets.introduction < 0) return {};
  // The variable may outlive the descriptors, in a child that was started with our environment.
  if (!SetInherit(sockets.attach, Inherit::kNo).ok()) return {};
  if (!SetInherit(sockets.introduction, Inherit::kNo).ok()) return {};
  return sockets;
}

}  // namespace lever::service
