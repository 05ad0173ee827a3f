#include "liblever/host/capi/listeners.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/host/capi/temporary_directory.h"

namespace lever::host {
namespace {

bool Needs(const char* address) { return NeedsInsecure(*rpc::Endpoint::Parse(address)); }

TEST(Listeners, LoopbackAndUnixSocketsArePlainWithoutBeingTold) {
  for (const char* address : {"127.0.0.1:0", "127.8.9.1:80", "[::1]:0", "localhost:80", "unix:/x"}) {
    EXPECT_FALSE(Needs(address)) << address;
  }
  EXPECT_FALSE(Needs("tls:0.0.0.0:443"));
  for (const char* address : {"0.0.0.0:80", "10.0.0.1:80", "[::]:0", "example.com:80",
                              "128.0.0.1:80", "[::ffff:127.0.0.1]:80"}) {
    EXPECT_TRUE(Needs(address)) << address;
  }
}

TEST(Listeners, WhatTheNetworkReachesUncheckedIsSaidInTheLog) {
  const auto warning = [](const char* address, bool clients_checked) {
    return ListeningWarning(*rpc::Endpoint::Parse(address), clients_checked);
  };
  EXPECT_EQ(warning("127.0.0.1:80", false), "");
  EXPECT_EQ(warning("unix:/x", false), "");
  EXPECT_EQ(warning("tls:[::1]:443", false), "");
  EXPECT_EQ(warning("tls:0.0.0.0:443", true), "");
  EXPECT_THAT(warning("tls:0.0.0.0:443", false), testing::HasSubstr("--tls-client-ca"));
  EXPECT_THAT(warning("0.0.0.0:80", false), testing::HasSubstr("unencrypted"));
}

TEST(Listeners, TlsIsNotListenedForWithoutACertificate) {
  const std::unique_ptr<Loop> loop = Loop::Open().value();
  const auto refused = Listeners::Open(loop.get(), {"tls:127.0.0.1:0"}, false, nullptr, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_THAT(refused.status().message(), testing::HasSubstr("--tls-cert"));
}

TEST(Listeners, BindAllOrNone) {
  const TemporaryDirectory directory;
  const std::unique_ptr<Loop> loop = Loop::Open().value();
  const std::string unix_path = "unix:" + directory.path() + "/socket";
  const auto refused = Listeners::Open(loop.get(), {"127.0.0.1:0", "0.0.0.0:0"}, false, nullptr, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_THAT(refused.status().message(), testing::HasSubstr("--insecure"));

  const auto opened = Listeners::Open(loop.get(), {"127.0.0.1:0", unix_path}, false, nullptr, {});
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  ASSERT_EQ(opened->addresses().size(), 2u);
  EXPECT_THAT(opened->addresses()[0], testing::Not(testing::EndsWith(":0")));
  EXPECT_EQ(opened->addresses()[1], unix_path);
}

}  // namespace
}  // namespace lever::host
