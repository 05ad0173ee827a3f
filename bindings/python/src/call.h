// Call: what Client.invoke() and Client.call() return.
//
// To asyncio it is a future (tasks wait for it, gather() and wait_for() take it) and a coroutine
// (create_task() and TaskGroup take it). Waking a task goes through no callback of the loop: it runs on
// within the turn that brought the answer.
//
// Threads: on the loop's thread.
#ifndef BINDINGS_PYTHON_SRC_CALL_H_
#define BINDINGS_PYTHON_SRC_CALL_H_

#include "engine.h"
#include "ref.h"

namespace lever::python {

struct Call;

// Makes the type. False with an exception set.
bool InitCallType();
PyTypeObject* CallType();

// A call that is still to be started. `client`, a handle, stays until it is done: a client that nobody has
// any more is closed. Null with an exception set.
Call* NewCall(Engine* engine, PyObject* client);
// It was started: the library holds a reference until its event.
void CallStarted(Call* call, uint64_t id);
// Its event. Takes the library's reference.
void CallDone(Call* call, const lever_event& event);
// Its event will not come, or nobody may be told.
void CallDropped(Call* call);

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_CALL_H_
