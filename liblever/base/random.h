// A small generator of pseudo-random numbers for decisions that a seed must replay: balancing,
// jitter. Not for secrets (ids.h has those).
//
// A value; not thread-safe. xoshiro256** by Blackman and Vigna ("Scrambled linear pseudorandom
// number generators", 2021), its state filled by SplitMix64 as they advise.
#ifndef LIBLEVER_BASE_RANDOM_H_
#define LIBLEVER_BASE_RANDOM_H_

#include <bit>
#include <cstdint>

namespace lever {

class Random {
 public:
  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      uint64_t mixed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9;
      mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
      word = mixed ^ (mixed >> 31);
    }
  }

  // All 64-bit numbers alike.
  uint64_t Next() {
    const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // All of 0 to bound - 1 alike; `bound` is not 0. (Lemire, "Fast random integer generation in an
  // interval", 2019.)
  uint32_t Below(uint32_t bound) {
    uint64_t product = (Next() >> 32) * bound;
    if (static_cast<uint32_t>(product) < bound) {
      const uint32_t threshold = -bound % bound;
      while (static_cast<uint32_t>(product) < threshold) product = (Next() >> 32) * bound;
    }
    return static_cast<uint32_t>(product >> 32);
  }

  // In [0, 1).
  double NextDouble() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t state_[4];
};

}  // namespace lever

#endif  // LIBLEVER_BASE_RANDOM_H_
