// Inputs that are nearly right: a good one with a few bytes changed, dropped, doubled or mixed with
// another's.
#ifndef TESTS_VALUE_MUTATION_H_
#define TESTS_VALUE_MUTATION_H_

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "liblever/base/ids.h"
#include "liblever/base/random.h"

namespace lever {

inline size_t RandomOffset(Random* random, size_t size) {
  return random->Below(static_cast<uint32_t>(size) + 1);
}

// `favourites`: bytes that mean something in the format, which are put in more often than others.
inline char RandomByte(Random* random, const std::string& favourites) {
  if (!favourites.empty() && random->Below(2) == 0) {
    return favourites[random->Below(static_cast<uint32_t>(favourites.size()))];
  }
  return static_cast<char>(random->Below(256));
}

inline std::string Mutated(const std::vector<std::string>& seeds, const std::string& favourites,
                           Random* random) {
  const auto any = [&]() -> const std::string& {
    return seeds[random->Below(static_cast<uint32_t>(seeds.size()))];
  };
  std::string text = any();
  for (uint32_t change = 1 + random->Below(4); change > 0; --change) {
    const size_t at = RandomOffset(random, text.size());
    const size_t length = random->Below(1 + static_cast<uint32_t>(std::min<size_t>(
                                                text.size() - at, 16)));
    switch (random->Below(7)) {
      case 0:
        if (at < text.size()) text[at] = RandomByte(random, favourites);
        break;
      case 1:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << random->Below(8)));
        break;
      case 2: text.insert(at, 1, RandomByte(random, favourites)); break;
      case 3: text.erase(at, length); break;
      case 4: text.insert(at, std::string(text, at, length)); break;
      case 5: text.resize(at); break;
      case 6: {
        const std::string& other = any();
        const size_t from = RandomOffset(random, other.size());
        text.insert(at, other, from, 1 + random->Below(16));
        break;
      }
    }
  }
  return text;
}

// The seed of this run, which it prints: always the same, unless LEVER_TEST_SEED gives another one, or
// says `random`.
inline uint64_t TestSeed() {
  static const uint64_t seed = [] {
    const char* given = std::getenv("LEVER_TEST_SEED");
    uint64_t chosen = 20240607;
    if (given != nullptr) {
      chosen = std::string(given) == "random" ? RandomSeed() : std::strtoull(given, nullptr, 10);
    }
    std::printf("LEVER_TEST_SEED=%llu\n", static_cast<unsigned long long>(chosen));
    return chosen;
  }();
  return seed;
}

}  // namespace lever

#endif  // TESTS_VALUE_MUTATION_H_
