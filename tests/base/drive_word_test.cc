// A model test of the owner word: every interleaving of an owner and two posters, each atomic
// operation being a point where another thread may go on.
//
// The threads run the real code of drive_word.h and mailbox.h over model atomics. A state is a
// value: the shared memory, and for each thread the results of the operations it has made, which
// determine where it stands. To take a step, a thread's function is run again from its beginning,
// its operations answered from the record; the next one is made on the shared memory, and an
// exception leaves the function at the one after. So states can be copied, compared and explored
// depth first.
#include "liblever/base/drive_word.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "liblever/base/mailbox.h"

namespace lever {
namespace {

constexpr size_t kThreads = 3;
constexpr size_t kPosters = 2;
constexpr size_t kCellsMax = 12;
constexpr size_t kRecordMax = 96;

// Everything in the model is a small number, so that states are small.
using Value = uint8_t;

struct ThreadState {
  std::array<Value, kRecordMax> record{};  // the results of its operations so far
  uint8_t record_size = 0;
  bool done = false;
  bool waits_for_eventfd = false;
  bool operator==(const ThreadState&) const = default;
};

struct State {
  std::array<Value, kCellsMax> memory{};
  std::array<ThreadState, kThreads> threads;
  bool operator==(const State&) const = default;
};
static_assert(std::has_unique_object_representations_v<State>);

struct StateHash {
  size_t operator()(const State& state) const {
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(&state), sizeof(state)});
  }
};

// Runs one thread for one step. Where the model's cells live, and how they are reached.
class Machine {
 public:
  static Machine& Get() {
    static Machine machine;
    return machine;
  }

  size_t NewCell(Value initial) {
    initial_.memory.at(cells_) = initial;
    return cells_++;
  }
  const State& initial() const { return initial_; }

  // An atomic operation: a point where the threads may be interleaved.
  template <typename Operation>
  Value Atomic(Operation operation) {
    return Do(operation, /*is_point=*/true);
  }
  // An access to memory that only this thread uses at this moment.
  template <typename Operation>
  Value Plain(Operation operation) {
    return Do(operation, /*is_point=*/false);
  }
  // Goes on only when the eventfd is readable.
  void WaitForEventFd(size_t cell) {
    if (next_ == thread_->record_size && points_left_ == 0) thread_->waits_for_eventfd = true;
    Atomic([cell](auto& memory) { return memory[cell]; });
  }

  void Step(State* state, size_t thread, const std::function<void()>& function) {
    state_ = state;
    thread_ = &state->threads[thread];
    thread_->waits_for_eventfd = false;
    next_ = 0;
    points_left_ = 1;
    try {
      function();
      thread_->done = true;
    } catch (const Stop&) {
    }
  }

 private:
  struct Stop {};

  template <typename Operation>
  Value Do(Operation operation, bool is_point) {
    if (next_ < thread_->record_size) return thread_->record[next_++];
    if (is_point && points_left_-- == 0) throw Stop();
    const Value result = operation(state_->memory);
    thread_->record.at(next_) = result;
    thread_->record_size = static_cast<uint8_t>(++next_);
    return result;
  }

  State initial_;
  size_t cells_ = 0;
  State* state_ = nullptr;
  ThreadState* thread_ = nullptr;
  size_t next_ = 0;
  int points_left_ = 0;
};

struct ModelItem;
ModelItem* ItemOf(Value number);
Value NumberOf(const ModelItem* item);

// A pointer to an item is the item's number, 0 for null.
template <typename T>
Value ToCell(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return value == nullptr ? 0 : NumberOf(value);
  } else {
    return static_cast<Value>(value);
  }
}

template <typename T>
T FromCell(Value value) {
  if constexpr (std::is_pointer_v<T>) {
    return value == 0 ? nullptr : ItemOf(value);
  } else {
    return static_cast<T>(value);
  }
}

// Stands in for std::atomic<T>, sequentially consistent.
template <typename T>
class ModelAtomic {
 public:
  ModelAtomic(T initial) : cell_(Machine::Get().NewCell(ToCell(initial))) {}  // NOLINT

  T load() const {
    return FromCell<T>(Machine::Get().Atomic([this](auto& memory) { return memory[cell_]; }));
  }
  void store(T value) { exchange(value); }
  T exchange(T value) {
    return FromCell<T>(Machine::Get().Atomic(
        [&](auto& memory) { return std::exchange(memory[cell_], ToCell(value)); }));
  }
  bool compare_exchange_strong(T& expected, T desired) {
    const Value wanted = ToCell(expected);
    const Value seen = Machine::Get().Atomic([&](auto& memory) {
      const Value old = memory[cell_];
      if (old == wanted) memory[cell_] = ToCell(desired);
      return old;
    });
    if (seen == wanted) return true;
    expected = FromCell<T>(seen);
    return false;
  }
  bool compare_exchange_weak(T& expected, T desired) {
    return compare_exchange_strong(expected, desired);
  }
  size_t cell() const { return cell_; }

 private:
  size_t cell_;
};

// An ordinary variable of the model.
template <typename T>
class ModelPlain {
 public:
  ModelPlain(T initial = T()) : cell_(Machine::Get().NewCell(ToCell(initial))) {}  // NOLINT
  operator T() const {                                                             // NOLINT
    return FromCell<T>(Machine::Get().Plain([this](auto& memory) { return memory[cell_]; }));
  }
  ModelPlain& operator=(T value) {
    Machine::Get().Plain([&](auto& memory) { return memory[cell_] = ToCell(value); });
    return *this;
  }
  size_t cell() const { return cell_; }
  T In(const State& state) const { return FromCell<T>(state.memory[cell_]); }

 private:
  size_t cell_;
};

struct ModelItem {
  ModelPlain<ModelItem*> next;
  ModelPlain<Value> runs;
};

// What the loop does with the word and the mailbox, with the rechecks that the rule asks for or
// without one of them.
struct Rules {
  bool recheck_after_sleeping = true;
  bool recheck_after_free = true;
};

struct Model {
  BasicDriveWord<ModelAtomic<uint32_t>> word;
  BasicMailbox<ModelItem, ModelAtomic<ModelItem*>> mailbox;
  ModelAtomic<Value> event_fd{0};
  ModelPlain<Value> holders;      // how many threads think that they are the owner
  ModelPlain<Value> holders_max;  // the most there ever were
  std::array<ModelItem, kPosters> items;

  void Held() {
    holders = holders + 1;
    if (holders > holders_max) holders_max = holders;
  }
  void NotHeld() { holders = holders - 1; }

  void RunMailbox() {
    if (mailbox.Empty()) return;
    for (ModelItem* item = mailbox.TakeAll(); item != nullptr;) {
      ModelItem* next = item->next;
      item->runs = item->runs + 1;
      item = next;
    }
  }

  void LetGo(const Rules& rules) {
    for (;;) {
      NotHeld();
      const bool again = word.LetGo([&] { return rules.recheck_after_free && !mailbox.Empty(); });
      if (!again) return;
      Held();
      RunMailbox();
    }
  }

  void Post(const Rules& rules, size_t poster) {
    mailbox.Push(&items[poster]);
    switch (word.NotifyAfterPost()) {
      case AfterPost::kNothing:
        return;
      case AfterPost::kWriteEventFd:
        event_fd.store(1);
        return;
      case AfterPost::kTryTake:
        if (!word.TryTake()) return;
        Held();
        RunMailbox();
        LetGo(rules);
        return;
    }
  }

  // A turn that sleeps if there is nothing to do.
  void SleepingTurn(const Rules& rules) {
    if (!word.TryTake()) return;
    Held();
    if (mailbox.Empty()) {
      const bool may_sleep =
          word.BeforeSleep([&] { return rules.recheck_after_sleeping && !mailbox.Empty(); });
      if (may_sleep) Machine::Get().WaitForEventFd(event_fd.cell());
      if (word.AfterSleep()) {
        Machine::Get().WaitForEventFd(event_fd.cell());  // one that is on its way is waited for
        event_fd.store(0);
      }
    }
    RunMailbox();
    LetGo(rules);
  }
};

Model& TheModel() {
  static Model model;
  return model;
}

ModelItem* ItemOf(Value number) { return &TheModel().items[number - 1]; }
Value NumberOf(const ModelItem* item) {
  return static_cast<Value>(item - TheModel().items.data() + 1);
}

// Explores every interleaving and says what was wrong in any state that nothing leads out of.
class Explorer {
 public:
  explicit Explorer(const Rules& rules) {
    Model& model = TheModel();
    for (size_t poster = 0; poster < kPosters; ++poster) {
      functions_[poster] = [&model, rules, poster] { model.Post(rules, poster); };
    }
    functions_[kPosters] = [&model, rules] {
      for (int turn = 0; turn < 2; ++turn) model.SleepingTurn(rules);
    };
  }

  void Run() {
    std::vector<State> to_visit{Machine::Get().initial()};
    while (!to_visit.empty()) {
      const State state = std::move(to_visit.back());
      to_visit.pop_back();
      if (!visited_.insert(state).second) continue;
      bool stuck = true;
      for (size_t thread = 0; thread < kThreads; ++thread) {
        if (!MayGoOn(state, thread)) continue;
        stuck = false;
        State next = state;
        Machine::Get().Step(&next, thread, functions_[thread]);
        to_visit.push_back(std::move(next));
      }
      if (stuck) CheckEnd(state);
    }
  }

  const std::set<std::string>& faults() const { return faults_; }
  size_t states() const { return visited_.size(); }
  size_t ends() const { return ends_; }
  size_t ends_asleep() const { return ends_asleep_; }

 private:
  static bool MayGoOn(const State& state, size_t thread) {
    const ThreadState& it = state.threads[thread];
    if (it.done) return false;
    return !it.waits_for_eventfd || state.memory[TheModel().event_fd.cell()] != 0;
  }

  void CheckEnd(const State& state) {
    const Model& model = TheModel();
    ++ends_;
    if (!state.threads[kPosters].done) ++ends_asleep_;
    for (size_t poster = 0; poster < kPosters; ++poster) {
      if (!state.threads[poster].done) faults_.insert("a poster hangs");
      const Value runs = model.items[poster].runs.In(state);
      if (runs == 0) faults_.insert("a post is left behind");
      if (runs > 1) faults_.insert("a post was run twice");
    }
    if (model.holders_max.In(state) > 1) faults_.insert("two owners at a time");
    if (state.memory[model.event_fd.cell()] != 0) faults_.insert("the eventfd is left readable");
  }

  std::array<std::function<void()>, kThreads> functions_;
  std::unordered_set<State, StateHash> visited_;
  std::set<std::string> faults_;
  size_t ends_ = 0;
  size_t ends_asleep_ = 0;
};

TEST(DriveWordModel, NoPostIsLeftBehindAndTheSleeperIsWokenInAnyInterleaving) {
  Explorer explorer(Rules{});
  explorer.Run();
  EXPECT_EQ(explorer.faults(), std::set<std::string>{});
  RecordProperty("states", static_cast<int>(explorer.states()));
  // The exploration reached both kinds of end: the owner through its turns, and asleep again with
  // nothing left to do.
  EXPECT_GT(explorer.ends(), explorer.ends_asleep());
  EXPECT_GT(explorer.ends_asleep(), 0u);
  EXPECT_GT(explorer.states(), 1000u);
}

TEST(DriveWordModel, WithoutLookingAgainAfterSleepingAPostIsLeftBehind) {
  Explorer explorer(Rules{.recheck_after_sleeping = false});
  explorer.Run();
  EXPECT_TRUE(explorer.faults().contains("a post is left behind"));
}

TEST(DriveWordModel, WithoutLookingAgainAfterFreeAPostIsLeftBehind) {
  Explorer explorer(Rules{.recheck_after_free = false});
  explorer.Run();
  EXPECT_TRUE(explorer.faults().contains("a post is left behind"));
}

TEST(DriveWord, IsTakenByOneAtATime) {
  DriveWord word;
  EXPECT_TRUE(word.IsFree());
  EXPECT_TRUE(word.TryTake());
  EXPECT_FALSE(word.TryTake());
  EXPECT_FALSE(word.IsFree());
  EXPECT_FALSE(word.LetGo([] { return false; }));
  EXPECT_TRUE(word.IsFree());
}

TEST(DriveWord, TellsEachPosterWhatToDo) {
  DriveWord word;
  const auto nothing_there = [] { return false; };
  EXPECT_EQ(word.NotifyAfterPost(), AfterPost::kTryTake);
  ASSERT_TRUE(word.TryTake());
  EXPECT_EQ(word.NotifyAfterPost(), AfterPost::kNothing);
  ASSERT_TRUE(word.BeforeSleep(nothing_there));
  EXPECT_TRUE(word.IsAsleep());
  EXPECT_EQ(word.NotifyAfterPost(), AfterPost::kWriteEventFd);
  EXPECT_EQ(word.NotifyAfterPost(), AfterPost::kNothing) << "one write is enough";
  EXPECT_TRUE(word.AfterSleep());
  ASSERT_TRUE(word.BeforeSleep(nothing_there));
  EXPECT_FALSE(word.AfterSleep()) << "nobody wrote";
}

TEST(DriveWord, IsTakenBackIfThereArePosts) {
  DriveWord word;
  ASSERT_TRUE(word.TryTake());
  EXPECT_FALSE(word.BeforeSleep([] { return true; }));
  EXPECT_FALSE(word.AfterSleep());
  EXPECT_TRUE(word.LetGo([] { return true; }));
  EXPECT_FALSE(word.IsFree());
}

}  // namespace
}  // namespace lever
