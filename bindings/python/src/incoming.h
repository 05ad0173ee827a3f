// Incoming: a call or stream that came in, which is what lever.context() gives its method; and Run, the
// coroutine that a unary call's task steps: it begins the call, runs the method, and answers.
//
// Threads: with the GIL held. Fields of an Incoming are read on any thread.
#ifndef BINDINGS_PYTHON_SRC_INCOMING_H_
#define BINDINGS_PYTHON_SRC_INCOMING_H_

#include "engine.h"
#include "ref.h"

namespace lever::python {

bool InitIncomingTypes();
PyTypeObject* IncomingType();
PyTypeObject* RunType();

// A call or stream has come in for `method`. The method's exceptions are its caller's.
void OnIncoming(Engine* engine, Method* method, const lever_event& event);
// Its caller is gone.
void OnIncomingCancelled(Engine* engine, PyObject* object);

// The id under which calls made in the method that runs here are the method's own; 0 outside of one, where
// it has ended, and where it belongs to another engine.
uint64_t ParentFor(Engine* engine);

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_INCOMING_H_
