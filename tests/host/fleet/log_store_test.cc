#include "liblever/host/fleet/log_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "liblever/base/log.h"
#include "liblever/host/fleet/log_history.h"
#include "liblever/host/fleet/log_segment.h"

namespace lever::fleet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LogStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/log_store_test.XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    root_ = path;
    options_.directory = root_ + "/logs";
    options_.execute = [this](const std::function<void()>&) {
      ++posted_;
      return true;
    };
    Open();
  }
  void TearDown() override {
    store_.reset();
    SetLogSink(nullptr, nullptr);
    std::filesystem::remove_all(root_);
  }

  void Open() {
    store_.reset();
    auto opened = LogStore::Open(options_);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    store_ = std::move(*opened);
    number_ = store_->first_free_number();
  }
  void Add(const std::string& text, const std::string& service = "hello") {
    time_ns_ += 1'000'000'000;
    store_->Append("dev.lever", service, {number_++, time_ns_, 3, false, "i-1", text});
  }
  std::vector<LogLine> Read(LogHistoryQuery query) {
    query.environment = "dev.lever";
    LogHistory history(store_, query);
    std::vector<LogLine> lines;
    while (!history.done()) {
      for (LogLine& line : history.Step()) lines.push_back(std::move(line));
    }
    return lines;
  }
  std::vector<std::string> Texts(LogHistoryQuery query = {}) {
    std::vector<std::string> texts;
    for (const LogLine& line : Read(std::move(query))) texts.push_back(line.text);
    return texts;
  }
  std::vector<std::filesystem::path> Files() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(options_.directory)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }

  std::string root_;
  LogStoreOptions options_;
  std::shared_ptr<LogStore> store_;
  uint64_t number_ = 0;
  int64_t time_ns_ = 1'700'000'000'000'000'000;
  int posted_ = 0;
};

TEST_F(LogStoreTest, ALineComesBackAsItWas) {
  store_->Append("dev.lever", "hello", {number_, 17, 4, true, "i-abc", "two  words "});
  const std::vector<LogLine> lines = Read({});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].environment, "dev.lever");
  EXPECT_EQ(lines[0].service, "hello");
  EXPECT_EQ(lines[0].instance, "i-abc");
  EXPECT_EQ(lines[0].version, 4u);
  EXPECT_EQ(lines[0].time_unix_ns, 17);
  EXPECT_TRUE(lines[0].is_stderr);
  EXPECT_EQ(lines[0].text, "two  words ");
}

TEST_F(LogStoreTest, OneFlushIsPostedForAllThatWaits) {
  Add("one");
  Add("two", "other");
  EXPECT_EQ(posted_, 1);
  store_->Flush();
  Add("three");
  EXPECT_EQ(posted_, 2);
}

TEST_F(LogStoreTest, LinesOutliveTheStoreAndNumbersGoOn) {
  Add("one");
  const uint64_t last = number_;
  Open();
  EXPECT_GT(number_, last);
  Add("two");
  EXPECT_THAT(Texts(), ElementsAre("one", "two"));
  EXPECT_EQ(Files().size(), 2u);
}

TEST_F(LogStoreTest, NumbersGoOnThoughTheClockWasSetBack) {
  number_ = UINT64_MAX / 2;  // as if the clock had been in the far future
  Add("one");
  Open();
  EXPECT_GT(number_, UINT64_MAX / 2);
  Add("two");
  EXPECT_THAT(Texts(), ElementsAre("one", "two"));
}

TEST_F(LogStoreTest, ATornLineIsPassedOverAndNothingIsWrittenBehindIt) {
  Add("one");
  Add("torn");
  store_->Flush();
  const auto file = Files().at(0);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 3);
  Open();
  Add("three");
  EXPECT_THAT(Texts(), ElementsAre("one", "three"));
}

TEST_F(LogStoreTest, WhatACrashLeftOfZerosIsPassedOver) {
  Add("one");
  store_->Flush();
  {
    std::ofstream file(Files().at(0), std::ios::app | std::ios::binary);
    file << std::string(100'000, '\0') << "\nfoo bar\n";
  }
  Open();
  Add("two");
  EXPECT_THAT(Texts(), ElementsAre("one", "two"));
}

TEST_F(LogStoreTest, FilesWithoutAHeaderAndFoldersOfOthersAreLeftAlone) {
  std::filesystem::create_directories(options_.directory + "/other");
  std::ofstream(options_.directory + "/other/" + SegmentFileName(7)) << "what is this\n";
  std::ofstream(options_.directory + "/note") << "mine\n";
  Open();
  Add("one");
  EXPECT_THAT(Texts(), ElementsAre("one"));
  EXPECT_TRUE(std::filesystem::exists(options_.directory + "/other/" + SegmentFileName(7)));
}

TEST_F(LogStoreTest, FilesAreBoundedAndTheOldestOfAServiceGo) {
  options_.segment_bytes_max = 1000;
  options_.service_bytes_max = 3000;
  Open();
  for (int i = 0; i < 200; ++i) Add("line " + std::to_string(i));
  store_->Flush();
  uint64_t bytes = 0;
  for (const auto& file : Files()) {
    EXPECT_LE(std::filesystem::file_size(file), 1200u);
    bytes += std::filesystem::file_size(file);
  }
  EXPECT_LE(bytes, 3000u);
  EXPECT_EQ(bytes, store_->bytes());
  const std::vector<std::string> texts = Texts();
  ASSERT_GT(texts.size(), 20u);
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(texts[i], "line " + std::to_string(200 - texts.size() + i));
  }
}

TEST_F(LogStoreTest, AboveTheBoundOfAllTheOldestFilesGoFirst) {
  options_.segment_bytes_max = 500;
  options_.total_bytes_max = 2000;
  Open();
  Add("the first of all", "early");
  store_->Flush();
  Open();  // its file is not written any more
  for (int i = 0; i < 100; ++i) Add("line " + std::to_string(i), "late");
  store_->Flush();
  EXPECT_LE(store_->bytes(), 2000u);
  EXPECT_THAT(Texts({.service = "early"}), IsEmpty());
  EXPECT_EQ(Texts({.service = "late"}).back(), "line 99");
  Open();
  EXPECT_LE(store_->bytes(), 2000u);
}

TEST_F(LogStoreTest, ADiskThatDoesNotKeepUpIsNamed) {
  std::string logged;
  SetLogSink([](void* context, LogLevel,
                std::string_view text) { *static_cast<std::string*>(context) += text; },
             &logged);
  options_.pending_bytes_max = 1000;
  Open();
  for (int i = 0; i < 100; ++i) Add(std::string(50, 'x'));
  store_->Flush();
  EXPECT_THAT(logged, HasSubstr("the disk does not keep up"));
  EXPECT_LT(Texts().size(), 20u);
  Add("again");
  EXPECT_EQ(Texts().back(), "again");
}

TEST_F(LogStoreTest, AFolderThatWasRemovedIsMadeAgain) {
  Add("one");
  store_->Flush();
  std::filesystem::remove_all(Files().at(0).parent_path());
  Add("two");
  EXPECT_THAT(Texts(), ElementsAre("two"));
}

// ---- Reading ----

TEST_F(LogStoreTest, ServicesAreMergedInTheOrderOfTheirLines) {
  options_.segment_bytes_max = 300;
  Open();
  std::vector<std::string> expected;
  for (int i = 0; i < 300; ++i) {
    expected.push_back("line " + std::to_string(i));
    Add(expected.back(), "service" + std::to_string(i * 7 % 5));
    if (i % 50 == 0) store_->Flush();
  }
  EXPECT_EQ(Texts(), expected);
  for (const size_t tail : {1u, 7u, 299u, 300u, 1000u}) {
    const size_t count = std::min<size_t>(tail, 300);
    EXPECT_EQ(Texts({.tail = tail}),
              std::vector<std::string>(expected.end() - static_cast<std::ptrdiff_t>(count),
                                       expected.end()));
  }
  EXPECT_THAT(Texts({.tail = 0}), IsEmpty());
}

TEST_F(LogStoreTest, ATailCountsWhatMatches) {
  options_.segment_bytes_max = 300;
  Open();
  for (int i = 0; i < 200; ++i) Add((i % 50 == 0 ? "error " : "fine ") + std::to_string(i));
  const LogFilter errors = LogFilter::Make(0, "^err.r [0-9]+$").value();
  EXPECT_THAT(Texts({.filter = errors, .tail = 2}), ElementsAre("error 100", "error 150"));
  EXPECT_THAT(Texts({.filter = errors}),
              ElementsAre("error 0", "error 50", "error 100", "error 150"));
}

TEST_F(LogStoreTest, SinceAMoment) {
  for (int i = 0; i < 5; ++i) Add(std::to_string(i));
  const LogFilter filter = LogFilter::Make(time_ns_ - 1'000'000'000, "").value();
  EXPECT_THAT(Texts({.filter = filter}), ElementsAre("3", "4"));
}

TEST_F(LogStoreTest, LinesFromTheEndNumberOnAreOfTheLiveReader) {
  Add("one");
  const uint64_t end = number_;
  Add("two");
  EXPECT_THAT(Texts({.end_number = end}), ElementsAre("one"));
  EXPECT_THAT(Texts({.tail = 1, .end_number = end}), ElementsAre("one"));
}

TEST_F(LogStoreTest, AStepIsBounded) {
  const std::string text(4000, 'x');
  for (int i = 0; i < 3000; ++i) {
    Add(text);
    if (i % 500 == 0) store_->Flush();
  }
  LogHistory history(store_, {.environment = "dev.lever", .service = "", .filter = {}});
  size_t steps = 0, lines = 0;
  while (!history.done()) {
    const size_t count = history.Step().size();
    EXPECT_LE(count, LogHistory::kStepLines);
    lines += count;
    ++steps;
  }
  EXPECT_EQ(lines, 3000u);
  EXPECT_GE(steps, 3000 / LogHistory::kStepLines);
}

TEST(LogFilterTest, ABadExpressionIsAnError) {
  const auto filter = LogFilter::Make(0, "(unclosed");
  EXPECT_EQ(filter.status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_THAT(filter.status().message(), HasSubstr("missing )"));
  EXPECT_FALSE(LogFilter::Make(0, std::string(2000, 'a')).ok());
  // Compiles to more than an expression may take.
  EXPECT_FALSE(LogFilter::Make(0, "((a{100}){100}){100}").ok());
}

TEST(LogSegmentTest, WhatWasNotWrittenIsNotRead) {
  for (const char* text : {"", "1", "1 2 3 o i", "x 2 3 o i t", "1 2 3 z i t", "-1 2 3 o i t",
                           "99999999999999999999999 2 3 o i t"}) {
    EXPECT_FALSE(ParseLine(text)) << text;
  }
  EXPECT_TRUE(ParseLine("1 2 3 o i "));
  EXPECT_FALSE(ParseSegmentHeader("lever-log 2 a b"));
  EXPECT_FALSE(ParseSegmentFileName("00000000000000000007.txt"));
  EXPECT_EQ(ParseSegmentFileName(SegmentFileName(UINT64_MAX)), UINT64_MAX);
}

}  // namespace
}  // namespace lever::fleet
