// Who drives a loop is held, not remembered: one atomic word says whether anybody does.
//
// The word is `free`, or it has an owner that is `running`, `sleeping`, or `woken` (sleeping, and
// somebody is about to write its eventfd). Whoever takes it from `free` is the owner and may touch
// what the word guards. Everybody else posts to the mailbox and then looks at the word.
//
// Threads: NotifyAfterPost() and TryTake() may be called from anywhere, the rest only by the owner.
//
// Invariants
//  1. At most one thread is the owner.
//  2. No post is left behind: a post is seen by the owner before it sleeps or lets go, by the
//  poster
//     that finds the word free, or by whoever took it in between.
//  3. A sleeper is woken: exactly one poster a sleep is told to write the eventfd, and the owner
//  learns
//     from AfterSleep() that it was.
// They rest on the word and the mailbox's head being sequentially consistent: the poster writes the
// head and then reads the word, the owner writes the word and then reads the head, and so at least
// one of the two sees the other. tests/base/drive_word_test.cc goes through all interleavings.
#ifndef LIBLEVER_BASE_DRIVE_WORD_H_
#define LIBLEVER_BASE_DRIVE_WORD_H_

#include <atomic>
#include <cstdint>

namespace lever {

// What a poster has to do after its post.
enum class AfterPost : uint8_t {
  kNothing,       // the owner will see the post
  kTryTake,       // nobody drives: take the word and empty the mailbox
  kWriteEventFd,  // the owner sleeps, and it is this poster's task to wake it
};

// `Atomic` is an atomic uint32_t; the model test brings its own.
template <typename Atomic>
class BasicDriveWord {
 public:
  bool TryTake() {
    uint32_t expected = kFree;
    return word_.compare_exchange_strong(expected, kRunning);
  }

  // Announces sleep, then looks for posts. Only if it returns true may the owner sleep;
  // AfterSleep() follows in either case. `has_posts` reads what the posters write, sequentially
  // consistent.
  template <typename HasPosts>
  bool BeforeSleep(HasPosts has_posts) {
    word_.store(kSleeping);
    return !has_posts();
  }

  // Whether a poster has written the eventfd or is about to.
  bool AfterSleep() { return word_.exchange(kRunning) == kWoken; }

  // Frees the word, then looks for posts and takes it back if there are any. Returns whether the
  // caller is the owner again.
  template <typename HasPosts>
  bool LetGo(HasPosts has_posts) {
    word_.store(kFree);
    return has_posts() && TryTake();
  }

  AfterPost NotifyAfterPost() {
    uint32_t seen = word_.load();
    while (seen == kSleeping) {
      if (word_.compare_exchange_strong(seen, kWoken)) return AfterPost::kWriteEventFd;
    }
    return seen == kFree ? AfterPost::kTryTake : AfterPost::kNothing;
  }

  // A glimpse, for those who only want to know whether waiting is worth while.
  bool IsFree() const { return word_.load() == kFree; }
  bool IsAsleep() const {
    const uint32_t seen = word_.load();
    return seen == kSleeping || seen == kWoken;
  }

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kRunning = 1;
  static constexpr uint32_t kSleeping = 2;
  static constexpr uint32_t kWoken = 3;

  Atomic word_{kFree};
};

using DriveWord = BasicDriveWord<std::atomic<uint32_t>>;

}  // namespace lever

#endif  // LIBLEVER_BASE_DRIVE_WORD_H_
