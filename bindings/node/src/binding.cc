#include "binding.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace lever::node {
namespace {

// How long the end of an environment waits for the last words to its peers.
constexpr int64_t kShutdownNs = 500 * 1000 * 1000;

int64_t SteadyNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

uint32_t TokenOf(const lever_event& event) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(event.user_data));
}

// Whether the event is the last one of something that JavaScript began.
bool EndsOurs(const lever_event& event) {
  return event.type == LEVER_EVENT_CALL_DONE || event.type == LEVER_EVENT_STREAM_END;
}

}  // namespace

// ---- Beginning ----

Binding::Binding(napi_env env) : env_(env) {
  napi_add_async_cleanup_hook(
      env_,
      [](napi_async_cleanup_hook_handle handle, void* self) {
        static_cast<Binding*>(self)->cleanup_ = handle;
        static_cast<Binding*>(self)->Shutdown();
      },
      this, &cleanup_);
}

Napi::Value Binding::Open(const BindingOptions& options, Napi::Function dispatch) {
  const Napi::Env env(env_);
  options_ = options;
  lever_queue_options queue_options{};
  queue_options.size = sizeof(queue_options);
  queue_options.flush_explicitly = LEVER_FLUSH_PROMISED;
  queue_options.events_per_turn = options.events_per_turn;
  lever_error* error = nullptr;
  if (lever_queue_create(&queue_options, &queue_, &error) != LEVER_OK) {
    Napi::Error::New(env, lever_error_message(error)).ThrowAsJavaScriptException();
    lever_error_destroy(error);
    return env.Undefined();
  }
  if (!StartHandles()) Napi::Error::Fatal("lever", "the queue's descriptor cannot be watched");
  dispatch_ = Napi::Persistent(dispatch);
  async_context_ = std::make_unique<Napi::AsyncContext>(env_, "lever");
  batch_.resize(options_.capacity);

  Napi::ArrayBuffer commands = Napi::ArrayBuffer::New(env, sizeof(Command));
  command_ = static_cast<Command*>(commands.Data());
  command_memory_ = Napi::Persistent(commands);
  Napi::Object memory = Napi::Object::New(env);
  memory.Set("commands", commands);
  memory.Set("events", events_.Allocate(env_, options_.capacity, options_.data_bytes));
  return memory;
}

bool Binding::StartHandles() {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env_, &loop) != napi_ok) return false;
  if (uv_prepare_init(loop, &prepare_) != 0) return false;
  prepare_.data = this;
  ++handles_open_;
  uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));
  if (uv_poll_init(loop, &poll_, lever_queue_fd(queue_)) != 0) return false;
  poll_.data = this;
  ++handles_open_;
  uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
  return uv_poll_start(&poll_, UV_READABLE, [](uv_poll_t* poll, int, int) {
           static_cast<Binding*>(poll->data)->OnReadable();
         }) == 0;
}

// ---- What the queue brings ----

void Binding::OnReadable() {
  for (int i = 0; i < kBatchesMax && !closing_; ++i) {
    size_t count = 0;
    lever_queue_next(queue_, batch_.data(), sizeof(lever_event), batch_.size(), 0, &count);
    const size_t own = ForwardLent(count);
    if ((own > 0 && !Deliver(own)) || count < batch_.size()) break;
  }
  // Most answers, and the calls that follow an answer, are asked for while events are delivered:
  // they need not wait for the rest of the tick.
  Flush();
}

// False if nothing more can be delivered. Here the functions of napi.h are not used: they abort the
// process where the environment is being ended, as by worker.terminate().
bool Binding::Deliver(size_t count) {
  const Napi::HandleScope scope(env_);
  events_.Begin();
  for (size_t i = 0; i < count; ++i) {
    Account(batch_[i]);
    if (!events_.Add(batch_[i])) return Undeliverable();
  }
  napi_value global, dispatch;
  napi_value arguments[2] = {nullptr, events_.large()};
  if (napi_create_uint32(env_, static_cast<uint32_t>(count), &arguments[0]) != napi_ok ||
      (arguments[1] == nullptr && napi_get_undefined(env_, &arguments[1]) != napi_ok) ||
      napi_get_global(env_, &global) != napi_ok || (dispatch = dispatch_.Value()) == nullptr) {
    return Undeliverable();
  }
  const napi_status status =
      napi_make_callback(env_, *async_context_, global, dispatch, 2, arguments, nullptr);
  return status == napi_ok || Undeliverable();
}

// Either something was thrown, and is what the process dies of (the dispatcher catches what
// programs throw), or the environment is ending, and nobody is there to hear of anything.
bool Binding::Undeliverable() {
  bool pending = false;
  napi_value error;
  if (napi_is_exception_pending(env_, &pending) == napi_ok && pending &&
      napi_get_and_clear_last_exception(env_, &error) == napi_ok &&
      napi_fatal_exception(env_, error) == napi_ok) {
    return false;
  }
  uv_poll_stop(&poll_);
  return false;
}

void Binding::Account(const lever_event& event) {
  if (EndsOurs(event)) {
    // Streams that came in have no token, and are held by their service.
    if (event.user_data != nullptr) Hold(-1);
  } else if (event.type == LEVER_EVENT_CLOSED) {
    Destroy(TokenOf(event));
  } else if (event.type == LEVER_EVENT_SERVICE_STATE &&
             event.service_state == LEVER_SERVICE_DRAINED) {
    ReleaseObject(TokenOf(event));
  }
}

// ---- Clients of an attachment that is another thread's ----

// Passes on what other threads' clients got; what is this thread's own is moved together. Returns how
// many these are.
size_t Binding::ForwardLent(size_t count) {
  size_t own = 0;
  for (size_t i = 0; i < count; ++i) {
    if (BorrowerOf(batch_[i]) != 0) {
      Forward(batch_[i]);
    } else {
      if (own != i) batch_[own] = batch_[i];
      ++own;
    }
  }
  return own;
}

bool Binding::StartBorrowing() {
  if (borrower_ != nullptr) return true;
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env_, &loop) != napi_ok) return false;
  if (uv_async_init(loop, &forwarded_, [](uv_async_t* async) {
        static_cast<Binding*>(async->data)->OnForwarded();
      }) != 0) {
    return false;
  }
  forwarded_.data = this;
  ++handles_open_;
  uv_unref(reinterpret_cast<uv_handle_t*>(&forwarded_));
  borrower_ = std::make_shared<Borrower>(&forwarded_);
  borrower_number_ = AddBorrower(borrower_);
  return true;
}

std::optional<lever_status> Binding::BorrowClient(uint32_t token,
                                                  const lever_client_options& options,
                                                  lever_error** error) {
  if (!IsLent(queue_) || !StartBorrowing()) return std::nullopt;
  lever_client_options theirs = options;
  theirs.user_data = BorrowedToken(token);
  lever_client* client = nullptr;
  lever_queue* lender = nullptr;
  const auto status = Borrow(queue_, theirs, &client, &lender, error);
  if (status == LEVER_OK) AddClient(token, client, lender);
  return status;
}

void Binding::OnForwarded() {
  if (closing_) return;
  bool left = false;
  const auto events = borrower_->Take(batch_.size(), &left);
  for (size_t i = 0; i < events.size(); ++i) {
    batch_[i] = events[i]->event();
    batch_[i].user_data = reinterpret_cast<void*>(uintptr_t{TokenOf(batch_[i])});
  }
  if (left) uv_async_send(&forwarded_);
  if (!events.empty()) Deliver(events.size());
  Flush();
}

// Their clients are closed on the lender's queue, and what comes of it is the lender's to take.
void Binding::StopBorrowing() {
  if (borrower_ == nullptr) return;
  borrower_->Leave();
  RemoveBorrower(borrower_number_);
  uv_close(reinterpret_cast<uv_handle_t*>(&forwarded_), [](uv_handle_t* handle) {
    static_cast<Binding*>(handle->data)->OnHandleClosed();
  });
}

// ---- Requests ----

void Binding::Began() {
  Hold(1);
  Requested();
}

void Binding::Requested() {
  if (flush_due_ || closing_) return;
  flush_due_ = true;
  uv_prepare_start(&prepare_, [](uv_prepare_t* prepare) {
    static_cast<Binding*>(prepare->data)->Flush();
  });
}

void Binding::Flush() {
  if (!flush_due_ || closing_) return;
  flush_due_ = false;
  uv_prepare_stop(&prepare_);
  lever_queue_flush(queue_);
}

void Binding::Hold(int change) {
  if (closing_) return;
  const int64_t before = std::exchange(held_, held_ + change);
  auto* handle = reinterpret_cast<uv_handle_t*>(&poll_);
  if (before == 0 && held_ > 0) uv_ref(handle);
  if (before > 0 && held_ == 0) uv_unref(handle);
}

lever_status Binding::Refused(lever_status status, lever_error* error) {
  error_ = error == nullptr ? lever_status_text(status) : lever_error_message(error);
  lever_error_destroy(error);
  return status;
}

void Binding::SetScratch(Napi::Uint8Array scratch) {
  scratch_data_ = scratch.Data();
  scratch_size_ = scratch.ByteLength();
  scratch_ = Napi::Persistent(scratch);
}

const uint8_t* Binding::Scratch(size_t offset, size_t size) const {
  if (offset > scratch_size_ || size > scratch_size_ - offset) return nullptr;
  return scratch_data_ + offset;
}

uint32_t Binding::InternAddress(std::string address) {
  if (addresses_.size() == kAddressesMax) addresses_.clear();
  addresses_.push_back(std::move(address));
  return static_cast<uint32_t>(addresses_.size() - 1);
}

const std::string* Binding::Address(uint32_t id) const {
  return id < addresses_.size() ? &addresses_[id] : nullptr;
}

// ---- Clients and services ----

void Binding::AddClient(uint32_t token, lever_client* client, lever_queue* lender) {
  if (token >= objects_.size()) objects_.resize(token + 1);
  objects_[token] = {.client = client, .lender = lender};
}

lever_queue* Binding::CommandQueue() const {
  const uint32_t token = command_->object;
  lever_queue* lender = token < objects_.size() ? objects_[token].lender : nullptr;
  return lender != nullptr ? lender : queue_;
}

void Binding::AddService(uint32_t token, lever_service* service) {
  if (token >= objects_.size()) objects_.resize(token + 1);
  objects_[token] = {.service = service};
}

lever_client* Binding::Client(uint32_t token) const {
  return token < objects_.size() ? objects_[token].client : nullptr;
}

lever_service* Binding::Service(uint32_t token) const {
  return token < objects_.size() ? objects_[token].service : nullptr;
}

void Binding::HoldObject(uint32_t token) {
  if (!std::exchange(objects_[token].holds, true)) Hold(1);
}

void Binding::ReleaseObject(uint32_t token) {
  if (token >= objects_.size()) return;
  if (std::exchange(objects_[token].holds, false)) Hold(-1);
}

void Binding::Destroy(uint32_t token) {
  if (token >= objects_.size()) return;
  ReleaseObject(token);
  Object& object = objects_[token];
  if (object.client != nullptr) lever_client_destroy(std::exchange(object.client, nullptr));
  if (object.service != nullptr) {
    EndLending(object.service);
    lever_service_destroy(std::exchange(object.service, nullptr));
  }
  object.lender = nullptr;
}

// ---- The end ----

// Everything is closed, and their last words are sent; the events go nowhere any more.
void Binding::Shutdown() {
  closing_ = true;
  if (queue_ == nullptr) return Ended();
  uv_poll_stop(&poll_);
  uv_prepare_stop(&prepare_);
  size_t open = 0;
  for (const Object& object : objects_) {
    if (object.client != nullptr) lever_client_close(object.client);
    if (object.service != nullptr) {
      EndLending(object.service);
      lever_service_close(object.service);
    }
    if (object.lender != nullptr) continue;
    open += object.client != nullptr || object.service != nullptr ? 1 : 0;
  }
  StopBorrowing();
  const int64_t until_ns = SteadyNs() + kShutdownNs;
  while (open > 0) {
    const int64_t left_ns = until_ns - SteadyNs();
    if (left_ns <= 0) break;
    size_t count = 0;
    if (lever_queue_next(queue_, batch_.data(), sizeof(lever_event), batch_.size(), left_ns,
                         &count) != LEVER_OK) {
      break;
    }
    count = ForwardLent(count);
    for (size_t i = 0; i < count; ++i) {
      if (batch_[i].type != LEVER_EVENT_CLOSED) continue;
      Destroy(TokenOf(batch_[i]));
      --open;
    }
  }
  const auto closed = [](uv_handle_t* handle) {
    static_cast<Binding*>(handle->data)->OnHandleClosed();
  };
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), closed);
  // With something still open this is refused, and the queue stays: the process is about to end.
  lever_queue_destroy(queue_);
}

void Binding::OnHandleClosed() {
  if (--handles_open_ == 0) Ended();
}

void Binding::Ended() {
  const napi_async_cleanup_hook_handle cleanup = cleanup_;
  delete this;
  napi_remove_async_cleanup_hook(cleanup);
}

}  // namespace lever::node
