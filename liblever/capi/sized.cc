#include "liblever/capi/sized.h"

#include <string>

namespace lever::capi {
namespace {

Status SizeOf(const void* sized, const char* what, size_t* size) {
  if (sized == nullptr) return InvalidArgument(std::string(what) + ": missing");
  std::memcpy(size, sized, sizeof(*size));
  if (*size < sizeof(*size)) return InvalidArgument(std::string(what) + ": size is not set");
  return Status::Ok();
}

}  // namespace

Status CopySized(const void* given, const char* what, void* copy, size_t known) {
  size_t size = 0;
  LEVER_RETURN_IF_ERROR(SizeOf(given, what, &size));
  std::memcpy(copy, given, std::min(size, known));
  const auto* bytes = static_cast<const unsigned char*>(given);
  for (size_t i = known; i < size; ++i) {
    if (bytes[i] != 0) {
      return InvalidArgument(std::string(what) +
                             ": has a field that this version of the library does not know");
    }
  }
  return Status::Ok();
}

Status WriteSized(const void* ours, size_t known, const char* what, void* out) {
  size_t size = 0;
  LEVER_RETURN_IF_ERROR(SizeOf(out, what, &size));
  const size_t written = std::min(size, known);
  auto* to = static_cast<unsigned char*>(out);
  const auto* from = static_cast<const unsigned char*>(ours);
  std::memcpy(to + sizeof(size), from + sizeof(size), written - sizeof(size));
  std::memset(to + written, 0, size - written);
  return Status::Ok();
}

}  // namespace lever::capi
