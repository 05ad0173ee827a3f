// A slot: what an id of a call, stream or incoming request stands for.
//
// An id is a slot (low 32 bits, from 1) and the slot's generation (high 32 bits). Slots are made by
// the queue's SlotTable, are used again under the next generation, and are freed with the queue.
//
// Threads: the atomics may be read, and `word` changed, by any thread; what is set when
// the slot is allocated is constant until it is released; the rest belongs to who holds the loop's
// word.
//
// Invariants
//  1. A live id is over exactly once: by who takes kLive out of the word. Only then is it released,
//     on the loop, and its generation goes up.
//  2. Between kBegun and kOver, whoever sets one of them first on a request that is offered has
//     decided: begun is never told to the caller as surely not run.
//  3. The units in the word are what the stream has queued (as of the last look, `counted_units`)
//     and what other threads have posted for it.
#ifndef LIBLEVER_CAPI_SLOT_H_
#define LIBLEVER_CAPI_SLOT_H_

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "lever/lever.h"
#include "liblever/base/clock.h"
#include "liblever/capi/inputs.h"
#include "liblever/client/client.h"
#include "liblever/route/message_stream.h"
#include "liblever/rpc/limits.h"
#include "liblever/service/grant_view.h"
#include "liblever/service/service.h"

namespace lever::capi {

struct Completion;
class CallWaiter;

// The bits of a slot's word. The high 32 bits are the generation.
inline constexpr uint64_t kKindMask = 3;
inline constexpr uint64_t kCall = 0;
inline constexpr uint64_t kStream = 1;
inline constexpr uint64_t kIncomingCall = 2;
inline constexpr uint64_t kIncomingStream = 3;
inline constexpr uint64_t kLive = 1 << 2;
inline constexpr uint64_t kBegun = 1 << 3;           // user code was told to begin
inline constexpr uint64_t kOver = 1 << 4;            // offered, and can no longer begin
inline constexpr uint64_t kSendClosed = 1 << 5;      // nothing may be written any more
inline constexpr uint64_t kWritableWanted = 1 << 6;  // LEVER_EVENT_WRITABLE is owed
// What a stream has queued, in units of 64 bytes; a message counts as one at least.
inline constexpr int kUnitsShift = 7;
inline constexpr uint64_t kUnitsMask = (uint64_t{1} << (32 - kUnitsShift)) - 1;
inline constexpr size_t kUnitBytes = 64;
inline constexpr uint64_t kUnitsQueuedMax = rpc::kStreamQueuedBytesMax / kUnitBytes;

constexpr uint64_t UnitsOf(size_t bytes) { return (bytes + kUnitBytes - 1) / kUnitBytes; }
constexpr uint64_t GenerationOf(uint64_t word) { return word >> 32; }
constexpr uint64_t QueuedUnits(uint64_t word) { return word >> kUnitsShift & kUnitsMask; }
static_assert(kUnitsQueuedMax + UnitsOf(kPayloadBytesMax) + 1 <= kUnitsMask,
              "one message beyond the limit still counts");

// Which kinds of ids a function takes.
using Kinds = uint32_t;
constexpr Kinds Of(uint64_t kind) { return Kinds{1} << kind; }
inline constexpr Kinds kStreams = Of(kStream) | Of(kIncomingStream);
inline constexpr Kinds kIncoming = Of(kIncomingCall) | Of(kIncomingStream);

// What other threads need to know of a service to begin its requests. Lives as long as the queue.
struct ServiceGate {
  std::atomic<bool> refusing{false};
  // Of a service with resources, from the first request of one on.
  std::atomic<const service::GrantView*> grants{nullptr};
  std::shared_ptr<const service::GrantView> kept_grants;  // holding the word
};

struct ChildTag;
struct OfServiceTag;
template <typename Tag>
using SlotHook =
    boost::intrusive::list_base_hook<boost::intrusive::tag<Tag>,
                                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
struct Slot;
template <typename Tag>
using SlotList = boost::intrusive::list<Slot, boost::intrusive::base_hook<SlotHook<Tag>>,
                                        boost::intrusive::constant_time_size<false>>;

struct Slot final : public client::UnaryHandler,
                    public route::StreamHandler,
                    public SlotHook<ChildTag>,
                    public SlotHook<OfServiceTag> {
  explicit Slot(lever_queue* its_queue, uint32_t its_index) : queue(its_queue), index(its_index) {}

  lever_queue* const queue;
  const uint32_t index;

  // ---- Any thread ----
  std::atomic<uint64_t> word{uint64_t{1} << 32};
  std::atomic<uint32_t> next_free{0};
  std::atomic<int64_t> deadline_ns{kNever};  // incoming
  std::atomic<ServiceGate*> gate{nullptr};   // incoming
  std::atomic<bool> bare{false};             // a gRPC stream: its messages are raw bytes
  std::atomic<bool> moving{false};           // incoming stream: LEVER_EVENT_STREAM_MOVING was told
  // Incoming, of a resource: under what it may begin. A generation of 0: of none.
  std::atomic<uint32_t> shard{0};
  std::atomic<uint64_t> resource_generation{0};

  uint64_t id() const { return GenerationOf(word.load()) << 32 | index; }
  bool IsLive(uint64_t its_id) const {
    const uint64_t seen = word.load();
    return GenerationOf(seen) == its_id >> 32 && (seen & kLive) != 0;
  }
  // Whether the slot has not been released since the id was made.
  bool IsSame(uint64_t its_id) const { return GenerationOf(word.load()) == its_id >> 32; }
  // Sets `bits` of a live id unless one of `unless` is set. Returns the word as it was; without
  // kLive if the id is over.
  uint64_t Mark(uint64_t its_id, uint64_t bits, uint64_t unless = 0);
  // Ends the id. False: somebody else has.
  bool End(uint64_t its_id);
  // Takes an End() back, for a request that was refused after all.
  void Revive() { word.fetch_or(kLive); }
  // Counts a message that another thread writes, if less than the maximum is queued.
  enum class Admission : uint8_t { kAdmitted, kFull, kClosed, kGone };
  Admission Admit(uint64_t its_id, uint64_t units);

  // ---- Set by who allocates it ----
  void* user_data = nullptr;

  // ---- Holding the word ----
  client::UnaryCall* call = nullptr;
  route::MessageStream* stream = nullptr;  // of either side
  service::IncomingStream* incoming_stream = nullptr;
  service::IncomingCall* incoming = nullptr;
  Completion* done = nullptr;    // of a call: its completion that nobody has fetched
  CallWaiter* waiter = nullptr;  // who waits for it
  uint64_t counted_units = 0;
  bool recount = false;  // is in the queue's list of streams to look at again
  SlotList<ChildTag> children;

  // Looks at what the stream has queued now.
  void Recount();

  void OnDone(client::UnaryCall& call, client::Outcome outcome) override;
  void OnMessage(route::MessageStream& stream, route::Kind kind, SliceList payload) override;
  void OnHalfClosed(route::MessageStream& stream) override;
  void OnMoving(route::MessageStream& stream) override;
  void OnWritable(route::MessageStream& stream) override;
  void OnEnd(route::MessageStream& stream, route::Outcome outcome) override;
};

}  // namespace lever::capi

#endif  // LIBLEVER_CAPI_SLOT_H_
