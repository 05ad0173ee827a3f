// Ten thousand calls whose connection is cut at a random byte: a method that is not idempotent runs at
// most once, and how each call ended is named right.
//
// The client believes that the proxy is its host; the proxy connects to a real service, and cuts the
// first connection of each round after so many bytes in one direction. What the client sends again
// finds a connection that holds.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <list>
#include <map>
#include <string>

#include "liblever/base/random.h"
#include "tests/client/client_fixture.h"
#include "tests/service/service_fixture.h"
#include "tests/value/mutation.h"

namespace lever::client {
namespace {

constexpr int kRounds = 10'000;
constexpr uint64_t kNoCut = UINT64_MAX;

// Bytes between two sockets, moved by Pump(), until one of them ends or the cut is reached.
class ProxiedConnection {
 public:
  ProxiedConnection(UniqueFd client, UniqueFd service) : ends_{std::move(client), std::move(service)} {}

  // Direction 0: from the client. True if anything moved.
  bool Pump() {
    const bool moved = ends_[0].valid() && (Move(0) | Move(1));
    if (left_[0] == 0 || left_[1] == 0) Close();
    return moved;
  }
  void CutAfter(int direction, uint64_t bytes) { left_[direction] = bytes; }
  uint64_t moved(int direction) const { return moved_[direction]; }
  bool closed() const { return !ends_[0].valid(); }
  void Close() {
    ends_[0].reset();
    ends_[1].reset();
  }

 private:
  bool Move(int direction) {
    if (!ends_[0].valid()) return false;
    char buffer[4096];
    const size_t room = std::min<uint64_t>(sizeof(buffer), left_[direction]);
    if (room == 0) return false;
    const ssize_t count = ::read(ends_[direction].get(), buffer, room);
    if (count < 0 && errno == EAGAIN) return false;
    // What is written here is far below what a socket takes.
    if (count <= 0 || ::send(ends_[1 - direction].get(), buffer, static_cast<size_t>(count), MSG_NOSIGNAL) != count) {
      Close();
      return true;
    }
    moved_[direction] += static_cast<uint64_t>(count);
    if (left_[direction] != kNoCut) left_[direction] -= static_cast<uint64_t>(count);
    return true;
  }

  UniqueFd ends_[2];
  uint64_t left_[2] = {kNoCut, kNoCut};
  uint64_t moved_[2] = {0, 0};
};

class RandomCut : public service::ServiceTest, private ClientHandler {
 protected:
  RandomCut() {
    Start();
    char directory[] = "/tmp/lever-cut-XXXXXX";
    directory_ = ::mkdtemp(directory);
    path_ = directory_ + "/proxy";
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto address = *rpc::NumericAddress(*rpc::Endpoint::Parse("unix:" + path_));
    EXPECT_EQ(::bind(listener_.get(), address.get(), address.size), 0);
    EXPECT_EQ(::listen(listener_.get(), 64), 0);
    program.on_call = [this](service::IncomingCall& call) {
      const std::string id = Concat(call.payload());
      if (!call.Begin()) return;
      ++runs_[id];
      SliceList reply = call.payload();
      EXPECT_TRUE(call.Reply(Kind::kRaw, std::move(reply), nullptr).ok());
    };
    program.on_stream = [this](service::IncomingStream& stream) {
      const std::string id = Concat(stream.payload());
      if (!stream.Begin()) return;
      ++runs_[id];
      EXPECT_TRUE(stream.Write(Kind::kRaw, Bytes(id)).ok());
      stream.CloseSend();
    };
  }
  ~RandomCut() override { std::filesystem::remove_all(directory_); }

  void OnClosed(Client&) override { closed_ = true; }

  // Everything that can happen now happens; time goes on only if nothing can.
  void Step() {
    const bool turned = *loop->Turn(0);
    bool moved = Accept();
    for (auto& connection : connections_) moved = connection.Pump() || moved;
    if (!turned && !moved && ++idle_ > 3) clock.Advance(kNanosPerMilli);
    if (turned || moved) idle_ = 0;
  }
  bool Accept() {
    UniqueFd accepted(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!accepted.valid()) return false;
    connections_.emplace_back(std::move(accepted), host->IntroduceCaller(""));
    if (connections_.size() == 1 && direction_ >= 0) connections_.back().CutAfter(direction_, cut_);
    return true;
  }

  // One call or stream on a client of its own; `direction` -1: not cut.
  void Round(const std::string& id, bool stream, bool idempotent, int direction, uint64_t cut) {
    direction_ = direction;
    cut_ = cut;
    Do([&] {
      ClientOptions options;
      options.link = std::move(route::HostLink::To(loop.get(), "unix:" + path_, {}, 7)).value();
      options.only_through_host = true;
      client_ = std::move(Client::Open(loop.get(), std::move(options), this)).value();
      Request request;
      request.address = stream ? "/hello/echoChan" : "/hello/echo";
      request.kind = Kind::kRaw;
      request.payload = Bytes(id);
      request.idempotent = idempotent;
      request.read_messages = 10;
      request.deadline_ns = clock.NowNs() + 30 * kNanosPerSecond;
      result_ = Result();
      const Status started = stream ? client_->OpenStream(std::move(request), &result_).status()
                                    : client_->StartCall(std::move(request), &result_).status();
      ASSERT_TRUE(started.ok()) << started.ToString();
    });
    for (int i = 0; i < 200'000 && !result_.ended(); ++i) Step();
    ASSERT_TRUE(result_.ended()) << "no end came";
  }
  void EndRound() {
    for (int i = 0; i < 2; ++i) bytes_[i] = connections_.empty() ? 0 : connections_.front().moved(i);
    closed_ = false;
    Do([&] { client_->Close(); });
    for (int i = 0; i < 1000 && !closed_; ++i) Step();
    ASSERT_TRUE(closed_);
    Do([&] { client_.reset(); });
    for (auto& connection : connections_) connection.Close();
    connections_.clear();
    Settle();
  }

  std::string directory_, path_;
  UniqueFd listener_;
  std::list<ProxiedConnection> connections_;
  std::unique_ptr<Client> client_;
  Result result_;
  std::map<std::string, int> runs_;
  int direction_ = -1;
  uint64_t cut_ = kNoCut;
  uint64_t bytes_[2] = {0, 0};  // that the first connection of the last round moved
  int idle_ = 0;
  bool closed_ = false;
};

TEST_F(RandomCut, AMethodRunsAtMostOnceAndEachOutcomeIsNamedRight) {
  Random random(TestSeed());
  uint64_t whole[2][2];
  for (const bool stream : {false, true}) {
    ASSERT_NO_FATAL_FAILURE(Round("uncut", stream, false, -1, kNoCut));
    ASSERT_TRUE(result_.status.ok()) << result_.status.ToString();
    ASSERT_NO_FATAL_FAILURE(EndRound());
    whole[stream][0] = bytes_[0];
    whole[stream][1] = bytes_[1];
    ASSERT_GT(bytes_[0], 100u);
    ASSERT_GT(bytes_[1], 50u);
  }
  int done = 0, not_run = 0, unknown = 0, ran_unknown = 0, retried = 0, ran_twice = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string id = "r" + std::to_string(round);
    const bool stream = random.Below(3) == 0;
    const bool idempotent = !stream && random.Below(5) == 0;
    const int direction = static_cast<int>(random.Below(2));
    const uint64_t cut = random.Below(static_cast<uint32_t>(whole[stream][direction]) + 1);
    SCOPED_TRACE(id + (stream ? ", a stream" : ", a call") + (idempotent ? ", idempotent" : "") +
                 ", cut " + (direction == 0 ? "towards the service" : "towards the client") +
                 " after " + std::to_string(cut));
    ASSERT_NO_FATAL_FAILURE(Round(id, stream, idempotent, direction, cut));
    const size_t connections = connections_.size();
    ASSERT_NO_FATAL_FAILURE(EndRound());
    const int runs = runs_[id];
    ASSERT_EQ(result_.ends, 1);
    if (!idempotent) {
      ASSERT_LE(runs, 1);
    }
    ran_twice += runs > 1;
    retried += connections > 1;
    switch (result_.status.executed()) {
      case LEVER_EXECUTED_YES:
        ++done;
        ASSERT_TRUE(result_.status.ok());
        ASSERT_GE(runs, 1);
        ASSERT_EQ(stream ? result_.messages.at(0) : result_.payload, id);
        break;
      case LEVER_EXECUTED_NO:
        ++not_run;
        ASSERT_EQ(result_.status.code(), LEVER_UNAVAILABLE) << result_.status.ToString();
        ASSERT_EQ(runs, 0);
        break;
      case LEVER_EXECUTED_UNKNOWN:
        ++unknown;
        ran_unknown += runs == 1;
        ASSERT_EQ(result_.status.code(), LEVER_UNAVAILABLE) << result_.status.ToString();
        break;
    }
    runs_.erase(id);
  }
  std::printf("%d done, %d surely not run, %d unknown of which %d ran; %d sent again, %d ran twice\n",
              done, not_run, unknown, ran_unknown, retried, ran_twice);
  // The cuts fall on both sides of everything.
  EXPECT_GT(done, kRounds / 10);
  EXPECT_GT(unknown, kRounds / 50);
  EXPECT_GT(ran_unknown, kRounds / 100);
  EXPECT_LT(ran_unknown, unknown);
  EXPECT_GT(retried, kRounds / 50);
}

}  // namespace
}  // namespace lever::client
