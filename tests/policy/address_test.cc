// Addresses by tests/vectors/addresses.json, and by properties.

#include "liblever/policy/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "liblever/base/random.h"
#include "tests/vectors/vectors.h"

namespace lever::policy {
namespace {

using ::testing::HasSubstr;

const nlohmann::json& Vectors() {
  static const nlohmann::json vectors = vectors::LoadVectors("addresses.json");
  return vectors;
}

std::optional<std::string> TextOrNull(const nlohmann::json& entry, const char* name) {
  if (entry.at(name).is_null()) return std::nullopt;
  return entry.at(name).get<std::string>();
}

TEST(AddressVectors, ValidOnesParseAndFormat) {
  ASSERT_GT(Vectors().at("valid").size(), 25u);
  for (const auto& entry : Vectors().at("valid")) {
    const auto address = ParseAddress(entry.at("text").get<std::string>());
    ASSERT_TRUE(address.ok()) << entry << address.status().ToString();
    EXPECT_EQ(address->environment, entry.at("environment"));
    EXPECT_EQ(address->service, entry.at("service"));
    EXPECT_EQ(address->method, entry.at("method"));
    EXPECT_EQ(address->has_resource, !entry.at("resource").is_null()) << entry;
    if (address->has_resource) {
      EXPECT_EQ(address->resource, entry.at("resource"));
    }
    EXPECT_EQ(FormatAddress(*address), entry.at("canonical"));
    EXPECT_EQ(*ParseAddress(FormatAddress(*address)), *address);
    EXPECT_EQ(IsStreamingMethod(address->method), entry.at("streaming").get<bool>()) << entry;
  }
}

TEST(AddressVectors, ValidOnesTravelAsHeaders) {
  for (const auto& entry : Vectors().at("valid")) {
    const Address address = *ParseAddress(entry.at("text").get<std::string>());
    EXPECT_EQ(FormatUrlHeader(address), entry.at("lever_url"));
    const auto resource = TextOrNull(entry, "lever_resource");
    if (resource.has_value()) {
      EXPECT_EQ(EncodeResource(address.resource), *resource);
    }
    const auto back = ParseAddressHeaders(entry.at("lever_url").get<std::string>(), resource);
    ASSERT_TRUE(back.ok()) << entry;
    EXPECT_EQ(*back, address);
  }
}

void ExpectRefused(const Status& status, const nlohmann::json& entry) {
  EXPECT_EQ(status.code(), LEVER_INVALID_ARGUMENT) << entry;
  EXPECT_EQ(status.executed(), LEVER_EXECUTED_NO) << entry;
  EXPECT_FALSE(status.message().empty());
  EXPECT_LT(status.message().size(), 400u);
  for (const char c : status.message()) EXPECT_TRUE(c >= 0x20 && c <= 0x7e) << entry;
}

TEST(AddressVectors, InvalidOnesAreRefused) {
  ASSERT_GT(Vectors().at("invalid").size(), 60u);
  for (const auto& entry : Vectors().at("invalid")) {
    ExpectRefused(ParseAddress(entry.at("text").get<std::string>()).status(), entry);
  }
}

TEST(AddressVectors, InvalidHeadersAreRefused) {
  ASSERT_GT(Vectors().at("invalid_headers").size(), 5u);
  for (const auto& entry : Vectors().at("invalid_headers")) {
    ExpectRefused(ParseAddressHeaders(entry.at("lever_url").get<std::string>(),
                                      TextOrNull(entry, "lever_resource"))
                      .status(),
                  entry);
  }
}

TEST(Address, TextsSayWhatToDo) {
  EXPECT_THAT(ParseAddress("/lever.v1.Lever/Invoke").status().message(),
              HasSubstr("has a dot: this is the path of a gRPC method"));
  EXPECT_THAT(ParseAddress("/chat/room:5/join").status().message(),
              HasSubstr("must be percent-encoded, as %3A"));
  EXPECT_THAT(ParseAddress("hello/sayHello").status().message(),
              HasSubstr("begins neither with lever://<environment>/ nor with /"));
  EXPECT_THAT(ParseAddress("/hello\n/x").status().message(), HasSubstr("'hello\\x0A'"));
}

// Resources of bytes that are often valid: all of ASCII, and some characters of two to four bytes.
std::string RandomResource(Random* random) {
  std::string resource;
  for (uint32_t i = 1 + random->Below(40); i > 0; --i) {
    switch (random->Below(8)) {
      case 0:
        resource.append("\u00fc");
        break;
      case 1:
        resource.append("\u20ac");
        break;
      case 2:
        resource.append("\U0001f600");
        break;
      default:
        resource.push_back(static_cast<char>(1 + random->Below(127)));
    }
  }
  return resource;
}

TEST(Address, EveryResourceSurvivesTextAndHeaders) {
  Random random(20'260'101);
  for (int i = 0; i < 10'000; ++i) {
    Address address{"dev.lever", "chat", true, RandomResource(&random), "join"};
    if (!CheckResource(address.resource).ok()) continue;  // "." or ".."
    const auto parsed = ParseAddress(FormatAddress(address));
    ASSERT_TRUE(parsed.ok()) << FormatAddress(address);
    EXPECT_EQ(*parsed, address);
    const auto headers =
        ParseAddressHeaders(FormatUrlHeader(address), EncodeResource(address.resource));
    ASSERT_TRUE(headers.ok());
    EXPECT_EQ(*headers, address);
  }
}

TEST(Address, WhateverAMutationParsesToIsCanonicalAfterOneFormat) {
  Random random(7);
  const nlohmann::json& valid = Vectors().at("valid");
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text =
        valid[random.Below(static_cast<uint32_t>(valid.size()))].at("text").get<std::string>();
    for (uint32_t edits = 1 + random.Below(3); edits > 0; --edits) {
      text[random.Below(static_cast<uint32_t>(text.size()))] = static_cast<char>(
          random.Below(4) == 0 ? random.Below(256) : "/%.2eaChan"[random.Below(10)]);
    }
    const auto address = ParseAddress(text);
    if (!address.ok()) continue;
    ++accepted;
    const std::string canonical = FormatAddress(*address);
    const auto again = ParseAddress(canonical);
    ASSERT_TRUE(again.ok()) << canonical;
    EXPECT_EQ(*again, *address);
    EXPECT_EQ(FormatAddress(*again), canonical);
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace lever::policy
