#include "daemon/lever/call_stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace lever::cli {

CallStream::CallStream(Connection* connection, Handlers handlers)
    : connection_(connection), handlers_(std::move(handlers)) {}

Status CallStream::Open(const Request& request) {
  return connection_->OpenStream(request, kReadAhead, this, &id_);
}

StatusOr<bool> CallStream::Write(const Payload& payload) {
  if (ended_) return true;
  const lever_slice slice{reinterpret_cast<const uint8_t*>(payload.bytes.data()),
                          payload.bytes.size()};
  const lever_status status =
      lever_stream_write(connection_->queue(), id_, payload.kind, &slice, 1);
  if (status == LEVER_WOULD_BLOCK) return false;
  if (status != LEVER_OK) return Status(status, lever_status_text(status));
  return true;
}

Status CallStream::CloseSend() {
  if (ended_) return Status::Ok();
  const lever_status status = lever_stream_close_send(connection_->queue(), id_);
  return status == LEVER_OK ? Status::Ok() : Status(status, lever_status_text(status));
}

void CallStream::Check(Status status) {
  if (status.ok() || !failed_.ok()) return;
  failed_ = std::move(status);
  input_fd_ = -1;
  if (!ended_) {
    (void)lever_stream_cancel(connection_->queue(), id_, LEVER_CANCELLED, nullptr, 0);
  }
}

void CallStream::OnEvents(const lever_event* events, size_t count) {
  // An id is over once its last event was fetched, also for the handlers of the events before that.
  ended_ = std::any_of(events, events + count, [](const lever_event& event) {
    return event.type == LEVER_EVENT_STREAM_END;
  });
  for (size_t i = 0; i < count; ++i) OnEvent(events[i]);
}

void CallStream::OnEvent(const lever_event& event) {
  switch (event.type) {
    case LEVER_EVENT_STREAM_MESSAGE:
      if (failed_.ok()) Check(handlers_.on_message(PayloadOf(event)));
      ++credit_owed_;
      return;
    case LEVER_EVENT_WRITABLE:
      if (failed_.ok() && handlers_.on_writable) Check(handlers_.on_writable());
      return;
    case LEVER_EVENT_STREAM_END:
      outcome_ = OutcomeOf(event);
      return;
    default:
      return;
  }
}

void CallStream::GiveCredit() {
  if (ended_ || credit_owed_ == 0 || output_.size() - output_start_ > kOutputBytesMax) return;
  (void)lever_stream_read(connection_->queue(), id_, std::exchange(credit_owed_, 0), 0);
}

void CallStream::DropOutput() {
  output_.clear();
  output_start_ = 0;
}

Status CallStream::WriteOutput() {
  const size_t size = std::min(output_.size() - output_start_, kWriteBytes);
  const ssize_t count = ::write(STDOUT_FILENO, output_.data() + output_start_, size);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return Status::Ok();
  if (count < 0) {
    const int error = errno;
    DropOutput();
    return ErrnoStatus(error, "write the output");
  }
  output_start_ += static_cast<size_t>(count);
  // Not at every write, or long output would be moved over and over.
  if (output_start_ == output_.size() || output_start_ > kOutputBytesMax) {
    output_.erase(0, std::exchange(output_start_, 0));
  }
  return Status::Ok();
}

Status CallStream::RunTurn(int timeout_ms) {
  LEVER_ASSIGN_OR_RETURN(
      const Connection::Ready ready,
      connection_->RunTurn({.input_fd = input_fd_,
                            .output_fd = output_.empty() ? -1 : STDOUT_FILENO,
                            .timeout_ms = timeout_ms}));
  if (ready.interrupted) {
    Check(Cancelled("interrupted"));
    if (ended_) DropOutput();
  }
  if (ready.output && !output_.empty()) Check(WriteOutput());
  if (ready.input && !ended_ && failed_.ok()) Check(handlers_.on_input());
  if (ready.quiet && handlers_.on_quiet && failed_.ok()) Check(handlers_.on_quiet());
  GiveCredit();
  return Status::Ok();
}

Outcome CallStream::TakeOutcome() {
  if (!failed_.ok()) return {std::move(failed_), {}};
  return connection_->WithAdvice(std::move(outcome_));
}

Outcome CallStream::Run() {
  while (!ended()) {
    const Status status = RunTurn(handlers_.on_quiet ? kQuietMs : -1);
    // The process ends with this.
    if (!status.ok()) return {status, {}};
  }
  return TakeOutcome();
}

}  // namespace lever::cli
