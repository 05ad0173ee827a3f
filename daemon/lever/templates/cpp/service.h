// The service's methods. main.cc runs them in an instance, service_test.cc in a test.
#ifndef SERVICE_H_
#define SERVICE_H_

#include <string>

#include <lever/lever.hpp>

inline void AddMethods(lever::Service& service) {
  service.method("sayHello", [](const std::string& name) { return "Hello, " + name + "!"; });
  // A streaming method: its name ends in Chan. Returning ends the stream, throwing sends the error.
  service.stream("echoChan", [](lever::IncomingStream& stream, const std::string& greeting) {
    stream.write(greeting);
    for (const lever::Value& message : stream.messages()) stream.write(message);
  });
}

#endif  // SERVICE_H_
