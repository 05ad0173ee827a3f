#include "liblever/rpc/resolver.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <optional>

namespace lever::rpc {
namespace {

// What a machine that knows no names at all gives, too.
TEST(ResolverTest, LocalhostIsTheLoopbackInterfaceWithoutAskingAnybody) {
  auto loop = std::move(Loop::Open({})).value();
  std::optional<StatusOr<Addresses>> found;
  ASSERT_TRUE(loop->TryEnter());
  const auto asked = Resolution::Start(loop.get(), "localhost", 8080,
                                       [&](StatusOr<Addresses> answer) { found = std::move(answer); });
  loop->Leave();
  const int64_t limit_ns = DeadlineAfter(Clock::System().NowNs(), 10 * kNanosPerSecond);
  while (!found && Clock::System().NowNs() < limit_ns) ASSERT_TRUE(loop->Turn(kNanosPerMilli).ok());
  ASSERT_TRUE(found && found->ok());
  const Addresses& addresses = found->value();
  ASSERT_EQ(addresses.size(), 2u);
  ASSERT_EQ(addresses[0].family(), AF_INET);
  const auto* ip4 = reinterpret_cast<const sockaddr_in*>(addresses[0].get());
  EXPECT_EQ(ntohl(ip4->sin_addr.s_addr), INADDR_LOOPBACK);
  ASSERT_EQ(addresses[1].family(), AF_INET6);
  const auto* ip6 = reinterpret_cast<const sockaddr_in6*>(addresses[1].get());
  EXPECT_TRUE(IN6_IS_ADDR_LOOPBACK(&ip6->sin6_addr));
  EXPECT_EQ(addresses[0].port(), 8080);
  EXPECT_EQ(addresses[1].port(), 8080);
}

}  // namespace
}  // namespace lever::rpc
