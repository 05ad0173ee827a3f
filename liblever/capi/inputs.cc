#include "liblever/capi/inputs.h"

#include <cstdlib>
#include <cstring>

#include "liblever/policy/address.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/metadata.h"
#include "liblever/value/utf8.h"

namespace lever::capi {
namespace {

constexpr std::string_view kDefaultHost = "127.0.0.1:8080";

std::string TextOr(const char* text, size_t size, const char* variable,
                   std::string_view otherwise) {
  if (text != nullptr) return std::string(ReadText(text, size));
  const char* value = std::getenv(variable);
  return value != nullptr && value[0] != '\0' ? value : std::string(otherwise);
}

}  // namespace

std::string_view ReadText(const char* text, size_t size) {
  if (text == nullptr) return {};
  return {text, size == LEVER_NUL_TERMINATED ? std::strlen(text) : size};
}

std::string ReadHost(const char* text, size_t size) {
  return TextOr(text, size, "LEVER_HOST", kDefaultHost);
}

std::string ReadEnvironment(const char* text, size_t size) {
  return TextOr(text, size, "LEVER_ENV", policy::kDefaultEnvironment);
}

StatusOr<std::span<const lever_slice>> ReadSlices(const lever_slice* slices, size_t count,
                                                  size_t* bytes) {
  *bytes = 0;
  if (count > 0 && slices == nullptr) return InvalidArgument("slices: NULL");
  for (size_t i = 0; i < count; ++i) {
    if (slices[i].size > kPayloadBytesMax - *bytes) {
      return ResourceExhausted("the payload has more than 1 GiB");
    }
    if (slices[i].data == nullptr && slices[i].size > 0) {
      return InvalidArgument("slices: the data of one is NULL");
    }
    *bytes += slices[i].size;
  }
  return std::span(slices, count);
}

SliceList CopyPayload(std::span<const lever_slice> slices, size_t bytes) {
  SliceList list;
  if (bytes == 0) return list;
  Buffer* buffer = Buffer::New(bytes);
  size_t offset = 0;
  for (const lever_slice& slice : slices) {
    if (slice.size > 0) std::memcpy(buffer->data() + offset, slice.data, slice.size);
    offset += slice.size;
  }
  list.emplace_back(buffer->data(), bytes, buffer);
  return list;
}

route::Kind ReadKind(int32_t kind) {
  if (kind < LEVER_KIND_VALUE || kind > LEVER_KIND_ERROR_RAW) return route::Kind::kNone;
  return static_cast<route::Kind>(kind);
}

Status ReadMetadata(const lever_metadata* fields, size_t count, rpc::HeaderList* metadata) {
  if (count > 0 && fields == nullptr) return InvalidArgument("metadata: NULL");
  for (size_t i = 0; i < count; ++i) {
    const std::string_view name = ReadText(fields[i].name, fields[i].name_size);
    const std::string_view value = ReadText(fields[i].value, fields[i].value_size);
    if (name.starts_with(route::kReservedPrefix) || name.starts_with(route::kGrpcPrefix)) continue;
    LEVER_RETURN_IF_ERROR(rpc::CheckMetadata(name, value));
    metadata->Add(name, value);
  }
  return Status::Ok();
}

Status ReadFailure(lever_status code, const char* message, size_t size, Status* failure) {
  if (code <= LEVER_OK || code > LEVER_UNAUTHENTICATED) {
    return InvalidArgument("a call or stream is ended with a status from 1 to 16");
  }
  const std::string_view text = ReadText(message, size);
  if (!value::IsUtf8(text)) return InvalidArgument("the message is not UTF-8");
  *failure = Status(code, std::string(text));
  return Status::Ok();
}

}  // namespace lever::capi
