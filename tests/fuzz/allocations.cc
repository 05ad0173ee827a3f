#include "tests/fuzz/allocations.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEVER_FUZZ_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define LEVER_FUZZ_ASAN 1
#endif

#ifdef LEVER_FUZZ_ASAN
// Of sanitizer/allocator_interface.h, which clang's runtime comes with and gcc's does not.
extern "C" {
int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void*, size_t),
                                              void (*free_hook)(const volatile void*));
size_t __sanitizer_get_current_allocated_bytes(void);
}

namespace lever {
namespace {

thread_local size_t allocated_bytes = 0;

void OnAllocation(const volatile void*, size_t size) { allocated_bytes += size; }
void OnFree(const volatile void*) {}

const int hooks_installed = __sanitizer_install_malloc_and_free_hooks(OnAllocation, OnFree);

}  // namespace

size_t AllocatedBytes() { return hooks_installed > 0 ? allocated_bytes : 0; }
size_t fuzz::LiveBytes() { return __sanitizer_get_current_allocated_bytes(); }

}  // namespace lever
#else
size_t lever::fuzz::LiveBytes() { return 0; }
#endif
