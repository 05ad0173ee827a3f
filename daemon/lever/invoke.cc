// lever invoke ADDRESS [JSON-ARG...] [--bytes] [--timeout 5s]
#include <unistd.h>

#include <cerrno>
#include <string>

#include "daemon/lever/arguments.h"
#include "daemon/lever/command.h"
#include "daemon/lever/connection.h"
#include "daemon/lever/output.h"
#include "liblever/policy/address.h"

namespace lever::cli {
namespace {

// What a host takes in one message, and a little for what is round it.
constexpr size_t kInputBytesMax = 4 * 1024 * 1024 - 1024;

StatusOr<std::string> ReadInput() {
  std::string input;
  std::string piece(64 * 1024, '\0');
  while (true) {
    const ssize_t count = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "read standard input");
    if (count == 0) return input;
    input.append(piece, 0, static_cast<size_t>(count));
    if (input.size() > kInputBytesMax) {
      return ResourceExhausted("standard input has more than " + Size(kInputBytesMax));
    }
  }
}

StatusOr<Request> MakeRequest(const CallArguments& arguments) {
  LEVER_ASSIGN_OR_RETURN(const policy::Address address, policy::ParseAddress(arguments.address));
  if (policy::IsStreamingMethod(address.method)) {
    return Unimplemented(address.method + " is a streaming method: use `lever stream`");
  }
  Request request;
  request.address = arguments.address;
  LEVER_ASSIGN_OR_RETURN(request.timeout_ns, ParseTimeout(arguments.timeout));
  if (!arguments.bytes) {
    LEVER_ASSIGN_OR_RETURN(request.payload, ArgumentsFromJson(arguments.json));
    return request;
  }
  if (!arguments.json.empty()) {
    return InvalidArgument("with --bytes standard input is the one argument: give no others");
  }
  request.payload.kind = LEVER_KIND_RAW;
  LEVER_ASSIGN_OR_RETURN(request.payload.bytes, ReadInput());
  return request;
}

}  // namespace

int Invoke(const Globals& globals, const CallArguments& arguments) {
  const StatusOr<Request> request = MakeRequest(arguments);
  if (!request.ok()) return Report(globals, request.status());
  const StatusOr<std::unique_ptr<Connection>> connection = Connection::Open(globals);
  if (!connection.ok()) return Report(globals, connection.status());
  const Outcome outcome = (*connection)->Call(*request);
  if (!outcome.status.ok()) return ReportOutcome(globals, outcome);
  if (arguments.bytes && outcome.payload.kind == LEVER_KIND_RAW) {
    return Report(globals, Print(outcome.payload.bytes));
  }
  const StatusOr<std::string> json = ToJson(outcome.payload);
  if (!json.ok()) return Report(globals, json.status());
  return Report(globals, Print(*json + "\n"));
}

}  // namespace lever::cli
