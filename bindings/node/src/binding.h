// The addon's state in one JavaScript environment: a queue, watched by the environment's uv loop.
//
// Node has one such environment on the main thread and one in each worker thread; each has its own
// Binding, and with it its own queue. JavaScript and C++ exchange what a call needs through memory
// that both see, so that a crossing of the border carries no arguments:
//   commands  what JavaScript asks for (command.h)
//   scratch   the payload of a command, which JavaScript encoded there
//   events    what the queue brought, many events with one crossing (event_buffer.h)
//
// Threads: all of it on the environment's own thread.
//
// Invariants
//  1. While anything of ours is in flight, or a service is open, the poll handle keeps the loop
//     alive; otherwise it does not.
//  2. What was requested in one tick is flushed before the loop waits: when the events are
//     delivered that it came of, else by the prepare handle.
//  3. The environment does not end before the queue is destroyed and both handles are closed.
#ifndef BINDINGS_NODE_SRC_BINDING_H_
#define BINDINGS_NODE_SRC_BINDING_H_

#include <napi.h>
#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "event_buffer.h"
#include "lending.h"
#include "lever/lever.h"

namespace lever::node {

struct BindingOptions {
  uint32_t capacity = 256;           // events with one crossing
  uint32_t data_bytes = 256 * 1024;  // of what comes with them; the rest gets memory of its own
  uint32_t events_per_turn = 0;      // 0: the queue's own
};

class Binding {
 public:
  // Lives until the environment ends.
  explicit Binding(napi_env env);
  Binding(const Binding&) = delete;
  Binding& operator=(const Binding&) = delete;

  // Makes the queue and watches it; `dispatch(count, large)` is called with what it brings.
  // Returns {commands, events} as ArrayBuffers, or undefined with an exception pending.
  Napi::Value Open(const BindingOptions& options, Napi::Function dispatch);
  bool open() const { return queue_ != nullptr; }

  lever_queue* queue() const { return queue_; }
  // That of the command's call or stream: of a client that was borrowed (lending.h) it is another's.
  lever_queue* CommandQueue() const;
  Command& command() { return *command_; }

  // ---- The payload of a command ----
  void SetScratch(Napi::Uint8Array scratch);
  // What `size` bytes of the scratch memory are from `offset` on; null if there are not so many.
  const uint8_t* Scratch(size_t offset, size_t size) const;

  // ---- Addresses, each crossing the border once ----
  // The id that commands name it by; forgets all others when there are too many.
  uint32_t InternAddress(std::string address);
  const std::string* Address(uint32_t id) const;

  // ---- Clients and services, by the token that JavaScript gave them ----
  // `lender`: the queue that the client is of, if it was borrowed.
  void AddClient(uint32_t token, lever_client* client, lever_queue* lender);
  // Makes a client of the process's attachment; nothing if that is no other thread's.
  std::optional<lever_status> BorrowClient(uint32_t token, const lever_client_options& options,
                                           lever_error** error);
  // What comes back with the events of a borrowed client's calls and streams.
  void* BorrowedToken(uint32_t token) const { return BorrowedUserData(borrower_number_, token); }
  void AddService(uint32_t token, lever_service* service);
  lever_client* Client(uint32_t token) const;
  lever_service* Service(uint32_t token) const;

  // ---- Bookkeeping, of tokens that there are ----
  // Something was accepted that ends with one event.
  void Began();
  // Something of the client or service is to come: until then the loop is kept alive.
  void HoldObject(uint32_t token);
  // Something was requested: to be flushed at the end of the tick at the latest.
  void Requested();
  // The text of the refusal of a command, for takeError().
  lever_status Refused(lever_status status, lever_error* error);
  std::string TakeError() { return std::move(error_); }

 private:
  struct Object {
    lever_client* client = nullptr;
    lever_service* service = nullptr;
    lever_queue* lender = nullptr;  // of a borrowed client
    bool holds = false;             // keeps the loop alive
  };
  static constexpr size_t kAddressesMax = 1024;
  // Batches in one call of the poll handle, so that other handles get their turn.
  static constexpr int kBatchesMax = 8;

  ~Binding() = default;
  bool StartHandles();
  void OnReadable();
  void Flush();
  bool Deliver(size_t count);
  size_t ForwardLent(size_t count);
  bool StartBorrowing();
  void OnForwarded();
  void StopBorrowing();
  bool Undeliverable();
  void Account(const lever_event& event);
  void Hold(int change);
  void ReleaseObject(uint32_t token);
  void Destroy(uint32_t token);

  // The end of the environment.
  void Shutdown();
  void OnHandleClosed();
  void Ended();

  napi_env env_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  lever_queue* queue_ = nullptr;
  BindingOptions options_;
  uv_poll_t poll_{};
  uv_prepare_t prepare_{};
  uv_async_t forwarded_{};              // there are events of borrowed clients
  std::shared_ptr<Borrower> borrower_;  // null: nothing was borrowed yet
  uint32_t borrower_number_ = 0;
  int handles_open_ = 0;
  bool flush_due_ = false;
  bool closing_ = false;
  int64_t held_ = 0;

  Napi::FunctionReference dispatch_;
  std::unique_ptr<Napi::AsyncContext> async_context_;
  Command* command_ = nullptr;
  Napi::Reference<Napi::ArrayBuffer> command_memory_;
  EventBuffer events_;
  std::vector<lever_event> batch_;
  Napi::Reference<Napi::Uint8Array> scratch_;
  uint8_t* scratch_data_ = nullptr;
  size_t scratch_size_ = 0;
  std::vector<std::string> addresses_;
  std::vector<Object> objects_;
  std::string error_;
};

}  // namespace lever::node

#endif  // BINDINGS_NODE_SRC_BINDING_H_
