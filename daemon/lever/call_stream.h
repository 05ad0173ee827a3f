// A stream of the command: messages in and out, standard input and standard output, on one thread.
//
// Invariants
//  1. Run() returns when the stream has ended and all output is written, or cannot be.
//  2. Standard input is read only while there is room for what is read.
//  3. Writing to standard output never stops the stream's connection: what its reader does not take
//     yet is kept, and no more messages are asked for beyond kOutputBytesMax of it.
//  4. Once the stream has ended, writes are taken and lost; how it ended is what Run() gives.
#ifndef DAEMON_LEVER_CALL_STREAM_H_
#define DAEMON_LEVER_CALL_STREAM_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "daemon/lever/connection.h"
#include "lever/lever.h"
#include "liblever/base/status.h"

namespace lever::cli {

class CallStream : private EventSink {
 public:
  // Called from inside Run(). An error cancels the stream and is what Run() gives.
  struct Handlers {
    std::function<Status(const Payload& payload)> on_message;
    // There is room again after Write() said no.
    std::function<Status()> on_writable;
    // The input descriptor is readable.
    std::function<Status()> on_input;
    // Nothing happened for kQuietMs, or for as long as a RunTurn() was to wait.
    std::function<Status()> on_quiet = {};
  };

  CallStream(Connection* connection, Handlers handlers);
  CallStream(const CallStream&) = delete;
  CallStream& operator=(const CallStream&) = delete;

  Status Open(const Request& request);
  // False: no room, nothing was taken.
  StatusOr<bool> Write(const Payload& payload);
  Status CloseSend();
  // Queues text for standard output.
  void Print(std::string_view text) { output_.append(text); }
  // -1: none. Watched while it is set.
  void set_input_fd(int fd) { input_fd_ = fd; }
  Outcome Run();

  // What Run() does, for those who wait for other things as well. One turn, which waits for at most
  // `timeout_ms` (-1: for ever). An error: nothing can be waited for any more.
  Status RunTurn(int timeout_ms);
  bool ended() const { return ended_ && output_.empty(); }
  // Once it has ended.
  Outcome TakeOutcome();

  static constexpr int kQuietMs = 10'000;

 private:
  static constexpr uint64_t kReadAhead = 16;  // messages
  static constexpr size_t kOutputBytesMax = 1024 * 1024;
  // What a pipe that is writable takes without blocking: PIPE_BUF.
  static constexpr size_t kWriteBytes = 4096;

  void OnEvents(const lever_event* events, size_t count) override;
  void OnEvent(const lever_event& event);
  Status WriteOutput();
  void DropOutput();
  void GiveCredit();
  void Check(Status status);

  Connection* connection_;
  Handlers handlers_;
  lever_stream id_ = 0;
  int input_fd_ = -1;
  std::string output_;
  size_t output_start_ = 0;
  uint64_t credit_owed_ = 0;  // messages
  bool ended_ = false;
  Status failed_;  // of a handler
  Outcome outcome_;
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_CALL_STREAM_H_
