// What the embedded registry promises about its file: crashes, restarts, two hosts, newer versions.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "liblever/base/random.h"
#include "liblever/host/registry/sqlite_registry.h"
#include "tests/contract/registry/executor.h"
#include "tests/contract/registry/temporary_directory.h"

namespace lever::registry {
namespace {

class SqliteDurability : public ::testing::Test {
 protected:
  StatusOr<std::unique_ptr<SqliteRegistry>> Open(Executor* executor) {
    SqliteRegistryOptions options;
    options.directory = directory_.path();
    options.executor = executor;
    return SqliteRegistry::Open(options);
  }
  std::optional<std::string> Read(SqliteRegistry& registry, QueueExecutor& executor,
                                  const std::string& key) {
    const auto got = Blocking(&registry, &executor).Get(key);
    if (!got.ok() || !got->entry) return std::nullopt;
    return got->entry->value;
  }

  TemporaryDirectory directory_;
};

// Writes one key after the other and tells each acknowledged number through the pipe, until killed.
[[noreturn]] void WriteForEver(const std::string& directory, int first, int pipe) {
  QueueExecutor executor;
  SqliteRegistryOptions options;
  options.directory = directory;
  options.executor = &executor;
  auto registry = SqliteRegistry::Open(options);
  if (!registry.ok()) ::_exit(3);
  for (int number = first;; ++number) {
    const std::string text = std::to_string(number);
    const auto put = Blocking(registry->get(), &executor)
                         .Commit(Transaction()
                                     .Then(Operation::Put("a/" + text, text))
                                     .Then(Operation::Put("b/" + text, text)));
    if (!put.ok()) ::_exit(4);
    if (::write(pipe, &number, sizeof(number)) != sizeof(number)) ::_exit(5);
  }
}

TEST_F(SqliteDurability, NoAcknowledgedWriteIsLostByKillNine) {
  constexpr int kRounds = 30;
  Random random(20240117);
  int next = 1;
  for (int round = 0; round < kRounds; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      WriteForEver(directory_.path(), next, ends[1]);
    }
    ::close(ends[1]);
    int acknowledged = next - 1;
    const int wanted = static_cast<int>(random.Below(12));
    for (int i = 0; i < wanted; ++i) {
      ASSERT_EQ(::read(ends[0], &acknowledged, sizeof(int)), static_cast<ssize_t>(sizeof(int)));
    }
    ::kill(child, SIGKILL);
    int number = 0;
    while (::read(ends[0], &number, sizeof(int)) == static_cast<ssize_t>(sizeof(int))) {
      acknowledged = number;
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer failed by itself: " << WEXITSTATUS(status);

    QueueExecutor executor;
    auto registry = Open(&executor);
    ASSERT_TRUE(registry.ok()) << registry.status().ToString();
    for (int i = 1; i <= acknowledged; ++i) {
      ASSERT_EQ(Read(**registry, executor, "a/" + std::to_string(i)), std::to_string(i));
    }
    // One more may be there without an answer, but then wholly.
    const std::string last = std::to_string(acknowledged + 1);
    EXPECT_EQ(Read(**registry, executor, "a/" + last), Read(**registry, executor, "b/" + last));
    next = acknowledged + 2;
    // The checks above are for all numbers up to `acknowledged`: fill the gap that may be there.
    ASSERT_TRUE(Blocking(registry->get(), &executor).Put("a/" + last, last).ok());
  }
}

TEST_F(SqliteDurability, RevisionsRiseOverARestartAndEphemeralKeysAreGone) {
  Revision before = 0;
  {
    QueueExecutor executor;
    auto registry = Open(&executor);
    ASSERT_TRUE(registry.ok()) << registry.status().ToString();
    Blocking blocking(registry->get(), &executor);
    const auto lease = blocking.GrantLease(60 * kNanosPerSecond);
    ASSERT_TRUE(lease.ok());
    const auto put = blocking.Commit(Transaction()
                                         .Then(Operation::Put("durable", "1"))
                                         .Then(Operation::Put("gone", "2", lease->id)));
    ASSERT_TRUE(put.ok());
    before = put->revision;
  }
  QueueExecutor executor;
  auto registry = Open(&executor);
  ASSERT_TRUE(registry.ok()) << registry.status().ToString();
  EXPECT_EQ(Read(**registry, executor, "durable"), "1");
  EXPECT_EQ(Read(**registry, executor, "gone"), std::nullopt);
  const auto put = Blocking(registry->get(), &executor).Put("k", "v");
  ASSERT_TRUE(put.ok());
  EXPECT_GT(put->revision, before);
}

TEST_F(SqliteDurability, ASecondHostIsRefused) {
  QueueExecutor executor;
  auto first = Open(&executor);
  ASSERT_TRUE(first.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    QueueExecutor other;
    const auto second = Open(&other);
    ::_exit(second.status().code() == LEVER_FAILED_PRECONDITION ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace lever::registry
