#include "liblever/capi/object.h"

namespace lever::capi {
namespace {

// Its address is another one in each copy of the library.
const char anchor = 0;

// Keeps memory that happens to hold a pointer from looking like an object.
constexpr uint64_t kMark = 0x7265'7665'6c00'0000;

}  // namespace

uint64_t BuildId() { return kMark ^ reinterpret_cast<uintptr_t>(&anchor); }

}  // namespace lever::capi
