// tests/vectors/grpc.json, entry by entry.

#include <gtest/gtest.h>

#include "liblever/base/clock.h"
#include "liblever/rpc/grpc_timeout.h"
#include "liblever/rpc/percent.h"
#include "tests/vectors/vectors.h"

namespace lever::vectors {
namespace {

const nlohmann::json& Vectors() {
  static const nlohmann::json vectors = LoadVectors("grpc.json");
  return vectors;
}

TEST(GrpcVectors, MessagesAreEncodedAndDecoded) {
  ASSERT_GT(Vectors().at("messages").size(), 5u);
  for (const auto& entry : Vectors().at("messages")) {
    EXPECT_EQ(rpc::EncodeGrpcMessage(entry.at("text").get<std::string>()), entry.at("encoded"));
    EXPECT_EQ(rpc::DecodeGrpcMessage(entry.at("encoded").get<std::string>()), entry.at("text"));
  }
}

TEST(GrpcVectors, OtherMessagesAreDecoded) {
  ASSERT_GT(Vectors().at("messages_decoded").size(), 3u);
  for (const auto& entry : Vectors().at("messages_decoded")) {
    EXPECT_EQ(rpc::DecodeGrpcMessage(entry.at("encoded").get<std::string>()), entry.at("text"));
  }
}

TEST(GrpcVectors, TimeoutsAreRead) {
  ASSERT_GT(Vectors().at("timeouts").size(), 5u);
  for (const auto& entry : Vectors().at("timeouts")) {
    EXPECT_EQ(rpc::ParseGrpcTimeout(entry.at("header").get<std::string>()),
              entry.at("ns").get<int64_t>())
        << entry;
  }
  for (const auto& entry : Vectors().at("timeouts_never")) {
    EXPECT_EQ(rpc::ParseGrpcTimeout(entry.get<std::string>()), kNever) << entry;
  }
}

TEST(GrpcVectors, TimeoutsAreWritten) {
  ASSERT_GT(Vectors().at("timeouts_written").size(), 5u);
  for (const auto& entry : Vectors().at("timeouts_written")) {
    EXPECT_EQ(rpc::FormatGrpcTimeout(entry.at("ns").get<int64_t>()), entry.at("header"));
  }
}

TEST(GrpcVectors, InvalidTimeoutsAreRefused) {
  ASSERT_GT(Vectors().at("timeouts_invalid").size(), 5u);
  for (const auto& entry : Vectors().at("timeouts_invalid")) {
    EXPECT_FALSE(rpc::ParseGrpcTimeout(entry.get<std::string>()).has_value()) << entry;
  }
}

}  // namespace
}  // namespace lever::vectors
