#include "liblever/capi/error.h"

#include <string>

#include "liblever/capi/object.h"

struct lever_error final : lever::capi::Object {
  explicit lever_error(const lever::Status& status)
      : Object(lever::capi::ObjectKind::kError), code(status.code()), message(status.message()) {
    if (message.empty()) message = lever::StatusText(code);
  }

  const lever_status code;
  std::string message;
};

namespace lever::capi {

lever_status Return(const Status& status, lever_error** error) {
  if (error != nullptr) *error = status.ok() ? nullptr : new lever_error(status);
  return status.code();
}

}  // namespace lever::capi

using lever::capi::IsOurs;
using lever::capi::ObjectKind;

lever_status lever_error_status(const lever_error* error) {
  return IsOurs(error, ObjectKind::kError) ? error->code : LEVER_INVALID_ARGUMENT;
}

const char* lever_error_message(const lever_error* error) {
  return IsOurs(error, ObjectKind::kError) ? error->message.c_str()
                                           : "not an error of this library";
}

void lever_error_destroy(lever_error* error) {
  if (IsOurs(error, ObjectKind::kError)) delete error;
}
