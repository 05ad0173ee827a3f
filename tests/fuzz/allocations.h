// What a target allocates, in bytes. Under the address sanitizer, which replaces operator new itself,
// AllocatedBytes() counts every allocation, by hooks of the sanitizer's; elsewhere those by operator new.
//
// One thread at a time.
#ifndef TESTS_FUZZ_ALLOCATIONS_H_
#define TESTS_FUZZ_ALLOCATIONS_H_

#include <cstddef>

#include "tests/value/counted_allocations.h"

namespace lever::fuzz {

// What is allocated now; 0 without the address sanitizer, which knows.
size_t LiveBytes();

}  // namespace lever::fuzz

#endif  // TESTS_FUZZ_ALLOCATIONS_H_
