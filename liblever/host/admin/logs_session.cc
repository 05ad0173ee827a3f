#include "liblever/host/admin/logs_session.h"

#include <utility>
#include <vector>

#include "liblever/host/admin/unary_call.h"
#include "liblever/policy/address.h"

namespace lever::admin {

void LogsSession::Accept(Loop* loop, LogSource* source, rpc::Call& call) {
  const std::shared_ptr<LogsSession> session(new LogsSession(loop, source, call));
  session->self_ = session;
  call.set_handler(session.get());
  call.Read(1);
}

void LogsSession::OnMessage(rpc::Call& call, SliceList message) {
  if (call_ == nullptr) return;
  lever::v1::LogsRequest request;
  if (!ParseMessage(message, &request)) {
    Finish(InvalidArgument("logs: the request is not a lever.v1.LogsRequest"));
    return;
  }
  if (request.environment().empty()) {
    request.set_environment(std::string(policy::kDefaultEnvironment));
  }
  Status status = policy::CheckEnvironment(request.environment());
  if (status.ok() && !request.service().empty()) status = policy::CheckService(request.service());
  if (!status.ok()) {
    Finish(status);
    return;
  }
  Open(request);
}

void LogsSession::Open(const lever::v1::LogsRequest& request) {
  LogQuery query;
  query.environment = request.environment();
  query.service = request.service();
  query.follow = request.follow();
  query.since_unix_ns = request.since_unix_ns();
  query.pattern = request.grep();
  if (request.tail() > kTailMax) {
    Finish(InvalidArgument("logs: a tail is at most " + std::to_string(kTailMax) + " lines"));
    return;
  }
  if (request.no_tail()) {
    query.tail = 0;
  } else if (request.tail() > 0) {
    query.tail = request.tail();
  } else {
    query.tail = query.since_unix_ns > 0 ? SIZE_MAX : kTailDefault;
  }
  auto opened = source_->Open(std::move(query), loop_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Pump();
  });
  if (!opened.ok()) {
    Finish(Status(opened.status().code(), "logs: " + opened.status().message()));
    return;
  }
  follower_ = std::move(*opened);
  // At once, so that a client that follows knows that it does.
  call_->SendHeaders();
  Pump();
}

void LogsSession::Pump() {
  if (call_ == nullptr || follower_ == nullptr) return;
  while (call_->Writable()) {
    const std::vector<LogRecord> records = follower_->Take(kLinesPerTake);
    if (records.empty()) {
      if (const std::optional<Status> end = follower_->end()) Finish(*end);
      return;
    }
    for (const LogRecord& record : records) {
      lever::v1::LogLine line;
      line.set_environment(record.environment);
      line.set_service(record.service);
      line.set_instance(record.instance);
      line.set_version(record.version);
      line.set_time_unix_ns(record.time_unix_ns);
      line.set_stderr(record.is_stderr);
      line.set_text(record.text);
      line.set_lost(record.lost);
      call_->Write(SerializeMessage(line));
    }
  }
  // OnWritable() goes on.
}

void LogsSession::Finish(const Status& status) {
  follower_.reset();
  if (call_ != nullptr) std::exchange(call_, nullptr)->Finish(status);
}

void LogsSession::OnPeerEnd(rpc::Call& call) {
  if (follower_ == nullptr) Finish(InvalidArgument("logs: the call has no request"));
}

void LogsSession::OnWritable(rpc::Call& call) { Pump(); }

void LogsSession::OnEnd(rpc::Call& call, const rpc::CallEnd& end) {
  call_ = nullptr;
  follower_.reset();
  const std::shared_ptr<LogsSession> last = std::move(self_);
}

}  // namespace lever::admin
