// lever_value_*: the check of a MessagePack value, and JSON.
#include <cstdlib>
#include <cstring>
#include <string>

#include "lever/lever.h"
#include "liblever/capi/error.h"
#include "liblever/capi/inputs.h"
#include "liblever/value/check.h"
#include "liblever/value/json.h"

namespace lever::capi {
namespace {

// Hands a result over as memory that lever_free() frees; a NUL is put behind it.
template <typename Byte>
Status HandOver(const std::string& result, Byte** out, size_t* out_size) {
  auto* memory = static_cast<Byte*>(std::malloc(result.size() + 1));
  if (memory == nullptr) return ResourceExhausted("no memory for the result");
  std::memcpy(memory, result.c_str(), result.size() + 1);
  *out = memory;
  *out_size = result.size();
  return Status::Ok();
}

Status ToJson(const lever_slice* slices, size_t count, char** out, size_t* out_size) {
  if (out == nullptr || out_size == nullptr) return InvalidArgument("out: NULL");
  size_t bytes = 0;
  LEVER_ASSIGN_OR_RETURN(const auto pieces, ReadSlices(slices, count, &bytes));
  std::string joined;
  value::Bytes value;
  if (pieces.size() == 1) {
    value = value::Bytes(pieces[0].data, pieces[0].size);
  } else {
    joined.reserve(bytes);
    for (const lever_slice& piece : pieces) {
      joined.append(reinterpret_cast<const char*>(piece.data), piece.size);
    }
    value = value::Bytes(reinterpret_cast<const uint8_t*>(joined.data()), joined.size());
  }
  LEVER_ASSIGN_OR_RETURN(const std::string json, value::MessagePackToJson(value));
  return HandOver(json, out, out_size);
}

Status FromJson(const char* json, size_t size, uint8_t** out, size_t* out_size) {
  if (out == nullptr || out_size == nullptr) return InvalidArgument("out: NULL");
  if (json == nullptr) return InvalidArgument("json: NULL");
  LEVER_ASSIGN_OR_RETURN(const std::string value, value::JsonToMessagePack(ReadText(json, size)));
  return HandOver(value, out, out_size);
}

Status Check(const lever_slice* slices, size_t count) {
  size_t bytes = 0;
  LEVER_ASSIGN_OR_RETURN(const auto pieces, ReadSlices(slices, count, &bytes));
  return value::CheckValue(pieces);
}

}  // namespace
}  // namespace lever::capi

using lever::capi::Return;

lever_status lever_value_check(const lever_slice* slices, size_t count, lever_error** error) {
  return Return(lever::capi::Check(slices, count), error);
}

lever_status lever_value_to_json(const lever_slice* slices, size_t count, char** out,
                                 size_t* out_size, lever_error** error) {
  return Return(lever::capi::ToJson(slices, count, out, out_size), error);
}

lever_status lever_value_from_json(const char* json, size_t size, uint8_t** out, size_t* out_size,
                                   lever_error** error) {
  return Return(lever::capi::FromJson(json, size, out, out_size), error);
}

void lever_free(void* memory) { std::free(memory); }
