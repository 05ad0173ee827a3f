// What the client and the server on gRPC C++ share: flags, files, payloads, and whether a message
// came compressed.
//
// Debian's packages (libgrpc++-dev, libgrpc-dev, protobuf-compiler-grpc) contain no interop
// programs: these are built in gRPC's repository only. Hence these, written from the published case
// descriptions.

#ifndef TESTS_INTEROP_GRPC_CPP_SERVICE_H_
#define TESTS_INTEROP_GRPC_CPP_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "test.grpc.pb.h"
#include "tests/interop/flags.h"

// libgrpc has it for gRPC's own tests, and no header that is installed declares it.
uint32_t grpc_call_test_only_get_message_flags(grpc_call* call);

namespace grpc::testing {

// Bits of the flags of the last message that a call received: it came compressed, and was inflated
// or not.
inline constexpr uint32_t kWasCompressed = 0x40000000u;
inline constexpr uint32_t kIsCompressed = 0x80000000u;

inline bool CameCompressed(grpc_call* call) {
  return (grpc_call_test_only_get_message_flags(call) & (kWasCompressed | kIsCompressed)) != 0;
}

// The contexts name these two classes as friends, for programs like these.
class InteropClientContextInspector {
 public:
  static bool CameCompressed(const ClientContext& context) {
    return testing::CameCompressed(context.call_);
  }
};

class InteropServerContextInspector {
 public:
  static bool CameCompressed(const ServerContextBase& context) {
    return testing::CameCompressed(context.call_.call);
  }
};

}  // namespace grpc::testing

namespace interop {

inline constexpr char kInitialKey[] = "x-grpc-test-echo-initial";
inline constexpr char kTrailingKey[] = "x-grpc-test-echo-trailing-bin";

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::cerr << "cannot read " << path << "\n";
    std::exit(2);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// A message whose payload has `size` zeros.
template <typename Message>
Message WithZeros(int size) {
  Message message;
  message.mutable_payload()->set_body(std::string(static_cast<size_t>(size), '\0'));
  return message;
}

}  // namespace interop

#endif  // TESTS_INTEROP_GRPC_CPP_SERVICE_H_
