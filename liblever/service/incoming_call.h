// A unary call that came in, from its headers to its answer.
//
// Threads: used only by who holds the loop's word. Calls are pooled by their service.
//
//   kReceiving  the arguments have not come
//   kWaiting    for its resource
//   kOffered    the program has been told, and has not begun it
//   kBegun      user code runs
// In the last two the caller may be gone (`call_` is null): what is answered is dropped then.
#ifndef LIBLEVER_SERVICE_INCOMING_CALL_H_
#define LIBLEVER_SERVICE_INCOMING_CALL_H_

#include <string>

#include "liblever/rpc/call.h"
#include "liblever/rpc/headers.h"
#include "liblever/service/resource_request.h"
#include "liblever/service/service.h"
#include "liblever/service/service_impl.h"

namespace lever::service {

class IncomingCallImpl final : public IncomingCall,
                               public OpenRequest,
                               private ResourceRequest,
                               private rpc::CallHandler {
 public:
  explicit IncomingCallImpl(ServiceImpl* service) : service_(service) {}

  // Takes the call over and waits for its arguments.
  void Accept(rpc::Call& call, const RequestInfo& info);

  void* method() const override { return info_.method->user_data; }
  Kind kind() const override { return kind_; }
  const SliceList& payload() const override { return payload_; }
  int64_t deadline_ns() const override { return info_.deadline_ns; }
  const rpc::HeaderList& metadata() const override { return metadata_; }
  std::string_view caller() const override { return caller_; }
  OfResource of() const override;
  bool Begin() override;
  void SetBegun() override;
  Status Reply(Kind kind, SliceList payload, const rpc::HeaderList* trailing) override;
  void Fail(const Status& status) override;

  std::string Describe() const override;
  void Abandon(const Status& status) override;
  void Discard() override { Done(); }

 private:
  enum class Phase : uint8_t { kFree, kReceiving, kWaiting, kOffered, kBegun };
  static constexpr size_t kKeptMetadataBytesMax = 1024;
  static constexpr int64_t kDeadlineSlackNs = 20 * kNanosPerMilli;

  void OnMessage(rpc::Call& call, SliceList message) override;
  void OnPeerEnd(rpc::Call& call) override;
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override;

  // ResourceRequest
  bool streaming() const override { return false; }
  void Offer() override;
  void RefuseUnrun(const Status& status, const rpc::HeaderList* trailers) override;
  void MoveAway(const Status& status, const rpc::HeaderList* trailers) override;
  void CutOff(const Status& status) override { Abandon(status); }

  bool OfAResource() const { return !resource_name.empty(); }
  void Refuse(const Status& status, const rpc::HeaderList* trailers = nullptr);
  void Finish(const Status& status, const rpc::HeaderList* trailers);
  void Done();

  ServiceImpl* const service_;
  Phase phase_ = Phase::kFree;
  rpc::Call* call_ = nullptr;
  RequestInfo info_;
  int64_t began_ns_ = 0;
  Kind kind_ = Kind::kNone;
  SliceList payload_;
  std::string caller_;
  rpc::HeaderList metadata_;
};

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_INCOMING_CALL_H_
