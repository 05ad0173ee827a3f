#include "daemon/lever/output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "lever/lever.h"

namespace lever::cli {
namespace {

const char* ExecutedName(lever_executed executed) {
  switch (executed) {
    case LEVER_EXECUTED_NO:
      return "no";
    case LEVER_EXECUTED_YES:
      return "yes";
    case LEVER_EXECUTED_UNKNOWN:
      break;
  }
  return "unknown";
}

// The MessagePack of one bin value.
std::string BinValue(std::string_view bytes) {
  const auto size = static_cast<uint32_t>(bytes.size());
  std::string value = "\xc6";
  for (int shift = 24; shift >= 0; shift -= 8) value += static_cast<char>(size >> shift);
  return value.append(bytes);
}

// A character of UTF-8 text begins at every byte that does not continue one.
size_t Width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

Status WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "write the output");
    text.remove_prefix(static_cast<size_t>(count));
  }
  return Status::Ok();
}

Status Print(std::string_view text) { return WriteAll(STDOUT_FILENO, text); }

void Note(std::string_view line) {
  // Nobody is left to be told that standard error cannot be written.
  (void)WriteAll(STDERR_FILENO, "lever: " + std::string(line) + "\n");
}

int Report(const Globals& globals, const Status& status) {
  if (status.ok()) return 0;
  if (globals.format == Format::kJson) {
    const nlohmann::json error = {{"error",
                                   {{"code", StatusName(status.code())},
                                    {"message", status.message()},
                                    {"executed", ExecutedName(status.executed())}}}};
    const std::string text =
        error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    (void)WriteAll(STDERR_FILENO, text);
  } else {
    Note(std::string(StatusName(status.code())) + ": " + PlainLines(status.message()));
  }
  return StatusToExitCode(status.code());
}

int ReportOutcome(const Globals& globals, const Outcome& outcome) {
  if (outcome.status.code() != LEVER_METHOD_ERROR) return Report(globals, outcome.status);
  const StatusOr<std::string> json = ToJson(outcome.payload);
  if (!json.ok()) return Report(globals, json.status());
  (void)WriteAll(STDERR_FILENO, *json + "\n");
  return StatusToExitCode(LEVER_METHOD_ERROR);
}

StatusOr<std::string> ToJson(const Payload& payload) {
  const bool raw = payload.kind == LEVER_KIND_RAW || payload.kind == LEVER_KIND_ERROR_RAW;
  const std::string value = raw ? BinValue(payload.bytes) : payload.bytes;
  const lever_slice slice{reinterpret_cast<const uint8_t*>(value.data()), value.size()};
  char* text = nullptr;
  size_t size = 0;
  lever_error* error = nullptr;
  const lever_status status = lever_value_to_json(&slice, 1, &text, &size, &error);
  if (status != LEVER_OK) return TakeError(status, error);
  std::string json(text, size);
  lever_free(text);
  return json;
}

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::vector<std::string>& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      line.append(widths[i] - Width(row[i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string Age(int64_t age_ns) {
  const int64_t seconds = age_ns / 1'000'000'000;
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 120 * 60) return std::to_string(seconds / 60) + " min";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / 86400) + " d";
}

std::string Size(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  const double kib = static_cast<double>(bytes) / 1024;
  char text[32];
  if (kib < 1024) {
    std::snprintf(text, sizeof(text), "%.1f KiB", kib);
  } else {
    std::snprintf(text, sizeof(text), "%.1f MiB", kib / 1024);
  }
  return text;
}

std::string Plain(std::string_view text) {
  std::string plain(text);
  for (size_t i = 0; i < plain.size(); ++i) {
    const auto byte = static_cast<unsigned char>(plain[i]);
    const auto next = static_cast<unsigned char>(i + 1 < plain.size() ? plain[i + 1] : 0);
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) plain[i] = ' ';
    // U+0080 to U+009F, among them a one-character form of ESC [.
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0) plain.replace(i, 2, 2, ' ');
  }
  return plain;
}

std::string PlainLines(std::string_view text) {
  std::string plain;
  while (true) {
    const size_t end = text.find('\n');
    plain += Plain(text.substr(0, end));
    if (end == std::string_view::npos) return plain;
    plain += '\n';
    text.remove_prefix(end + 1);
  }
}

}  // namespace lever::cli
