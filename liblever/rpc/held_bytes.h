// The process's account of the bytes that it holds for its peers (limits.h says what counts).
//
// Thread-safe. Every session keeps its own sum without any atomics, and adds what has changed to the
// account when a turn ends and it is kHeldFoldBytes or more: a call that leaves nothing behind writes
// nothing that other threads read. So the account is off by at most kHeldFoldBytes a connection.
#ifndef LIBLEVER_RPC_HELD_BYTES_H_
#define LIBLEVER_RPC_HELD_BYTES_H_

#include <atomic>
#include <cstdint>

namespace lever::rpc {

inline std::atomic<int64_t>& ProcessHeldBytes() {
  static constinit std::atomic<int64_t> held{0};
  return held;
}

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_HELD_BYTES_H_
