// Calls over TLS: versions, who is believed, and what is said about those who are not.
#include <openssl/ssl.h>

#include "liblever/rpc/counters.h"
#include "liblever/rpc/tls_roots.h"
#include "tests/rpc/tls_fixture.h"

namespace lever::rpc {
namespace {

using ::testing::Test;


TEST_F(TlsTest, ACallGoesOverTls) {
  OpenBoth();
  EXPECT_EQ(Ask("hello"), "hello");
  EXPECT_TRUE(channel->ready_connection()->encrypted());
}

TEST_F(TlsTest, ManyMegabytesBothWaysComeAsTheyWere) {
  OpenBoth();
  dispatcher.on_call = EchoAll;
  constexpr size_t kMessages = 24;
  std::vector<std::string> sent;
  for (uint32_t i = 0; i < kMessages; ++i) sent.push_back(Pattern(1'000'003, i + 1));
  TestCall& call = Start(Options(), [&](TestCall&, Call& call) {
    for (const std::string& message : sent) call.Write(Bytes(message));
    call.CloseSend();
  });
  ASSERT_TRUE(UntilEnd(call));
  EXPECT_TRUE(call.status.ok()) << call.Text();
  EXPECT_EQ(call.messages, sent);
}

}  // namespace
}  // namespace lever::rpc
