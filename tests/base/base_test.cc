// The small things: the slab, ids, random numbers, status, clock and log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "liblever/base/clock.h"
#include "liblever/base/ids.h"
#include "liblever/base/log.h"
#include "liblever/base/random.h"
#include "liblever/base/slab.h"
#include "liblever/base/status.h"

namespace lever {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

TEST(Slab, FindsWhatIsThereAndNothingElse) {
  Slab<int> slab;
  const uint64_t one = slab.Insert(1);
  const uint64_t two = slab.Insert(2);
  EXPECT_NE(one, 0u);
  EXPECT_EQ(*slab.Find(one), 1);
  EXPECT_EQ(*slab.Find(two), 2);
  EXPECT_EQ(slab.Find(0), nullptr);
  EXPECT_EQ(slab.Find(1), nullptr);
  EXPECT_EQ(slab.Find(UINT64_MAX), nullptr);
  EXPECT_EQ(slab.size(), 2u);
}

TEST(Slab, AnErasedIdIsNeverValidAgain) {
  Slab<int> slab;
  std::set<uint64_t> ids;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t id = slab.Insert(i);
    EXPECT_TRUE(ids.insert(id).second) << "an id was given twice";
    EXPECT_TRUE(slab.Erase(id));
    EXPECT_FALSE(slab.Erase(id));
  }
  slab.Insert(1);
  for (const uint64_t id : ids) EXPECT_EQ(slab.Find(id), nullptr);
}

TEST(Slab, AnswersZeroWhenFull) {
  Slab<int> slab(2);
  const uint64_t one = slab.Insert(1);
  EXPECT_NE(slab.Insert(2), 0u);
  EXPECT_EQ(slab.Insert(3), 0u);
  EXPECT_TRUE(slab.Erase(one));
  EXPECT_NE(slab.Insert(3), 0u);
}

TEST(Slab, ForEachMayErase) {
  Slab<std::unique_ptr<int>> slab;
  for (int i = 0; i < 4; ++i) slab.Insert(std::make_unique<int>(i));
  std::vector<int> seen;
  slab.ForEach([&](uint64_t id, const std::unique_ptr<int>& value) {
    seen.push_back(*value);
    if (*value % 2 == 0) slab.Erase(id);
  });
  EXPECT_THAT(seen, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(slab.size(), 2u);
}

TEST(Slab, AValuesDestructorMayUseTheTable) {
  struct Value {
    ~Value() {
      if (slab != nullptr) {
        EXPECT_EQ(slab->Find(id), nullptr);
      }
    }
    Value() = default;
    Value(Value&& other) noexcept : slab(std::exchange(other.slab, nullptr)), id(other.id) {}
    Slab<Value>* slab = nullptr;
    uint64_t id = 0;
  };
  Slab<Value> slab;
  const uint64_t id = slab.Insert(Value());
  slab.Find(id)->slab = &slab;
  slab.Find(id)->id = id;
  EXPECT_TRUE(slab.Erase(id));
  EXPECT_TRUE(slab.empty());
}

TEST(Ids, RandomIdsDifferAndSurviveHex) {
  const Id128 one = Id128::Random();
  const Id128 two = Id128::Random();
  EXPECT_FALSE(one == two);
  EXPECT_EQ(one.ToHex().size(), 32u);
  EXPECT_EQ(Id128::FromHex(one.ToHex()), one);
}

TEST(Ids, HexIsLowerCaseAndExact) {
  const uint8_t bytes[] = {0x00, 0x0f, 0xa5, 0xff};
  EXPECT_EQ(ToHex(bytes), "000fa5ff");
  uint8_t back[4];
  EXPECT_TRUE(FromHex("000fa5ff", back));
  EXPECT_TRUE(std::equal(back, back + 4, bytes));
  EXPECT_FALSE(FromHex("000FA5FF", back));
  EXPECT_FALSE(FromHex("000fa5f", back));
  EXPECT_FALSE(FromHex("000fa5fff0", back));
  EXPECT_FALSE(FromHex("000fa5f ", back));
  EXPECT_FALSE(Id128::FromHex("").has_value());
}

TEST(Random, TheSameSeedGivesTheSameNumbers) {
  Random one(1), same(1), other(2);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t number = one.Next();
    EXPECT_EQ(number, same.Next());
    differs |= number != other.Next();
  }
  EXPECT_TRUE(differs);
}

// The first numbers of xoshiro256** when SplitMix64 has filled its state from 0.
TEST(Random, FollowsTheReference) {
  Random random(0);
  EXPECT_EQ(random.Next(), 0x99ec5f36cb75f2b4u);
  EXPECT_EQ(random.Next(), 0xbf6e1f784956452au);
}

TEST(Random, BelowIsBelowAndReachesEverything) {
  Random random(3);
  std::map<uint32_t, int> counts;
  for (int i = 0; i < 7000; ++i) ++counts[random.Below(7)];
  ASSERT_EQ(counts.size(), 7u);
  for (const auto& [number, count] : counts) {
    EXPECT_LT(number, 7u);
    EXPECT_NEAR(count, 1000, 200);
  }
  EXPECT_EQ(random.Below(1), 0u);
  for (int i = 0; i < 1000; ++i) {
    const double number = random.NextDouble();
    EXPECT_GE(number, 0.0);
    EXPECT_LT(number, 1.0);
  }
}

TEST(Status, CarriesCodeMessageAndExecuted) {
  const Status status = NotFound("no service hello").WithExecuted(LEVER_EXECUTED_NO);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.ToString(), "NOT_FOUND: no service hello");
  EXPECT_EQ(status.executed(), LEVER_EXECUTED_NO);
  EXPECT_EQ(Internal("x").executed(), LEVER_EXECUTED_UNKNOWN);
  EXPECT_TRUE(Status().ok());
}

// What was seen: "detached from the host: " without a reason.
TEST(Status, KeepsItsTextWhenItIsAssignedToItself) {
  Status status = Unavailable("cannot connect to 127.0.0.1:1: Connection refused");
  status = std::move(status).WithExecuted(LEVER_EXECUTED_NO);
  EXPECT_EQ(status.message(), "cannot connect to 127.0.0.1:1: Connection refused");
  EXPECT_EQ(status.executed(), LEVER_EXECUTED_NO);
}

TEST(Status, EveryCodeHasItsRow) {
#define LEVER_CHECK_ROW_(name, number, grpc, http, exit_code, text) \
  EXPECT_EQ(StatusName(LEVER_##name), #name);                       \
  EXPECT_EQ(StatusText(LEVER_##name), text);                        \
  EXPECT_EQ(StatusToGrpc(LEVER_##name), grpc);                      \
  EXPECT_EQ(StatusToHttp(LEVER_##name), http);                      \
  EXPECT_EQ(StatusToExitCode(LEVER_##name), exit_code);             \
  EXPECT_EQ(StatusFromName(#name), LEVER_##name);
  LEVER_STATUS_MAP(LEVER_CHECK_ROW_)
#undef LEVER_CHECK_ROW_
  EXPECT_EQ(StatusName(static_cast<lever_status>(999)), "UNKNOWN");
  EXPECT_FALSE(StatusFromName("NO_SUCH_CODE").has_value());
}

TEST(Status, AGrpcStatusFromAPeerIsNeverTrusted) {
  for (int grpc = 0; grpc <= 16; ++grpc) EXPECT_EQ(StatusFromGrpc(grpc), grpc);
  for (const int grpc : {-1, 17, 32, 36, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(StatusFromGrpc(grpc), LEVER_UNKNOWN);
  }
}

TEST(Status, ErrnosMapToCodes) {
  EXPECT_EQ(ErrnoStatus(ENOENT, "open").code(), LEVER_NOT_FOUND);
  EXPECT_EQ(ErrnoStatus(EACCES, "open").code(), LEVER_PERMISSION_DENIED);
  EXPECT_EQ(ErrnoStatus(EMFILE, "open").code(), LEVER_RESOURCE_EXHAUSTED);
  EXPECT_EQ(ErrnoStatus(EIO, "open").code(), LEVER_INTERNAL);
  EXPECT_EQ(ErrnoStatus(ENOENT, "open").message(), "open: No such file or directory");
}

Status Fails() { return NotFound("gone"); }
StatusOr<std::unique_ptr<int>> Gives(int value) { return std::make_unique<int>(value); }

TEST(StatusOr, MacrosPassErrorsOnAndMoveValues) {
  const auto sum = []() -> StatusOr<int> {
    LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<int> one, Gives(1));
    LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<int> two, Gives(2));
    return *one + *two;
  };
  StatusOr<int> result = sum();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(*result, 3);
  const auto fails = []() -> StatusOr<int> {
    LEVER_RETURN_IF_ERROR(Fails());
    return 1;
  };
  EXPECT_EQ(fails().status().code(), LEVER_NOT_FOUND);
}

TEST(Clock, DeadlinesSaturate) {
  EXPECT_EQ(DeadlineAfter(5, 10), 15);
  EXPECT_EQ(DeadlineAfter(5, 0), 5);
  EXPECT_EQ(DeadlineAfter(5, -1), kNever);
  EXPECT_EQ(DeadlineAfter(5, kNever), kNever);
  EXPECT_EQ(DeadlineAfter(5, kNever - 5), kNever);
}

TEST(Clock, TheSystemsGoesOnAndTheManualStandsStill) {
  const int64_t before = Clock::System().NowNs();
  EXPECT_GT(before, 0);
  EXPECT_GE(Clock::System().NowNs(), before);
  ManualClock clock(7);
  EXPECT_EQ(clock.NowNs(), 7);
  clock.Advance(3);
  EXPECT_EQ(clock.NowNs(), 10);
}

TEST(Log, GoesToTheSinkFromTheLeastLevelOn) {
  std::vector<std::string> lines;
  const LogSink sink = [](void* context, LogLevel level, std::string_view line) {
    static_cast<std::vector<std::string>*>(context)->push_back(
        std::to_string(static_cast<int>(level)) + std::string(line));
  };
  EXPECT_FALSE(LogEnabled(LogLevel::kError)) << "nothing is logged without a sink";
  Log(LogLevel::kError, "dropped");
  SetLogSink(sink, &lines, LogLevel::kWarning);
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo));
  Log(LogLevel::kInfo, "dropped");
  Log(LogLevel::kWarning, "warning");
  Log(LogLevel::kError, "error");
  SetLogSink(nullptr, nullptr);
  Log(LogLevel::kError, "dropped");
  EXPECT_THAT(lines, ElementsAre("2warning", "3error"));
}

TEST(Log, ALimiterSaysHowManyLinesItKeptBack) {
  std::vector<std::string> lines;
  const LogSink sink = [](void* lines, LogLevel, std::string_view line) {
    static_cast<std::vector<std::string>*>(lines)->emplace_back(line);
  };
  LogLimiter limiter(10);
  limiter.Log(LogLevel::kInfo, 0, "nobody listens, so that nothing is kept back");
  SetLogSink(sink, &lines, LogLevel::kInfo);
  for (const int64_t now_ns : {0, 1, 9, 10, 19, 20}) {
    limiter.Log(LogLevel::kInfo, now_ns, std::to_string(now_ns));
  }
  limiter.Log(LogLevel::kInfo, -5, "another clock");
  SetLogSink(nullptr, nullptr);
  EXPECT_THAT(lines, ElementsAre("0", "10 (and 2 before it)", "20 (and 1 before it)", "another clock"));
}

TEST(Log, NobodyIsInTheOldSinkWhenSetLogSinkReturns) {
  struct Context {
    std::atomic<int> inside{0};
    std::atomic<bool> replaced{false};
    std::atomic<bool> called_late{false};
  } context;
  const LogSink sink = [](void* it, LogLevel, std::string_view) {
    auto* context = static_cast<Context*>(it);
    ++context->inside;
    if (context->replaced) context->called_late = true;
    --context->inside;
  };
  SetLogSink(sink, &context);
  std::atomic<bool> stop{false};
  std::atomic<int> logged{0};
  std::thread logger([&] {
    while (!stop) {
      Log(LogLevel::kError, "line");
      ++logged;
    }
  });
  while (logged < 100) std::this_thread::yield();
  SetLogSink(nullptr, nullptr);
  EXPECT_EQ(context.inside, 0);
  context.replaced = true;
  const int before = logged;
  while (logged < before + 100) std::this_thread::yield();
  stop = true;
  logger.join();
  EXPECT_FALSE(context.called_late);
}

}  // namespace
}  // namespace lever
