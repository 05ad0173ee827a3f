// One loop for all inputs of a target, whose time stands still unless an input moves it.
#ifndef TESTS_FUZZ_MEMORY_LOOP_H_
#define TESTS_FUZZ_MEMORY_LOOP_H_

#include <memory>
#include <utility>

#include "liblever/base/loop.h"
#include "tests/fuzz/fuzz.h"

namespace lever::fuzz {

inline ManualClock& TheClock() {
  static ManualClock clock;
  return clock;
}

inline Loop* TheLoop() {
  static Loop* const loop = std::move(Loop::Open({.clock = &TheClock()})).value().release();
  return loop;
}

// Runs `function` as something that holds the loop's word.
template <typename Function>
void Do(const Function& function) {
  FUZZ_CHECK(TheLoop()->TryEnter(), "the loop is not free");
  function();
  TheLoop()->Leave();
}

// Turns the loop until nothing is left to do. More turns than `turns_max` are spinning.
inline void Settle(size_t turns_max = 2000) {
  size_t turns = 0;
  for (int idle = 0; idle < 2; ++turns) {
    FUZZ_CHECK(turns < turns_max, "the loop spins");
    idle = *TheLoop()->Turn(0) ? 0 : idle + 1;
  }
}

}  // namespace lever::fuzz

#endif  // TESTS_FUZZ_MEMORY_LOOP_H_
