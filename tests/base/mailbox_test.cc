#include "liblever/base/mailbox.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace lever {
namespace {

struct Item final : MailboxItem {
  void Run() override { ++runs; }
  int producer = 0;
  int number = 0;
  int runs = 0;
};

TEST(Mailbox, IsEmptyAtFirst) {
  Mailbox mailbox;
  EXPECT_TRUE(mailbox.Empty());
  EXPECT_EQ(mailbox.TakeAll(), nullptr);
}

TEST(Mailbox, GivesItemsInTheOrderOfPushing) {
  Mailbox mailbox;
  Item items[3];
  for (Item& item : items) mailbox.Push(&item);
  EXPECT_FALSE(mailbox.Empty());
  const MailboxItem* taken = mailbox.TakeAll();
  EXPECT_TRUE(mailbox.Empty());
  for (const Item& item : items) {
    ASSERT_EQ(taken, &item);
    taken = taken->next;
  }
  EXPECT_EQ(taken, nullptr);
}

TEST(Mailbox, LosesAndRepeatsNothingAndKeepsEachProducersOrder) {
  constexpr int kProducers = 3;
  constexpr int kItems = 20'000;
  Mailbox mailbox;
  std::vector<Item> items(kProducers * kItems);
  std::vector<std::thread> threads;
  for (int p = 0; p < kProducers; ++p) {
    threads.emplace_back([&, p] {
      for (int i = 0; i < kItems; ++i) {
        Item& item = items[p * kItems + i];
        item.producer = p;
        item.number = i;
        mailbox.Push(&item);
      }
    });
  }
  std::vector<int> next(kProducers, 0);
  for (int taken = 0; taken < kProducers * kItems;) {
    for (MailboxItem* it = mailbox.TakeAll(); it != nullptr; ++taken) {
      auto* item = static_cast<Item*>(it);
      it = it->next;
      ASSERT_EQ(item->number, next[item->producer]++);
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(mailbox.Empty());
}

}  // namespace
}  // namespace lever
