// The command's client: one queue, one client, driven by the command's only thread. Ctrl-C cancels
// what is in flight, and the command ends with what came of that; a second Ctrl-C ends it at once.
// A program that looks after signals by itself gives a descriptor instead, which is readable once
// what is in flight is to be cancelled, and which the connection does not read.
//
// A call has ended when the function that waits for it returns. Streams: call_stream.h.
#ifndef DAEMON_LEVER_CONNECTION_H_
#define DAEMON_LEVER_CONNECTION_H_

#include <google/protobuf/message.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/lever/command.h"
#include "lever/lever.h"
#include "liblever/base/fd.h"
#include "liblever/base/status.h"

namespace lever::cli {

struct Payload {
  int32_t kind = LEVER_KIND_NONE;
  std::string bytes;
};

// What a call or a stream came to.
struct Outcome {
  Status status;
  Payload payload;
};

struct Request {
  std::string address;
  Payload payload;
  uint32_t flags = 0;  // LEVER_CALL_GRPC
  int64_t timeout_ns = 0;
};

// The status of a function of the C ABI; frees the error.
Status TakeError(lever_status status, lever_error* error);
Payload PayloadOf(const lever_event& event);
Outcome OutcomeOf(const lever_event& event);
// A gRPC message of the host's as protobuf.
Status ParseReply(const Payload& payload, google::protobuf::Message* reply);

// Where the events of a call or stream go: its user_data.
class EventSink {
 public:
  virtual void OnEvents(const lever_event* events, size_t count) = 0;

 protected:
  ~EventSink() = default;
};

class Connection {
 public:
  static constexpr int kOwnSignals = -1;

  static StatusOr<std::unique_ptr<Connection>> Open(const Globals& globals,
                                                    int cancel_fd = kOwnSignals);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Outcome Call(const Request& request);
  // A unary method of a gRPC service of the host.
  Status CallHost(std::string_view path, const google::protobuf::Message& request,
                  google::protobuf::Message* reply, int64_t timeout_ns = 0);

  // For CallStream: `sink` gets the stream's events from inside RunTurn().
  Status OpenStream(const Request& request, uint64_t read_messages, EventSink* sink,
                    lever_stream* id);
  struct Watch {
    int input_fd = -1;  // -1: none
    int output_fd = -1;
    int timeout_ms = -1;  // -1: none
  };
  struct Ready {
    bool interrupted = false;  // Ctrl-C
    bool input = false;
    bool output = false;
    bool quiet = false;  // nothing of all that, until the timeout
  };
  // Waits for events, for what is watched or for Ctrl-C, and hands out the events.
  StatusOr<Ready> RunTurn(const Watch& watch);
  lever_queue* queue() const { return queue_; }
  // Adds what to do next to the status of a call or stream that did not find a host.
  Outcome WithAdvice(Outcome outcome) const;

 private:
  Connection() = default;
  Status Init(const Globals& globals, int cancel_fd);
  Status WatchSignals();
  Status HandOutEvents();
  bool TakeCancel();

  std::string host_;
  lever_queue* queue_ = nullptr;
  lever_client* client_ = nullptr;
  UniqueFd signals_;    // empty with a cancel_fd
  int cancel_fd_ = -1;  // -1: nothing cancels any more
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_CONNECTION_H_
