// What Lever's own interop client and server share: the service's paths and how its messages go in
// and out of slices.
#ifndef TESTS_INTEROP_LEVER_SERVICE_H_
#define TESTS_INTEROP_LEVER_SERVICE_H_

#include <string>

#include "liblever/base/slice.h"
#include "messages.pb.h"

namespace interop {

inline constexpr char kTestService[] = "/grpc.testing.TestService/";
inline constexpr char kInitialKey[] = "x-grpc-test-echo-initial";
inline constexpr char kTrailingKey[] = "x-grpc-test-echo-trailing-bin";

template <typename Message>
lever::SliceList ToSlices(const Message& message) {
  lever::SliceList list;
  list.push_back(lever::Slice::Copy(message.SerializeAsString()));
  return list;
}

// A message whose payload has `size` zeros.
template <typename Message>
Message WithZeros(int size) {
  Message message;
  message.mutable_payload()->set_body(std::string(static_cast<size_t>(size), '\0'));
  return message;
}

}  // namespace interop

#endif  // TESTS_INTEROP_LEVER_SERVICE_H_
