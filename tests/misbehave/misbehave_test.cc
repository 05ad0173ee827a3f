// Every attack of the tables, against a server and against a client, with honest calls beside it.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstdio>
#include <string>

#include "liblever/rpc/counters.h"
#include "liblever/rpc/limits.h"
#include "tests/misbehave/attacks.h"
#include "tests/misbehave/honest.h"
#include "tests/rpc/connection_raw_peer.h"

namespace lever::misbehave {
namespace {

// Under a sanitizer each byte costs several more.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryCounts = false;
#else
constexpr bool kMemoryCounts = true;
#endif

constexpr int64_t kAttackNs = 20 * kNanosPerSecond;

uint64_t CounterOf(std::string_view name) {
  uint64_t found = 0;
  rpc::ForEachCounter(rpc::GlobalCounters(), [&](std::string_view each, uint64_t value) {
    if (each == name) found = value;
  });
  return found;
}

void PrintHead(const char* victim) {
  std::printf("\n%-28s %-9s %9s %8s %7s %9s %9s %8s  %s\n", victim, "end", "pieces", "ms", "errors",
              "p99 ms", "alone ms", "MiB", "counter");
}

void PrintRow(const Attack& attack, const Outcome& outcome, const HonestClient::Report& honest,
              double alone_ms, double grown_mib) {
  std::printf("%-28s %-9s %9u %8.0f %7zu %9.2f %9.2f %8.1f  %s\n", attack.name.c_str(),
              outcome.cut_off ? "cut off" : "held", outcome.pieces,
              static_cast<double>(outcome.took_ns) / kNanosPerMilli, honest.errors, honest.p99_ms,
              alone_ms, grown_mib, attack.counter.c_str());
}

void Check(const Attack& attack, const Outcome& outcome, const HonestClient::Report& honest,
           size_t before_bytes, uint64_t counted, double alone_ms) {
  const size_t after_bytes = ResidentBytes();
  const size_t grown = after_bytes > before_bytes ? after_bytes - before_bytes : 0;
  PrintRow(attack, outcome, honest, alone_ms, static_cast<double>(grown) / (1 << 20));
  EXPECT_EQ(honest.errors, 0u) << honest.error;
  EXPECT_EQ(outcome.cut_off, attack.ends == Ends::kCutOff);
  if (kMemoryCounts) {
    EXPECT_LE(grown, attack.memory_bytes_max);
  }
  if (!attack.counter.empty()) {
    EXPECT_GT(CounterOf(attack.counter), counted) << attack.counter;
  }
}

TEST(MisbehaveTest, AClientHarmsNobodyButItself) {
  EchoServer server;
  HonestClient honest(server.port());
  const double alone_ms = honest.Take().p99_ms;
  PrintHead("against a server");
  for (const Attack& attack : AttacksOnServer(kEchoPath)) {
    SCOPED_TRACE(attack.name);
    const size_t before_bytes = ResidentBytes();
    const uint64_t counted = CounterOf(attack.counter);
    honest.Take();
    const UniqueFd socket = Connect(server.port());
    ASSERT_TRUE(socket.valid());
    const Outcome outcome = AttackServer(socket.get(), attack, kAttackNs);
    Check(attack, outcome, honest.Take(), before_bytes, counted, alone_ms);
  }
}

// A call to a server that misbehaves: it ends, whatever that server does.
class VictimCall final : public rpc::CallHandler {
 public:
  void OnMessage(rpc::Call&, SliceList) override {}
  void OnEnd(rpc::Call&, const rpc::CallEnd& end) override {
    status = end.status;
    ended.store(true);
  }
  Status status;
  std::atomic<bool> ended{false};
};

TEST(MisbehaveTest, AServerHarmsNobodyButItsCallers) {
  EchoServer server;
  HonestClient honest(server.port());
  const double alone_ms = honest.Take().p99_ms;
  LoopOnThread victim;
  victim.Start();
  PrintHead("against a client");
  for (const Attack& attack : AttacksOnClient()) {
    SCOPED_TRACE(attack.name);
    const size_t before_bytes = ResidentBytes();
    const uint64_t counted = CounterOf(attack.counter);
    honest.Take();
    auto pair = SocketPair(SOCK_STREAM);
    ASSERT_TRUE(pair.ok());
    std::unique_ptr<rpc::Channel> channel;
    VictimCall call;
    std::atomic<bool> started{false};
    victim.get()->Post([&] {
      channel = std::move(rpc::Channel::Over(victim.get(), std::move(pair->first))).value();
      rpc::CallOptions options;
      options.path = kEchoPath;
      options.authority = "x";
      options.deadline_ns = victim.get()->now_ns() + kAttackNs;
      options.initial_credit_messages = 1;
      channel->StartCall(options, &call)->CloseSend();
      started.store(true);
    });
    while (!started.load()) std::this_thread::yield();
    // The end of this that is ours blocks.
    const int flags = ::fcntl(pair->second.get(), F_GETFL);
    ::fcntl(pair->second.get(), F_SETFL, flags & ~O_NONBLOCK);
    const Outcome outcome = AttackClient(pair->second.get(), attack, kAttackNs);
    Check(attack, outcome, honest.Take(), before_bytes, counted, alone_ms);
    while (!call.ended.load()) std::this_thread::yield();
    EXPECT_FALSE(call.status.ok());
    std::atomic<bool> gone{false};
    victim.get()->Post([&] {
      channel.reset();
      gone.store(true);
    });
    while (!gone.load()) std::this_thread::yield();
  }
  victim.Stop();
}

// What the threads of the test themselves need in a second, which look ten times whether it is over.
constexpr int64_t kQuietNs = 20 * kNanosPerMilli;

// CPU time of the process within a second in which nothing comes, once what came is worked off.
int64_t QuietSecond() {
  const auto cpu_ns = [] {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * kNanosPerSecond + time.tv_nsec;
  };
  int64_t used_ns = 0;
  const int64_t give_up_ns = Clock::System().NowNs() + 8 * kNanosPerSecond;
  do {
    const int64_t before_ns = cpu_ns();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    used_ns = cpu_ns() - before_ns;
  } while (used_ns > kQuietNs && Clock::System().NowNs() < give_up_ns);
  return used_ns;
}

TEST(MisbehaveTest, TruncatedFramesThatAreLeftOpenCostNoCpu) {
  constexpr int kConnections = 100;
  EchoServer server;
  const std::string hello = std::string(rpc::kClientMagic) + rpc::Frame(rpc::kFrameSettings, 0, 0);
  const std::string cuts[] = {
      hello.substr(0, 10),
      hello.substr(0, hello.size() - 4),
      hello + rpc::Frame(rpc::kFrameHeaders, 0, 1, rpc::kRequestBlock),
      hello + rpc::Frame(rpc::kFrameHeaders, rpc::kFlagEndHeaders, 1, rpc::kRequestBlock) +
          rpc::Frame(rpc::kFrameData, 0, 1, std::string(1000, 'x')).substr(0, 500),
      hello + rpc::Frame(rpc::kFramePing, 0, 0, "12345678").substr(0, 3),
  };
  std::vector<UniqueFd> open;
  for (int i = 0; i < kConnections; ++i) {
    UniqueFd socket = Connect(server.port());
    const std::string& bytes = cuts[i % std::size(cuts)];
    ASSERT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    open.push_back(std::move(socket));
  }
  const int64_t used_ns = QuietSecond();
  std::printf("%d truncated frames left open: %.2f ms of CPU a second\n", kConnections,
              static_cast<double>(used_ns) / kNanosPerMilli);
  EXPECT_LE(used_ns, kQuietNs);
}

// Restores the limit, whatever the test finds.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t most) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit lower = before_;
    lower.rlim_cur = most;
    ::setrlimit(RLIMIT_NOFILE, &lower);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_;
};

TEST(MisbehaveTest, WithoutDescriptorsConnectionsAreRefusedAndTakenAgainLater) {
  EchoServer server;
  HonestClient honest(server.port());
  honest.Take();
  const uint64_t before = CounterOf("limit_descriptors");
  std::vector<UniqueFd> clients;
  // Our own ends first, so that only the server's are missing.
  for (int i = 0; i < 20; ++i) clients.emplace_back(::socket(AF_INET, SOCK_STREAM, 0));
  {
    const int next = ::dup(0);
    ::close(next);
    const DescriptorLimit limit(static_cast<rlim_t>(next));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (const UniqueFd& client : clients) {
      const timeval patience{5, 0};
      ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
      ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
      char byte;
      const ssize_t got = ::recv(client.get(), &byte, 1, 0);
      EXPECT_LE(got, 0);
      // The end of the stream sets no errno.
      EXPECT_FALSE(got < 0 && errno == EAGAIN) << "it was left waiting";
    }
    // Whoever has a connection keeps it.
    EXPECT_EQ(honest.Take().errors, 0u);
    honest.Pause();
    const int64_t used_ns = QuietSecond();
    EXPECT_LE(used_ns, kQuietNs) << "it spins";
    honest.GoOn();
  }
  EXPECT_GE(CounterOf("limit_descriptors"), before + clients.size());
  HonestClient after(server.port());
  EXPECT_EQ(after.Take().errors, 0u);
}

TEST(MisbehaveTest, AConnectionBeyondTheLimitIsClosed) {
  rpc::ConnectionOptions options;
  options.connections_max = 2;
  EchoServer server(options);
  const uint64_t before = CounterOf("limit_connections");
  HonestClient honest(server.port());
  honest.Take();
  const UniqueFd second = Connect(server.port());
  char byte;
  EXPECT_EQ(::recv(second.get(), &byte, 1, 0), 1) << "its SETTINGS";
  const UniqueFd third = Connect(server.port());
  EXPECT_LE(::recv(third.get(), &byte, 1, 0), 0);
  EXPECT_EQ(CounterOf("limit_connections"), before + 1);
  EXPECT_EQ(honest.Take().errors, 0u);
}

}  // namespace
}  // namespace lever::misbehave
