// A stream that came in, from its headers to its end.
//
// Threads: used only by who holds the loop's word. A stream owns itself until its OnEnd(), or until a
// Begin() that returned false.
//
//   kReceiving  the arguments have not come
//   kWaiting    for its resource
//   kOffered    the program has been told, and has not begun it
//   kBegun      user code runs: messages are delivered
//
// One that can be resumed, and whose resource moves, is ended by MoveOn() when its method has returned,
// or as any other, and is the resource's no more from then on: what is still to be sent holds nothing up.
#ifndef LIBLEVER_SERVICE_INCOMING_STREAM_H_
#define LIBLEVER_SERVICE_INCOMING_STREAM_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "liblever/route/stream_core.h"
#include "liblever/rpc/call.h"
#include "liblever/rpc/headers.h"
#include "liblever/service/consumption.h"
#include "liblever/service/resource_request.h"
#include "liblever/service/service.h"
#include "liblever/service/service_impl.h"

namespace lever::service {

class IncomingStreamImpl final : public IncomingStream,
                                 public OpenRequest,
                                 private ResourceRequest,
                                 private route::StreamCore {
 public:
  explicit IncomingStreamImpl(ServiceImpl* service);
  ~IncomingStreamImpl() override = default;

  // Takes the call over and waits for its arguments.
  void Accept(rpc::Call& call, const RequestInfo& info);

  void* method() const override { return info_.method->user_data; }
  Kind kind() const override { return kind_; }
  const SliceList& payload() const override { return payload_; }
  int64_t deadline_ns() const override { return info_.deadline_ns; }
  const rpc::HeaderList& metadata() const override { return metadata_; }
  std::string_view caller() const override { return caller_; }
  OfResource of() const override;
  const route::ResumePoint* resumed() const override { return resumed_ ? &*resumed_ : nullptr; }
  void set_handler(StreamHandler* handler) override { handler_ = handler; }
  bool Begin() override;
  void SetBegun() override;
  Status Fail(Kind kind, SliceList payload) override;
  Status WriteResumable(Kind kind, SliceList payload, std::string_view token) override;
  Status MoveOn(uint64_t unread) override;

  Status Write(Kind kind, SliceList payload) override;
  size_t queued_bytes() const override { return QueuedInCall(); }
  void WantWritable() override { AskForWritable(); }
  void Read(uint64_t messages, uint64_t bytes) override;
  void CloseSend() override;
  void Cancel(const Status& status) override;

  std::string Describe() const override;
  void Abandon(const Status& status) override;
  void Discard() override { Done(); }

 private:
  enum class Phase : uint8_t { kReceiving, kWaiting, kOffered, kBegun };

  // So that every language counts on from there.
  static constexpr uint64_t kMessageNumberMax = uint64_t{1} << 52;

  MessageStream& stream() override { return *this; }
  bool Delivering() const override { return phase_ == Phase::kBegun && !cancelled_; }
  void OnMessage(rpc::Call& call, SliceList message) override;
  void OnPeerEnd(rpc::Call& call) override;
  void OnWritable(rpc::Call& call) override;
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;
  void OnTurnEnd() override;
  void TellHalfClosed();
  Status TakeResumption(const route::Envelope& envelope);
  Status WriteMessage(Kind kind, SliceList payload, const std::string_view* token);
  void ReportConsumed();

  // ResourceRequest
  bool streaming() const override { return true; }
  void Offer() override;
  void RefuseUnrun(const Status& status, const rpc::HeaderList* trailers) override;
  void MoveAway(const Status& status, const rpc::HeaderList* trailers) override;
  void CutOff(const Status& status) override { Abandon(status); }

  bool OfAResource() const { return !resource_name.empty(); }
  // Whether what the method says may still be sent; if not, the caller is told.
  bool MaySend();
  void Refuse(const Status& status, const rpc::HeaderList* trailers = nullptr);
  void EndSend(Ending outcome);
  void Done();

  ServiceImpl* const service_;
  Phase phase_ = Phase::kReceiving;
  RequestInfo info_;
  int64_t began_ns_ = 0;
  Kind kind_ = Kind::kNone;
  SliceList payload_;
  std::string caller_;
  rpc::HeaderList metadata_;
  bool half_closed_ = false;       // the caller has sent its last message
  bool half_closed_told_ = false;
  bool cancelled_ = false;         // by this side: nothing more is delivered but the end
  bool resumable_ = false;         // both sides can have it go on elsewhere
  bool moving_ = false;            // the program is to return, or was told so
  bool window_given_ = false;      // the first Read() has been
  bool report_owed_ = false;       // when there is room for it
  std::optional<route::ResumePoint> resumed_;
  Consumption consumption_;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_INCOMING_STREAM_H_
