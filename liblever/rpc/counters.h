// What the data plane counts over the whole process, for operators and tests.
//
// Thread-safe. Each thread counts in a block of its own, which no other thread writes, so that
// counting never moves a cache line between cores; GlobalCounters() adds the blocks up. What is
// counted a frame or a byte is added up by its connection and put here once a turn, so that those
// counts lag by a turn at most.
//
// A counter `limit_x` says how often the limit was hit that docs/limits.md lists with it.
#ifndef LIBLEVER_RPC_COUNTERS_H_
#define LIBLEVER_RPC_COUNTERS_H_

#include <atomic>
#include <cstdint>
#include <string_view>

namespace lever::rpc {

// X(name)
#define LEVER_RPC_COUNTERS(X)                \
  X(connections_opened)                      \
  X(connections_closed)                      \
  X(streams_opened)                          \
  X(streams_closed)                          \
  X(bytes_received)                          \
  X(bytes_sent)                              \
  X(resets_received)                         \
  X(resets_sent)                             \
  X(goaways_received)                        \
  X(goaways_sent)                            \
  X(keepalive_timeouts)                      \
  X(preface_timeouts)                        \
  X(tls_handshakes)                          \
  X(tls_handshake_failures)                  \
  X(tls_handshake_timeouts)                  \
  X(tls_reloads)                             \
  X(tls_reload_failures)                     \
  /* Connections whose peer broke HTTP/2. */ \
  X(protocol_errors)                         \
  /* Limits that were hit, by cause. */      \
  X(limit_connections)                       \
  X(limit_descriptors)                       \
  X(limit_refused_streams)                   \
  X(limit_header_block)                      \
  X(limit_continuations)                     \
  X(limit_frame_bytes)                       \
  X(limit_message_bytes)                     \
  X(limit_control_frames)                    \
  X(limit_resets)                            \
  X(limit_tls_messages)                      \
  X(limit_frame_time)                        \
  X(limit_idle_time)                         \
  X(limit_output_stalled)                    \
  X(limit_output_time)                       \
  X(limit_reply_time)                        \
  X(limit_connection_bytes)                  \
  X(limit_process_bytes)                     \
  X(limit_http_head)                         \
  X(limit_http_head_time)                    \
  X(limit_http_body)                         \
  X(limit_http_held)

// One thread's.
struct CounterBlock {
#define LEVER_RPC_COUNTER_(name) std::atomic<uint64_t> name{0};
  LEVER_RPC_COUNTERS(LEVER_RPC_COUNTER_)
#undef LEVER_RPC_COUNTER_
};

// The process's, at one moment.
struct Counters {
#define LEVER_RPC_COUNTER_(name) uint64_t name = 0;
  LEVER_RPC_COUNTERS(LEVER_RPC_COUNTER_)
#undef LEVER_RPC_COUNTER_
};

// The calling thread's block.
CounterBlock& LocalCounters();
// Takes a lock: for whoever looks, not for the path of a call.
Counters GlobalCounters();

// `counter` is one of LocalCounters(): nobody else writes it.
inline void Count(std::atomic<uint64_t>& counter, uint64_t by = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

// Calls `visit(name, value)` for each counter.
template <typename Visit>
void ForEachCounter(const Counters& counters, Visit visit) {
#define LEVER_RPC_COUNTER_(name) visit(std::string_view(#name), counters.name);
  LEVER_RPC_COUNTERS(LEVER_RPC_COUNTER_)
#undef LEVER_RPC_COUNTER_
}

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_COUNTERS_H_
