// A service in this process: its methods, its attachment to a host, the calls that come in, its drain.
//
// Calls come over connections that the host introduces, and over an address of its own if it listens: a
// plain one, where anybody calls, or one with TLS, for those whom the host has given a token (admission.h).
// The runtime refuses what must not run (unknown method, broken value, too much at once, drained)
// before user code hears of it, and says so with `lever-executed: no`.
//
// Threads: a Service belongs to one Loop and is used only by who holds that loop's word.
//
// Invariants
//  1. User code runs only after Begin() returned true, called directly before it.
//  2. Every IncomingCall is answered exactly once, by Reply(), Fail() or a Begin() that returned
//     false; it is gone then, and at the latest when OnClosed() is called.
//  3. Drain keeps its order: out of the route tables, requests still taken until none comes, refused
//     as surely not run, GOAWAY, what runs finishes or is cut off, drained.
//  4. Close() ends every stream with CANCELLED and cancels every call; OnClosed() is last, never from
//     inside Close(), and only then may the service be destroyed.
//  5. The requests of a resource are offered between its ResourceOpened() and its OnResourceClose().
#ifndef LIBLEVER_SERVICE_SERVICE_H_
#define LIBLEVER_SERVICE_SERVICE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/clock.h"
#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/route/envelope.h"
#include "liblever/route/message_stream.h"
#include "liblever/rpc/limits.h"
#include "liblever/rpc/tls.h"
#include "liblever/service/resource.h"

namespace lever {
class Loop;
namespace route {
class HostLink;
class InProcess;
}  // namespace route
namespace rpc {
class HeaderList;
}  // namespace rpc
}  // namespace lever

namespace lever::service {

using route::Kind;
using route::Outcome;
using route::StreamHandler;

class GrantView;
class Service;

// The numbers are those of lever_service_state.
enum class State : uint8_t {
  kStarting = 0,
  kAttached = 1,
  kDraining = 2,
  kDrained = 3,
  kDetached = 4,
};

// What a request is of, if it is of a resource.
struct OfResource {
  uint64_t resource = 0;  // the id that OnResourceOpen() told; 0: of none
  uint32_t shard = 0;
  uint64_t generation = 0;  // the fencing token
};

// A unary call that came in.
class IncomingCall {
 public:
  IncomingCall(const IncomingCall&) = delete;
  IncomingCall& operator=(const IncomingCall&) = delete;

  virtual void* method() const = 0;  // the user_data of the method
  virtual Kind kind() const = 0;
  virtual const SliceList& payload() const = 0;  // until it is answered
  virtual int64_t deadline_ns() const = 0;       // kNever without
  // The caller's metadata without `lever-*`.
  virtual const rpc::HeaderList& metadata() const = 0;
  virtual std::string_view caller() const = 0;  // "lever://env/service", or "" from outside
  virtual OfResource of() const = 0;

  // False: the library has refused it, unexecuted (drain, deadline, cancelled); this object is gone.
  virtual bool Begin() = 0;
  // Instead of Begin(): user code has begun it on another thread, which has asked there what Begin()
  // asks: the deadline, HasBegun()'s word, and of a resource GrantView::MayBegin().
  virtual void SetBegun() = 0;
  // Kind VALUE or RAW: success; ERROR_VALUE or ERROR_RAW: the method's own error. `trailing` may be
  // null. INVALID_ARGUMENT (a broken value): nothing was done; otherwise this object is gone. After the
  // end of the grant under which it ran, the caller is told that the outcome is not known.
  virtual Status Reply(Kind kind, SliceList payload, const rpc::HeaderList* trailing) = 0;
  // Answers with trouble of the platform; before Begin() as surely not run. This object is gone.
  virtual void Fail(const Status& status) = 0;

  // Whoever answers may keep something here.
  void* user = nullptr;

 protected:
  IncomingCall() = default;
  virtual ~IncomingCall() = default;
};

// A stream that came in. Until Begin() it delivers nothing but OnEnd().
//
// Of one that can be resumed the caller is told which messages were read: the first Read() says how many
// may lie unread, and each later one that so many have been read.
class IncomingStream : public route::MessageStream {
 public:
  virtual void* method() const = 0;
  virtual Kind kind() const = 0;  // of the arguments
  virtual const SliceList& payload() const = 0;
  virtual int64_t deadline_ns() const = 0;
  virtual const rpc::HeaderList& metadata() const = 0;
  virtual std::string_view caller() const = 0;
  virtual OfResource of() const = 0;

  // From where it goes on, if it has run elsewhere before; null: it is a new one.
  virtual const route::ResumePoint* resumed() const = 0;

  // To be called before Begin().
  virtual void set_handler(StreamHandler* handler) = 0;
  // As for a call. False: this object is gone, no OnEnd() follows.
  virtual bool Begin() = 0;
  virtual void SetBegun() = 0;
  // Ends it with the method's own error (ERROR_VALUE, ERROR_RAW); OnEnd() follows.
  virtual Status Fail(Kind kind, SliceList payload) = 0;
  // Write() with a token of at most kResumeTokenBytesMax bytes, from which the stream can be resumed
  // once the message has come. INVALID_ARGUMENT: it is larger. Where the stream cannot be resumed the
  // token goes nowhere.
  virtual Status WriteResumable(Kind kind, SliceList payload, std::string_view token) = 0;
  // After OnMoving(), when the method has returned: the caller goes on at the new owner, which is told
  // that all messages were read that were delivered here, but for the last `unread`. OnEnd() follows.
  // FAILED_PRECONDITION: it does not move, or has been ended.
  virtual Status MoveOn(uint64_t unread) = 0;

  void* user = nullptr;
};

class ServiceHandler {
 public:
  virtual ~ServiceHandler() = default;
  // On kDetached `status` says why.
  virtual void OnState(Service& service, State state, const Status& status) = 0;
  virtual void OnIncomingCall(Service& service, IncomingCall& call) = 0;
  // Must set the stream's handler.
  virtual void OnIncomingStream(Service& service, IncomingStream& stream) = 0;
  // The caller is gone, or the deadline has passed; the call is still to be answered.
  virtual void OnCancelled(Service& service, IncomingCall& call) = 0;
  // A request that was offered and not begun is about to be given up as surely not run. True: user
  // code has begun it on another thread, and its SetBegun() is on the way. False: it will not begin.
  virtual bool HasBegun(IncomingCall& call) { return false; }
  virtual bool HasBegun(IncomingStream& stream) { return false; }
  // A resource is to be opened, and Opened() called with its id; a resource is to be closed, and Closed()
  // called. Only where SetResource() was called.
  virtual void OnResourceOpen(Service& service, const ResourceOpening& opening) {}
  virtual void OnResourceClose(Service& service, uint64_t resource, CloseReason reason) {}
  // From here on Begin() refuses: a drain has come so far, or the service was closed.
  virtual void OnRefusing(Service& service) {}
  virtual void OnClosed(Service& service) = 0;
};

struct ServiceOptions {
  // Empty in an instance that a host has started, which is told by `inherited`.
  std::string name;
  std::string environment = "dev.lever";
  // Of an attached program: the host's endpoint. It reconnects.
  std::string host;
  rpc::TlsClientOptions tls{};  // for a host with "tls:"
  // The descriptors that a host hands to an instance: attach socket, introduction socket. Owned by the
  // service from Open() on; -1: not such an instance. See TakeInheritedSockets().
  int attach_socket = -1;
  int introduction_socket = -1;
  // An address of its own; empty: only introduced connections. With "tls:" before it, it is for callers
  // with a token of the host's alone, and the host tells them of it.
  std::string listen;
  // Of an attached program: callers of other environments are refused. Not with a plain `listen`.
  bool is_private = false;
  std::string runtime = "lever";  // "node 20.20.2, lever 0.1.0"
  uint32_t concurrency_max = 0;   // 0: only the transport's limits
  int64_t drain_timeout_ns = 0;   // 0: what the host says, else 30 s
  size_t message_bytes_max = rpc::kMessageBytesMax;
  // No host: only clients of the same loop reach it. Attached as soon as it is started; details()
  // have `config_json` and `secrets_json` as a host would tell them.
  std::shared_ptr<route::InProcess> in_process{};
  std::string config_json = "null";
  std::string secrets_json = "{}";
};

// What the host has told of the instance.
struct Details {
  std::string environment;
  std::string name;
  std::string instance;
  uint64_t version = 0;
  std::string config_json = "null";
  std::string secrets_json = "{}";
  std::string listening;  // the bound address, or ""
};

// The sockets named by $LEVER_FDS ("3,4"), close-on-exec from now on; {-1, -1} without, or if they
// were taken already by this process. Any thread.
struct InheritedSockets {
  int attach = -1;
  int introduction = -1;
};
InheritedSockets TakeInheritedSockets();

class Service {
 public:
  static StatusOr<std::unique_ptr<Service>> Open(Loop* loop, ServiceOptions options,
                                                 ServiceHandler* handler);
  virtual ~Service() = default;

  // Before Start(). ALREADY_EXISTS, INVALID_ARGUMENT, FAILED_PRECONDITION (started).
  virtual Status AddMethod(std::string_view name, void* user_data) = 0;
  // The service has resources, of one type. Before Start(), and before the methods of a resource.
  // FAILED_PRECONDITION: started, or called before.
  virtual Status SetResource(ResourceOptions options) = 0;
  virtual Status AddResourceMethod(std::string_view name, void* user_data) = 0;
  // Listens if told to, attaches, and takes calls; OnState() tells how it goes.
  virtual Status Start() = 0;
  virtual void Drain() = 0;
  virtual void Close() = 0;

  // Answers OnResourceOpen(): OK, or why it could not be opened, which those who called it are told.
  // What is not being opened is ignored.
  virtual void ResourceOpened(uint64_t resource, const Status& status) = 0;
  // Answers OnResourceClose(): what the next owner opens it with; null: nothing. A status that is not OK:
  // what it was is lost, and the next owner is told. INVALID_ARGUMENT (a broken value): nothing was done.
  virtual Status ResourceClosed(uint64_t resource, const Status& status, Kind kind,
                                const SliceList* state) = 0;
  // For requests that begin on other threads; null until the host has told of the shards.
  virtual std::shared_ptr<const GrantView> grants() const = 0;

  virtual State state() const = 0;
  virtual const Details& details() const = 0;
  // The way to the host, for clients of the same loop.
  virtual const std::shared_ptr<route::HostLink>& link() const = 0;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_SERVICE_H_
