// lever logs [SERVICE] [-f] [--tail N] [--since WHEN] [--grep EXPRESSION]
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>

#include "daemon/lever/call_stream.h"
#include "daemon/lever/command.h"
#include "daemon/lever/connection.h"
#include "daemon/lever/log_stream.h"
#include "daemon/lever/log_text.h"
#include "daemon/lever/output.h"
#include "lever/v1/admin.pb.h"

namespace lever::cli {
namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;

int64_t UnixNowNs() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

// "12:30:05.123", local time.
std::string TimeOfDay(int64_t unix_ns) {
  const auto seconds = static_cast<time_t>(unix_ns / kNanosPerSecond);
  struct tm local = {};
  ::localtime_r(&seconds, &local);
  char text[32];
  const size_t size = std::strftime(text, sizeof(text), "%H:%M:%S", &local);
  std::string time(text, size);
  std::string millis = std::to_string(unix_ns / 1'000'000 % 1000);
  return time + "." + std::string(3 - millis.size(), '0') + millis;
}

// "lever://dev.lever/hello v1 i-2699dfa88850 12:30:05.123 | text"; `!` before what came from
// stderr.
std::string ForPeople(const lever::v1::LogLine& line) {
  std::string text;
  if (line.lost() > 0) text = "(" + std::to_string(line.lost()) + " lines were lost)\n";
  text += "lever://" + line.environment() + "/" + line.service() + " ";
  if (line.version() > 0) text += "v" + std::to_string(line.version()) + " ";
  if (!line.instance().empty()) text += line.instance() + " ";
  text += TimeOfDay(line.time_unix_ns()) + (line.stderr() ? " ! " : " | ");
  const auto fields = StructuredLine(line.text());
  return text + Plain(fields ? StructuredText(*fields) : line.text()) + "\n";
}

std::string ForPrograms(const lever::v1::LogLine& line) {
  nlohmann::json object = {{"environment", line.environment()},
                           {"service", line.service()},
                           {"instance", line.instance()},
                           {"version", line.version()},
                           {"time_unix_ns", line.time_unix_ns()},
                           {"stream", line.stderr() ? "stderr" : "stdout"},
                           {"text", line.text()},
                           {"lost", line.lost()}};
  if (auto fields = StructuredLine(line.text())) object["fields"] = std::move(*fields);
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

Status ShowLogs(const Globals& globals, const LogsArguments& arguments, int cancel_fd) {
  lever::v1::LogsRequest request;
  if (!arguments.since.empty()) {
    LEVER_ASSIGN_OR_RETURN(const int64_t since_unix_ns, ParseSince(arguments.since, UnixNowNs()));
    request.set_since_unix_ns(since_unix_ns);
  }
  request.set_grep(arguments.grep);
  request.set_environment(globals.environment);
  request.set_service(arguments.service);
  request.set_follow(arguments.follow);
  request.set_tail(arguments.tail.value_or(0));
  request.set_no_tail(arguments.tail == 0u);
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection,
                         Connection::Open(globals, cancel_fd));
  CallStream* out = nullptr;
  CallStream::Handlers handlers;
  handlers.on_message = [&](const Payload& payload) {
    lever::v1::LogLine line;
    LEVER_RETURN_IF_ERROR(ParseReply(payload, &line));
    out->Print(globals.format == Format::kJson ? ForPrograms(line) : ForPeople(line));
    return Status::Ok();
  };
  CallStream stream(connection.get(), std::move(handlers));
  out = &stream;
  LEVER_RETURN_IF_ERROR(stream.Open(
      {"/lever.v1.Admin/Logs", {LEVER_KIND_RAW, request.SerializeAsString()}, LEVER_CALL_GRPC}));
  LEVER_RETURN_IF_ERROR(stream.CloseSend());
  return stream.Run().status;
}

int Logs(const Globals& globals, const LogsArguments& arguments) {
  const Status status = ShowLogs(globals, arguments);
  // Ctrl-C is how following ends: there is nothing to tell.
  if (arguments.follow && status.code() == LEVER_CANCELLED) {
    return StatusToExitCode(LEVER_CANCELLED);
  }
  return Report(globals, status);
}

}  // namespace lever::cli
