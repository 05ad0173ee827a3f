// What a target allocates, in bytes: what was asked for since the program began, freed memory
// counted too. Under the address sanitizer every allocation counts, elsewhere those by operator
// new.
//
// One thread at a time.
#ifndef TESTS_FUZZ_ALLOCATIONS_H_
#define TESTS_FUZZ_ALLOCATIONS_H_

#include <cstddef>

namespace lever::fuzz {

size_t AllocatedBytes();
// What is allocated now; 0 without the address sanitizer, which knows.
size_t LiveBytes();

class AllocationCount {
 public:
  AllocationCount() : before_(AllocatedBytes()) {}
  size_t bytes() const { return AllocatedBytes() - before_; }

 private:
  const size_t before_;
};

}  // namespace lever::fuzz

#endif  // TESTS_FUZZ_ALLOCATIONS_H_
