// Events as JavaScript reads them: fixed records, and behind them the bytes that come with them.
//
// What belongs to one event (payload, text, caller, metadata) is one run of bytes: in the buffer's
// data area, or, where that is full or the payload is large, in memory of its own, which JavaScript
// may keep. lib/native.js has the same offsets.
//
// Threads: the environment's own.
#ifndef BINDINGS_NODE_SRC_EVENT_BUFFER_H_
#define BINDINGS_NODE_SRC_EVENT_BUFFER_H_

#include <napi.h>

#include <cstddef>
#include <cstdint>

#include "lever/lever.h"

namespace lever::node {

struct EventRecord {
  uint32_t type;      // 0: lever_event_type
  uint32_t status;    // 1: lever_status
  uint32_t token;     // 2: of the call, stream, client or service; of the method for INCOMING_*
  uint32_t id_low;    // 3
  uint32_t id_high;   // 4
  uint32_t kind;      // 5: lever_kind
  uint32_t executed;  // 6: lever_executed
  uint32_t state;     // 7: lever_service_state; lever_resource_origin or lever_close_reason of RESOURCE_*;
                      // `resumed` of INCOMING_STREAM and STREAM_END
  uint32_t large;     // 8: 0: the offsets are in the buffer; n: in the n-th memory of its own
  uint32_t payload;   // 9: offset
  uint32_t payload_bytes;   // 10
  uint32_t message;         // 11: offset of the text of `status`, or of the name of RESOURCE_OPEN
  uint32_t message_bytes;   // 12
  uint32_t caller;          // 13
  uint32_t caller_bytes;    // 14
  uint32_t metadata;        // 15: offset (metadata.h)
  uint32_t metadata_bytes;  // 16
  uint32_t reserved;        // 17
  double deadline_ms;       // 18, 19: on CLOCK_BOOTTIME; infinite without
  uint32_t resource_low;    // 20
  uint32_t resource_high;   // 21
  uint32_t generation_low;  // 22
  uint32_t generation_high;  // 23
  uint32_t received_low;     // 24: of a resumed stream
  uint32_t received_high;    // 25
  uint32_t resume_token;     // 26: offset
  uint32_t token_bytes;      // 27
};
static_assert(sizeof(EventRecord) == 112 && offsetof(EventRecord, deadline_ms) == 72);

class EventBuffer {
 public:
  // Makes the memory: `capacity` records, then `data_bytes`.
  Napi::ArrayBuffer Allocate(napi_env env, size_t capacity, size_t data_bytes);
  size_t capacity() const { return capacity_; }

  void Begin();
  // Copies one event, and everything that it points to. False: there is no memory for it, and a
  // JavaScript exception is pending.
  bool Add(const lever_event& event);
  // The memories of their own, as an array of Buffers, or undefined.
  napi_value large() const { return large_; }

 private:
  // Payloads above this get memory of their own, which is then not copied once more.
  static constexpr size_t kInlineBytesMax = 16 * 1024;

  uint8_t* Room(size_t bytes, uint32_t payload_bytes, EventRecord* record, uint32_t* offset);

  napi_env env_ = nullptr;
  Napi::Reference<Napi::ArrayBuffer> memory_;
  uint8_t* base_ = nullptr;
  size_t capacity_ = 0;
  size_t size_ = 0;
  size_t used_ = 0;
  size_t count_ = 0;
  napi_value large_ = nullptr;
  uint32_t large_count_ = 0;
};

}  // namespace lever::node

#endif  // BINDINGS_NODE_SRC_EVENT_BUFFER_H_
