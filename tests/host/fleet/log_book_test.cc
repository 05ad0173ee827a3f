#include "liblever/host/fleet/log_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "liblever/base/log.h"

namespace lever::fleet {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto kOut = OutputStream::kStdout;
constexpr auto kErr = OutputStream::kStderr;

int64_t fixed_time_ns() { return 1'700'000'000'000'000'000; }

class LogBookTest : public testing::Test {
 protected:
  void SetUp() override {
    LoopOptions options;
    options.posters_drive = false;
    auto loop = Loop::Open(options);
    ASSERT_TRUE(loop.ok());
    loop_ = std::move(loop).value();
    options_.unix_now_ns = fixed_time_ns;
    Make();
  }
  void TearDown() override { SetLogSink(nullptr, nullptr); }

  void Make() { book_ = std::make_unique<LogBook>(options_); }
  void Begin(uint64_t key, const std::string& service,
             const std::string& environment = "dev.lever") {
    book_->Begin({key, environment, service, "i-" + std::to_string(key), 3});
  }
  std::unique_ptr<LogReader> Open(const std::string& service, size_t tail, bool follow,
                                  const std::string& environment = "dev.lever") {
    return book_->Open({environment, service, tail, follow}, loop_.get(), [this] { ++wakes_; });
  }
  static std::vector<std::string> Texts(const std::vector<LogLine>& lines) {
    std::vector<std::string> texts;
    for (const LogLine& line : lines) {
      texts.push_back((line.lost > 0 ? "(" + std::to_string(line.lost) + " lost) " : "") +
                      line.text);
    }
    return texts;
  }
  std::vector<std::string> TakeAll(LogReader& reader) { return Texts(reader.Take(1'000'000)); }
  std::vector<std::string> Tail(const std::string& service, size_t tail) {
    const auto reader = Open(service, tail, false);
    return TakeAll(*reader);
  }
  // Whether `wake` is called by what was signalled up to now.
  bool Woken() {
    const int before = wakes_;
    while (*loop_->Turn(0)) {
    }
    return wakes_ > before;
  }

  LogBookOptions options_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<LogBook> book_;
  int wakes_ = 0;
};

TEST_F(LogBookTest, ALineSaysWhoseItIs) {
  Begin(7, "hello");
  book_->Append(7, kErr, "ouch\n");
  const auto reader = Open("hello", 10, false);
  const std::vector<LogLine> lines = reader->Take(10);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].environment, "dev.lever");
  EXPECT_EQ(lines[0].service, "hello");
  EXPECT_EQ(lines[0].instance, "i-7");
  EXPECT_EQ(lines[0].version, 3u);
  EXPECT_EQ(lines[0].time_unix_ns, fixed_time_ns());
  EXPECT_TRUE(lines[0].is_stderr);
  EXPECT_EQ(lines[0].text, "ouch");
  EXPECT_EQ(lines[0].lost, 0u);
}

TEST_F(LogBookTest, TheStreamsOfAnInstanceAreCutApart) {
  Begin(1, "hello");
  book_->Append(1, kOut, "out ");
  book_->Append(1, kErr, "err ");
  book_->Append(1, kOut, "one\nout two");
  book_->Append(1, kErr, "one\n");
  EXPECT_THAT(Tail("hello", 10), ElementsAre("out one", "err one"));
  book_->End(1);
  EXPECT_THAT(Tail("hello", 10), ElementsAre("out one", "err one", "out two"));
}

TEST_F(LogBookTest, WhatIsSaidOfNobodyIsPassedOver) {
  book_->Append(5, kOut, "who?\n");
  book_->Note(5, "who?");
  book_->End(5);
  EXPECT_EQ(book_->LastWords(5), "");
  EXPECT_EQ(book_->bytes(), 0u);
}

TEST_F(LogBookTest, TheTailOfAServiceAndOfAnEnvironment) {
  Begin(1, "a");
  Begin(2, "b");
  Begin(3, "a", "other");
  for (int i = 0; i < 4; ++i) {
    book_->Append(1, kOut, "a" + std::to_string(i) + "\n");
    book_->Append(2, kOut, "b" + std::to_string(i) + "\n");
    book_->Append(3, kOut, "elsewhere\n");
  }
  EXPECT_THAT(Tail("a", 2), ElementsAre("a2", "a3"));
  EXPECT_THAT(Tail("a", 0), IsEmpty());
  EXPECT_THAT(Tail("a", 100), ElementsAre("a0", "a1", "a2", "a3"));
  EXPECT_THAT(Tail("", 3), ElementsAre("b2", "a3", "b3"));
  EXPECT_THAT(Tail("unknown", 10), IsEmpty());
}

TEST_F(LogBookTest, OneThatDoesNotFollowEndsWhereItBegan) {
  Begin(1, "hello");
  book_->Append(1, kOut, "one\ntwo\nthree\n");
  const auto reader = Open("hello", 10, false);
  book_->Append(1, kOut, "later\n");
  EXPECT_THAT(Texts(reader->Take(2)), ElementsAre("one", "two"));
  EXPECT_THAT(Texts(reader->Take(2)), ElementsAre("three"));
  EXPECT_THAT(Texts(reader->Take(2)), IsEmpty());
  book_->Append(1, kOut, "later still\n");
  EXPECT_FALSE(Woken());
}

TEST_F(LogBookTest, OneThatFollowsIsWokenOnceForWhatItHasNotTaken) {
  Begin(1, "hello");
  book_->Append(1, kOut, "past\n");
  const auto reader = Open("hello", 0, true);
  EXPECT_FALSE(Woken());
  EXPECT_THAT(TakeAll(*reader), IsEmpty());
  book_->Append(1, kOut, "unfinished");
  EXPECT_FALSE(Woken());
  book_->Append(1, kOut, "\n");
  EXPECT_EQ(wakes_, 0) << "not inside Append()";
  EXPECT_TRUE(Woken());
  book_->Append(1, kOut, "two\n");
  EXPECT_FALSE(Woken()) << "it knows already";
  EXPECT_THAT(TakeAll(*reader), ElementsAre("unfinished", "two"));
  EXPECT_THAT(TakeAll(*reader), IsEmpty());
  book_->Append(1, kOut, "three\n");
  EXPECT_TRUE(Woken());
  EXPECT_THAT(TakeAll(*reader), ElementsAre("three"));
}

TEST_F(LogBookTest, FollowersGetWhatTheySelectedOnly) {
  const auto one = Open("a", 0, true);
  const auto all = Open("", 0, true);
  Begin(1, "a");
  Begin(2, "b");
  Begin(3, "a", "other");
  book_->Append(2, kOut, "b\n");
  book_->Append(3, kOut, "other\n");
  book_->Append(1, kOut, "a\n");
  EXPECT_TRUE(Woken());
  EXPECT_THAT(TakeAll(*one), ElementsAre("a"));
  EXPECT_THAT(TakeAll(*all), ElementsAre("b", "a"));
}

TEST_F(LogBookTest, AServicesRingIsBoundedInLines) {
  options_.service_lines_max = 3;
  Make();
  Begin(1, "hello");
  const auto reader = Open("hello", 0, true);
  for (int i = 0; i < 10; ++i) book_->Append(1, kOut, std::to_string(i) + "\n");
  EXPECT_THAT(Tail("hello", 100), ElementsAre("7", "8", "9"));
  EXPECT_THAT(TakeAll(*reader), ElementsAre("(7 lost) 7", "8", "9"));
  book_->Append(1, kOut, "10\n");
  EXPECT_THAT(TakeAll(*reader), ElementsAre("10")) << "told once";
}

TEST_F(LogBookTest, AServicesRingIsBoundedInBytes) {
  options_.service_bytes_max = 3 * (100 + LogBook::kLineOverheadBytes);
  Make();
  Begin(1, "hello");
  for (int i = 0; i < 10; ++i)
    book_->Append(1, kOut, std::string(100, static_cast<char>('0' + i)) + "\n");
  EXPECT_THAT(Tail("hello", 100),
              ElementsAre(std::string(100, '7'), std::string(100, '8'), std::string(100, '9')));
  EXPECT_EQ(book_->bytes(), options_.service_bytes_max);
}

TEST_F(LogBookTest, AllServicesTogetherAreBoundedAndTheOldestGoFirst) {
  options_.total_bytes_max = 4 * (1 + LogBook::kLineOverheadBytes);
  Make();
  Begin(1, "quiet");
  Begin(2, "loud");
  book_->Append(1, kOut, "q\nr\n");
  book_->Append(2, kOut, "0\n1\n2\n");
  EXPECT_THAT(Tail("quiet", 10), ElementsAre("r"));
  EXPECT_THAT(Tail("loud", 10), ElementsAre("0", "1", "2"));
  for (int i = 0; i < 100; ++i) book_->Append(2, kOut, "x\n");
  EXPECT_THAT(Tail("quiet", 10), IsEmpty());
  EXPECT_EQ(Tail("loud", 10).size(), 4u);
  EXPECT_LE(book_->bytes(), options_.total_bytes_max);
}

TEST_F(LogBookTest, LinesOfAServiceThatIsForgottenAreCountedAsLost) {
  options_.total_bytes_max = 2 * (1 + LogBook::kLineOverheadBytes);
  Make();
  const auto reader = Open("", 0, true);
  Begin(1, "gone");
  book_->Append(1, kOut, "a\nb\n");
  book_->End(1);
  Begin(2, "here");
  book_->Append(2, kOut, "c\nd\n");
  EXPECT_THAT(TakeAll(*reader), ElementsAre("(2 lost) c", "d"));
  // The service is back: its ring begins anew.
  Begin(3, "gone");
  book_->Append(3, kOut, "e\n");
  EXPECT_THAT(TakeAll(*reader), ElementsAre("e"));
}

TEST_F(LogBookTest, OutputStaysWhenItsInstanceHasEnded) {
  Begin(1, "hello");
  book_->Append(1, kOut, "before\n");
  book_->End(1);
  Begin(2, "hello");
  book_->Append(2, kOut, "after\n");
  EXPECT_THAT(Tail("hello", 10), ElementsAre("before", "after"));
}

TEST_F(LogBookTest, LinesAreOfBoundedLengthAndValid) {
  options_.line_bytes_max = 8;
  Make();
  Begin(1, "hello");
  book_->Append(1, kOut, "0123456789\xff\n");
  EXPECT_THAT(Tail("hello", 10), ElementsAre("01234567", "89\ufffd"));
}

TEST_F(LogBookTest, LastWordsAreTheEndOfStderr) {
  Begin(1, "hello");
  EXPECT_EQ(book_->LastWords(1), "");
  book_->Append(1, kOut, "not this\n");
  for (int i = 0; i < 30; ++i) book_->Append(1, kErr, "line " + std::to_string(i) + "\n");
  book_->Note(1, "nor this");
  book_->Append(1, kErr, "unfinished");
  const std::string words = book_->LastWords(1);
  EXPECT_EQ(words.substr(0, words.find('\n')), "line 11");
  EXPECT_TRUE(words.ends_with("line 29\nunfinished")) << words;
  EXPECT_EQ(std::count(words.begin(), words.end(), '\n'), 19);
  // Asking changes nothing.
  book_->Append(1, kErr, " now done\n");
  EXPECT_TRUE(book_->LastWords(1).ends_with("line 29\nunfinished now done"));
}

TEST_F(LogBookTest, LastWordsAreBoundedInBytes) {
  Begin(1, "hello");
  for (int i = 0; i < 5; ++i)
    book_->Append(1, kErr, std::string(1'000, static_cast<char>('a' + i)) + "\n");
  EXPECT_LE(book_->LastWords(1).size(), options_.last_words_bytes_max);
  EXPECT_TRUE(book_->LastWords(1).ends_with(std::string(1'000, 'e')));
  book_->Append(1, kErr, std::string(6'000, 'z') + "\n");
  EXPECT_LE(book_->LastWords(1).size(), options_.last_words_bytes_max);
  EXPECT_GT(book_->LastWords(1).size(), options_.last_words_bytes_max / 2);
}

TEST_F(LogBookTest, NotesOfTheHostStandBetweenTheLines) {
  Begin(1, "hello");
  book_->Note(1, "started, pid 17");
  book_->Append(1, kOut, "hi\n");
  const auto reader = Open("hello", 10, false);
  const std::vector<LogLine> lines = reader->Take(10);
  EXPECT_THAT(Texts(lines), ElementsAre("[lever] started, pid 17", "hi"));
  EXPECT_TRUE(lines[0].is_stderr);
  EXPECT_FALSE(lines[1].is_stderr);
}

TEST_F(LogBookTest, EachLineGoesToTheHostsLog) {
  std::vector<std::string> logged;
  SetLogSink(
      [](void* context, LogLevel, std::string_view line) {
        static_cast<std::vector<std::string>*>(context)->emplace_back(line);
      },
      &logged);
  Begin(1, "hello");
  book_->Append(1, kOut, "one\ntw");
  book_->Append(1, kErr, "bad\n");
  book_->Note(1, "exited with code 0");
  book_->End(1);
  EXPECT_THAT(logged, ElementsAre("lever://dev.lever/hello i-1 out: one",
                                  "lever://dev.lever/hello i-1 err: bad",
                                  "lever://dev.lever/hello i-1 host: exited with code 0",
                                  "lever://dev.lever/hello i-1 out: tw"));
}

TEST_F(LogBookTest, TheHostsLogMayUseTheBook) {
  // No lock is held: a sink that looks into the book does not stand still.
  SetLogSink(
      [](void* context, LogLevel, std::string_view) { static_cast<LogBook*>(context)->bytes(); },
      book_.get());
  Begin(1, "hello");
  book_->Append(1, kErr, "one\n");
  book_->Note(1, "two");
  book_->Append(1, kErr, "three");
  book_->End(1);
  EXPECT_EQ(Tail("hello", 10).size(), 3u);
}

TEST_F(LogBookTest, AReaderMayEndInItsWake) {
  std::unique_ptr<LogReader> reader;
  int wakes = 0;
  reader = book_->Open({"dev.lever", "hello", 0, true}, loop_.get(), [&] {
    ++wakes;
    reader.reset();
  });
  Begin(1, "hello");
  book_->Append(1, kOut, "one\n");
  while (*loop_->Turn(0)) {
  }
  EXPECT_EQ(wakes, 1);
  book_->Append(1, kOut, "two\n");
  EXPECT_FALSE(Woken());
}

TEST_F(LogBookTest, AReaderThatHasEndedIsNotWoken) {
  auto reader = Open("hello", 0, true);
  Begin(1, "hello");
  book_->Append(1, kOut, "one\n");
  reader.reset();
  EXPECT_FALSE(Woken());
}

TEST_F(LogBookTest, ReadersOnAnotherThreadGetEveryLineOnceAndInOrder) {
  constexpr int kLines = 20'000;
  options_.service_lines_max = 100;  // so that the reader is left behind at times
  Make();
  Begin(1, "hello");
  const auto reader = Open("hello", 0, true);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < kLines; ++i) book_->Append(1, kOut, std::to_string(i) + "\n");
    done = true;
  });
  uint64_t next = 0;
  const auto take = [&] {
    for (const LogLine& line : reader->Take(64)) {
      const uint64_t number = std::stoull(line.text);
      if (next != 0) {
        EXPECT_EQ(number, next + line.lost);
      }
      next = number + 1;
    }
  };
  while (!done) {
    (void)loop_->Turn(kNanosPerMilli);
    take();
  }
  writer.join();
  while (next != kLines) {
    const uint64_t before = next;
    take();
    ASSERT_NE(before, next) << "lines are missing at the end";
  }
}

}  // namespace
}  // namespace lever::fleet
