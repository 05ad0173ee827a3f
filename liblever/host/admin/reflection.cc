#include "liblever/host/admin/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <utility>

#include "grpc/reflection/v1/reflection.pb.h"
#include "liblever/base/status.h"
#include "liblever/host/admin/unary_call.h"

namespace lever::admin {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

void AddFiles(const FileDescriptor* file, std::set<const FileDescriptor*>* seen,
              ServerReflectionResponse* response) {
  if (!seen->insert(file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file->CopyTo(&proto);
  response->mutable_file_descriptor_response()->add_file_descriptor_proto(
      proto.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) AddFiles(file->dependency(i), seen, response);
}

void AnswerFile(const FileDescriptor* file, const std::string& what,
                ServerReflectionResponse* response) {
  if (file == nullptr) {
    response->mutable_error_response()->set_error_code(StatusToGrpc(LEVER_NOT_FOUND));
    response->mutable_error_response()->set_error_message("there is no " + what);
    return;
  }
  std::set<const FileDescriptor*> seen;
  AddFiles(file, &seen, response);
}

ServerReflectionResponse Answer(const ServerReflectionRequest& request,
                                const std::vector<std::string>& services) {
  const DescriptorPool* pool = DescriptorPool::generated_pool();
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kListServices:
      for (const std::string& service : services) {
        response.mutable_list_services_response()->add_service()->set_name(service);
      }
      break;
    case ServerReflectionRequest::kFileByFilename:
      AnswerFile(pool->FindFileByName(request.file_by_filename()),
                 "file " + request.file_by_filename(), &response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      AnswerFile(pool->FindFileContainingSymbol(request.file_containing_symbol()),
                 "symbol " + request.file_containing_symbol(), &response);
      break;
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      // proto3 messages: none has an extension.
      response.mutable_all_extension_numbers_response()->set_base_type_name(
          request.all_extension_numbers_of_type());
      break;
    case ServerReflectionRequest::kFileContainingExtension:
      AnswerFile(nullptr, "extension of " + request.file_containing_extension().containing_type(),
                 &response);
      break;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      response.mutable_error_response()->set_error_code(StatusToGrpc(LEVER_INVALID_ARGUMENT));
      response.mutable_error_response()->set_error_message("the request asks for nothing");
      break;
  }
  return response;
}

}  // namespace

// Answers one request after the other; the next is read when the client has taken the answer. Owns
// itself until its call has ended.
class Reflection::Session final : public rpc::CallHandler {
 public:
  explicit Session(std::shared_ptr<const std::vector<std::string>> services)
      : services_(std::move(services)) {}

  void OnMessage(rpc::Call& call, SliceList message) override {
    ServerReflectionRequest request;
    if (!ParseMessage(message, &request)) {
      call.Finish(InvalidArgument("not a ServerReflectionRequest"));
      return;
    }
    call.Write(SerializeMessage(Answer(request, *services_)));
    if (call.Writable()) {
      call.Read(1);
    } else {
      owed_ = true;
    }
  }
  void OnWritable(rpc::Call& call) override {
    if (std::exchange(owed_, false)) call.Read(1);
  }
  void OnPeerEnd(rpc::Call& call) override { call.Finish(Status::Ok()); }
  void OnEnd(rpc::Call& call, const rpc::CallEnd& end) override { delete this; }

 private:
  std::shared_ptr<const std::vector<std::string>> services_;
  bool owed_ = false;
};

Reflection::Reflection(std::vector<std::string> services)
    : services_(std::make_shared<const std::vector<std::string>>(std::move(services))) {}

void Reflection::Serve(rpc::Call& call) const {
  call.set_handler(new Session(services_));
  call.SendHeaders();
  call.Read(1);
}

}  // namespace lever::admin
