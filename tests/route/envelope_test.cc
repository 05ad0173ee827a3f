// The envelope against protobuf's own parser, and what of headers is the user's.
#include "liblever/route/envelope.h"

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lever/v1/lever.pb.h"
#include "liblever/base/random.h"
#include "liblever/route/stream_core.h"
#include "liblever/route/user_headers.h"
#include "tests/route/envelope_oracle.h"
#include "tests/value/mutation.h"

namespace lever::route {
namespace {

SliceList InPieces(std::string_view bytes, Random* random) {
  SliceList pieces;
  while (!bytes.empty()) {
    const size_t size = std::min<size_t>(bytes.size(), random->Below(6));
    pieces.push_back(Slice::Copy(bytes.substr(0, size)));
    bytes.remove_prefix(size);
  }
  return pieces;
}

// The arm that both agree on; `moved` is looked at as bytes by us only.
void ExpectSame(const std::string& bytes, const Envelope& ours, const v1::Message& theirs) {
  const std::string payload = Concat(ours.payload);
  switch (theirs.body_case()) {
    case v1::Message::kValue:
      ASSERT_EQ(ours.kind, Kind::kValue);
      ASSERT_EQ(payload, theirs.value());
      break;
    case v1::Message::kRaw:
      ASSERT_EQ(ours.kind, Kind::kRaw);
      ASSERT_EQ(payload, theirs.raw());
      break;
    case v1::Message::kErrorValue:
      ASSERT_EQ(ours.kind, Kind::kErrorValue);
      ASSERT_EQ(payload, theirs.error_value());
      break;
    case v1::Message::kErrorRaw:
      ASSERT_EQ(ours.kind, Kind::kErrorRaw);
      ASSERT_EQ(payload, theirs.error_raw());
      break;
    case v1::Message::kMoved: ASSERT_TRUE(ours.moved); break;
    case v1::Message::BODY_NOT_SET: ASSERT_TRUE(ours.bookkeeping()); break;
  }
  ASSERT_EQ(ours.moved, theirs.body_case() == v1::Message::kMoved);
  ASSERT_EQ(ours.has_resume, theirs.has_resume());
  ASSERT_EQ(ours.resume.view(), theirs.resume());
  ASSERT_EQ(ours.consumed, theirs.consumed());
  ASSERT_EQ(ours.received, theirs.received());
}

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds;
  const auto add = [&](auto fill) {
    v1::Message message;
    fill(message);
    seeds.push_back(message.SerializeAsString());
  };
  add([](auto& m) { m.set_value("\x91\x05"); });
  add([](auto& m) { m.set_raw(std::string(130, 'r')); });
  add([](auto& m) { m.set_error_value("\xa3" "bad"); });
  add([](auto& m) { m.set_error_raw(""); });
  add([](auto& m) { m.mutable_moved()->set_owner("host"); });
  add([](auto& m) {
    m.set_value("\x90");
    m.set_resume("token");
    m.set_consumed(300);
    m.set_received(UINT64_MAX);
  });
  add([](auto& m) { m.set_resume(""); });
  seeds.push_back(std::string("\x0a\x01\x90\x12\x01x", 6));                // two arms: the last wins
  seeds.push_back(std::string("\x7a\x02hi\x80\x01\x07\x0a\x01\x90", 10));  // unknown fields
  return seeds;
}

TEST(EnvelopeAgainstProtobuf, TenThousandMutationsAreReadAlike) {
  const std::vector<std::string> seeds = Seeds();
  const std::string tags = "\x0a\x12\x1a\x22\x2a\x32\x38\x40\x08\x0d\x09\x0b\x0c\x80\xff\x01";
  const google::protobuf::LogSilencer silent;  // of text that is not UTF-8
  Random random(TestSeed());
  int accepted = 0, refused = 0;
  for (int round = 0; round < 10'000; ++round) {
    const std::string bytes = Mutated(seeds, tags, &random);
    v1::Message theirs;
    const bool good = theirs.ParseFromString(bytes);
    const auto ours = ParseEnvelope(InPieces(bytes, &random));
    if (!ours.ok()) {
      ++refused;
      ASSERT_EQ(ours.status().code(), LEVER_INVALID_ARGUMENT);
      ASSERT_TRUE(!good || RefusedOnPurpose(bytes)) << ToHex(std::span(
          reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
      continue;
    }
    ++accepted;
    // Of `moved` we look at the length only, and tags and lengths may be padded to ten bytes;
    // everything else that we take protobuf takes.
    if (!good) {
      ASSERT_TRUE(bytes.find_first_of("\x2a\xaa") != std::string::npos || HasLongVarint(bytes))
          << ToHex(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
      continue;
    }
    ASSERT_NO_FATAL_FAILURE(ExpectSame(bytes, *ours, theirs));
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(EnvelopeAgainstProtobuf, CutAtEachByteItIsReadAlike) {
  Random random(1);
  for (const std::string& seed : Seeds()) {
    for (size_t size = 0; size <= seed.size(); ++size) {
      const std::string bytes = seed.substr(0, size);
      v1::Message theirs;
      const bool good = theirs.ParseFromString(bytes);
      const auto ours = ParseEnvelope(InPieces(bytes, &random));
      ASSERT_EQ(ours.ok(), good) << size;
      if (good) {
        ASSERT_NO_FATAL_FAILURE(ExpectSame(bytes, *ours, theirs));
      }
    }
  }
}

TEST(EnvelopeAgainstProtobuf, WhatIsWrittenProtobufReads) {
  for (const Kind kind : {Kind::kValue, Kind::kRaw, Kind::kErrorValue, Kind::kErrorRaw}) {
    for (const size_t size : {0u, 1u, 127u, 128u, 16383u, 16384u, 3'000'000u}) {
      SliceList payload;
      payload.push_back(Slice::Copy(std::string(size / 2, 'a')));
      payload.push_back(Slice::Copy(std::string(size - size / 2, 'b')));
      const SliceList written = WriteEnvelope(kind, payload);
      EXPECT_EQ(TotalSize(written), EnvelopePrefixBytes(size) + size);
      v1::Message message;
      ASSERT_TRUE(message.ParseFromString(Concat(written)));
      const auto read = ParseEnvelope(written);
      ASSERT_TRUE(read.ok());
      EXPECT_EQ(read->kind, kind);
      ASSERT_NO_FATAL_FAILURE(ExpectSame("", *read, message));
    }
  }
}

TEST(EnvelopeAgainstProtobuf, FieldsBeyondTheLimitAreRefused) {
  std::string bytes;
  for (size_t i = 0; i < kEnvelopeFieldsMax; ++i) bytes += std::string("\x38\x01", 2);
  SliceList most;
  most.push_back(Slice::Copy(bytes));
  EXPECT_TRUE(ParseEnvelope(most).ok());
  most.push_back(Slice::Copy(std::string("\x38\x01", 2)));
  EXPECT_FALSE(ParseEnvelope(most).ok());
}

TEST(UserHeaders, AreAllButOursAndGrpcs) {
  rpc::HeaderList from, to;
  for (const char* name : {"color", "lever-url", "lever-", "grpc-timeout", "traceparent", ":path", "leverage",
                           "grpcx", "x-lever-url", "user-agent"}) {
    from.Add(name, "v");
  }
  from.Add("secret", "s", rpc::Indexing::kNever);
  AddUserHeaders(from, &to);
  std::string names;
  for (size_t i = 0; i < to.size(); ++i) names += std::string(to[i].name) + " ";
  EXPECT_EQ(names, "color traceparent leverage grpcx x-lever-url user-agent secret ");
  EXPECT_EQ(to[to.size() - 1].indexing, rpc::Indexing::kNever);
}

TEST(ReadCredit, BoundedInBytesTheTransportHasCreditForOneMessage) {
  ReadCredit credit;
  EXPECT_EQ(credit.Take(), 0u);
  credit.Add(10, 100);
  EXPECT_EQ(credit.Take(), 1u);
  EXPECT_EQ(credit.Take(), 0u);
  credit.Delivered(150);  // larger than what was left
  EXPECT_EQ(credit.Take(), 0u);
  credit.Add(0, 50);  // made up first
  EXPECT_EQ(credit.Take(), 0u);
  credit.Add(0, 1);
  EXPECT_EQ(credit.Take(), 1u);
  credit.Skipped();
  EXPECT_EQ(credit.Take(), 1u);
  credit.Restart();
  EXPECT_EQ(credit.Take(), 1u);
}

TEST(ReadCredit, UnboundedAllOfItIsGivenAndItSaturates) {
  ReadCredit credit;
  credit.Add(0, 0);
  EXPECT_EQ(credit.Take(), 0u);
  credit.Add(5, 0);
  EXPECT_EQ(credit.Take(), 5u);
  credit.Delivered(1'000'000);
  credit.Restart();
  EXPECT_EQ(credit.Take(), 4u);
  credit.Add(UINT64_MAX, UINT64_MAX);
  credit.Add(UINT64_MAX, UINT64_MAX);
  EXPECT_EQ(credit.Take(), UINT64_MAX);
}

}  // namespace
}  // namespace lever::route
