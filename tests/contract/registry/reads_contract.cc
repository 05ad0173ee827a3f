// Gets and ranges: order, pages, revisions, older revisions.
#include <gmock/gmock.h>

#include "tests/contract/registry/contract.h"

namespace lever::registry {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_P(RegistryContract, KeysAndValuesAreAnyBytes) {
  const std::string key("\0k/\xff\xfe\n", 7);
  const std::string value("\0\xff", 2);
  const Revision revision = PutOk(key, value);
  PutOk("empty", "");
  EXPECT_EQ(Find(key), (Entry{key, value, revision, revision, kNoLease}));
  EXPECT_EQ(Find("empty")->value, "");
  EXPECT_EQ(Find("missing"), std::nullopt);
}

TEST_P(RegistryContract, ARangeIsInTheOrderOfBytesAndOfThePrefixOnly) {
  for (const char* key : {"a/2", "a/10", "a", "a0", "a/\xff", "b/1", "a/"}) PutOk(key, "v");
  EXPECT_THAT(Keys("a/"), ElementsAre("a/", "a/10", "a/2", "a/\xff"));
  EXPECT_THAT(Keys("c"), IsEmpty());
  EXPECT_EQ(Keys("").size(), 7u);
}

TEST_P(RegistryContract, APrefixOfGreatestBytesHasNoEndButTheLast) {
  for (const char* key : {"\xfe", "\xff", "\xff\xff", "\xff\xff\x01"}) PutOk(key, "v");
  EXPECT_THAT(Keys("\xff"), ElementsAre("\xff", "\xff\xff", "\xff\xff\x01"));
  ASSERT_TRUE(blocking_->Commit(Transaction().Then(Operation::DeletePrefix("\xff\xff"))).ok());
  EXPECT_THAT(Keys(""), ElementsAre("\xfe", "\xff"));
}

TEST_P(RegistryContract, DurableAndLeasedKeysAreInOneOrder) {
  const LeaseId lease = GrantOk(kLeaseTtlNsMax);
  PutOk("k/1", "durable");
  PutOk("k/2", "leased", lease);
  PutOk("k/3", "durable");
  PutOk("k/4", "leased", lease);
  EXPECT_THAT(Keys("k/"), ElementsAre("k/1", "k/2", "k/3", "k/4"));
  EXPECT_EQ(Find("k/2")->lease, lease);
  EXPECT_EQ(Find("k/3")->lease, kNoLease);
}

TEST_P(RegistryContract, PagesAreOfOneRevisionThoughKeysChangeInBetween) {
  const LeaseId lease = GrantOk(kLeaseTtlNsMax);
  for (int i = 0; i < 10; ++i) {
    PutOk("p/" + std::to_string(i), "old", i % 2 == 0 ? lease : kNoLease);
  }
  RangeRequest request{"p/", "", 4, 0};
  const auto first = blocking_->Range(request);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->entries.size(), 4u);
  EXPECT_TRUE(first->more);

  // Deleted, changed, made, and moved between the two kinds of keys; before and after the page's
  // end.
  ASSERT_TRUE(blocking_
                  ->Commit(Transaction()
                               .Then(Operation::Delete("p/0"))
                               .Then(Operation::Delete("p/5"))
                               .Then(Operation::Delete("p/6"))
                               .Then(Operation::Put("p/7", "new"))
                               .Then(Operation::Put("p/8", "now durable"))
                               .Then(Operation::Put("p/9", "now leased", lease))
                               .Then(Operation::Put("p/55", "new"))
                               .Then(Operation::Put("p/56", "new", lease)))
                  .ok());
  PutOk("p/7", "newer");

  std::vector<std::string> seen;
  for (const Entry& entry : first->entries) seen.push_back(entry.key + "=" + entry.value);
  request.revision = first->revision;
  request.after = first->entries.back().key;
  for (bool more = true; more;) {
    const auto page = blocking_->Range(request);
    ASSERT_TRUE(page.ok()) << page.status().ToString();
    EXPECT_EQ(page->revision, first->revision);
    ASSERT_FALSE(page->entries.empty());
    for (const Entry& entry : page->entries) seen.push_back(entry.key + "=" + entry.value);
    request.after = page->entries.back().key;
    more = page->more;
  }
  EXPECT_THAT(seen, ElementsAre("p/0=old", "p/1=old", "p/2=old", "p/3=old", "p/4=old", "p/5=old",
                                "p/6=old", "p/7=old", "p/8=old", "p/9=old"));
  EXPECT_THAT(Keys("p/"),
              ElementsAre("p/1", "p/2", "p/3", "p/4", "p/55", "p/56", "p/7", "p/8", "p/9"));
}

TEST_P(RegistryContract, APageThatHoldsExactlyAllSaysThatThereIsNoMore) {
  for (int i = 0; i < 3; ++i) PutOk("p/" + std::to_string(i), "v");
  const auto page = blocking_->Range({"p/", "", 3, 0});
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->entries.size(), 3u);
  EXPECT_FALSE(page->more);
}

TEST_P(RegistryContract, APageOfLargeValuesEndsEarlyButIsNeverEmpty) {
  const std::string large(kValueBytesMax, 'x');
  for (int i = 0; i < 3; ++i) PutOk("large/" + std::to_string(i), large);
  const auto page = blocking_->Range({"large/", "", kPageEntriesMax, 0});
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page->entries.size(), 1u);
  EXPECT_TRUE(page->more);
}

TEST_P(RegistryContract, AReadOfAForgottenRevisionIsCompacted) {
  const Revision old = PutOk("k", "1");
  PutOk("k", "2");
  cluster_->InjectCompacted();
  const auto range = blocking_->Range({"k", "", 1, old});
  EXPECT_TRUE(IsCompacted(range.status())) << range.status().ToString();
}

TEST_P(RegistryContract, AReadOfARevisionThatHasNotBeenIsRefused) {
  const Revision revision = PutOk("k", "1");
  EXPECT_EQ(blocking_->Range({"k", "", 1, revision + 1}).status().code(), LEVER_INVALID_ARGUMENT);
}

TEST_P(RegistryContract, ReadsBeyondTheLimitsAreRefused) {
  EXPECT_EQ(blocking_->Get("").status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(blocking_->Get(std::string(kKeyBytesMax + 1, 'k')).status().code(),
            LEVER_INVALID_ARGUMENT);
  EXPECT_TRUE(blocking_->Get(std::string(kKeyBytesMax, 'k')).ok());
  EXPECT_EQ(blocking_->Range({"", "", 0, 0}).status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(blocking_->Range({"", "", kPageEntriesMax + 1, 0}).status().code(),
            LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(blocking_->Range({"", "", 1, -1}).status().code(), LEVER_INVALID_ARGUMENT);
}

TEST_P(RegistryContract, DurableKeysAndTheirRevisionsAreThereAfterReopening) {
  const Revision created = PutOk("k", "1");
  const Revision changed = PutOk("k", "2");
  Reopen();
  EXPECT_EQ(Find("k"), (Entry{"k", "2", created, changed, kNoLease}));
  EXPECT_GT(PutOk("l", "1"), changed);
}

}  // namespace
}  // namespace lever::registry
