// A queue on an asyncio event loop.
//
// Each event loop that uses Lever has one Engine, and with it one lever_queue, whose descriptor the loop
// watches. A turn (OnReadable) fetches what the queue brought, many events with one crossing, and hands it
// on: a call's answer wakes the task that waits for it at once, within the turn, and what the task asks for
// then is written at the end of the turn.
//
// Threads: with the GIL held; OnReadable and Flush on the loop's thread. Answers of methods that run in a
// pool come on their threads.
//
// Invariants
//  1. What is requested on the loop's thread is flushed before the loop waits: at the end of the turn, else
//     by a callback that the loop runs before it waits (it never waits while callbacks are ready).
//  2. What the library will tell of by an event keeps what it tells it to alive until then.
//  3. No exception of a program's code is lost, and none keeps the rest of a turn from being handed on.
#ifndef BINDINGS_PYTHON_SRC_ENGINE_H_
#define BINDINGS_PYTHON_SRC_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "lever/lever.h"
#include "ref.h"

namespace lever::python {

class Engine;
struct Method;

// A resource of a service that is open here.
struct OpenResource {
  Ref object;  // of the program's class
  Ref name;
};

// A client or service of an engine. Its events go to `owner`, a Python object.
struct Attachment {
  Engine* engine = nullptr;  // null when the engine has ended
  lever_client* client = nullptr;
  lever_service* service = nullptr;
  Ref owner;
  std::vector<std::unique_ptr<Method>> methods;  // until its last event
  std::unordered_map<uint64_t, OpenResource> resources;  // by the id of their opening
};

// A method of a service, as it is told of to the library.
struct Method {
  Attachment* service = nullptr;  // which this belongs to
  Ref function;   // of a resource: the name of the object's attribute
  Ref name;
  bool of_resource = false;
  bool in_pool = false;  // a plain function
  bool is_stream = false;
};

struct EngineOptions {
  uint32_t capacity = 128;       // events with one crossing
  uint32_t events_per_turn = 0;  // 0: the queue's own
};

class Engine {
 public:
  struct Release {
    void operator()(Engine* engine) const;
  };
  using Owner = std::unique_ptr<Engine, Release>;

  // Null with an exception set.
  static Owner Open(PyObject* loop, const EngineOptions& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  lever_queue* queue() const { return queue_; }
  PyObject* loop() const { return loop_.get(); }
  bool ended() const { return queue_ == nullptr; }

  // The Python object that owns this one: who holds it keeps the engine alive. `flush` is the function
  // that the loop calls for Flush().
  void SetObject(PyObject* object, PyObject* flush) {
    object_ = object;
    flush_.Reset(Py_NewRef(flush));
  }
  PyObject* object() const { return object_; }

  // One turn. False with an exception set: one that ends the program, as KeyboardInterrupt.
  bool OnReadable();
  bool Flush();

  // How many events there have been.
  uint64_t delivered() const { return delivered_; }

  // Something was requested of the queue.
  void Requested();

  // ---- What is to be told of ----
  std::shared_ptr<Attachment> Attach(PyObject* owner);
  void Detach(Attachment* attachment);  // it could not be made
  // An incoming call or stream that has begun: events for it go to `object`.
  void AddIncoming(uint64_t id, PyObject* object);
  void RemoveIncoming(uint64_t id);

  // Calls back in the context of whoever wants it, within the turn; in the loop's next round otherwise.
  void CallBack(PyObject* callback, PyObject* context, PyObject* argument);
  // In the loop's next round. False with an exception set: the loop is closed.
  bool CallSoon(PyObject* callback, PyObject* context, PyObject* argument);
  // Takes the exception that is set: it ends the program (is kept for the end of the turn), or the loop's
  // exception handler is told.
  void Report(PyObject* of);

  // Everything is closed, and its last words are sent, for a short time at most; nobody is told.
  void Shutdown();
  // In a forked child: descriptors are closed.
  void Abandon();

 private:
  Engine() = default;

  // Whether a thread may be in the library, so that nothing may be freed.
  bool InUse() const;
  void Deliver(const lever_event& event);
  void DeliverStream(const lever_event& event, PyObject* stream);
  void DeliverIncoming(const lever_event& event);
  void OnServiceState(const lever_event& event);
  void OnResource(const lever_event& event);
  void OnClosed(const lever_event& event);
  // Lets go of what was closed, and of all that it kept of the program's. Gives who is to be told.
  Ref TakeClosed(const lever_event& event);
  // An event of an engine that is ending.
  void Drop(const lever_event& event);
  void Destroy(Attachment* attachment);

  lever_queue* queue_ = nullptr;
  Ref loop_;
  Ref flush_;
  PyObject* object_ = nullptr;  // borrowed
  EngineOptions options_;
  unsigned long thread_ = 0;  // the loop's
  bool in_turn_ = false;
  uint64_t delivered_ = 0;
  int inside_ = 0;  // threads that are in the library without the GIL
  bool flush_due_ = false;
  bool ending_ = false;
  std::vector<lever_event> batch_;
  std::unordered_map<Attachment*, std::shared_ptr<Attachment>> attachments_;
  std::unordered_map<uint64_t, Ref> incoming_;
  // An exception that ends the program, until the end of the turn.
  Ref fatal_;
};

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_ENGINE_H_
