// Handles of clients: one on an event loop, and one that blocks.
//
// lever._lever.ClientHandle (NewClient): start(address, args, timeout, flags, metadata) -> Call;
//   open_stream(stream, messages, bytes, address, args, timeout, flags, metadata, resume) -> id; close(); stats().
// lever._lever.SyncHandle (NewSyncClient): call(address, args, timeout, flags, metadata) -> answer; close();
//   stats(). Threads may share it: it lets go of the GIL while it waits.
#ifndef BINDINGS_PYTHON_SRC_CLIENT_H_
#define BINDINGS_PYTHON_SRC_CLIENT_H_

#include <memory>
#include <optional>
#include <string>

#include "engine.h"
#include "lever/lever.h"
#include "ref.h"

namespace lever::python {

// Has options of the library point to a text, where there is one.
void PointTo(const std::optional<std::string>& text, const char** data, size_t* size);

// PEM files and a name, and what points to them.
struct TlsTexts {
  std::optional<std::string> ca, cert, key, server_name;
  lever_tls_options options{};
  const lever_tls_options* Point();
};

struct ClientOptions {
  std::optional<std::string> host, env;
  bool echo = false;
  bool only_through_host = false;
  bool in_process = false;
  size_t message_bytes_max = 0;
  std::optional<TlsTexts> tls;

  void Fill(lever_client_options* out);
};

// Make the types. False with an exception set.
bool InitClientTypes();
bool InitSyncType();
// A client on the engine's queue; `owner` gets _on_closed(). `service` may be null. Null with an exception.
PyObject* NewClient(Engine* engine, PyObject* owner, ClientOptions options, lever_service* service);
PyObject* NewSyncClient(ClientOptions options);
// {calls_direct, ...} of a client.
PyObject* ClientStats(lever_client* client);

}  // namespace lever::python

#endif  // BINDINGS_PYTHON_SRC_CLIENT_H_
