#include "liblever/base/status.h"

#include <cerrno>
#include <cstring>
#include <system_error>

namespace lever {
namespace {

struct Row {
  lever_status code;
  std::string_view name;
  int grpc;
  int http;
  int exit_code;
  std::string_view text;
};

constexpr Row kRows[] = {
#define LEVER_STATUS_ROW_(name, number, grpc, http, exit_code, text) \
  {LEVER_##name, #name, grpc, http, exit_code, text},
    LEVER_STATUS_MAP(LEVER_STATUS_ROW_)
#undef LEVER_STATUS_ROW_
};

const Row& RowOf(lever_status code) {
  for (const Row& row : kRows) {
    if (row.code == code) return row;
  }
  return kRows[LEVER_UNKNOWN];
}

}  // namespace

std::string_view StatusName(lever_status code) { return RowOf(code).name; }
std::string_view StatusText(lever_status code) { return RowOf(code).text; }
int StatusToGrpc(lever_status code) { return RowOf(code).grpc; }
int StatusToHttp(lever_status code) { return RowOf(code).http; }
int StatusToExitCode(lever_status code) { return RowOf(code).exit_code; }

lever_status StatusFromGrpc(int grpc_status) {
  if (grpc_status < 0 || grpc_status > LEVER_UNAUTHENTICATED) return LEVER_UNKNOWN;
  return static_cast<lever_status>(grpc_status);
}

std::optional<lever_status> StatusFromName(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) return row.code;
  }
  return std::nullopt;
}

std::string Status::ToString() const {
  std::string text(StatusName(code_));
  if (!message_.empty()) text.append(": ").append(message_);
  return text;
}

Status ErrnoStatus(int error, std::string_view what) {
  std::string message(what);
  message.append(": ").append(std::generic_category().message(error));
  switch (error) {
    case ENOENT:
      return NotFound(std::move(message));
    case EACCES:
    case EPERM:
      return PermissionDenied(std::move(message));
    case EEXIST:
      return AlreadyExists(std::move(message));
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
      return ResourceExhausted(std::move(message));
    default:
      return Internal(std::move(message));
  }
}

}  // namespace lever
