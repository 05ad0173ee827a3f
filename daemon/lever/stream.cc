// lever stream ADDRESS [JSON-ARG...]: standard input is a JSON message a line, and so is the
// output.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>

#include "daemon/lever/arguments.h"
#include "daemon/lever/call_stream.h"
#include "daemon/lever/command.h"
#include "daemon/lever/connection.h"
#include "daemon/lever/output.h"
#include "liblever/policy/address.h"

namespace lever::cli {
namespace {

// Longer lines could not be sent as one message.
constexpr size_t kLineBytesMax = 16 * 1024 * 1024;

// Standard input, cut into lines, written to the stream as long as there is room.
class LineWriter {
 public:
  explicit LineWriter(CallStream* stream) : stream_(stream), piece_(64 * 1024, '\0') {}

  // Standard input is readable.
  Status OnInput() {
    const ssize_t count = ::read(STDIN_FILENO, piece_.data(), piece_.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) return Status::Ok();
    if (count < 0) return ErrnoStatus(errno, "read standard input");
    at_end_ = count == 0;
    buffered_.append(piece_, 0, static_cast<size_t>(count));
    if (buffered_.size() > kLineBytesMax) {
      return ResourceExhausted("line " + std::to_string(line_ + 1) + " is longer than " +
                               Size(kLineBytesMax));
    }
    return WriteLines();
  }

  // Goes on after the stream had no room.
  Status WriteLines() {
    while (true) {
      if (!pending_) LEVER_RETURN_IF_ERROR(NextMessage());
      if (!pending_) break;
      LEVER_ASSIGN_OR_RETURN(const bool written, stream_->Write(*pending_));
      if (!written) {
        stream_->set_input_fd(-1);
        return Status::Ok();
      }
      pending_.reset();
    }
    stream_->set_input_fd(at_end_ ? -1 : STDIN_FILENO);
    return at_end_ ? stream_->CloseSend() : Status::Ok();
  }

 private:
  Status NextMessage() {
    while (start_ < buffered_.size()) {
      const size_t newline = buffered_.find('\n', start_);
      if (newline == std::string::npos && !at_end_) break;
      const size_t end = std::min(newline, buffered_.size());
      const std::string line = buffered_.substr(start_, end - start_);
      start_ = std::min(end + 1, buffered_.size());
      ++line_;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      LEVER_ASSIGN_OR_RETURN(std::string value,
                             FromJson(line, "line " + std::to_string(line_) + " of the input"));
      pending_ = Payload{LEVER_KIND_VALUE, std::move(value)};
      return Status::Ok();
    }
    buffered_.erase(0, start_);
    start_ = 0;
    return Status::Ok();
  }

  CallStream* stream_;
  std::string piece_;
  std::string buffered_;
  size_t start_ = 0;  // of what of it has not been written
  size_t line_ = 0;
  bool at_end_ = false;
  std::optional<Payload> pending_;
};

StatusOr<Request> MakeRequest(const CallArguments& arguments) {
  LEVER_ASSIGN_OR_RETURN(const policy::Address address, policy::ParseAddress(arguments.address));
  if (!policy::IsStreamingMethod(address.method)) {
    return Unimplemented(address.method +
                         " is not a streaming method (those end in Chan): use `lever invoke`");
  }
  Request request;
  request.address = arguments.address;
  LEVER_ASSIGN_OR_RETURN(request.timeout_ns, ParseTimeout(arguments.timeout));
  LEVER_ASSIGN_OR_RETURN(request.payload, ArgumentsFromJson(arguments.json));
  return request;
}

}  // namespace

int Stream(const Globals& globals, const CallArguments& arguments) {
  const StatusOr<Request> request = MakeRequest(arguments);
  if (!request.ok()) return Report(globals, request.status());
  const StatusOr<std::unique_ptr<Connection>> connection = Connection::Open(globals);
  if (!connection.ok()) return Report(globals, connection.status());
  CallStream* out = nullptr;
  LineWriter* lines = nullptr;
  CallStream stream(connection->get(), {.on_message =
                                            [&](const Payload& payload) {
                                              LEVER_ASSIGN_OR_RETURN(const std::string json,
                                                                     ToJson(payload));
                                              out->Print(json + "\n");
                                              return Status::Ok();
                                            },
                                        .on_writable = [&] { return lines->WriteLines(); },
                                        .on_input = [&] { return lines->OnInput(); }});
  LineWriter writer(&stream);
  out = &stream;
  lines = &writer;
  const Status opened = stream.Open(*request);
  if (!opened.ok()) return Report(globals, opened);
  stream.set_input_fd(STDIN_FILENO);
  return ReportOutcome(globals, stream.Run());
}

}  // namespace lever::cli
