#include "liblever/service/health.h"

#include <exception>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <utility>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/rpc/call.h"

namespace lever::service {
namespace {

// The field `service` of a HealthCheckRequest.
StatusOr<std::string> ParseRequest(std::string_view message) {
  try {
    std::string service;
    protozero::pbf_reader reader(message.data(), message.size());
    while (reader.next(1, protozero::pbf_wire_type::length_delimited)) service = reader.get_string();
    return service;
  } catch (const std::exception& error) {
    return InvalidArgument(std::string("not a HealthCheckRequest: ") + error.what());
  }
}

// Owns itself until its OnEnd().
class HealthCheck final : public rpc::CallHandler {
 public:
  explicit HealthCheck(Health health) : health_(health) {}

  void OnMessage(rpc::Call& call, SliceList message) override {
    const Slice flat = Flatten(message);
    StatusOr<std::string> service = ParseRequest(flat.view());
    if (!service.ok()) return call.Finish(service.status());
    const std::string& name = *service;
    if (!name.empty() && name != "lever.v1.Lever") {
      return call.Finish(NotFound("this program has no service of that name"));
    }
    std::string response;
    protozero::pbf_writer(response).add_enum(1, static_cast<int32_t>(health_));
    SliceList slices;
    slices.push_back(Slice::Copy(response));
    call.Write(std::move(slices));
    call.Finish(Status::Ok());
  }
  void OnPeerEnd(rpc::Call& call) override {
    // After an answer it does nothing.
    call.Finish(InvalidArgument("a health check has one message"));
  }
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override { delete this; }

 private:
  const Health health_;
};

}  // namespace

void AnswerHealthCheck(rpc::Call& call, Health health) {
  call.set_handler(new HealthCheck(health));
  call.Read(1);
}

}  // namespace lever::service
