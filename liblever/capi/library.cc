// lever_version, the status list, the log.
#include <mutex>

#include "lever/lever.h"
#include "liblever/base/log.h"
#include "liblever/base/status.h"

namespace {

// A program's sink. Replaced whole, so that nobody sees the function of one and the context of
// another.
struct Sink {
  lever_log_sink function;
  void* context;
};

void Write(void* context, lever::LogLevel level, std::string_view line) {
  const auto* sink = static_cast<const Sink*>(context);
  sink->function(sink->context, static_cast<lever_log_level>(level), line.data(), line.size());
}

}  // namespace

const char* lever_version(void) { return LEVER_VERSION; }

// The names and texts of the list are literals, and so end with a NUL.
const char* lever_status_name(lever_status status) { return lever::StatusName(status).data(); }
const char* lever_status_text(lever_status status) { return lever::StatusText(status).data(); }

void lever_set_log_sink(lever_log_sink function, void* context, lever_log_level least) {
  static std::mutex mutex;
  static const Sink* current = nullptr;
  const std::lock_guard lock(mutex);
  const Sink* before = current;
  current = function == nullptr ? nullptr : new Sink{function, context};
  const int level = least < LEVER_LOG_DEBUG ? LEVER_LOG_DEBUG : least;
  // Returns when nobody is in the old sink any more.
  lever::SetLogSink(current == nullptr ? nullptr : Write, const_cast<Sink*>(current),
                    static_cast<lever::LogLevel>(level));
  delete before;
}
