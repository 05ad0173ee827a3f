// lever.hpp: services and clients of Lever in C++20, header-only over the C ABI (lever.h).
//
//   lever::Service service;                                  // in an instance that a host started
//   int64_t count = 0;
//   service.method("add", [&](int64_t n) { return count += n; });
//   service.stream("tickChan", [](lever::IncomingStream& s, int64_t n) {
//     for (int64_t i = 0; i < n; ++i) s.write(i);
//   });
//   return service.run();                                    // until it is drained
//
//   lever::Client client;                                    // $LEVER_HOST, $LEVER_ENV
//   auto sum = client.invoke<int64_t>("/counter/add", 5);
//
// Arguments and results are whatever msgpack-cxx packs and converts: numbers, strings, containers,
// structs with MSGPACK_DEFINE_MAP; lever::Value for any value, lever::Raw for bytes without an
// encoding. Link with liblever (or liblever-host) and have msgpack.hpp on the include path.
//
// Threads. Unary methods run one at a time on the thread in run(), or on ServiceOptions::method_threads
// of them. Each stream has a thread of its
// own while its method runs (ServiceOptions::stream_threads_max; more streams are refused, surely
// not run). Clients may be used by many threads; one stream by one reader and one writer at a time.
//
// Errors. A method that throws answers with a method error: that of a MethodError is its value,
// that of any other exception {"name", "message"}. Calls throw MethodError for the method's own
// error, and Error, with code() and executed(), for trouble of the platform.
#ifndef LEVER_LEVER_HPP_
#define LEVER_LEVER_HPP_

#include "lever/cpp/client.hpp"
#include "lever/cpp/error.hpp"
#include "lever/cpp/service.hpp"
#include "lever/cpp/stream.hpp"
#include "lever/cpp/value.hpp"

#endif  // LEVER_LEVER_HPP_
