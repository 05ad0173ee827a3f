// What a piece of code allocates by operator new, in bytes, freed memory counted too.
//
// counted_allocations.cc replaces the program's operator new; it is linked into the tests that count.
// One thread at a time.
#ifndef TESTS_VALUE_COUNTED_ALLOCATIONS_H_
#define TESTS_VALUE_COUNTED_ALLOCATIONS_H_

#include <cstddef>

namespace lever {

// Since the program began.
size_t AllocatedBytes();

// Of what runs while it lives.
class AllocationCount {
 public:
  AllocationCount() : before_(AllocatedBytes()) {}
  size_t bytes() const { return AllocatedBytes() - before_; }

 private:
  const size_t before_;
};

}  // namespace lever

#endif  // TESTS_VALUE_COUNTED_ALLOCATIONS_H_
