// What the data plane counts over the whole process, for metrics and tests.
//
// Thread-safe: relaxed atomics that only rise. A connection adds its own sums once a turn, so that
// the counts lag by a turn at most.
#ifndef LIBLEVER_RPC_COUNTERS_H_
#define LIBLEVER_RPC_COUNTERS_H_

#include <atomic>
#include <cstdint>

namespace lever::rpc {

// X(name)
#define LEVER_RPC_COUNTERS(X)           \
  X(connections_opened)                 \
  X(connections_closed)                 \
  X(streams_opened)                     \
  X(streams_closed)                     \
  X(bytes_received)                     \
  X(bytes_sent)                         \
  X(resets_received)                    \
  X(resets_sent)                        \
  X(goaways_received)                   \
  X(goaways_sent)                       \
  X(keepalive_timeouts)                 \
  X(preface_timeouts)                   \
  X(tls_handshakes)                     \
  X(tls_handshake_failures)             \
  X(tls_handshake_timeouts)             \
  X(tls_reloads)                        \
  X(tls_reload_failures)                \
  /* Limits that were hit, by cause. */ \
  X(limit_header_block)                 \
  X(limit_control_frames)               \
  X(limit_resets)                       \
  X(limit_refused_streams)              \
  X(limit_output_stalled)               \
  X(limit_tls_messages)

struct Counters {
#define LEVER_RPC_COUNTER_(name) std::atomic<uint64_t> name{0};
  LEVER_RPC_COUNTERS(LEVER_RPC_COUNTER_)
#undef LEVER_RPC_COUNTER_
};

// The process's.
Counters& GlobalCounters();

inline void Count(std::atomic<uint64_t>& counter, uint64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_COUNTERS_H_
