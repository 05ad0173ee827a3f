// Keys of what resources carry: a resource's name may hold any byte, and reaches no other key.
#include "liblever/host/registry/schema.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "liblever/host/registry/registry.h"

namespace lever::registry {
namespace {

TEST(StateKeys, AreReadBackForNamesOfEveryByte) {
  std::set<std::string> keys;
  const std::string prefix = KindPrefix(KeyKind::kState, "dev.lever", "notes");
  for (int byte = 0; byte < 256; ++byte) {
    for (const std::string& name : {std::string(1, static_cast<char>(byte)),
                                    "a" + std::string(1, static_cast<char>(byte)) + "b"}) {
      const std::string key = StateKey("dev.lever", "notes", name);
      EXPECT_TRUE(keys.insert(key).second) << byte;
      EXPECT_EQ(key.compare(0, prefix.size(), prefix), 0) << byte;
      EXPECT_EQ(key.find('/', prefix.size()), std::string::npos) << byte;
      EXPECT_EQ(ParseKey(key), (ParsedKey{.kind = KeyKind::kState, .env = "dev.lever",
                                          .service = "notes", .id = name}))
          << byte;
    }
  }
  EXPECT_EQ(StateKey("dev.lever", "notes", "a/b%"), "state/dev.lever/notes/a%2Fb%25");
}

// So that what a resource carries can always be stored.
TEST(StateKeys, OfTheLongestNamesFit) {
  const std::string key = StateKey(std::string(64, 'e'), std::string(64, 's'),
                                   std::string(512, '/'));
  EXPECT_LE(key.size(), kKeyBytesMax);
}

TEST(StateKeys, NothingElseIsRead) {
  for (const char* key : {"state", "state/", "state/e", "state/e/s", "state/e/s/", "state/e/s/a/b",
                          "state/e/s/%", "state/e/s/%2", "state/e/s/%61", "state/e/s/%2f",
                          "state//s/a", "state/e//a"}) {
    EXPECT_EQ(ParseKey(key), std::nullopt) << key;
  }
}

// The account of a service is none of its records, nor in the reach of another service's.
TEST(CarriedKeys, AreReadBackAndApart) {
  const std::string key = CarriedKey("dev.lever", "notes");
  EXPECT_EQ(key, "carried/dev.lever/notes");
  EXPECT_EQ(ParseKey(key), (ParsedKey{.kind = KeyKind::kCarried, .env = "dev.lever",
                                      .service = "notes", .id = ""}));
  EXPECT_EQ(ParseKey("carried/dev.lever"), std::nullopt);
  EXPECT_EQ(ParseKey("carried/dev.lever/notes/x"), std::nullopt);
}

}  // namespace
}  // namespace lever::registry
